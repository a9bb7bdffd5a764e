"""Metadata of, or links to, up to 100 calls at once. Each is asked for, refused and audited by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, NotRequired

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from ...contract import Doc, Found, Reply, Route, Several
from ...model import Head, Verb
from .._bodies import Body, read_body
from .._words import json_reply
from . import links
from .ids import nothing
from .links import LinkMade, LinkWanted
from .recordings import DESCRIBED, CallTold

SEVERAL_MAX = 100
_ID_MAX = 300
_LINK = next(route for route in links.ROUTES if route.verb is Verb.LINK)

Ids = Annotated[
    list[Annotated[str, Field(max_length=_ID_MAX)]],
    Field(
        min_length=1,
        max_length=SEVERAL_MAX,
        fail_fast=True,
        description="calls, each by its UUID or as surface:external-id; one named twice is answered twice",
    ),
]


class Asked(Body):
    """Which calls."""

    ids: Ids


class LinksAsked(LinkWanted):
    """Which calls, and what link to each of them."""

    ids: Ids


class Fault(TypedDict):
    """What is not of its form, and where: ``loc``."""

    loc: list[str]
    msg: str


class Problem(TypedDict):
    """Why one of them was refused: the problem details (RFC 9457) that asking for it alone would have been answered with."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: NotRequired[list[Fault]]
    needed: NotRequired[str]


class One(TypedDict):
    """``id`` as it was asked by; ``status`` as asking for it alone would have had."""

    id: str
    status: int
    error: NotRequired[Problem]
    retry_after_s: NotRequired[int]


class DescribedOne(One):
    """With ``recording``, or ``error``."""

    recording: NotRequired[CallTold]


class LinkedOne(One):
    """With ``link``, or ``error``."""

    link: NotRequired[LinkMade]


class DescribedSeveral(TypedDict):
    """One for each id, in their order."""

    data: list[DescribedOne]


class LinkedSeveral(TypedDict):
    """One for each id, in their order."""

    data: list[LinkedOne]


def _described(head: Head) -> Several:
    asked = read_body(head, Asked)
    return Several(DESCRIBED, [replace(head, method="GET", path={"id": id_}, body=b"") for id_ in asked.ids])


def _linked(head: Head) -> Several:
    asked = read_body(head, LinksAsked)
    wanted = orjson.dumps(asked.model_dump(exclude={"ids"}))
    return Several(_LINK, [replace(head, path={"id": id_}, body=wanted) for id_ in asked.ids])


def _worded(name: str, model: type[Body]) -> Callable[[Found], Reply]:
    """Words a BATCH; ``name`` is the member that an answer stands in."""

    def render(found: Found) -> Reply:
        ids: Sequence[str] = read_body(found.head, model).model_dump()["ids"]
        return json_reply(200, {"data": [_one(name, *each) for each in zip(ids, found.batch, strict=True)]})

    return render


def _one(name: str, id_: str, reply: Reply) -> dict[str, object]:
    assert reply.body is not None
    answered = reply.status < 400  # noqa: PLR2004  RFC 9110: what is refused
    one = {"id": id_, "status": reply.status, name if answered else "error": orjson.Fragment(reply.body)}
    if "Retry-After" in reply.headers:
        one["retry_after_s"] = int(reply.headers["Retry-After"])
    return one


_EACH = "Each has a status of its own, and an event of its own in the audit. "

ROUTES = (
    Route(
        "POST",
        "/v1/recordings/batch",
        Verb.BATCH,
        frozenset({"calls:read"}),
        nothing,
        _worded("recording", Asked),
        several=_described,
        doc=Doc("Get the metadata of up to 100 calls", _EACH.strip(), body=Asked, answer=DescribedSeveral),
    ),
    Route(
        "POST",
        "/v1/recordings/batch/links",
        Verb.BATCH,
        frozenset({"recordings:download"}),
        nothing,
        _worded("link", LinksAsked),
        several=_linked,
        doc=Doc(
            "Make a link to each of up to 100 recordings",
            _EACH + "The members beside ids are those of a single link, for all of them.",
            body=LinksAsked,
            answer=LinkedSeveral,
        ),
    ),
)
