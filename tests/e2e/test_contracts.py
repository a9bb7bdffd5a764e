"""Each state of a call, on each surface, for each credential: status, fields and body as the contracts say."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from parts.contracts import DATA, OWN, PARAMETER, STRANGER, VARY, Cast, assert_worded, in_any_case
from parts.stage import ORIGIN
from parts.wire import Answer

from gateway.model import Verb
from gateway.surfaces import SURFACES

# ``+``: with Retry-After. ``found``: processing, its object known already. ``swept``: past its retention and deleted;
# ``held``: past it and kept. words: native's transcript. call, transcript: what agentphone tells a call's own account.
TABLE = """
            native  words  yotel   agentphone  call  transcript  callsid  voki  envoy
missing     404     404    404     404         404   404         404      404   404
foreign     404     404    404     404         404   404         404      404   404
absent      404     200    404     404         200   200         404      404   404
pending     409+    200    409+    404         200   200         409+     404   404
processing  409+    200    409+    404         200   200         409+     404   404
found       409+    200    409+    404         200   200         409+     404   200
failed      409     200    409     404         200   200         409      404   404
ready       200     200    200     200         200   200         200      200   200
held        200     200    200     200         200   200         200      200   200
expired     410     410    404     404         200   404         404      404   404
swept       410     410    404     404         200   404         404      404   404
malformed   422     422    404     422         422   422         422      404   422
"""
CREDENTIALS = ("none", "bad", "low", "full", "foreign")
CODES = {
    "native": {
        "absent": "recording_absent",
        **dict.fromkeys(("pending", "processing", "found"), "recording_not_ready"),
        "failed": "recording_unavailable",
        **dict.fromkeys(("expired", "swept"), "recording_expired"),
        "malformed": "malformed",
    },
    "yotel": {
        **dict.fromkeys(("pending", "processing", "found"), "recording_not_ready"),
        "failed": "recording_failed",
    },
    "callsid": {
        **dict.fromkeys(("pending", "processing", "found"), "recording_not_ready"),
        "failed": "recording_failed",
        "malformed": "invalid_call_sid",
    },
}
"""Where a 4xx's code is not ``not_found``. The other surfaces have none."""


@dataclass(frozen=True)
class Endpoint:
    """``members``: of a success's JSON; none: it is the audio. ``public``: no credential is asked for, or looked at."""

    surface: str
    path: str
    members: frozenset[str] = frozenset()
    method: str = "GET"
    column: str = ""
    public: bool = False
    needed: str = "recordings:download"

    @property
    def methods(self) -> tuple[str, ...]:
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


ENDPOINTS = {
    "native describe": Endpoint(
        "native",
        "/v1/recordings/{}",
        frozenset({"id", "state", "aliases", "recording", "links"}),
        needed="calls:read",
    ),
    "native audio": Endpoint("native", "/v1/recordings/{}/audio"),
    "native transcript": Endpoint(
        "native", "/v1/recordings/{}/transcript", frozenset({"status", "language", "text", "segments"}), column="words"
    ),
    "native links": Endpoint("native", "/v1/recordings/{}/links", frozenset({"url", "expires_at"}), "POST"),
    "yotel link": Endpoint(
        "yotel",
        "/yotel/api/v1/calls/{}/recording",
        frozenset({"call_id", "url", "expires_at", "duration_s", "stereo", "format"}),
        needed="calls:read",
    ),
    "yotel audio": Endpoint("yotel", "/yotel/api/v1/calls/{}/recording/audio"),
    "agentphone audio": Endpoint("agentphone", "/agentphone/v1/calls/{}/recording", public=True),
    "agentphone call": Endpoint(
        "agentphone",
        "/agentphone/v1/calls/{}",
        frozenset({"id", "status", "recordingUrl", "recordingAvailable"}),
        column="call",
        needed="calls:read",
    ),
    "agentphone transcript": Endpoint(
        "agentphone",
        "/agentphone/v1/calls/{}/transcript",
        frozenset({"callId", "status", "text", "language", "segments"}),
        column="transcript",
    ),
    "callsid stream": Endpoint("callsid", "/callsid/api/calls/{}/recording/stream", frozenset({"success", "data"})),
    "callsid download": Endpoint("callsid", "/callsid/api/calls/{}/recording/download"),
    "voki metadata": Endpoint("voki", "/voki/api/v1/calls/{}/recording", frozenset({"data"}), needed="attendant"),
    "voki download": Endpoint("voki", "/voki/api/v1/calls/{}/recording/download", needed="attendant"),
    "envoy link": Endpoint("envoy", "/envoy/api/v1/calls/{}/recording", frozenset({"call_id", "url", "expires_at"})),
    "envoy link, short": Endpoint("envoy", "/envoy/calls/{}/recording", frozenset({"call_id", "url", "expires_at"})),
}


@dataclass(frozen=True)
class Wanted:
    """``challenge``: how WWW-Authenticate begins."""

    status: int
    retry_after: str | None = None
    challenge: str | None = None
    code: str | None = None


def _cells() -> Iterator[tuple[tuple[str, str], str]]:
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    for state, *cells in rows:
        for column, cell in zip(head, cells, strict=True):
            yield (state, column), cell


CELLS = dict(_cells())
STATES = tuple(dict.fromkeys(state for state, _ in CELLS))


def wanted(of: Endpoint, state: str, kind: str) -> Wanted:
    """What the contracts say of a call in ``state``, asked for with a credential of that ``kind``."""
    unproven = "unauthenticated" if of.surface == "native" else "unauthorized"
    if not of.public and kind in {"none", "bad"}:
        challenge = "Bearer" if kind == "none" else 'Bearer error="invalid_token"'
        return Wanted(401, challenge=challenge, code=unproven)
    if state == "foreign" and kind == "foreign":
        state = "ready"
    elif kind == "foreign" and state != "malformed" and not of.public:
        state = "missing"
    elif state == "foreign" and of.public:
        state = "ready"  # whoever knows its id is served, whosesoever it is
    if kind == "low" and state not in {"missing", "foreign", "malformed"} and not of.public:
        named = "" if of.surface == "voki" else f', scope="{of.needed}"'  # a role is no scope
        challenge = f'Bearer error="insufficient_scope"{named}'
        return Wanted(403, challenge=challenge, code="forbidden")
    cell = CELLS[state, of.column or of.surface]
    code = CODES.get(of.surface, {}).get(state, "not_found")
    return Wanted(int(cell[:3]), retry_after="15" if cell.endswith("+") else None, code=code)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_state_is_worded_as_the_contract_says(cast: Cast, endpoint: str, state: str):
    of = ENDPOINTS[endpoint]
    target = of.path.format(cast.ids[state][of.surface])
    with cast.wire() as wire:
        for kind in CREDENTIALS:
            for method in of.methods:
                answer = cast.ask(wire, method, target, cast.credentials[of.surface][kind])
                look(of, method, answer, wanted(of, state, kind))


def look(of: Endpoint, method: str, answer: Answer, said: Wanted) -> None:
    if said.status >= 400:
        extra = {"retry-after": said.retry_after, "www-authenticate": said.challenge}
        assert answer.status == said.status
        told = {name: value for name, value in extra.items() if value is not None}
        assert_worded(of.surface, answer, method, code=said.code, extra=told)
        return
    assert answer.status == (201 if of.method == "POST" else 200)
    assert answer.get("Vary") == VARY[of.surface]
    lasting = "no-store" if of.members or of.public else "max-age=300"
    assert answer.get("Cache-Control") == f"private, {lasting}"
    assert answer.get("Content-Type") == ("application/json" if of.members else "audio/wav")
    assert answer.get("X-Content-Type-Options") == "nosniff"
    if method == "HEAD":
        assert int(answer.headers["content-length"]) > 0
    elif of.members:
        assert answer.json().keys() >= of.members
    else:
        assert answer.body == DATA


CONDITIONS = (("Range", "bytes=0-1"), ("If-None-Match", "*"), ("Origin", ORIGIN))


@pytest.mark.parametrize("kind", ["low", "full"])
@pytest.mark.parametrize("endpoint", [name for name, of in ENDPOINTS.items() if not of.public])
def test_foreign_call_answers_byte_for_byte_as_a_missing_one(cast: Cast, endpoint: str, kind: str):
    of = ENDPOINTS[endpoint]
    with cast.wire() as wire:
        for method in of.methods:
            for more in ((), CONDITIONS):
                one, other = (
                    in_any_case(
                        cast.ask(wire, method, of.path.format(named), cast.credentials[of.surface][kind], *more)
                    )
                    for named in (cast.ids["foreign"][of.surface], cast.ids["missing"][of.surface])
                )
                assert one == other
                assert one[0] == 404


def test_deletion_tells_a_foreign_call_from_a_missing_one_no_more(cast: Cast):
    with cast.wire() as wire:
        for kind in ("low", "full"):
            fields = cast.credentials["voki"][kind]
            one, other = (
                in_any_case(cast.ask(wire, "DELETE", f"/voki/api/v1/calls/{cast.ids[state]['voki']}/recording", fields))
                for state in ("foreign", "missing")
            )
            assert one == other
            assert one[0] == 404


@pytest.mark.parametrize("state", STATES)
def test_public_404s_are_one(cast: Cast, state: str):
    """Whatever the reason: no such call, none recorded, not ready, failed, over, or an id that could be guessed."""
    if CELLS[state, "agentphone"] != "404" or state == "foreign":
        state = "weak"
    ids = {"weak": "call_abc123"} | {name: named["agentphone"] for name, named in cast.ids.items()}
    with cast.wire() as wire:
        for method in ("GET", "HEAD"):
            for more in ((), CONDITIONS):
                one, other = (
                    in_any_case(cast.ask(wire, method, f"/agentphone/v1/calls/{ids[name]}/recording", {}, *more))
                    for name in (state, "missing")
                )
                assert one == other
                assert one[0] == 404


# --- credentials and what stands beside them ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "endpoint"),
    [
        ("X-Organization-Id", "callsid stream"),
        ("X-Organization-Id", "callsid download"),
        ("X-Tenant", "voki metadata"),
        ("X-Tenant", "voki download"),
        ("X-Organization-ID", "envoy link"),
        ("X-Organization-ID", "envoy link, short"),
    ],
)
def test_tenant_named_beside_a_credential_must_be_its_own_and_proves_nothing(cast: Cast, header: str, endpoint: str):
    of = ENDPOINTS[endpoint]
    full = {k: v for k, v in cast.credentials[of.surface]["full"].items() if k != header}
    target = of.path.format(cast.ids["ready"][of.surface])
    own = cast.tenants["own"]
    with cast.wire() as wire:
        for named in (OWN, str(own), str(own).upper()):
            assert cast.ask(wire, "GET", target, {**full, header: named}).status == 200
        assert cast.ask(wire, "GET", target, full).status == 200
        missing = in_any_case(cast.ask(wire, "GET", of.path.format(cast.ids["missing"][of.surface]), full))
        for named in (STRANGER, "nobody", "", OWN.upper(), str(cast.tenants["stranger"])):
            assert in_any_case(cast.ask(wire, "GET", target, {**full, header: named})) == missing
        assert cast.ask(wire, "GET", target, {header: OWN}).status == 401
        assert cast.ask(wire, "GET", target, full, (header, OWN), (header, OWN)).status == 400


@pytest.mark.parametrize("endpoint", [name for name, of in ENDPOINTS.items() if not of.public])
def test_scopes_stand_apart(cast: Cast, endpoint: str):
    """A key that has every scope but the one needed is no nearer than one with none."""
    of = ENDPOINTS[endpoint]
    target = of.path.format(cast.ids["ready"][of.surface])
    with cast.wire() as wire:
        answer = cast.ask(wire, of.method, target, cast.but[of.needed])
    look(of, of.method, answer, wanted(of, "ready", "low"))


# --- and all of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", [name for name in SURFACES if name != "native"])
def test_host_mount_stands_at_the_root(cast: Cast, surface: str):
    """A client written for the original changes its base URL and nothing else."""
    host = f"{surface}.localhost"
    with cast.wire() as wire:
        for of in (of for of in ENDPOINTS.values() if of.surface == surface):
            target = of.path.format(cast.ids["ready"][surface])
            fields = cast.credentials[surface]["full"]
            for named in (host, host.upper(), f"{host}:8080", f"{host}."):
                answer = cast.ask(wire, "GET", target.removeprefix(f"/{surface}"), fields, ("Host", named))
                look(of, "GET", answer, wanted(of, "ready", "full"))
            elsewhere = cast.ask(wire, "GET", target, fields, ("Host", host))
            assert elsewhere.status == 404
            assert_worded(surface, elsewhere, "GET", code="not_found", extra={})
            native = cast.ask(wire, "GET", target.removeprefix(f"/{surface}"), fields)
            assert (native.status in {404, 405}, native.get("Content-Type")) == (True, "application/problem+json")


def test_every_route_that_reads_a_recording_stands_in_the_table():
    """So that one added to a vendor's surface is held against it, too."""
    held = {of.path for of in ENDPOINTS.values()}
    for name, surface in SURFACES.items():
        for route in surface.routes if name != "native" else ():
            if route.verb in {Verb.PLAY, Verb.LINK, Verb.DESCRIBE}:
                assert f"/{name}{PARAMETER.sub('{}', route.path)}" in held
