"""What the native surface asks of the gateway is what it was asked itself."""

import time
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, MultiDict

from gateway.asks.transcripts import PutTranscript
from gateway.contract import Route
from gateway.errors import Malformed
from gateway.loading import uncollected
from gateway.model import Head, LinkAsk
from gateway.surfaces import SURFACES

ROUTES = {(route.method, route.path): route for route in SURFACES["native"].routes}

PUT_TRANSCRIPT = ROUTES["PUT", "/v1/recordings/{id}/transcript"]


def head(body: Any, **query: str) -> Head:
    return Head("POST", {"id": "yotel:1"}, MultiDict(query), CIMultiDict(), body=orjson.dumps(body))


def several(route: Route, body: Any) -> tuple[Route, list[Head]]:
    assert route.several is not None
    asked = route.several(head(body))
    return asked.route, list(asked.heads)


def test_each_link_is_as_narrow_as_was_asked_for_all():
    wanted = {"ttl_s": 60, "delivery": "gateway", "max_uses": 2, "ip_cidr": "10.0.0.0/8"}
    of, heads = several(ROUTES["POST", "/v1/recordings/batch/links"], {"ids": ["yotel:1", "yotel:2"], **wanted})
    assert of is ROUTES["POST", "/v1/recordings/{id}/links"]
    assert [one.path for one in heads] == [{"id": "yotel:1"}, {"id": "yotel:2"}]
    alone = of.link(head(wanted))
    assert alone == LinkAsk(alone.ttl, "gateway", 2, "10.0.0.0/8")
    assert alone.ttl.total_seconds() == 60
    assert [of.link(one) for one in heads] == [alone, alone]


def test_each_description_is_asked_for_as_if_alone():
    of, heads = several(ROUTES["POST", "/v1/recordings/batch"], {"ids": ["yotel:1", "yotel:1"]})
    assert of is ROUTES["GET", "/v1/recordings/{id}"]
    assert [(one.method, one.path, one.body) for one in heads] == [("GET", {"id": "yotel:1"}, b"")] * 2


@pytest.mark.parametrize("name", ["call", "recording"])
def test_accesses_to_one_call_are_asked_of_no_other(name: str):
    other = "0192f5e4-0000-7000-8000-000000000000"
    at_large = ROUTES["GET", "/v1/audit/events"].ask(head({}, **{name: other}))
    assert str(getattr(at_large, name)) == other
    with pytest.raises(Malformed):
        ROUTES["GET", "/v1/recordings/{id}/accesses"].ask(head({}, **{name: other}))


def segment(start_ms: int, text: str = "x", **more: int) -> dict[str, Any]:
    return {"start_ms": start_ms, "end_ms": start_ms + 5, "text": text, **more}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"segments": [segment(0, "one"), segment(0, "two"), segment(9, "three", end_ms=9)]}, "one\ntwo\nthree"),
        ({"segments": [segment(0, "one")], "text": "other words"}, "other words"),
        ({"segments": [segment(0, "one")], "text": ""}, ""),
        ({"segments": []}, ""),
        ({"text": "words alone"}, "words alone"),
    ],
)
def test_a_transcripts_text_is_its_segments_where_it_has_none_of_its_own(given: dict[str, Any], text: str):
    asked = PUT_TRANSCRIPT.ask(head({"status": "ready", **given}))
    assert isinstance(asked, PutTranscript)
    assert asked.transcript.text == text
    assert [each.start_ms for each in asked.transcript.segments] == [s["start_ms"] for s in given.get("segments", ())]


@pytest.mark.parametrize(
    "given",
    [
        {"segments": [segment(0), segment(9), segment(8)]},
        {"segments": [segment(9), segment(8)]},
        {"segments": [segment(9, end_ms=8)]},
        {"segments": [segment(-1)]},
        {},
    ],
)
def test_a_transcript_out_of_order_is_malformed(given: dict[str, Any]):
    with pytest.raises(Malformed):
        PUT_TRANSCRIPT.ask(head({"status": "ready", **given}))


_UNKNOWN = {f"{n:x}": 0 for n in range(110_000)}


@pytest.mark.parametrize(
    ("route", "given", "place"),
    [
        (("POST", "/v1/recordings/batch"), _UNKNOWN, ("body",)),
        (("PUT", "/v1/calls/{id}"), {"aliases": _UNKNOWN}, ("body",)),
        (
            ("PUT", "/v1/recordings/{id}/transcript"),
            {"status": "ready", "segments": [{"a": 0, "b": 0, "c": 0}] * 50_000},
            ("body", "segments", "0", "start_ms"),
        ),
    ],
)
def test_a_body_of_errors_alone_is_refused_soon(
    route: tuple[str, str], given: Mapping[str, object], place: tuple[str, ...]
):
    of, sent = ROUTES[route], head(given)
    with uncollected():  # a look at what other tests left is not the body's doing
        started = time.thread_time()
        with pytest.raises(Malformed) as refusal:
            (of.several or of.ask)(sent)
        took = time.thread_time() - started
    assert refusal.value.field == place
    assert took < 0.4
