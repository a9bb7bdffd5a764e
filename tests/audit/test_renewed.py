"""Intents of accesses that differ in their event, time, request and range alone: the same bytes, and told of by a call."""

import asyncio
import errno
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from parts.audit import FaultyFiles, House, intent, settings, until

from gateway.audit.events import INDEXED, encode
from gateway.audit.frames import Kind
from gateway.audit.renewed import Event, Likeness, Renewed, encode_complete
from gateway.audit.trail import JournalTrail
from gateway.errors import Unavailable
from gateway.event import COMPLETE, Outcome

HOSTILE = ["%", "%b %s %%b", '"quoted"', "back\\slash \\u0000", "müde \U0001f600", "caf\udce9", "a\0b", "\x01\x7f\x85"]
TEXTS = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=200)
SPANS = st.tuples(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
TIMES = st.datetimes(timezones=st.just(UTC))


@given(TEXTS, TEXTS, TIMES, TIMES, SPANS)
@example("%", "%b", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2025, 1, 2, 3, 4, 6, 1, tzinfo=UTC), (0, 0))
@example("x", "x", datetime(2025, 1, 2, 3, 4, 5, 1, tzinfo=UTC), datetime(2025, 1, 2, 3, 4, 6, tzinfo=UTC), (5, 10**17))
def test_one_like_another_is_encoded_as_if_it_were_the_first(
    agent: str, actor: str, first: datetime, then: datetime, span: tuple[int, int]
):
    known = intent(user_agent=agent, actor_id=actor, occurred_at=first, trace_id=None)
    event = Event(then)
    now = replace(
        known,
        event_id=event.id,
        occurred_at=then,
        request_id=uuid4().hex,
        range=f"bytes={span[0]}-{span[1]}",
        session=uuid4(),
    )
    assert now.range is not None
    try:
        like = Likeness(known)
    except ValueError:
        assert len(encode(known)) > 1000
        return
    made = like.encode(event, now.request_id, now.range.encode(), str(now.session).encode())
    assert made == encode(now)


@given(TIMES, st.integers(0, 10**15), st.sampled_from([200, 206]))
def test_the_outcome_of_what_is_complete_is_encoded_like_any_other(when: datetime, count: int, status: int):
    event = Event(when)
    made = encode_complete(event, status, count)
    told = datetime.fromisoformat(orjson.loads(made)["completed_at"])
    assert made == encode(Outcome(event.id, when, told, status, count, COMPLETE))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_no_reason_to_have_no_like(text: str):
    Likeness(intent(user_agent=text))


@pytest.mark.parametrize("field", ["user_agent", "actor_id"])
def test_one_that_may_have_been_cut_has_no_like(field: str):
    with pytest.raises(ValueError, match="cut"):
        Likeness(intent(**{field: "x" * INDEXED}))


class Told:
    """Whoever began it."""

    def __init__(self) -> None:
        self.calls = 0
        self.heard = asyncio.Event()

    def __call__(self) -> None:
        self.calls += 1
        self.heard.set()


def begun(trail: JournalTrail, told: Told) -> tuple[Renewed, str]:
    """It, and its event."""
    event = Event()
    like, session = Likeness(intent()), str(uuid4()).encode()
    renewed = trail.intend_again(like, event, uuid4().hex, b"bytes=0-1", session, told=told)
    return renewed, str(event.id)


def records(at: House, event: str) -> list[tuple[int, dict[str, object]]]:
    read = [(kind, orjson.loads(payload)) for kind, payload in at.on_disk()]
    return [(kind, record) for kind, record in read if record["event_id"] == event]


@pytest.fixture
def files() -> FaultyFiles:
    return FaultyFiles()


@pytest.fixture
async def at(tmp_path: Path, files: FaultyFiles):
    made = House(settings(tmp_path / "journal", commit_s=0.5), files)
    await made.journal.start()
    yield made
    files.faults.clear()
    files.gate.set()
    await made.journal.close()


async def test_whoever_began_it_is_told_once_it_is_durable(at: House):
    told = Told()
    renewed, event = begun(at.trail, told)
    assert (renewed.durable, told.calls) == (False, 0)
    await told.heard.wait()
    assert (renewed.durable, told.calls, at.trail.open_events) == (True, 1, 1)
    assert [kind for kind, _ in records(at, event)] == [Kind.INTENT]
    await renewed  # at once, and any number of times
    await renewed


async def test_whoever_takes_it_over_may_await_it_before_it_is_durable(at: House, files: FaultyFiles):
    files.gate.clear()
    told = Told()
    renewed, _ = begun(at.trail, told)
    awaiting = asyncio.ensure_future(_awaited(renewed))
    await asyncio.to_thread(files.begun.wait)
    assert not awaiting.done()
    files.gate.set()
    await awaiting
    assert (renewed.durable, told.calls) == (True, 0), "who began it is not told any more"


@pytest.mark.parametrize("how", ["awaited before", "awaited after", "cancelled, and awaited after"])
@pytest.mark.parametrize(("fault", "reason"), [("write", "journal_failed"), ("gate", "journal_timeout")])
async def test_one_that_is_not_durable_is_concluded_as_refused_once_it_is_awaited(
    at: House, files: FaultyFiles, how: str, fault: str, reason: str
):
    if fault == "gate":
        files.gate.clear()
    else:
        files.faults["write"] = errno.EIO
    told = Told()
    renewed, event = begun(at.trail, told)
    if how == "awaited before":
        with pytest.raises(Unavailable):
            await renewed
    else:
        if how.startswith("cancelled"):
            awaiting = asyncio.ensure_future(_awaited(renewed))
            await asyncio.sleep(0)
            awaiting.cancel()
            await asyncio.wait([awaiting])
            await until(renewed.done)  # it tells him who left
        else:
            await told.heard.wait()
        assert (renewed.durable, at.trail.open_events) == (False, 1), "it is for whoever takes it over to conclude"
        with pytest.raises(Unavailable):
            await renewed
    assert at.trail.open_events == 0
    files.faults.clear()
    files.gate.set()
    await until(lambda: at.journal.problem is None)
    assert await at.journal.drain()
    (_, intended), (kind, ended) = records(at, event)
    assert (kind, intended["range"]) == (Kind.OUTCOME, "bytes=0-1")
    assert (ended["status"], ended["result"], ended["reason"]) == (503, "refused", reason)


async def test_none_is_begun_where_the_journal_takes_none(at: House):
    at.trail.close()
    with pytest.raises(Unavailable):
        begun(at.trail, Told())
    assert at.trail.open_events == 0


async def _awaited(renewed: Renewed) -> None:
    await renewed
