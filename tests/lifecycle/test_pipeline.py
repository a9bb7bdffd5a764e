"""From a registered object to a recording that can be fetched."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from parts.labs import store_of
from parts.pipeline import Meddled, Works
from parts.wavs import silence

from gateway.catalog.registry import Registry
from gateway.errors import Conflict, NotFound, OriginFailed, OriginTimeout, Unavailable
from gateway.lifecycle.pipeline import Outcome, Pipeline, UnknownStore, as_stored
from gateway.model import Lifetime, Object, Recording, Source, Span, Stat, State

# Just now: what is past its end as it comes is told to nobody.
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
OTHER = {"no audio": b"no audio", "audio": silence(4)}

disk_only = pytest.mark.parametrize("works", ["disk"], indirect=True)


async def test_a_registered_object_is_ready_with_all_that_its_header_tells(works: Works):
    key = works.put("a.wav", silence(2.5))
    call = await works.call(yotel="c-1")
    result = await works.pipeline.register(works.tenant, call, "main", key)
    assert result.outcome is Outcome.READY
    stat = await works.store.stat(key)
    recording = (await works.find(call)).recording
    assert recording == result.recording
    assert recording is not None
    assert recording.object is not None
    assert (recording.state, recording.duration_ms, recording.channels) == (State.READY, 2500, 2)
    assert (recording.object.store, recording.object.key, recording.object.media_type) == ("main", key, "audio/wav")
    known = recording.object.stat
    assert (known.size, known.etag, known.version) == (stat.size, stat.etag, stat.version)
    assert known.modified == stat.modified
    assert await works.events() == 1


async def test_only_the_header_is_read(works: Works):
    key = works.put("long.wav", silence(120))
    await works.pipeline.register(works.tenant, await works.call(yotel="c-1"), "main", key)
    assert sum(map(len, works.store.opened)) <= 16_384


async def test_the_same_object_again_changes_nothing(works: Works):
    key = works.put("a.wav", silence())
    call = await works.call(yotel="c-1")
    first = await works.pipeline.register(works.tenant, call, "main", key)
    works.store.opened.clear()
    again = await works.pipeline.register(works.tenant, call, "main", key)
    assert (again.outcome, again.recording) == (Outcome.UNCHANGED, first.recording)
    assert not works.store.opened
    assert await works.events() == 1


async def test_an_object_that_was_replaced_is_known_anew(works: Works):
    key = works.put("a.wav", silence(2))
    call = await works.call(yotel="c-1")
    first = await works.pipeline.register(works.tenant, call, "main", key)
    works.put("a.wav", silence(4, channels=1))  # as long in bytes
    again = await works.pipeline.register(works.tenant, call, "main", key)
    assert again.outcome is Outcome.READY
    assert (again.recording.duration_ms, again.recording.channels) == (4000, 1)
    assert again.recording.object is not None
    assert first.recording.object is not None
    assert again.recording.object.stat.version != first.recording.object.stat.version
    assert again.recording.object.stat.size == first.recording.object.stat.size
    assert again.recording.id == first.recording.id
    assert again.recording.ready_at == first.recording.ready_at
    assert await works.events() == 1


async def test_a_recording_moves_to_another_key(works: Works):
    call = await works.call(yotel="c-1")
    await works.pipeline.register(works.tenant, call, "main", works.put("a.wav", silence(2)))
    key = works.put("b.wav", silence(4))
    moved = await works.pipeline.register(works.tenant, call, "main", key)
    assert moved.outcome is Outcome.READY
    assert moved.recording.object is not None
    assert (moved.recording.object.key, moved.recording.duration_ms) == (key, 4000)


async def test_an_object_that_is_not_there_leaves_the_recording_pending(works: Works):
    call = await works.call(yotel="c-1")
    key = f"{works.folder}/later.wav"
    result = await works.pipeline.register(works.tenant, call, "main", key)
    assert (result.outcome, result.reason) == (Outcome.PENDING, "the store has no such object")
    assert (await works.find(call)).recording == result.recording
    assert result.recording.state is State.PENDING
    works.put("later.wav", silence())
    assert (await works.pipeline.register(works.tenant, call, "main", key)).outcome is Outcome.READY


async def test_an_object_that_is_not_there_is_a_failure_where_so_told(works: Works):
    call = await works.call(yotel="c-1")
    result = await works.pipeline.register(works.tenant, call, "main", f"{works.folder}/no.wav", fail_missing=True)
    assert result.outcome is Outcome.FAILED
    assert (result.recording.state, result.recording.failure) == (State.FAILED, "the store has no such object")


class Stalled(Meddled):
    """Tells what it has, and never gives a byte of it."""

    async def open(self, key: str, span: Span, version: str) -> Source:
        await asyncio.Event().wait()
        return await super().open(key, span, version)


@disk_only
async def test_an_object_is_known_as_stored_until_its_header_is_read(works: Works, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.lifecycle.pipeline.PROBE_S", 0.1)
    call, key = await works.call(yotel="c-1"), works.put("a.mp3", silence())
    stalled = Pipeline({"main": Stalled(works.store)}, works.registry, works.catalog)
    with pytest.raises(OriginTimeout, match="was not read"):
        await stalled.register(works.tenant, call, "main", key)
    recording = (await works.find(call)).recording
    assert recording is not None
    assert recording.state is State.PROCESSING
    assert recording.object == Object("main", key, await works.store.stat(key), "audio/mpeg")
    ready = (await works.pipeline.register(works.tenant, call, "main", key)).recording
    assert ready.object is not None
    assert (ready.state, ready.object.media_type) == (State.READY, "audio/wav")


STAT = Stat(1, '"e"', "v", datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("stored", "key", "told", "expected"),
    [
        ("audio/x-wav", "a.mp3", None, "audio/wav"),
        ("audio/ogg; codecs=opus", "a", None, "audio/ogg"),
        ("binary/octet-stream", "a/b.MP3", None, "audio/mpeg"),
        (None, "a/b.m4a", None, "audio/mp4"),
        ("text/html", "a.html", None, "application/octet-stream"),
        (None, "a.b/c", None, "application/octet-stream"),
        ("audio/wav", "a.wav", "audio/basic", "audio/basic"),
    ],
)
def test_before_its_header_is_read_an_object_has_the_stores_type_else_its_names(stored, key, told, expected):
    known = as_stored("main", key, replace(STAT, media_type=stored), told)
    assert known.media_type == expected


async def test_what_is_no_audio_fails_with_its_reason(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("a.wav", b"<html>403 Forbidden</html>")
    result = await works.pipeline.register(works.tenant, call, "main", key)
    assert result.outcome is Outcome.FAILED
    assert "by its first bytes" in result.reason
    assert (result.recording.state, result.recording.failure) == (State.FAILED, result.reason)
    assert await works.events() == 0


async def test_a_failed_recording_recovers_once_its_object_is_mended(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("a.wav", b"half an upload")
    await works.pipeline.register(works.tenant, call, "main", key)
    works.put("a.wav", silence())
    result = await works.pipeline.register(works.tenant, call, "main", key)
    assert (result.outcome, result.recording.failure) == (Outcome.READY, None)


@disk_only
async def test_a_forced_media_type_lets_pass_what_cannot_be_read(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("a.amr", b"#!AMR\n" + bytes(600))
    result = await works.pipeline.register(works.tenant, call, "main", key, media_type="audio/amr")
    assert result.outcome is Outcome.READY
    assert result.recording.object is not None
    assert (result.recording.object.media_type, result.recording.duration_ms) == ("audio/amr", None)


@disk_only
async def test_a_forced_media_type_overrules_and_keeps_what_was_read(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("a.wav", silence(2))
    await works.pipeline.register(works.tenant, call, "main", key)
    result = await works.pipeline.register(works.tenant, call, "main", key, media_type="audio/basic")
    assert result.recording.object is not None
    assert (result.outcome, result.recording.object.media_type) == (Outcome.READY, "audio/basic")
    assert result.recording.duration_ms == 2000
    again = await works.pipeline.register(works.tenant, call, "main", key, media_type="audio/basic")
    assert again.outcome is Outcome.UNCHANGED


@disk_only
async def test_a_media_type_that_is_never_served_is_refused(works: Works):
    call = await works.call(yotel="c-1")
    with pytest.raises(ValueError, match="text/html"):
        await works.pipeline.register(works.tenant, call, "main", "a.wav", media_type="text/html")


async def test_an_empty_object_is_no_recording_unless_it_is_wanted(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("empty.wav", b"")
    refused = await works.pipeline.register(works.tenant, call, "main", key)
    assert (refused.outcome, refused.reason) == (Outcome.FAILED, "empty: an object of no bytes")
    assert (await works.pipeline.register(works.tenant, call, "main", key, media_type="audio/wav")).outcome is (
        Outcome.FAILED
    )
    wanted = await works.pipeline.register(works.tenant, call, "main", key, allow_empty=True)
    assert wanted.outcome is Outcome.READY
    assert wanted.recording.object is not None
    assert (wanted.recording.object.stat.size, wanted.recording.object.media_type) == (0, "audio/wav")


@pytest.mark.parametrize("spoilt", ["gone", "no audio"])
async def test_what_was_ready_stays_so_when_another_place_is_worse(works: Works, spoilt: str):
    call = await works.call(yotel="c-1")
    first = await works.pipeline.register(works.tenant, call, "main", works.put("a.wav", silence()))
    key = f"{works.folder}/gone.wav" if spoilt == "gone" else works.put("b.wav", b"no audio")
    result = await works.pipeline.register(works.tenant, call, "main", key)
    assert result.outcome is (Outcome.PENDING if spoilt == "gone" else Outcome.FAILED)
    assert (await works.find(call)).recording == first.recording


@pytest.mark.parametrize("spoilt", ["gone", "no audio", "audio"])
async def test_what_becomes_ready_while_another_place_is_looked_at_stays_so_unless_that_is_as_good(
    works: Works, spoilt: str
):
    call, key = await works.call(yotel="c-1"), works.put("a.wav", silence())
    other = f"{works.folder}/b.wav" if spoilt == "gone" else works.put("b.wav", OTHER[spoilt])

    class Overtaken(Meddled):
        async def stat(self, asked: str) -> Stat:
            await works.pipeline.register(works.tenant, call, "main", key)
            return await works.store.stat(asked)

    slow = Pipeline({"main": Overtaken(works.store)}, works.registry, works.catalog)
    result = await slow.register(works.tenant, call, "main", other)
    assert result.outcome is {"gone": Outcome.PENDING, "no audio": Outcome.FAILED, "audio": Outcome.READY}[spoilt]
    recording = (await works.find(call)).recording
    assert recording is not None
    assert recording.object is not None
    assert (recording.state, recording.object.key) == (State.READY, other if spoilt == "audio" else key)
    assert result.recording == recording
    assert await works.events() == 1


@disk_only
@pytest.mark.parametrize("spoilt", ["gone", "no audio"])
async def test_what_is_refused_shortens_nothing(works: Works, spoilt: str):
    call = await works.call(yotel="c-1")
    first = await works.pipeline.register(
        works.tenant,
        call,
        "main",
        works.put("a.wav", silence()),
        lifetime=Lifetime(retention_days=3650, started_at=START),
    )
    key = f"{works.folder}/gone.wav" if spoilt == "gone" else works.put("b.wav", b"no audio")
    again = Lifetime(START + timedelta(days=1), START + timedelta(days=9000), retention_days=1)
    await works.pipeline.register(works.tenant, call, "main", key, lifetime=again)
    assert (await works.find(call)).recording == first.recording
    moved = await works.pipeline.register(works.tenant, call, "main", works.put("c.wav", silence()), lifetime=again)
    assert (moved.recording.started_at, moved.recording.expires_at) == (again.started_at, again.expires_at)


async def test_an_object_replaced_while_it_is_read_is_read_again(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("a.wav", silence(2))

    def replace() -> None:
        works.store.before_open = lambda: None
        works.put("a.wav", silence(5))

    works.store.before_open = replace
    result = await works.pipeline.register(works.tenant, call, "main", key)
    assert (result.outcome, result.recording.duration_ms) == (Outcome.READY, 5000)
    assert result.recording.object is not None
    assert result.recording.object.stat.size == len(silence(5))


class Held(Registry):
    """Makes nothing ready before it may."""

    def __init__(self, works: Works) -> None:
        self.__dict__ = works.registry.__dict__ | {"come": asyncio.Event(), "may": asyncio.Event()}

    async def mark_ready(self, *about: Any, **more: Any) -> Recording:
        self.come.set()
        await self.may.wait()
        return await super().mark_ready(*about, **more)


@pytest.mark.parametrize("before", ["unknown", "ready"])
async def test_an_older_look_at_an_object_does_not_overrule_a_newer(works: Works, before: str):
    call, key = await works.call(yotel="c-1"), works.put("a.wav", silence(1))
    if before == "ready":
        await works.pipeline.register(works.tenant, call, "main", key)
        works.put("a.wav", silence(2))
    held = Held(works)
    slow = Pipeline({"main": works.store}, held, works.catalog)
    older = asyncio.create_task(slow.register(works.tenant, call, "main", key))
    await held.come.wait()
    works.put("a.wav", silence(3))
    newer = await works.pipeline.register(works.tenant, call, "main", key)
    held.may.set()
    with pytest.raises(OriginFailed, match="registered by somebody else meanwhile"):
        await older
    assert (await works.find(call)).recording == newer.recording
    assert newer.recording.duration_ms == 3000
    assert (await slow.register(works.tenant, call, "main", key)).outcome is Outcome.UNCHANGED


async def test_an_object_deleted_while_it_is_read_is_missing(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("a.wav", silence(2))

    def delete() -> None:
        works.store.before_open = lambda: None
        works.delete("a.wav")

    works.store.before_open = delete
    result = await works.pipeline.register(works.tenant, call, "main", key)
    assert result.outcome is Outcome.PENDING


async def test_an_object_that_never_holds_still_decides_nothing(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("a.wav", silence(1))
    lengths = iter(range(2, 20))
    works.store.before_open = lambda: works.put("a.wav", silence(next(lengths))) and None
    with pytest.raises(OriginFailed, match="is replaced whenever it is read; 3 tries"):
        await works.pipeline.register(works.tenant, call, "main", key)
    recording = (await works.find(call)).recording
    assert recording is not None
    assert recording.state is State.PROCESSING


async def test_a_store_out_of_reach_is_no_verdict_on_the_object(works: Works):
    call = await works.call(yotel="c-1")
    away = Pipeline({"main": await store_of(works.lab, gone=True)}, works.registry, works.catalog)
    with pytest.raises((Unavailable, OriginFailed)):
        await away.register(works.tenant, call, "main", "a.wav")
    assert (await works.find(call)).recording is None


@disk_only
async def test_an_unknown_store_is_named_beside_those_there_are(works: Works):
    with pytest.raises(UnknownStore, match="no store 'tape' is configured; there are: main"):
        await works.pipeline.register(works.tenant, await works.call(yotel="c-1"), "tape", "a.wav")


@disk_only
async def test_a_call_that_is_not_the_tenants_is_not_found(works: Works):
    other = (await works.registry.create_tenant("other", "Other")).id
    call = await works.call(yotel="c-1")
    for tenant, id_ in ((other, call), (works.tenant, uuid4())):
        with pytest.raises(NotFound):
            await works.pipeline.register(tenant, id_, "main", "a.wav")


# --- retention


@disk_only
@pytest.mark.parametrize(
    ("tenants_days", "given", "expected"),
    [
        (None, {}, None),
        (30, {"started_at": START}, START + timedelta(days=30)),
        (30, {"started_at": START, "retention_days": 7}, START + timedelta(days=30)),
        (30, {"started_at": START, "retention_days": 60}, START + timedelta(days=60)),
        (30, {"started_at": START, "expires_at": START}, START + timedelta(days=30)),
        (30, {"started_at": START, "expires_at": START + timedelta(days=90)}, START + timedelta(days=90)),
        (None, {"started_at": START, "retention_days": 7}, START + timedelta(days=7)),
    ],
)
async def test_it_is_kept_as_long_as_the_longest_of_what_was_given_and_the_tenants_days(
    works: Works, tenants_days, given, expected
):
    await works.registry.create_tenant("acme", "Acme", retention_days=tenants_days)
    call = await works.call(yotel="c-1")
    result = await works.pipeline.register(
        works.tenant, call, "main", works.put("a.wav", silence()), lifetime=Lifetime(**given)
    )
    assert result.recording.expires_at == expected


@disk_only
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"retention_days": 60}, START + timedelta(days=60)),
        ({"expires_at": START + timedelta(days=90)}, START + timedelta(days=90)),
        ({"started_at": START + timedelta(hours=1)}, START + timedelta(days=30)),
    ],
)
async def test_what_is_told_of_the_same_object_later_counts_too(works: Works, given, expected):
    call, key = await works.call(yotel="c-1"), works.put("a.wav", silence())
    await works.pipeline.register(
        works.tenant, call, "main", key, lifetime=Lifetime(retention_days=30, started_at=START)
    )
    works.store.opened.clear()
    again = await works.pipeline.register(works.tenant, call, "main", key, lifetime=Lifetime(**given))
    assert again.outcome is Outcome.UNCHANGED
    assert (again.recording.started_at, again.recording.expires_at) == (given.get("started_at", START), expected)
    assert (await works.find(call)).recording == again.recording
    assert not works.store.opened
    assert await works.events() == 1


@disk_only
async def test_a_recording_that_has_expired_stays_so(works: Works):
    call = await works.call(yotel="c-1")
    key = works.put("a.wav", silence())
    await works.pipeline.register(works.tenant, call, "main", key)
    await works.execute("UPDATE recordings SET expires_at = now(), state = 'expired' WHERE call_id = $1", call)
    with pytest.raises(Conflict, match="expired"):
        await works.pipeline.register(works.tenant, call, "main", key)
