"""Host and path → surface and route."""

from dataclasses import replace

import pytest

from gateway.config import Config, ConfigError
from gateway.edge.router import Mounted, Router
from gateway.openapi import Page
from gateway.surfaces import SURFACES

NATIVE, YOTEL = SURFACES["native"], SURFACES["yotel"]


def mounted(surface, prefix="/", host=None):
    return Mounted(surface, prefix, host, "http://gw" + prefix.rstrip("/"))


SHIPPED = Router([mounted(NATIVE), mounted(YOTEL, "/yotel"), mounted(YOTEL, "/", "yotel.localhost")])


@pytest.mark.parametrize(
    ("host", "path", "surface", "template", "params"),
    [
        ("gw", "/v1/recordings", "native", "/v1/recordings", {}),
        ("gw", "/v1/recordings/a", "native", "/v1/recordings/{id}", {"id": "a"}),
        ("gw:8080", "/v1/recordings/a%2Fb/audio", "native", "/v1/recordings/{id}/audio", {"id": "a/b"}),
        ("[::1]:80", "/v1/recordings/%C3%A9", "native", "/v1/recordings/{id}", {"id": "é"}),
        ("gw", "/v1/recordings/%c0%ae", "native", "/v1/recordings/{id}", {"id": "\ufffd\ufffd"}),
        (
            "gw",
            "/yotel/api/v1/calls/c1/recording",
            "yotel",
            "/yotel/api/v1/calls/{call_id}/recording",
            {"call_id": "c1"},
        ),
        (
            "yotel.localhost",
            "/api/v1/calls/c/recording",
            "yotel",
            "/api/v1/calls/{call_id}/recording",
            {"call_id": "c"},
        ),
        (
            "YOTEL.localhost.:1",
            "/api/v1/calls/c/recording",
            "yotel",
            "/api/v1/calls/{call_id}/recording",
            {"call_id": "c"},
        ),
    ],
)
def test_a_path_leads_to_its_route(host, path, surface, template, params):
    match = SHIPPED.match(host, path)
    assert match.endpoint is not None
    assert (match.mounted.surface.name, match.endpoint.template, match.path) == (surface, template, params)


@pytest.mark.parametrize(
    ("mounts", "surface"),
    [
        ([mounted(YOTEL, "/yotel"), mounted(NATIVE, "/native")], NATIVE),
        ([mounted(YOTEL, "/yotel"), mounted(SURFACES["voki"], "/voki")], YOTEL),
    ],
    ids=["the native one wherever it stands", "else the first"],
)
def test_what_no_mount_claims_is_worded_by_one_of_them(mounts, surface):
    router = Router(mounts)
    assert (router.match("gw", "/elsewhere").mounted, router.fallback) == (None, surface)


@pytest.mark.parametrize(
    ("host", "path", "surface"),
    [
        ("gw", "/", "native"),
        ("gw", "/nothing", "native"),
        ("gw", "/yotel", "yotel"),
        ("gw", "/yotel/x", "yotel"),
        ("gw", "/yotel/../v1/recordings", "yotel"),
        ("gw", "//v1/recordings", "native"),
        ("gw", "/v1/recordings/", "native"),
        ("gw", "/v1/recordings//audio", "native"),
        ("gw", "/api/v1/calls/c/recording", "native"),
        ("yotel.localhost", "/v1/recordings", "yotel"),
        ("gw", "/" + "x" * 10_000, "native"),
    ],
)
def test_an_unknown_path_is_worded_by_the_surface_it_lies_under(host, path, surface):
    match = SHIPPED.match(host, path)
    assert match.endpoint is None
    assert match.mounted.surface.name == surface


def test_get_routes_take_head_and_tell_what_they_allow():
    endpoint = SHIPPED.match("gw", "/v1/recordings/x/audio").endpoint
    assert set(endpoint.routes) == {"GET", "HEAD"}
    assert endpoint.allow == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "mounts",
    [
        [mounted(NATIVE), mounted(NATIVE)],
        [mounted(YOTEL, "/a"), mounted(YOTEL, "/a/")],
        [mounted(YOTEL, "/", "h"), mounted(YOTEL, "/", "h")],
    ],
)
def test_two_mounts_that_claim_one_path_are_refused_naming_both(mounts):
    with pytest.raises(ConfigError) as refused:
        Router(mounts)
    assert str(mounts[0]) in str(refused.value)
    assert str(mounts[1]) in str(refused.value)


def test_surfaces_may_share_a_root_where_their_paths_differ():
    router = Router([mounted(NATIVE), mounted(YOTEL)])
    assert router.match("gw", "/api/v1/calls/c/recording").mounted.surface is YOTEL
    assert router.match("gw", "/v1/recordings/c").mounted.surface is NATIVE


def test_a_host_nobody_names_finds_nothing_where_every_mount_names_one():
    assert Router([mounted(YOTEL, "/", "h")]).match("other", "/api/v1/calls/c/recording").mounted is None


def test_shipped_mounts_stand_side_by_side():
    config = Config()
    Router([Mounted(SURFACES[m.surface], m.prefix, m.host, config.public_url(m)) for m in config.mounts])


def test_pages_stand_on_their_mount_and_of_two_at_one_place_the_first_has_them():
    first, second = Page("text/plain", lambda: b"native"), Page("text/plain", lambda: b"yotel")
    here = replace(mounted(NATIVE), pages={"/openapi.json": first})
    there = replace(mounted(YOTEL), pages={"/openapi.json": second})
    beside = replace(mounted(YOTEL, "/yotel"), pages={"/openapi.json": second})
    both = Router([here, there, beside])
    for path, page in (("/openapi.json", first), ("/yotel/openapi.json", second)):
        endpoint = both.match("gw", path).endpoint
        assert endpoint is not None and endpoint.page is page
        assert (endpoint.methods, endpoint.allow) == (("GET", "HEAD"), "GET, HEAD, OPTIONS")
    assert both.match("gw", "/yotel/openapi.json/more").endpoint is None


def test_what_a_path_led_to_is_remembered_by_its_host_unless_it_is_longer_than_any_id_makes_it():
    path, long = "/api/v1/calls/c/recording", f"/api/v1/calls/{'c' * 300}/recording"
    assert SHIPPED.match("yotel.localhost", path) is SHIPPED.match("yotel.localhost", path)
    assert SHIPPED.match("gw", path) != SHIPPED.match("yotel.localhost", path)
    assert SHIPPED.match("yotel.localhost", long) is not SHIPPED.match("yotel.localhost", long)
