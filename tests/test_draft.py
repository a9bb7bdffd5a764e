"""The event of an access while it is lived: what it tells of the request."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from multidict import CIMultiDict, MultiDict

from gateway.contract import Route
from gateway.draft import Draft, method_of
from gateway.event import Method
from gateway.model import Caller, Head, Span, Verb
from gateway.surfaces.native import SURFACE

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
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
    draft.occurred_at = LONG_AGO
    draft.renew()
    assert (draft.event_id != before, draft.intended, draft.intent().range) == (True, False, LONG[:200])
    assert draft.intent().occurred_at > LONG_AGO


def test_a_players_name_is_kept_as_far_as_it_says_anything() -> None:
    assert drafted(**{"User-Agent": "a" * 301}).intent().user_agent == "a" * 300
    assert drafted().intent().user_agent is None


def test_a_credential_of_one_call_tells_which_though_none_was_found() -> None:
    draft, call = drafted(), uuid4()
    assert draft.intent().call is None
    draft.caller = Caller(uuid4(), "link", None, None, "link", frozenset({"b", "a"}), call=call)
    intent = draft.intent()
    assert (intent.call, intent.tenant, intent.scopes) == (call, draft.caller.tenant, ("a", "b"))


def test_what_a_route_is_called_in_the_audit_goes_before_what_its_kind_is_called() -> None:
    head = Head("GET", {}, MultiDict(), CIMultiDict())
    own = [route for route in SURFACE.routes if route.audited is not None]
    assert own
    assert [method_of(route, head) for route in own] == [route.audited for route in own]


def test_whatever_is_asked_without_its_body_is_a_probe() -> None:
    def route(verb: Verb) -> Route:
        return next(each for each in SURFACE.routes if each.verb is verb)

    head = Head("HEAD", {}, MultiDict(), CIMultiDict())
    assert {method_of(route(verb), head) for verb in (Verb.PLAY, Verb.DESCRIBE)} == {Method.PROBE}
