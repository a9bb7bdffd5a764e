"""What every store promises, tried on each: model.Store, as a table of store × case."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from parts.audit import until
from parts.faults import Fault, FaultProxy, Kind
from parts.labs import QUICK, DiskLab, Lab, drain, fetch, read, signed, store_of, unused_port
from parts.pouring import descriptors

from gateway.errors import Broken, Changed, NotFound, OriginFailed, OriginTimeout, Refusal, Unavailable
from gateway.model import PIECE, Span
from gateway.stores.counts import Counted

PINNING = pytest.mark.parametrize("lab", ["s3", "gcs", "disk"], indirect=True)
"""The emulator knows no versions."""
SIGNING = pytest.mark.parametrize("lab", ["s3", "gcs"], indirect=True)
REMOTE = pytest.mark.parametrize("lab", ["s3", "gcs-emulator", "gcs"], indirect=True)

SIZES = [1, 2, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7]
ODD_KEYS = [
    "a b.wav",
    "a+b.wav",
    "a%20b.wav",
    "a%2Fb.wav",
    "100%",
    "é.wav",
    "é +x",
    "[x]&y=z",
    "a#b.wav",
    "a?b=c.wav",
    "日本/🎧.wav",
    "a\\b",
    "tail ",
    "~!*'()@:,;$=",
    "x/" + "y" * 240 + "/" + "é" * 120,
]


def sound(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def test_stat_tells_size_type_time_and_a_strong_tag(lab: Lab) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    lab.put("stat.wav", b"12345", "audio/x-test")

    stat = await (await store_of(lab)).stat("stat.wav")

    assert stat.size == 5
    assert stat.etag.startswith('"')
    assert stat.etag.endswith('"')
    assert stat.version
    assert before <= stat.modified <= datetime.now(UTC) + timedelta(seconds=2)
    assert stat.modified.tzinfo is UTC
    assert stat.media_type == (None if isinstance(lab, DiskLab) else "audio/x-test")


async def test_an_empty_object_has_a_stat(lab: Lab) -> None:
    lab.put("empty.wav", b"")
    assert (await (await store_of(lab)).stat("empty.wav")).size == 0


async def test_tag_and_version_change_with_the_content_and_only_then(lab: Lab) -> None:
    store = await store_of(lab)
    lab.put("tag.wav", b"one")
    first, again = await store.stat("tag.wav"), await store.stat("tag.wav")
    lab.put("tag.wav", b"two")
    second = await store.stat("tag.wav")

    assert (first.etag, first.version) == (again.etag, again.version)
    assert first.etag != second.etag
    assert first.version != second.version


async def test_spans_are_read_byte_for_byte(lab: Lab) -> None:
    store = await store_of(lab)
    for size in SIZES:
        data, key = sound(size), f"spans-{size}.wav"
        lab.put(key, data)
        version = (await store.stat(key)).version
        edges = {0, 1, size // 2, size - 1, size, PIECE - 1, PIECE, PIECE + 1}
        for span in [Span(a, b) for a in edges for b in edges if a < b <= size]:
            assert await drain(await store.open(key, span, version)) == data[span.start : span.stop], (size, span)


async def test_a_missing_object_is_not_found(lab: Lab) -> None:
    store, key = await store_of(lab), f"{uuid4()}.wav"
    with pytest.raises(NotFound):
        await store.stat(key)
    with pytest.raises(NotFound):
        await store.open(key, Span(0, 1), '"1"')


async def test_a_key_no_object_can_have_is_not_found(lab: Lab) -> None:
    store = await store_of(lab)
    for key in ("", "k" * 5000, "a\ud800b"):
        assert store.unfit(key)
        with pytest.raises(NotFound):
            await store.stat(key)
        with pytest.raises(NotFound):
            await store.open(key, Span(0, 1), '"1"')


async def test_odd_keys_name_their_own_object(lab: Lab) -> None:
    store = await store_of(lab)
    for key in ODD_KEYS:
        lab.put(key, f"this is {key}".encode())
    for key in ODD_KEYS:
        assert store.unfit(key) is None
        assert await read(store, key) == f"this is {key}".encode(), key
        assert await read(store, key, 5, 7) == b"is", key


@SIGNING
async def test_odd_keys_can_be_signed(lab: Lab) -> None:
    store = await store_of(lab)
    for key in ODD_KEYS:
        lab.put(key, data := f"this is {key}".encode())
        status, _, body = await fetch(lab, await signed(store, key))
        assert (status, body) == (200, data), key


@PINNING
async def test_an_object_overwritten_before_open_is_changed(lab: Lab) -> None:
    store = await store_of(lab)
    lab.put("before.wav", b"old bytes")
    version = (await store.stat("before.wav")).version
    lab.put("before.wav", b"new bytes")
    with pytest.raises(Changed):
        await store.open("before.wav", Span(0, 9), version)


@PINNING
async def test_an_object_that_shrank_is_changed(lab: Lab) -> None:
    store = await store_of(lab)
    lab.put("shrank.wav", b"a long recording")
    version = (await store.stat("shrank.wav")).version
    lab.put("shrank.wav", b"short")
    with pytest.raises(Changed):
        await store.open("shrank.wav", Span(10, 16), version)


@PINNING
async def test_an_object_deleted_before_open_is_not_found(lab: Lab) -> None:
    store = await store_of(lab)
    lab.put("deleted.wav", b"some bytes")
    version = (await store.stat("deleted.wav")).version
    lab.delete("deleted.wav")
    with pytest.raises(NotFound):
        await store.open("deleted.wav", Span(0, 9), version)


@PINNING
async def test_an_object_overwritten_in_mid_body_is_never_spliced(lab: Lab) -> None:
    store, old, new = await store_of(lab), sound(8_000_000, 1), sound(8_000_000, 2)
    lab.put("mid.wav", old)
    source = await store.open("mid.wav", Span(0, len(old)), (await store.stat("mid.wav")).version)
    got = await source.read()
    await asyncio.to_thread(lab.put, "mid.wav", new)
    try:
        while piece := await source.read():
            got += piece
        assert len(got) == len(old)
    except (Broken, Changed):
        pass
    finally:
        await source.close()
    assert got == old[: len(got)]


@SIGNING
async def test_a_signed_url_answers_with_the_type_and_disposition_it_was_made_for(lab: Lab) -> None:
    lab.put("signed.wav", data := sound(1000), "application/octet-stream")
    disposition = "attachment; filename=\"a b.wav\"; filename*=UTF-8''%C3%A9.wav"
    url = await signed(await store_of(lab), "signed.wav", media_type="audio/x-wav", disposition=disposition)

    status, headers, body = await fetch(lab, url)
    assert (status, body) == (200, data)
    assert headers["Content-Type"] == "audio/x-wav"
    assert headers["Content-Disposition"] == disposition

    status, headers, body = await fetch(lab, url, Range="bytes=10-19")
    assert (status, headers["Content-Range"], body) == (206, "bytes 10-19/1000", data[10:20])


@SIGNING
async def test_a_signed_url_tells_its_end_and_ends_then(lab: Lab) -> None:
    lab.put("ends.wav", b"bytes")
    store, ttl, asked = await store_of(lab), timedelta(seconds=4), datetime.now(UTC)
    link = await store.sign("ends.wav", ttl, media_type="audio/wav", disposition=None)
    assert link is not None
    assert asked - timedelta(seconds=1) <= link.expires_at - ttl <= datetime.now(UTC)
    assert (await fetch(lab, link.url))[0] == 200

    # Servers count whole seconds, and one of them allows a second more.
    await asyncio.sleep((link.expires_at - datetime.now(UTC)).total_seconds() + 1.1)
    assert (await fetch(lab, link.url))[0] in {400, 403}


@SIGNING
async def test_a_signed_url_that_was_altered_is_refused(lab: Lab) -> None:
    lab.put("altered.wav", b"bytes")
    url = await signed(await store_of(lab), "altered.wav")
    assert (await fetch(lab, url.replace("audio%2Fwav", "text%2Fhtml")))[0] == 403


@SIGNING
async def test_no_link_outlives_seven_days_nor_ends_as_it_is_made(lab: Lab) -> None:
    store = await store_of(lab)
    link = await store.sign("long.wav", timedelta(days=30), media_type="audio/wav", disposition=None)
    assert link is not None
    assert abs(link.expires_at - datetime.now(UTC) - timedelta(days=7)) < timedelta(seconds=5)
    with pytest.raises(Unavailable):
        await store.sign("short.wav", timedelta(milliseconds=999), media_type="audio/wav", disposition=None)


@pytest.mark.parametrize("lab", ["disk", "gcs-emulator"], indirect=True)
async def test_a_store_that_cannot_sign_says_so(lab: Lab) -> None:
    store = await store_of(lab)
    assert await store.sign("a.wav", timedelta(hours=1), media_type="audio/wav", disposition=None) is None


async def test_a_deleted_object_is_gone_and_may_be_deleted_again(lab: Lab) -> None:
    store = await store_of(lab)
    for key in ODD_KEYS:
        lab.put(key, b"over")
        version = (await store.stat(key)).version
        await store.delete(key, version)
        with pytest.raises(NotFound):
            await store.stat(key)
        await store.delete(key, version)


async def test_what_cannot_be_there_is_as_good_as_deleted(lab: Lab) -> None:
    store = await store_of(lab)
    for key in ("", "k" * 5000, "a\ud800b", f"{uuid4()}/a.wav"):
        with pytest.raises(NotFound):
            await store.stat(key)
        if key:
            await store.delete(key, '"1"')


@PINNING
async def test_an_object_that_was_replaced_is_not_deleted(lab: Lab) -> None:
    store = await store_of(lab)
    lab.put("replaced.wav", b"old bytes")
    version = (await store.stat("replaced.wav")).version
    lab.put("replaced.wav", b"new bytes")
    with pytest.raises(Changed):
        await store.delete("replaced.wav", version)
    assert await read(store, "replaced.wav") == b"new bytes"


async def test_nothing_counts_as_deleted_where_the_bucket_or_folder_is_gone(lab: Lab) -> None:
    with pytest.raises((OriginFailed, Unavailable), match=r"does not exist|cannot be opened"):
        await (await store_of(lab, gone=True)).delete("a.wav", "1")


@SIGNING
async def test_nothing_is_deleted_without_the_right_to(lab: Lab) -> None:
    lab.put("kept.wav", b"bytes")
    version = (await (await store_of(lab)).stat("kept.wav")).version
    with pytest.raises(OriginFailed, match=r"store lab: answered 403"):
        await (await store_of(lab, denied=True)).delete("kept.wav", version)
    assert await read(await store_of(lab), "kept.wav") == b"bytes"


@REMOTE
async def test_a_store_that_is_away_deletes_nothing_and_says_so(lab: Lab) -> None:
    store = await store_of(lab, port=unused_port())
    with pytest.raises(Unavailable, match="store lab"):
        await store.delete("a.wav", "1")


async def test_a_store_that_was_closed_holds_no_descriptor(lab: Lab) -> None:
    lab.put("closed.wav", sound(3 * PIECE))
    before = descriptors()
    store = await lab.make(QUICK)
    assert len(await read(store, "closed.wav")) == 3 * PIECE
    await store.check()
    await store.close()
    await until(lambda: descriptors() <= before, within_s=5)  # a lab within this process has the other end of each


async def test_check_passes_where_all_is_well(lab: Lab) -> None:
    await (await store_of(lab)).check()


@SIGNING
async def test_wrong_credentials_are_the_operators_business_and_no_404(lab: Lab) -> None:
    lab.put("denied.wav", b"bytes")
    store = await store_of(lab, denied=True)
    for key in ("denied.wav", "not there either"):
        with pytest.raises(OriginFailed, match=r"store lab: answered 403"):
            await store.stat(key)
        with pytest.raises(OriginFailed, match=r"store lab: answered 403"):
            await store.open(key, Span(0, 5), '"1"')
    assert isinstance(store, Counted)
    assert store.counts.errors == {"origin_failed": 2}
    with pytest.raises(Unavailable, match="store lab: answered 403"):
        await store.check()


async def test_a_bucket_or_folder_that_is_gone_is_no_404(lab: Lab) -> None:
    store = await store_of(lab, gone=True)
    with pytest.raises((OriginFailed, Unavailable), match=r"does not exist|cannot be opened"):
        await store.stat("a.wav")
    with pytest.raises((OriginFailed, Unavailable), match=r"does not exist|cannot be opened"):
        await store.open("a.wav", Span(0, 1), '"1"')
    with pytest.raises(Unavailable, match=r"does not exist|cannot be opened"):
        await store.check()


@PINNING
@pytest.mark.parametrize(
    ("gone", "key", "reasons"),
    [
        (True, "counted.wav", {"origin_failed", "unavailable"}),
        (False, "not there", {"not_found"}),
        (False, "k" * 5000, {"not_found"}),
    ],
    ids=["a bucket or folder that is gone", "no such object", "a key that none can have"],
)
async def test_a_read_that_the_store_refuses_is_counted_by_its_reason(
    lab: Lab, gone: bool, key: str, reasons: set[str]
) -> None:
    lab.put("counted.wav", b"bytes")
    store = await store_of(lab, gone=gone)
    assert isinstance(store, Counted)
    for times in (1, 2):
        with pytest.raises(Refusal) as refused:
            await store.open(key, Span(0, 5), '"1"')
        assert store.counts.errors == {refused.value.reason: times}
        assert refused.value.reason in reasons


@PINNING
async def test_a_read_of_what_was_replaced_meanwhile_is_counted(lab: Lab) -> None:
    lab.put("replaced.wav", b"old bytes")
    store = await store_of(lab)
    version = (await store.stat("replaced.wav")).version
    lab.put("replaced.wav", b"new bytes")
    with pytest.raises(Changed):
        await store.open("replaced.wav", Span(0, 9), version)
    assert isinstance(store, Counted)
    assert store.counts.errors == {"object_changed": 1}


@SIGNING
async def test_a_read_that_an_outage_kept_from_the_store_is_counted(lab: Lab) -> None:
    away = await store_of(lab, port=unused_port())
    with pytest.raises(Unavailable):
        await away.open("a.wav", Span(0, 9), '"1"')
    assert isinstance(away, Counted)
    assert away.counts.errors == {"unavailable": 1}


@REMOTE
async def test_a_store_that_is_down_is_unavailable_before_the_deadline(lab: Lab) -> None:
    store, start = await store_of(lab, port=unused_port()), time.monotonic()
    with pytest.raises(Unavailable):
        await store.stat("a.wav")
    with pytest.raises(Unavailable):
        await store.open("a.wav", Span(0, 1), '"1"')
    with pytest.raises(Unavailable):
        await store.check()
    assert time.monotonic() - start < 3 * QUICK.first_byte_s


@REMOTE
async def test_a_store_that_does_not_answer_times_out(lab: Lab) -> None:
    lab.put("silent.wav", b"bytes")
    version = (await (await store_of(lab)).stat("silent.wav")).version
    origin = QUICK.model_copy(update={"first_byte_s": 0.3})
    assert lab.port is not None
    async with FaultProxy(lab.port) as proxy:
        proxy.always(Fault(Kind.STALL, at=-1))
        store, start = await store_of(lab, origin, port=proxy.port), time.monotonic()
        with pytest.raises(OriginTimeout):
            await store.open("silent.wav", Span(0, 5), version)
        assert time.monotonic() - start < 3.5, "QUICK's own is longer"
        await asyncio.wait_for(proxy.closed(), 10)


@REMOTE
async def test_a_store_that_stumbles_before_its_answer_is_asked_again(lab: Lab) -> None:
    lab.put("stumbles.wav", b"bytes")
    version = (await (await store_of(lab)).stat("stumbles.wav")).version
    assert lab.port is not None
    async with FaultProxy(lab.port) as proxy:
        store = await store_of(lab, port=proxy.port)
        proxy.plan(Fault(Kind.CUT, at=-1), Fault(Kind.RESET, at=-1))
        assert await drain(await store.open("stumbles.wav", Span(0, 5), version)) == b"bytes"
        assert len(proxy.struck) == 2


@REMOTE
async def test_bodies_closed_unread_leave_the_pool_whole(lab: Lab) -> None:
    lab.put("unread.wav", data := sound(400_000))
    store = await store_of(lab, QUICK.model_copy(update={"connections": 2}))
    version = (await store.stat("unread.wav")).version
    for turn in range(200):
        source = await store.open("unread.wav", Span(0, len(data)), version)
        if turn % 3:
            await source.read()
        await source.close()
        await source.close()
    assert await drain(await store.open("unread.wav", Span(0, len(data)), version)) == data


@REMOTE
async def test_closing_a_body_closes_the_origins_connection_at_once(lab: Lab) -> None:
    lab.put("left.wav", data := sound(4_000_000))
    assert lab.port is not None
    async with FaultProxy(lab.port) as proxy:
        store = await store_of(lab, port=proxy.port)
        version = (await store.stat("left.wav")).version
        await asyncio.sleep(0)
        metadata = proxy.open  # kept alive for the next stat
        source = await store.open("left.wav", Span(0, len(data)), version)
        await source.read()
        await source.close()
        await asyncio.wait_for(proxy.until(lambda p: p.open <= metadata), 10)


@REMOTE
async def test_an_open_that_is_cancelled_leaves_no_connection(lab: Lab) -> None:
    lab.put("cancelled.wav", b"bytes")
    version = (await (await store_of(lab)).stat("cancelled.wav")).version
    assert lab.port is not None
    async with FaultProxy(lab.port) as proxy:
        proxy.always(Fault(Kind.STALL, at=-1))
        store = await store_of(lab, port=proxy.port)
        opening = asyncio.create_task(store.open("cancelled.wav", Span(0, 5), version))
        await asyncio.wait_for(proxy.until(lambda p: len(p.struck) >= 1), 10)
        opening.cancel()
        await asyncio.wait_for(proxy.closed(), 10)
        with pytest.raises(asyncio.CancelledError):
            await opening


@pytest.mark.parametrize("lab", ["s3", "gcs", "disk"], indirect=True)
async def test_a_hundred_bodies_at_once_keep_to_themselves(lab: Lab) -> None:
    data = {f"many-{n}.wav": sound(200_000 + n, n) for n in range(10)}
    for key, content in data.items():
        lab.put(key, content)
    store = await store_of(lab, QUICK.model_copy(update={"connections": 200, "first_byte_s": 20}))
    stats = {key: await store.stat(key) for key in data}

    async def one(turn: int) -> bool:
        key = f"many-{turn % 10}.wav"
        start = turn * 1000
        source = await store.open(key, Span(start, stats[key].size), stats[key].version)
        return await drain(source) == data[key][start:]

    assert all(await asyncio.gather(*(one(turn) for turn in range(100))))


@REMOTE
async def test_a_body_is_read_no_faster_than_it_is_asked_for(lab: Lab) -> None:
    lab.put("slow.wav", data := sound(48_000_000))
    assert lab.port is not None
    async with FaultProxy(lab.port) as proxy:
        store = await store_of(lab, QUICK.model_copy(update={"first_byte_s": 20}), port=proxy.port)
        source = await store.open("slow.wav", Span(0, len(data)), (await store.stat("slow.wav")).version)
        await source.read()
        seen = -1
        while seen != proxy.sent:  # until nothing moves any more: the socket's buffers are full
            seen = proxy.sent
            await asyncio.sleep(0.2)
        assert seen < len(data) // 2
        await source.close()


async def test_close_may_be_repeated_and_ends_reading(lab: Lab) -> None:
    lab.put("closed.wav", data := sound(1_000_000))
    store = await store_of(lab)
    source = await store.open("closed.wav", Span(0, len(data)), (await store.stat("closed.wav")).version)
    await source.close()
    await source.close()
    with pytest.raises(Broken):
        await source.read()


async def test_no_refusal_is_without_a_word_for_the_operator(lab: Lab) -> None:
    store = await store_of(lab, gone=True)
    with pytest.raises(Refusal) as refused:
        await store.stat("a.wav")
    assert "store lab" in refused.value.detail
