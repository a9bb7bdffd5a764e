"""Requests that came through proxies or from other origins: who is believed, and what a web page may read."""

from parts.stage import ORIGIN, PROXY
from parts.wary import MARK, Wary

# --- proxies --------------------------------------------------------------------------------------------------------


async def test_forwarded_address_counts_only_as_far_as_trusted_proxies_reach(wary: Wary):
    rows = {
        "untrusted": (None, [("X-Forwarded-For", "203.0.113.9")], "127.0.0.1"),
        "trusted": (PROXY, [("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
        "trusted, made up further left": (PROXY, [("X-Forwarded-For", "198.51.100.1, 203.0.113.9")], "203.0.113.9"),
        "trusted, two lines": (PROXY, [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
        "trusted, chained": (PROXY, [("X-Forwarded-For", f"198.51.100.1, 203.0.113.9, {PROXY}")], "203.0.113.9"),
        "trusted, garbage": (PROXY, [("X-Forwarded-For", f"203.0.113.9, {MARK}")], PROXY),
        "trusted, silent": (PROXY, [], PROXY),
    }  # fmt: skip
    for name, (source, lines, _) in rows.items():
        answer = wary.ask("GET", wary.own.native, wary.allowed(*lines, ("User-Agent", f"xff {name}")), source=source)
        assert answer.status == 200
    for name, (source, _, address) in rows.items():
        (row,) = await wary.stage.accesses("user_agent", f"xff {name}", 1)
        assert (row["address"], row["peer"]) == (address, source or "127.0.0.1")


def test_request_id_is_believed_of_trusted_proxies_alone(wary: Wary):
    given = "0a1b2c3d-trusted.id_7"
    assert wary.ask("GET", "/healthz", [("X-Request-Id", MARK)]).get("X-Request-Id")
    assert wary.ask("GET", "/healthz", [("X-Request-Id", given)], source=PROXY).get("X-Request-Id") == given
    for sent in (f"{MARK} {MARK}", f"{MARK}\t{MARK}", "short", "x" * 129, f'{MARK}"', f"{MARK}é"):
        assert wary.ask("GET", "/healthz", [("X-Request-Id", sent)], source=PROXY).get("X-Request-Id") != sent


# --- web origins ----------------------------------------------------------------------------------------------------

EXPOSED = {"Content-Range", "Accept-Ranges", "Content-Length", "ETag", "Content-Disposition", "Retry-After"}


def cors_cases(wary: Wary) -> list[tuple[int, str, str, list[tuple[str, str]]]]:
    past = f"bytes={len(wary.own.data)}-"
    return [
        (200, "GET", wary.own.native, wary.allowed()),
        (206, "GET", wary.own.native, wary.allowed(("Range", "bytes=0-1"))),
        (304, "GET", wary.own.native, wary.allowed(("If-None-Match", "*"))),
        (200, "HEAD", wary.own.yotel, wary.allowed()),
        (400, "GET", wary.own.native, wary.allowed(("Range", "bytes=0-1"), ("Range", "bytes=0-1"))),
        (401, "GET", wary.own.yotel, []),
        (404, "GET", wary.foreign.native, wary.allowed()),
        (404, "GET", "/nowhere", []),
        (405, "DELETE", wary.own.native, wary.allowed()),
        (412, "GET", wary.own.native, wary.allowed(("If-Match", '"x"'))),
        (416, "GET", wary.own.yotel, wary.allowed(("Range", past))),
        (422, "GET", "/v1/recordings/x", wary.allowed()),
        (200, "GET", "/v1/recordings", wary.allowed()),
    ]


def test_cors_is_the_same_on_every_status(wary: Wary):
    for status, method, target, lines in cors_cases(wary):
        allowed = wary.ask(method, target, [*lines, ("Origin", ORIGIN)])
        assert (allowed.status, allowed.get("Access-Control-Allow-Origin")) == (status, ORIGIN)
        assert set(allowed.headers["access-control-expose-headers"].split(", ")) == EXPOSED
        for other in (f"https://{MARK}.example", "null", ORIGIN + ".evil.example", ORIGIN.replace("https", "http")):
            refused = wary.ask(method, target, [*lines, ("Origin", other)])
            assert refused.status == status
            assert not [name for name, _ in refused.fields if name.startswith("access-control")]
        for answer in (allowed, refused, wary.ask(method, target, lines)):
            assert answer.headers["vary"].split(", ")[0] == "Origin"
        assert "access-control-allow-credentials" not in allowed.headers


def test_preflight_is_answered_for_allowed_origins_without_a_credential(wary: Wary):
    asked = [
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", f"authorization, range, {MARK}"),
    ]
    for target in (wary.own.native, wary.own.yotel, "/v1/recordings", f"/v1/recordings/{wary.own.id}/links"):
        answer = wary.ask("OPTIONS", target, [("Origin", ORIGIN), *asked])
        assert (answer.status, answer.body) == (204, b"")
        fields = answer.headers
        assert fields["access-control-allow-origin"] == ORIGIN
        assert ("POST" if target.endswith("links") else "GET") in fields["access-control-allow-methods"].split(", ")
        assert {"Authorization", "Range", "If-Range"} <= set(fields["access-control-allow-headers"].split(", "))
        assert (fields["access-control-max-age"], fields["cache-control"]) == ("600", "no-store")
        refused = wary.ask("OPTIONS", target, [("Origin", f"https://{MARK}.example"), *asked])
        assert refused.status == 204
        assert not [name for name, _ in refused.fields if name.startswith("access-control")]
        assert fields["vary"] == refused.headers["vary"]
