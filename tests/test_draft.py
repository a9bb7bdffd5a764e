"""The event of an access while it is lived: what it tells of the request."""

import pytest
from multidict import CIMultiDict, MultiDict

from gateway.contract import Route
from gateway.draft import Draft, method_of
from gateway.event import Method
from gateway.model import Head, Span, Verb
from gateway.surfaces.native import SURFACE

LONG = "bytes=" + ",".join(["0-1"] * 60)
SPANS = (Span(0, 2), Span(7, 9))


def drafted(**fields: str) -> Draft:
    return Draft.begin("native", Method.STREAM, Head("GET", {}, MultiDict(), CIMultiDict(fields)))


@pytest.mark.parametrize(
    ("asked", "spans", "told"),
    [
        ("bytes=0-1,7-8", SPANS, "bytes=0-1,7-8"),
        (LONG, SPANS, "bytes=0-1,7-8"),
        (LONG, (), LONG[:200]),
        (LONG[:200], SPANS, LONG[:200]),
        ("", SPANS, None),
    ],
    ids=["short", "long", "long and ignored", "as long as may be", "empty"],
)
def test_a_range_is_told_as_it_was_asked_or_where_that_is_too_long_as_what_it_came_to(
    asked: str, spans: tuple[Span, ...], told: str | None
) -> None:
    draft = drafted(Range=asked)
    draft.spans = spans
    assert draft.intent().range == told


def test_a_renewed_event_is_another_and_of_no_bytes_yet() -> None:
    draft = drafted(Range=LONG)
    draft.spans, draft.intended, before = SPANS, True, draft.event_id
    draft.renew()
    assert (draft.event_id != before, draft.intended, draft.intent().range) == (True, False, LONG[:200])


def test_a_players_name_is_kept_as_far_as_it_says_anything() -> None:
    assert drafted(**{"User-Agent": "a" * 301}).intent().user_agent == "a" * 300
    assert drafted().intent().user_agent is None


def test_whatever_is_asked_without_its_body_is_a_probe() -> None:
    def route(verb: Verb) -> Route:
        return next(each for each in SURFACE.routes if each.verb is verb)

    head = Head("HEAD", {}, MultiDict(), CIMultiDict())
    assert {method_of(route(verb), head) for verb in (Verb.PLAY, Verb.DESCRIBE)} == {Method.PROBE}
