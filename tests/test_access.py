"""What the one path does where several walk it for one request."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from multidict import CIMultiDict, MultiDict
from structlog.testing import capture_logs

from gateway.access import Access
from gateway.asks.tenants import DeleteDepartment
from gateway.contract import Found, Reply, Route
from gateway.draft import Draft
from gateway.errors import NotFound, Refusal, TooMany, Unauthenticated, Unavailable
from gateway.event import Intent, Method, Outcome, Result
from gateway.model import (
    Call,
    Caller,
    CallRef,
    Entry,
    Head,
    Link,
    LinkAsk,
    Object,
    Presented,
    Recording,
    Stat,
    State,
    Tenant,
    Verb,
)
from gateway.playback import Answer
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
    access = Access(slow, slow, {}, slow, slow, slow, slow, NO_ROLES, {})
    body = orjson.dumps({"ids": ["yotel:slow", "yotel:away", "yotel:slow"]})
    fields = CIMultiDict({"Authorization": "Bearer key"})
    head = Head("POST", {}, MultiDict(), fields, body=body)
    draft = Draft.begin(SURFACE.name, Method.BATCH, head)
    asyncio.get_running_loop().call_later(0.05, slow.answers.set)
    with pytest.raises(Unavailable):
        await access.serve(SURFACE, ROUTE, "", draft)
    assert slow.recorded == ["not_found", "not_found"]


async def test_what_a_batch_found_is_not_on_record_as_delivered_where_an_outage_ended_it(
    monkeypatch: pytest.MonkeyPatch,
):
    slow: Any = Slow()
    told: list[tuple[int, Result]] = []

    async def record_all(accesses: list[tuple[Intent, Outcome]]) -> None:
        told.extend((outcome.status, outcome.result) for _, outcome in accesses)

    async def serve(access: Access, _route: Route, _base: str, _caller: Caller, draft: Draft) -> Answer:
        if told or slow.answers.is_set():
            raise Unavailable
        slow.answers.set()
        await access.trail.record(draft.intent(), draft.outcome(200, Result.COMPLETE))
        return Answer(Reply(200, {}))

    slow.record_all = record_all
    monkeypatch.setattr(Access, "_serve", serve)
    access = Access(slow, slow, {}, slow, slow, slow, slow, NO_ROLES, {})
    body = orjson.dumps({"ids": ["yotel:found", "yotel:away"]})
    head = Head("POST", {}, MultiDict(), CIMultiDict({"Authorization": "Bearer key"}), body=body)
    with pytest.raises(Unavailable):
        await access.serve(SURFACE, ROUTE, "", Draft.begin(SURFACE.name, Method.BATCH, head))
    assert slow.recorded == []
    assert told == [(503, Result.REFUSED)]


class Acting:
    """A prover, limits and a trail; and an operation that ends when, and as, it is told."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.told: list[Outcome] = []
        self.concluded = asyncio.Event()

    async def prove(self, _presented: Presented, _address: str) -> Caller:
        return Caller(uuid4(), "api_key", "key", "key", "api_key", frozenset({"tenants:admin"}))

    async def suspect(self, _address: str, _presented: Presented) -> None: ...

    async def caller(self, _caller: Caller, _presented: Presented) -> None: ...

    async def intend(self, _intent: Intent) -> None: ...

    def conclude(self, outcome: Outcome) -> None:
        self.told.append(outcome)
        self.concluded.set()

    async def act(self, _caller: Caller, _entry: Entry | None, _ask: object) -> None:
        self.begun.set()
        await self.end


DELETION = next(route for route in SURFACE.routes if (route.method, route.path) == ("DELETE", "/v1/departments/{id}"))


async def left_alone(acting: Any, route: Route) -> None:
    """The client leaves while what it asked for is being done."""
    operations: Any = {DeleteDepartment: acting.act}
    access = Access(acting, acting, {}, acting, acting, acting, acting, NO_ROLES, operations)
    head = Head("DELETE", {"id": str(uuid4())}, MultiDict(), CIMultiDict({"Authorization": "Bearer key"}))
    draft = Draft.begin(SURFACE.name, Method.SETTINGS, head)
    asking = asyncio.create_task(access.serve(SURFACE, route, "", draft))
    await acting.begun.wait()
    asking.cancel()
    await asyncio.wait([asking])
    access.abandoned(draft)
    assert (asking.cancelled(), acting.told) == (True, []), "its end is to come"


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (None, (204, Result.COMPLETE, "client_gone")),
        (NotFound(), (0, Result.REFUSED, "not_found")),
        (KeyError("defect"), (500, Result.REFUSED, "internal")),
        (asyncio.CancelledError(), (0, Result.INTERRUPTED, None)),
    ],
    ids=["done", "refused", "a defect", "cut off with the process"],
)
async def test_what_is_done_goes_on_without_its_client_and_is_told_once_as_it_ended(
    end: BaseException | None, told: tuple[int, Result, str | None]
):
    acting: Any = Acting()
    await left_alone(acting, DELETION)
    if end is None:
        acting.end.set_result(None)
    elif isinstance(end, asyncio.CancelledError):
        acting.end.cancel()
    else:
        acting.end.set_exception(end)
    await asyncio.wait_for(acting.concluded.wait(), 5)
    assert [(each.status, each.result, each.reason) for each in acting.told] == [told]


@pytest.mark.parametrize(
    ("raised", "told", "logged"),
    [
        (NotFound(), (0, Result.REFUSED, "not_found"), []),
        (KeyError("defect"), (500, Result.REFUSED, "internal"), ["defect"]),
    ],
    ids=["refused", "a defect"],
)
async def test_what_was_done_without_its_client_and_cannot_be_worded_is_told_as_it_would_have_been_answered(
    raised: Exception, told: tuple[int, Result, str | None], logged: list[str]
):
    def render(_found: Found) -> Reply:
        raise raised

    acting: Any = Acting()
    await left_alone(acting, replace(DELETION, render=render))
    with capture_logs() as lines:
        acting.end.set_result(None)
        await asyncio.wait_for(acting.concluded.wait(), 5)
    assert [(each.status, each.result, each.reason) for each in acting.told] == [told]
    assert [line["event"] for line in lines if line.get("exc_info") is raised] == logged


class Watched:
    """Limits that note what they are told, and a prover and a trail that refuse what they are given to refuse with."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.told: list[str] = []
        self.admits_unproven = True

    async def prove(self, _presented: Presented, _address: str) -> Caller:
        raise self.refusal

    async def suspect(self, _address: str, _presented: Presented) -> None:
        self.told.append("suspect")

    async def failed(self, _address: str) -> None:
        self.told.append("failed")

    def doubt(self, _presented: Presented) -> None:
        self.told.append("doubt")

    async def record(self, _intent: Intent, _outcome: Outcome) -> None:
        self.told.append("record")

    def conclude(self, _outcome: Outcome) -> None:
        self.told.append("conclude")


@pytest.mark.parametrize(
    ("shown", "refusal", "told"),
    [
        (["Bearer key"], Unauthenticated(), ["suspect", "doubt", "failed", "record"]),
        (["Bearer key", "Bearer key"], Unauthenticated(), ["suspect", "failed", "record"]),
        (["Bearer key"], Unavailable(), ["suspect"]),
        (["Bearer key"], TooMany("failing", quota=1, window_s=60, retry_after=1, repeated=True), ["suspect"]),
    ],
    ids=["proves nothing", "shows two", "an outage", "too often"],
)
async def test_who_proves_nothing_is_looked_at_and_counted_and_whom_an_outage_turns_away_is_not(
    shown: list[str], refusal: Refusal, told: list[str]
):
    watched: Any = Watched(refusal)
    access = Access(watched, watched, {}, watched, watched, watched, watched, NO_ROLES, {})
    head = Head("POST", {}, MultiDict(), CIMultiDict([("Authorization", each) for each in shown]))
    draft = Draft.begin(SURFACE.name, Method.BATCH, head)
    with pytest.raises(Refusal) as caught:
        await access.serve(SURFACE, ROUTE, "", draft)
    await access.refused(draft, 400, caught.value)
    assert watched.told == told


async def test_who_asks_where_nothing_is_to_be_proven_is_not_counted_as_one_who_failed_to():
    watched: Any = Watched(NotFound())
    access = Access(watched, watched, {}, watched, watched, watched, watched, NO_ROLES, {})
    draft = Draft.begin(SURFACE.name, Method.STREAM, Head("GET", {}, MultiDict(), CIMultiDict()))
    draft.public = True
    await access.refused(draft, 404, NotFound())
    assert watched.told == ["record"]


@pytest.mark.parametrize("durable", [True, False])
async def test_who_is_refused_behind_an_intent_that_others_told_hears_so_once_it_is_durable(*, durable: bool):
    watched: Any = Watched(Unauthenticated())
    access = Access(watched, watched, {}, watched, watched, watched, watched, NO_ROLES, {})
    draft = Draft.begin(SURFACE.name, Method.STREAM, Head("GET", {}, MultiDict(), CIMultiDict()))
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    draft.go_on(uuid4(), datetime.now(UTC), written, (uuid4(), '"etag"'))
    refused = asyncio.ensure_future(access.refused(draft, 401, Unauthenticated()))
    await asyncio.sleep(0)
    assert (refused.done(), "conclude" in watched.told) == (False, False)
    if durable:
        written.set_result(None)
        await refused
    else:
        written.set_exception(Unavailable("the disk is full"))
        with pytest.raises(Unavailable):
            await refused
    assert (watched.told[-1] == "conclude") == durable


@pytest.mark.parametrize(("proven", "told"), [(False, ["failed"]), (True, ["record"])], ids=["a stranger", "a caller"])
async def test_a_journal_that_fills_is_spared_the_denials_of_strangers_and_of_nobody_else(
    *, proven: bool, told: list[str]
):
    watched: Any = Watched(Unauthenticated())
    watched.admits_unproven = False
    access = Access(watched, watched, {}, watched, watched, watched, watched, NO_ROLES, {})
    draft = Draft.begin(SURFACE.name, Method.STREAM, Head("GET", {}, MultiDict(), CIMultiDict()))
    if proven:
        draft.caller = Caller(uuid4(), "api_key", "key", "key", "api_key", frozenset())
    await access.refused(draft, 403, Unauthenticated())
    assert watched.told == told


@pytest.mark.parametrize(
    ("ending", "told"),
    [(False, (Result.CLIENT_GONE, "before_first_byte")), (True, (Result.INTERRUPTED, "shutdown"))],
)
async def test_who_left_before_his_answer_is_told_from_whom_the_end_of_the_process_cut_off(
    *, ending: bool, told: tuple[Result, str]
):
    acting: Any = Acting()
    access = Access(acting, acting, {}, acting, acting, acting, acting, NO_ROLES, {})
    draft = Draft.begin(SURFACE.name, Method.STREAM, Head("GET", {}, MultiDict(), CIMultiDict()))
    access.abandoned(draft, ending=ending)
    assert acting.told == [], "what was never begun has no end"
    draft.intended = True
    access.abandoned(draft, ending=ending)
    assert [(each.status, each.result, each.reason) for each in acting.told] == [(0, *told)]


@pytest.mark.parametrize(
    ("left_s", "ttl_s"),
    [(0.3, 1), (1, 1), (600, 600), (7200, 3600), (None, 3600)],
    ids=["its last moment", "its last second", "minutes", "hours", "for ever"],
)
async def test_what_a_store_signs_ends_with_the_recording_and_lives_for_a_second_at_least(
    left_s: float | None, ttl_s: float
):
    signed: list[timedelta] = []

    class Signing:
        async def sign(self, _key: str, ttl: timedelta, **_how: object) -> Link:
            signed.append(ttl)
            return Link("https://store.example/key", now + ttl)

    now, tenant, store = datetime.now(UTC), uuid4(), "main"
    ends = None if left_s is None else now + timedelta(seconds=left_s)
    known = Object(store, "key", Stat(1, '"v"', "v", now), "audio/wav")
    recording = Recording(uuid4(), State.READY, known, expires_at=ends)
    entry = Entry(Call(uuid4(), tenant, {}), recording, Tenant(tenant, "acme", "Acme"))
    head = Head("POST", {}, MultiDict(), CIMultiDict())
    others: Any = None
    route: Any = SimpleNamespace(link=lambda _head: LinkAsk(timedelta(hours=1)), disposition=lambda _found: None)
    stores: Any = {store: Signing()}
    access = Access(others, others, stores, others, others, others, others, NO_ROLES, {})
    await access._link(route, Found(head, "", now, entry), known, Draft.begin(SURFACE.name, Method.LINK, head))
    assert signed == [timedelta(seconds=ttl_s)]
