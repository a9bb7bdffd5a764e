"""What the one path does where several walk it for one request."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from multidict import CIMultiDict, MultiDict

from gateway.access import Access
from gateway.draft import Draft
from gateway.errors import NotFound, Unavailable
from gateway.event import Intent, Method, Outcome
from gateway.model import Caller, CallRef, Entry, Head, Presented, Verb
from gateway.policy import NO_ROLES
from gateway.surfaces.native import SURFACE

ROUTE = next(route for route in SURFACE.routes if route.verb is Verb.BATCH and "calls:read" in route.scopes)


class Slow:
    """A catalog that is away for one call, and takes its time over all others; and whatever else the path asks."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.recorded: list[str | None] = []
        self.admits_unproven = True

    async def find(self, _tenant: UUID | None, ref: CallRef) -> Entry:
        if ref.id == "away":
            raise Unavailable
        await self.answers.wait()
        raise NotFound

    async def prove(self, _presented: Presented, _address: str) -> Caller:
        return Caller(uuid4(), "api_key", "key", "key", "api_key", ROUTE.scopes)

    async def suspect(self, _address: str, _presented: Presented) -> None: ...

    async def caller(self, _caller: Caller, _presented: Presented) -> None: ...

    async def record(self, _intent: Intent, outcome: Outcome) -> None:
        self.recorded.append(outcome.reason)


async def test_none_of_a_batch_goes_on_behind_the_answer_that_an_outage_ended():
    slow: Any = Slow()
    access = Access(slow, slow, {}, slow, slow, slow, slow, slow, slow, slow, slow, NO_ROLES, {})
    body = orjson.dumps({"ids": ["yotel:slow", "yotel:away", "yotel:slow"]})
    fields = CIMultiDict({"Authorization": "Bearer key"})
    head = Head("POST", {}, MultiDict(), fields, body=body)
    draft = Draft.begin(SURFACE.name, Method.BATCH, head)
    asyncio.get_running_loop().call_later(0.05, slow.answers.set)
    with pytest.raises(Unavailable):
        await access.serve(SURFACE, ROUTE, "", draft)
    assert slow.recorded == ["not_found", "not_found"]
