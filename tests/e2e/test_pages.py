"""/openapi.json, /llms.txt and /llms-full.txt: on every mount, for everybody, and on nobody's record."""

from uuid import uuid4

import pytest
from parts.calls import Calls
from parts.stage import ORIGIN, Stage
from parts.wire import Answer, Wire

from gateway.surfaces import SURFACES

KINDS = {
    "/openapi.json": "application/json",
    "/llms.txt": "text/markdown; charset=utf-8",
    "/llms-full.txt": "text/markdown; charset=utf-8",
}
PLACES = [("", None, "native")]
PLACES += [(f"/{name}", None, name) for name in SURFACES if name != "native"]
PLACES += [("", f"{name}.localhost", name) for name in SURFACES if name != "native"]


def ask(stage: Stage, method: str, path: str, fields: dict[str, str] | None = None, host: str | None = None) -> Answer:
    with Wire(stage.house.base_url) as wire:
        wire.host = host or wire.host
        return wire.ask(method, path, [*(fields or {}).items()])


@pytest.mark.parametrize(("prefix", "host", "surface"), PLACES)
def test_each_mount_describes_its_surface_under_its_own_url(stage: Stage, prefix: str, host: str | None, surface: str):
    for path, kind in KINDS.items():
        answer = ask(stage, "GET", prefix + path, host=host)
        assert (answer.status, answer.get("Content-Type")) == (200, kind)
        assert answer.get("Cache-Control") == "public, max-age=300"
        assert f"Call recordings: {surface}" in answer.body.decode()
    document = ask(stage, "GET", f"{prefix}/openapi.json", host=host).json()
    port = stage.house.base_url.rpartition(":")[2]
    own = f"http://{host}:{port}" if host else stage.house.base_url + prefix
    assert document["servers"][0] == {"url": own or "/"}
    assert len(document["servers"]) == (1 if surface == "native" else 2)
    assert {each["name"] for each in document.get("x-surfaces", [])} == (
        {name for name in SURFACES if name != "native"} if surface == "native" else set()
    )
    assert document["paths"].keys() == {route.path for route in SURFACES[surface].routes}


def test_a_page_is_cacheable_and_read_alone(stage: Stage):
    first = ask(stage, "GET", "/openapi.json")
    assert first.get("Vary") == "Origin"
    again = ask(stage, "GET", "/openapi.json", {"If-None-Match": first.get("ETag")})
    assert (again.status, again.body) == (304, b"")
    assert ask(stage, "GET", "/openapi.json", {"If-Match": '"another"'}).status == 412
    head = ask(stage, "HEAD", "/openapi.json")
    assert (head.status, head.body) == (200, b"")
    assert head.get("Content-Length") == str(len(first.body))
    assert ask(stage, "GET", "/openapi.json", {"Range": "bytes=0-1"}).status == 200
    refused = ask(stage, "POST", "/openapi.json")
    assert (refused.status, refused.get("Allow")) == (405, "GET, HEAD, OPTIONS")


def test_a_web_page_that_may_ask_may_read_it(stage: Stage):
    origin = {"Origin": ORIGIN}
    assert ask(stage, "GET", "/llms.txt", origin).get("Access-Control-Allow-Origin") == ORIGIN
    preflight = ask(stage, "OPTIONS", "/llms.txt", {**origin, "Access-Control-Request-Method": "GET"})
    assert (preflight.status, preflight.get("Access-Control-Allow-Methods")) == (204, "GET, HEAD")


async def test_whoever_reads_it_stands_in_no_audit(stage: Stage, calls: Calls):
    agent = f"reader-{uuid4()}"
    for path in KINDS:
        ask(stage, "GET", path, {"User-Agent": agent})
    ask(stage, "GET", f"/v1/recordings/{calls.ready['s3'].id}", {**stage.full, "User-Agent": agent})
    (only,) = await stage.accesses("user_agent", agent, 1)
    assert only["method"] == "metadata"
