"""Each state of a call, on each surface, for each credential: status, fields and body as the contracts say."""

import pytest
from parts.calls import DATA, MISSING, Calls, Wanted, assert_refused

ENDPOINTS = {
    "native describe": ("native", "GET", "/v1/recordings/{}", "calls:read"),
    "native describe HEAD": ("native", "HEAD", "/v1/recordings/{}", "calls:read"),
    "native audio": ("native", "GET", "/v1/recordings/{}/audio", "recordings:download"),
    "native audio HEAD": ("native", "HEAD", "/v1/recordings/{}/audio", "recordings:download"),
    "native links": ("native", "POST", "/v1/recordings/{}/links", "recordings:download"),
    "yotel link": ("yotel", "GET", "/yotel/api/v1/calls/{}/recording", "calls:read"),
    "yotel link HEAD": ("yotel", "HEAD", "/yotel/api/v1/calls/{}/recording", "calls:read"),
    "yotel audio": ("yotel", "GET", "/yotel/api/v1/calls/{}/recording/audio", "recordings:download"),
    "yotel audio HEAD": ("yotel", "HEAD", "/yotel/api/v1/calls/{}/recording/audio", "recordings:download"),
}

STATES: dict[str, tuple[Wanted, Wanted]] = {
    "missing": ((404, "not_found", None), (404, "not_found", None)),
    "nameless": ((404, "not_found", None), (404, "not_found", None)),
    "foreign": ((404, "not_found", None), (404, "not_found", None)),
    "absent": ((404, "recording_absent", None), (404, "not_found", None)),
    "pending": ((409, "recording_not_ready", "15"), (409, "recording_not_ready", "15")),
    "processing": ((409, "recording_not_ready", "15"), (409, "recording_not_ready", "15")),
    "failed": ((409, "recording_unavailable", None), (409, "recording_failed", None)),
    "expired": ((410, "recording_expired", None), (404, "not_found", None)),
    "swept": ((410, "recording_expired", None), (404, "not_found", None)),
    "malformed": ((422, "malformed", None), (404, "not_found", None)),
}


def target_of(calls: Calls, endpoint: str, state: str) -> tuple[str, str, str]:
    """surface, method, target"""
    surface, method, template, _ = ENDPOINTS[endpoint]
    named = calls.by_state[state]
    return surface, method, template.format(named.native if surface == "native" else named.yotel)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("state", STATES)
def test_state_is_worded_as_the_contract_says(calls: Calls, state: str, endpoint: str):
    surface, method, target = target_of(calls, endpoint, state)
    wanted = STATES[state][0 if surface == "native" else 1]
    assert_refused(calls.ask(method, target), surface, wanted, method)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("state", ["s3", "gcs", "disk", "held"])
def test_ready_recording_is_served(calls: Calls, state: str, endpoint: str):
    _, method, target = target_of(calls, endpoint, state)
    body = b'{"delivery": "gateway"}' if method == "POST" else b""
    answer = calls.ask(method, target, body=body)
    assert answer.status == (201 if method == "POST" else 200)
    if endpoint in {"native audio", "yotel audio"}:
        assert answer.body == DATA


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("state", [*STATES, "s3"])
def test_without_a_credential_nothing_is_told(calls: Calls, state: str, endpoint: str):
    surface, method, target = target_of(calls, endpoint, state)
    code = "unauthenticated" if surface == "native" else "unauthorized"
    for credential, challenge in (
        ({}, "Bearer"),
        ({"Authorization": "Bearer yt_live_" + "x" * 43}, 'Bearer error="invalid_token"'),
        ({"Authorization": "Basic eDp5"}, 'Bearer error="invalid_token"'),
    ):
        answer = calls.ask(method, target, credential)
        assert_refused(answer, surface, (401, code, None), method)
        assert answer.get("WWW-Authenticate") == challenge


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("state", [*STATES, "s3"])
def test_scopes_stand_apart_and_come_after_the_tenant(calls: Calls, state: str, endpoint: str):
    surface, method, target = target_of(calls, endpoint, state)
    scope = ENDPOINTS[endpoint][3]
    low = calls.read_only if scope == "recordings:download" else calls.download_only
    wanted: Wanted = (403, "forbidden", None)
    if state in {"missing", "nameless", "foreign", "malformed"}:
        wanted = STATES[state][0 if surface == "native" else 1]
    for key in (low, calls.neither):
        answer = calls.ask(method, target, key)
        assert_refused(answer, surface, wanted, method)
        if wanted[0] == 403:
            assert answer.get("WWW-Authenticate") == f'Bearer error="insufficient_scope", scope="{scope}"'
            assert surface == "yotel" or method == "HEAD" or answer.json()["needed"] == scope


def test_listing_wants_its_scope(calls: Calls):
    assert_refused(calls.ask("GET", "/v1/recordings", calls.download_only), "native", (403, "forbidden", None))
    assert calls.ask("GET", "/v1/recordings", calls.read_only).status == 200


@pytest.mark.parametrize("host", ["yotel.localhost", "YOTEL.localhost", "yotel.localhost:8080", "yotel.localhost."])
def test_host_mount_stands_at_the_root(calls: Calls, host: str):
    of = calls.ready["disk"]
    named = [("Host", host)]
    assert calls.ask("GET", f"/api/v1/calls/{of.alias}/recording/audio", lines=named).body == DATA
    told = calls.ask("GET", f"/api/v1/calls/{of.alias}/recording", lines=named).json()
    assert told["call_id"] == of.alias
    calls.stage.secrets.add(told["url"].split("/")[-2])
    for elsewhere in (of.native, of.yotel):
        answer = calls.ask("GET", elsewhere, lines=named)
        assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")
    assert calls.ask("GET", f"/api/v1/calls/{of.alias}/recording/audio").status == 404


PATHS = {
    "/v1/recordings": "GET, HEAD, OPTIONS",
    f"/v1/recordings/{MISSING}": "GET, HEAD, OPTIONS",
    f"/v1/recordings/{MISSING}/audio": "GET, HEAD, OPTIONS",
    f"/v1/recordings/{MISSING}/links": "OPTIONS, POST",
    "/v1/links/x/audio": "GET, HEAD, OPTIONS",
    "/yotel/api/v1/calls/x/recording": "GET, HEAD, OPTIONS",
    "/yotel/api/v1/calls/x/recording/audio": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize(("path", "allow"), PATHS.items())
def test_other_methods_are_told_which_there_are(calls: Calls, path: str, allow: str):
    surface = "yotel" if path.startswith("/yotel") else "native"
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        if method in allow.split(", "):
            continue
        for credential in (calls.full, {}):
            answer = calls.ask(method, path, credential)
            assert_refused(answer, surface, (405, "method_not_allowed", None))
            assert answer.get("Allow") == allow
    options = calls.ask("OPTIONS", path, {})
    assert (options.status, options.body, options.get("Allow")) == (204, b"", allow)
    assert options.get("Content-Length") is None


@pytest.mark.parametrize(
    ("path", "surface"),
    [("/", "native"), ("/v1", "native"), ("/v1/recordings/", "native"), (f"/v1/recordings/{MISSING}/audio/", "native"),
     ("/V1/recordings", "native"), ("//v1/recordings", "native"), ("/yotel", "yotel"), ("/yotel/", "yotel"),
     ("/yotel/api/v1/calls//recording", "yotel"), ("/yotel/v1/recordings", "yotel"), ("/metrics", "native")],
)  # fmt: skip
def test_path_of_nobody_is_not_found_in_its_mounts_words(calls: Calls, path: str, surface: str):
    assert_refused(calls.ask("GET", path), surface, (404, "not_found", None))
