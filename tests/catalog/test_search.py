"""Searching recordings: by number, call time, department and words. What becomes of transcripts."""

import asyncio
import sys
import time
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from parts.catalog import a_ready_call, by_id

from gateway.asks.transcripts import PutTranscript
from gateway.catalog import search
from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.catalog.transcripts import Transcripts
from gateway.config import Database
from gateway.errors import Contradicts, Expired, Malformed
from gateway.model import Listing, NewCall, Segment, State, Tenant, Transcript
from gateway.postgres import Connection, Pool

NOON = datetime(2026, 5, 5, 12, tzinfo=UTC)


@pytest.fixture
def transcripts(pool: Pool, database: str) -> Transcripts:
    return Transcripts(pool, Database(url=database))


@pytest.fixture
async def acme(registry: Registry) -> Tenant:
    return await registry.create_tenant("acme", "Acme", transcription_enabled=True)


@pytest.fixture
async def other(registry: Registry) -> Tenant:
    return await registry.create_tenant("other", "Another", transcription_enabled=True)


def said(text: str, status: str = "ready") -> PutTranscript:
    return PutTranscript(Transcript(status, "en", text))


async def found(catalog: PostgresCatalog, tenant: Tenant, asked: Listing) -> set[UUID]:
    return {entry.call.id for entry in (await catalog.list(tenant.id, asked)).entries}


# --- by number, time and department ---------------------------------------------------------------------------------


NUMBERS = ("+15550100", "0015550199", "+1 555.0177", "100", "00", "sip:ann@example.com", "anonymous", "+")


@pytest.mark.parametrize("side", ["from_number", "to_number"])
async def test_a_number_is_found_on_either_side_in_any_spelling(
    catalog: PostgresCatalog, registry: Registry, acme: Tenant, other: Tenant, side: str
):
    another = {"from_number": "to_number", "to_number": "from_number"}[side]
    calls = {number: await a_call(registry, acme, **{side: number, another: "+4930"}) for number in NUMBERS}
    await a_call(registry, acme)
    await a_call(registry, other, **{side: "+15550100"})
    for asked, wanted in {
        "+15550100": "+15550100",
        "15550100": "+15550100",
        " 15550100": "+15550100",  # a plus sign that a URL made a space of
        "0015550100": "+15550100",
        "+1 (555) 01-00": "+15550100",
        "+15550199": "0015550199",
        "+15550177": "+1 555.0177",
        "100": "100",
        "00": "00",
        "sip:ann@example.com": "sip:ann@example.com",
        "anonymous": "anonymous",
        "+": "+",
        "5550100": None,
        "+1555010": None,
        "%": None,
        "sip:bob@example.com": None,
        "-": None,
    }.items():
        expected = set() if wanted is None else {calls[wanted]}
        assert await found(catalog, acme, Listing(number=asked)) == expected, asked
    assert await found(catalog, acme, Listing(number="+49 30")) == set(calls.values())


async def a_call(registry: Registry, tenant: Tenant, **facts: Any) -> UUID:
    call = await registry.create_call(tenant.id, NewCall(**facts))
    await registry.put_recording(tenant.id, call)
    return call


async def test_a_call_is_found_by_when_it_started_and_by_its_department(
    catalog: PostgresCatalog, registry: Registry, acme: Tenant, other: Tenant, owner: Connection
):
    insert = "INSERT INTO departments (tenant_id, name) VALUES ($1, 'Sales') RETURNING id"
    sales, theirs = [await owner.fetchval(insert, tenant.id) for tenant in (acme, other)]
    early, late = [
        await a_call(registry, acme, started_at=NOON + timedelta(hours=hours), department=department)
        for hours, department in ((0, sales), (2, None))
    ]
    await a_call(registry, acme)
    await a_call(registry, other, started_at=NOON, department=theirs)
    for asked, wanted in (
        (Listing(started_since=NOON), {early, late}),
        (Listing(started_since=NOON + timedelta(microseconds=1)), {late}),
        (Listing(started_until=NOON), set()),
        (Listing(started_until=NOON + timedelta(microseconds=1)), {early}),
        (Listing(department=sales), {early}),
        (Listing(department=theirs), set()),
        (Listing(department=sales, started_since=NOON + timedelta(hours=1)), set()),
    ):
        assert await found(catalog, acme, asked) == wanted, asked


# --- by words -------------------------------------------------------------------------------------------------------


async def test_a_recording_is_found_by_what_was_said(
    catalog: PostgresCatalog,
    registry: Registry,
    transcripts: Transcripts,
    acme: Tenant,
    other: Tenant,
    owner: Connection,
):
    texts = {
        "refund": "I want my money BACK, and the refund now. See https://shop.example/refund",
        "order": "The order arrived; money was paid back then.",
        "german": "Grüße aus Köln, die Straße ist gesperrt",
        "russian": "Здравствуйте, верните деньги",
    }
    calls = {}
    for name, text in texts.items():
        calls[name] = await a_ready_call(registry, acme.id)
        await transcripts.put(acme.id, calls[name], said(text))
    half_done, foreign = await a_ready_call(registry, acme.id), await a_ready_call(registry, other.id)
    await transcripts.put(acme.id, half_done, said("money back", "processing"))
    await transcripts.put(other.id, foreign, said("money back refund order KÖLN деньги"))
    for words, wanted in {
        "money": {"refund", "order"},
        "MONEY back": {"refund", "order"},
        '"money back"': {"refund"},
        "money -refund": {"order"},
        "refund or order": {"refund", "order"},
        "KÖLN": {"german"},
        "ko\u0308ln strasse": {"german"},
        "Деньги": {"russian"},
        "mone": set(),
        "refunds": set(),
        "-money": {"german", "russian"},
        '"!&|:*': set(),
        "'); DROP TABLE calls --": set(),
        f"@{other.id}": set(),
        f"-@{acme.id}": {"refund", "order", "german", "russian"},
        "\u202e": set(),
    }.items():
        assert await found(catalog, acme, Listing(text=words)) == {calls[name] for name in wanted}, words
    assert await found(catalog, acme, Listing(text="money", state=State.FAILED)) == set()
    looked_at = await owner.fetch(search.SAYING, "money", search.whose(other.id))
    assert [row["call_id"] for row in looked_at] == [foreign], "nobody else's words are read on the way"


async def test_words_denied_again_and_again_are_looked_for_as_if_denied_once_or_not_at_all(
    catalog: PostgresCatalog,
    registry: Registry,
    transcripts: Transcripts,
    acme: Tenant,
    monkeypatch: pytest.MonkeyPatch,
):
    """As a line drawn above a text that was pasted does."""
    well, ill = [await a_ready_call(registry, acme.id) for _ in range(2)]
    await transcripts.put(acme.id, well, said("all is well-done here"))
    await transcripts.put(acme.id, ill, said("all is lost here"))
    for few in (search.FEW, 0):
        monkeypatch.setattr(search, "FEW", few)
        for words, wanted in {
            "-" * 200: set(),
            "- " * 100: set(),
            "-" * 100 + "lost": {ill},
            "-" * 101 + "lost": {well},
            "-!" * 50 + "-(lost": {well},
            "all " + "-" * 99 + " lost": {well},
            '"all' + "-" * 60 + 'is" lost': {ill},
            "well-done": {well},
            "all--is": {well, ill},
        }.items():
            assert await found(catalog, acme, Listing(text=words)) == wanted, words


async def test_words_that_many_calls_hold_lead_to_the_same_as_words_of_few(
    catalog: PostgresCatalog,
    registry: Registry,
    transcripts: Transcripts,
    acme: Tenant,
    monkeypatch: pytest.MonkeyPatch,
):
    calls = [await a_ready_call(registry, acme.id) for _ in range(5)]
    for call in calls:
        await transcripts.put(acme.id, call, said("hello", "ready" if call != calls[2] else "failed"))
    few = await catalog.list(acme.id, Listing(text="hello", limit=3))
    assert f"LIMIT {search.FEW + 1}" in search.SAYING, "with no more than a few nobody would know that there are others"
    monkeypatch.setattr(search, "FEW", 3)
    many = await catalog.list(acme.id, Listing(text="hello", limit=3))
    assert many == few
    assert [entry.call.id for entry in many.entries] == [calls[4], calls[3], calls[1]]
    rest = await catalog.list(acme.id, Listing(text="hello", limit=3, cursor=many.cursor))
    assert [entry.call.id for entry in rest.entries] == [calls[0]]


async def test_words_lead_to_nothing_that_may_not_be_read(
    catalog: PostgresCatalog, registry: Registry, transcripts: Transcripts, acme: Tenant, owner: Connection
):
    swept, over, held = [await a_ready_call(registry, acme.id) for _ in range(3)]
    for call in (swept, over, held):
        await transcripts.put(acme.id, call, said("not yet"))
        await transcripts.put(acme.id, call, said("secret"))
    assert await found(catalog, acme, Listing(text="yet")) == set()
    assert await found(catalog, acme, Listing(text="secret")) == {swept, over, held}
    await owner.execute("UPDATE recordings SET hold = true WHERE call_id = $1", held)
    await owner.execute("UPDATE recordings SET expires_at = now() WHERE call_id = ANY($1)", [swept, over, held])
    await owner.execute("UPDATE recordings SET state = 'expired' WHERE call_id = $1", swept)
    assert await found(catalog, acme, Listing(text="secret")) == {held}
    await registry.create_tenant("acme", "Acme", transcription_enabled=False)
    with pytest.raises(Contradicts):
        await catalog.list(acme.id, Listing(text="secret"))
    assert await found(catalog, acme, Listing()) == {swept, over, held}


async def test_a_text_of_more_words_than_an_index_takes_is_found_by_its_beginning(
    catalog: PostgresCatalog, registry: Registry, transcripts: Transcripts, acme: Tenant
):
    call = await a_ready_call(registry, acme.id)
    text = " ".join(f"w{n:05}ä" for n in range(110_000))
    assert (await transcripts.put(acme.id, call, said(text))).text == text
    assert await found(catalog, acme, Listing(text="w00007ä")) == {call}
    assert await found(catalog, acme, Listing(text="w109999ä")) == set()


async def test_putting_a_transcript_takes_few_steps_of_its_own_for_each_segment(
    transcripts: Transcripts, registry: Registry, acme: Tenant
):
    call, calls = await registry.create_call(acme.id, NewCall()), 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    many = [Segment(n, n, "a") for n in range(10_000)]
    sys.setprofile(count)
    try:
        kept = await transcripts.put(acme.id, call, PutTranscript(Transcript("ready", None, "a", many)))
    finally:
        sys.setprofile(None)
    assert list(kept.segments) == many
    assert calls < 4 * len(many)


@pytest.mark.parametrize("marks", ["\u0300\u0316", "\uff9e\u0300"])
def test_a_text_full_of_marks_is_folded_soon(marks: str):
    started = time.thread_time()
    folded = search.folded("a" + marks * 40_000 + " b")
    assert time.thread_time() - started < 1
    assert folded[-2:] == " b"


@pytest.mark.parametrize("letter", ["\ufdfa", "\ufdfb", "\u3316", "\u0390"])
def test_a_text_full_of_letters_that_stand_for_many_is_folded_to_no_more_than_some(letter: str):
    assert len(search.folded(letter * 300_000)) <= 6 * 300_000


@pytest.mark.parametrize(
    "said",
    [
        "\ufdfa \ufdfb",
        "Gru\u0308\u00dfe",
        "\u0928\u092e\u0938\u094d\u0924\u0947",
        "\uff8a\uff9e\uff70",
        "e" + "\u0316\u0300" * 15,
        "\u2014" * 30,
    ],
)
def test_signs_are_folded_as_unicode_has_it_where_they_are_no_more_than_a_writing_has(said: str):
    assert search.folded(said) == unicodedata.normalize("NFKC", said).casefold()


async def test_a_cursor_is_good_with_its_filters_alone(catalog: PostgresCatalog, registry: Registry, acme: Tenant):
    for _ in range(4):
        await a_call(registry, acme, from_number="+1555", started_at=NOON)
    asked = Listing(limit=1, number="+1555", started_since=NOON)
    cursor = (await catalog.list(acme.id, asked)).cursor
    page = await catalog.list(acme.id, replace(asked, limit=3, cursor=cursor))
    assert (len(page.entries), page.cursor) == (3, None)
    for changed in ({"number": None, "started_since": None}, {"number": "+1556"}, {"text": "hello"}):
        other = replace(asked, cursor=cursor, **changed)
        with pytest.raises(Malformed, match="cursor"):
            await catalog.list(acme.id, other)


# --- what becomes of transcripts ------------------------------------------------------------------------------------


async def test_putting_a_transcript_again_changes_nothing(
    catalog: PostgresCatalog, registry: Registry, transcripts: Transcripts, acme: Tenant, other: Tenant
):
    call = await registry.create_call(acme.id, NewCall())
    assert (await catalog.find(acme.id, by_id(call))).transcript is None
    timed = Transcript("ready", "en", "Hello", (Segment(0, 900, "Hello", "Ann"), Segment(900, 900, "")))
    first = await transcripts.put(acme.id, call, PutTranscript(timed))
    assert replace(first, created_at=None, updated_at=None) == timed
    assert await transcripts.put(acme.id, call, PutTranscript(timed)) == first
    assert await catalog.transcript(acme.id, call) == first
    assert await catalog.transcript(other.id, call) is None
    assert (await catalog.find(acme.id, by_id(call))).transcript == "ready"
    later = replace(timed, segments=(Segment(100, 900, "Hello", "Ann"), *timed.segments[1:]))
    moved = await transcripts.put(acme.id, call, PutTranscript(later))
    assert moved.updated_at is not None and first.updated_at is not None and moved.updated_at > first.updated_at
    again = await transcripts.put(acme.id, call, said("Bye", "processing"))
    assert (again.text, again.segments, again.created_at) == ("Bye", (), first.created_at)
    assert again.updated_at is not None and again.updated_at > moved.updated_at


async def test_what_was_said_goes_with_its_recording_and_does_not_come_back(
    registry: Registry, transcripts: Transcripts, acme: Tenant, owner: Connection
):
    call, over = await a_ready_call(registry, acme.id), await a_ready_call(registry, acme.id)
    await transcripts.put(acme.id, call, said("secret"))
    await owner.execute("UPDATE recordings SET expires_at = now()")
    await owner.execute("UPDATE recordings SET state = 'expired' WHERE call_id = $1", call)
    (row,) = await owner.fetch("SELECT status, text, segments, words FROM transcripts WHERE call_id = $1", call)
    assert tuple(row) == ("ready", None, None, None)
    for each in (call, over):
        with pytest.raises(Expired):
            await transcripts.put(acme.id, each, said("again"))
    await registry.create_tenant("acme", "Acme", retention_days=9)
    with pytest.raises(Expired):  # a longer plan brings back nothing that has ended
        await transcripts.put(acme.id, call, said("again"))
    (count,) = await owner.fetch("SELECT count(*) FROM transcripts WHERE text IS NOT NULL")
    assert count[0] == 0


async def test_words_that_come_as_their_recording_ends_go_with_it(
    registry: Registry,
    transcripts: Transcripts,
    acme: Tenant,
    owner: Connection,
    service: Connection,
    onlooker: Connection,
):
    call = await a_ready_call(registry, acme.id)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with service.transaction():
        await service.execute(
            "INSERT INTO transcripts (tenant_id, call_id, status) VALUES ($1, $2, 'failed')", acme.id, call
        )
        putting = asyncio.create_task(transcripts.put(acme.id, call, said("secret")))
        async with asyncio.timeout(20):
            while not await onlooker.fetchval(waiting):
                await onlooker.fetchval("SELECT pg_sleep(0.01)")
        # The put has seen that the recording has not ended, and its words are not in their row yet.
        end = "UPDATE recordings SET state = 'expired', expires_at = now() WHERE call_id = $1"
        ending = asyncio.create_task(owner.execute(end, call))
        async with asyncio.timeout(20):
            while not ending.done() and await onlooker.fetchval(waiting) < 2:
                await onlooker.fetchval("SELECT pg_sleep(0.01)")
    await asyncio.gather(putting, ending)
    (row,) = await owner.fetch("SELECT text, words FROM transcripts WHERE call_id = $1", call)
    assert tuple(row) == (None, None)


async def test_no_text_is_told_once_it_may_not_be_whatever_is_remembered(
    catalog: PostgresCatalog, registry: Registry, transcripts: Transcripts, acme: Tenant, owner: Connection
):
    call, unrecorded = await a_ready_call(registry, acme.id), await registry.create_call(acme.id, NewCall())
    for each in (call, unrecorded):
        await transcripts.put(acme.id, each, said("secret"))
    for change, told in (
        ("UPDATE tenants SET transcription_enabled = false", (False, False)),
        ("UPDATE tenants SET transcription_enabled = true", (True, True)),
        ("UPDATE recordings SET expires_at = now(), hold = true", (True, True)),
        ("UPDATE recordings SET hold = false", (False, True)),
        ("UPDATE recordings SET state = 'expired'", (False, True)),
    ):
        await owner.execute(change)
        found = [await catalog.transcript(acme.id, each) is not None for each in (call, unrecorded)]
        assert tuple(found) == told, change


async def test_an_account_without_transcription_takes_none(
    catalog: PostgresCatalog, registry: Registry, transcripts: Transcripts, acme: Tenant
):
    call = await a_ready_call(registry, acme.id)
    await transcripts.put(acme.id, call, said("kept"))
    await registry.create_tenant("acme", "Acme", transcription_enabled=False)
    with pytest.raises(Contradicts) as caught:
        await transcripts.put(acme.id, call, said("more"))
    assert caught.value.code == "transcription_disabled"
    assert (await catalog.find(acme.id, by_id(call))).transcript is None


def test_what_was_said_and_who_called_stand_in_no_repr():
    told = [
        repr(Transcript("ready", "en", "SECRET", (Segment(0, 1, "SECRET"),))),
        repr(Listing(number="SECRET", text="SECRET")),
        repr(NewCall(from_number="SECRET", to_number="SECRET")),
    ]
    assert "SECRET" not in " ".join(told)
