"""Paths and methods, on every surface: which there are, and what is said of the others."""

import pytest
from parts.calls import MISSING, Calls, assert_refused
from parts.contracts import PARAMETER, Cast, assert_worded

from gateway.surfaces import SURFACES

PATHS = {
    "/v1/recordings": "GET, HEAD, OPTIONS",
    f"/v1/recordings/{MISSING}": "GET, HEAD, OPTIONS",
    f"/v1/recordings/{MISSING}/audio": "GET, HEAD, OPTIONS",
    "/v1/links/x/audio": "GET, HEAD, OPTIONS",
    "/yotel/api/v1/calls/x/recording": "GET, HEAD, OPTIONS",
    "/yotel/api/v1/calls/x/recording/audio": "GET, HEAD, OPTIONS",
    "/agentphone/v1/calls/x/recording": "GET, HEAD, OPTIONS",
    "/agentphone/v1/calls/x": "GET, HEAD, OPTIONS",
    "/agentphone/v1/calls/x/transcript": "GET, HEAD, OPTIONS",
    "/agentphone/v1/credits/recording/enable": "OPTIONS, POST",
    "/agentphone/credits/recording/enable": "OPTIONS, POST",
    "/callsid/api/calls/call_x/recording/stream": "GET, HEAD, OPTIONS",
    "/callsid/api/calls/call_x/recording/download": "GET, HEAD, OPTIONS",
    f"/voki/api/v1/calls/{MISSING}/recording": "GET, HEAD, OPTIONS",
    f"/voki/api/v1/calls/{MISSING}/recording/download": "GET, HEAD, OPTIONS",
    f"/voki/api/v1/departments/{MISSING}": "DELETE, OPTIONS",
    f"/envoy/api/v1/calls/{MISSING}/recording": "GET, HEAD, OPTIONS",
    f"/envoy/calls/{MISSING}/recording": "GET, HEAD, OPTIONS",
}
REFUSED = {f"/voki/api/v1/calls/{MISSING}/recording": "DELETE"}
"""There is a route, which is never granted: it is refused only after it was found out by whom it was asked."""


@pytest.mark.parametrize(("path", "allow"), PATHS.items())
def test_other_methods_are_told_which_there_are(cast: Cast, path: str, allow: str):
    surface = path.split("/")[1] if path.split("/")[1] in SURFACES else "native"
    with cast.wire() as wire:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
            if method in allow.split(", ") or method == REFUSED.get(path):
                continue
            for kind in ("none", "full"):
                answer = cast.ask(wire, method, path, cast.credentials[surface][kind])
                assert answer.status == 405
                assert_worded(surface, answer, method, code="method_not_allowed", extra={"allow": allow})
        options = wire.ask("OPTIONS", path)
    assert (options.status, options.body, options.get("Allow")) == (204, b"", allow)
    assert options.get("Content-Length") is None


def test_every_path_of_the_vendors_stands_above():
    """So that one added to a surface is looked at here, too."""
    told = {path.replace(MISSING, "{}").replace("call_x", "{}").replace("/x", "/{}") for path in PATHS}
    for name, surface in SURFACES.items():
        for route in surface.routes if name != "native" else ():
            assert f"/{name}{PARAMETER.sub('{}', route.path)}" in told


@pytest.mark.parametrize(
    ("path", "surface"),
    [("/", "native"), ("/v1", "native"), ("/v1/recordings/", "native"), (f"/v1/recordings/{MISSING}/audio/", "native"),
     ("/V1/recordings", "native"), ("//v1/recordings", "native"), ("/metrics", "native"), ("/yotel/", "yotel"),
     ("/yotel/api/v1/calls//recording", "yotel"), ("/yotel/v1/recordings", "yotel"),
     ("/agentphone/v1/calls//recording", "agentphone"), ("/callsid/api/calls/x/recording", "callsid"),
     ("/voki/api/v1/calls", "voki"), ("/envoy/calls//recording", "envoy"),
     *((f"/{name}", name) for name in SURFACES if name != "native")],
)  # fmt: skip
def test_path_of_nobody_is_not_found_in_its_mounts_words(cast: Cast, path: str, surface: str):
    with cast.wire() as wire:
        answer = cast.ask(wire, "GET", path, cast.credentials[surface]["full"])
    assert answer.status == 404
    assert_worded(surface, answer, "GET", code="not_found", extra={})


def test_listing_wants_its_scope(calls: Calls):
    assert_refused(calls.ask("GET", "/v1/recordings", calls.download_only), "native", (403, "forbidden", None))
    assert calls.ask("GET", "/v1/recordings", calls.read_only).status == 200
