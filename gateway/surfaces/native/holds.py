"""Legal hold: a held recording outlives its retention."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...asks.holds import Hold, LiftHold, PlaceHold, ShowHold
from ...contract import Doc, Found, Reply, Route
from ...event import Method
from ...model import Head, Verb
from .._bodies import Body, read_body
from .._words import Timestamp, json_reply, timestamp
from .ids import PATH, call

_PATH = "/v1/recordings/{id}/hold"
_HOLD = frozenset({"recordings:hold"})


class HoldWanted(Body):
    """Left out, the reason given before stays."""

    reason: (
        Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$", description="for people to read")]
        | None
    ) = None


class HoldTold(TypedDict):
    """``since`` is null where the recording is not held, or the hold was set in the database and not by this API."""

    hold: bool
    reason: str | None
    since: Timestamp | None


def _place(head: Head) -> PlaceHold:
    return PlaceHold(read_body(head, HoldWanted).reason)


def _told(found: Found) -> Reply:
    assert isinstance(found.done, Hold)
    told: HoldTold = {"hold": found.done.held, "reason": found.done.reason, "since": timestamp(found.done.since)}
    return json_reply(200, told)


ROUTES = (
    Route(
        "GET",
        _PATH,
        Verb.ACT,
        _HOLD,
        call,
        _told,
        ask=lambda _head: ShowHold(),
        audited=Method.METADATA,
        doc=Doc("Tell whether a recording is held", answer=HoldTold, path=PATH),
    ),
    Route(
        "PUT",
        _PATH,
        Verb.ACT,
        _HOLD,
        call,
        _told,
        ask=_place,
        audited=Method.HOLD,
        doc=Doc(
            "Hold a recording",
            "Retention never touches it until the hold is lifted; one past its retention and not yet deleted is served again."
            " Doing it twice does it once.",
            conflicts=("recording_expired",),
            answer=HoldTold,
            body=HoldWanted,
            path=PATH,
        ),
    ),
    Route(
        "DELETE",
        _PATH,
        Verb.ACT,
        _HOLD,
        call,
        _told,
        ask=lambda _head: LiftHold(),
        audited=Method.HOLD,
        doc=Doc(
            "Lift a recording's hold", "Retention counts as if it had never been held.", answer=HoldTold, path=PATH
        ),
    ),
)
