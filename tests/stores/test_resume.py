"""Bodies that break: taken up again byte for byte, or given up aloud."""

import asyncio
import os
import random
import socket
from collections import Counter
from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts.faults import Fault, FaultProxy, Kind
from parts.labs import Lab, store_of

from gateway.config import Origin
from gateway.errors import Broken, Changed, NotFound, OriginFailed, Unavailable
from gateway.model import Source, Span, Store
from gateway.stores import open_resuming

SIZE = 1_000_003
BREAKS = (Kind.CUT, Kind.RESET, Kind.STALL)
IMPATIENT = Origin(connect_s=1, first_byte_s=5, progress_s=0.5, resumes=3, connections=64)
REMOTE = pytest.mark.parametrize("lab", ["s3", "gcs-emulator", "gcs"], indirect=True)
PINNING = pytest.mark.parametrize("lab", ["s3", "gcs"], indirect=True)


@REMOTE
@pytest.mark.timeout(1800)
async def test_broken_bodies_come_byte_exact_or_end_aloud(
    lab: Lab, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """``--faults=1000 -s`` for the long run; it prints how many ended which way."""
    trials = request.config.getoption("--faults")
    workers = 4
    data = random.Random(7).randbytes(SIZE)
    lab.put("faults.wav", data)
    version = (await (await store_of(lab)).stat("faults.wav")).version

    async def work(worker: int) -> Counter[str]:
        assert lab.port is not None
        ends: Counter[str] = Counter()
        async with FaultProxy(lab.port) as proxy:
            store = await store_of(lab, IMPATIENT, port=proxy.port)
            for trial in range(worker, trials, workers):
                ends += await broken(store, proxy, data, version, random.Random(f"{trial}"))
        return ends

    ends = sum(await asyncio.gather(*(work(worker) for worker in range(workers))), Counter[str]())
    print(f"\n{type(lab).__name__}: {dict(sorted(ends.items()))}")
    record_property("ends", dict(ends))
    assert ends["exact"] + ends["aloud"] == trials
    assert ends["exact"] > trials // 2
    assert ends["aloud"] > 0


async def broken(store: Store, proxy: FaultProxy, data: bytes, version: str, chance: random.Random) -> Counter[str]:
    """One body with one to five faults in it: how it ended, and after which fault at first."""
    start = chance.randrange(SIZE)
    span = Span(start, chance.randint(start + 1, SIZE))
    faults: list[Fault] = []
    left = len(span)
    for _ in range(chance.choice([1, 1, 1, 1, 2, 3, 5])):
        faults.append(Fault(chance.choice(BREAKS), at=chance.randrange(left)))
        left -= faults[-1].at
    struck = len(proxy.struck)
    proxy.plan(*faults)
    source = await open_resuming(store, "faults.wav", span, version, IMPATIENT.resumes)
    got = b""
    try:
        while piece := await source.read():
            got += piece
    except Broken:
        assert got == data[span.start : span.start + len(got)], "what came before the end was not the object's"
        end = "aloud"
    else:
        assert got == data[span.start : span.stop], "the body ended as if it were whole, and is not"
        end = "exact"
    finally:
        await source.close()
        proxy.forget()
    hit = len(proxy.struck) - struck
    assert 0 < hit <= source.resumed + 1
    assert source.resumed <= IMPATIENT.resumes
    assert end == "exact" or source.resumed == IMPATIENT.resumes, "given up before the tries were used up"
    return Counter([end, f"{faults[0].kind}: {end}"])


@REMOTE
@pytest.mark.parametrize("kind", BREAKS)
async def test_as_many_breaks_as_are_allowed_are_survived_and_one_more_is_not(lab: Lab, kind: Kind) -> None:
    data = random.Random(8).randbytes(400_000)
    lab.put("allowed.wav", data)
    version = (await (await store_of(lab)).stat("allowed.wav")).version
    assert lab.port is not None
    async with FaultProxy(lab.port) as proxy:
        store = await store_of(lab, IMPATIENT, port=proxy.port)
        for breaks in (3, 4):
            proxy.plan(*[Fault(kind, at=10_000)] * breaks)
            source = await open_resuming(store, "allowed.wav", Span(0, len(data)), version, 3)
            got = b""
            try:
                while piece := await source.read():
                    got += piece
            except Broken:
                assert breaks == 4
                assert got == data[:40_000]
            else:
                assert breaks == 3
                assert got == data
            assert source.resumed == 3
            await source.close()


@PINNING
async def test_an_object_overwritten_between_break_and_resume_is_never_spliced(lab: Lab) -> None:
    old, new = (random.Random(seed).randbytes(400_000) for seed in (1, 2))
    lab.put("splice.wav", old)
    version = (await (await store_of(lab)).stat("splice.wav")).version
    assert lab.port is not None
    async with FaultProxy(lab.port) as proxy:
        store = await store_of(lab, IMPATIENT, port=proxy.port)
        proxy.plan(Fault(Kind.STALL, at=100_000))
        source = await open_resuming(store, "splice.wav", Span(0, len(old)), version, 3)
        got = b""
        while len(got) < 100_000:
            got += await source.read()
        await asyncio.to_thread(lab.put, "splice.wav", new)
        with pytest.raises(Changed):
            await source.read()
        assert got == old[:100_000]
        assert source.resumed == 1
        await source.close()


@REMOTE
async def test_a_store_that_goes_away_in_mid_body_and_comes_back_is_read_to_the_end(lab: Lab) -> None:
    data = random.Random(9).randbytes(400_000)
    lab.put("back.wav", data)
    version = (await (await store_of(lab)).stat("back.wav")).version
    assert lab.port is not None
    async with FaultProxy(lab.port) as proxy:
        store = await store_of(lab, IMPATIENT, port=proxy.port)
        proxy.plan(Fault(Kind.CUT, at=50_000))
        source = await open_resuming(store, "back.wav", Span(0, len(data)), version, 3)
        got = b""
        while len(got) < 50_000:
            got += await source.read()
        await proxy.refuse()
        rest = asyncio.create_task(_rest(source))
        while source.resumed < 2:  # noqa: ASYNC110 - until the first try found nobody; nothing tells
            await asyncio.sleep(0.01)
        await proxy.accept()
        assert got + await rest == data
        await source.close()


async def _rest(source: Source) -> bytes:
    got = b""
    while piece := await source.read():
        got += piece
    return got


class ScriptedSource:
    """Says what it is told to, and notes whether it was closed."""

    def __init__(self, *script: bytes | Exception) -> None:
        self._script = list(script)
        self.closed = False

    async def read(self) -> bytes:
        if self.closed:
            raise Broken("closed")
        said = self._script.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    async def close(self) -> None:
        self.closed = True


class ScriptedStore:
    """Opens what it is told to, and notes what was asked for."""

    def __init__(self, *script: ScriptedSource | Exception) -> None:
        self.script = list(script)
        self.asked: list[tuple[Span, str]] = []
        self.asked_twice = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def open(self, key: str, span: Span, version: str) -> Source:
        assert key == "k"
        self.asked.append((span, version))
        if len(self.asked) > 1:
            self.asked_twice.set()
            await self.may_answer.wait()
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


@pytest.mark.parametrize("final", [Changed("x"), NotFound("x"), OriginFailed("x")])
async def test_what_cannot_be_read_on_is_given_up_at_once(final: Exception) -> None:
    store = ScriptedStore(ScriptedSource(b"ab", Broken("x")), final)
    source = await open_resuming(store, "k", Span(5, 10), "v", 3)
    assert await source.read() == b"ab"
    with pytest.raises((Broken, Changed)) as given_up:
        await source.read()
    assert type(given_up.value) is (Changed if isinstance(final, Changed) else Broken)
    assert store.asked == [(Span(5, 10), "v"), (Span(7, 10), "v")]


async def test_a_store_that_is_away_uses_up_a_try() -> None:
    store = ScriptedStore(ScriptedSource(Broken("x")), Unavailable("x"), ScriptedSource(b"abcde"))
    source = await open_resuming(store, "k", Span(5, 10), "v", 2)
    assert (await source.read(), await source.read(), source.resumed) == (b"abcde", b"", 2)


async def test_a_change_seen_in_mid_body_is_final() -> None:
    store = ScriptedStore(ScriptedSource(b"ab", Changed("x")))
    source = await open_resuming(store, "k", Span(0, 5), "v", 3)
    assert await source.read() == b"ab"
    with pytest.raises(Changed):
        await source.read()
    assert len(store.asked) == 1


async def test_an_end_before_the_end_is_a_break() -> None:
    store = ScriptedStore(ScriptedSource(b"ab", b""), ScriptedSource(b"cde"))
    assert await _rest(await open_resuming(store, "k", Span(0, 5), "v", 3)) == b"abcde"


async def test_more_than_was_asked_for_is_never_passed_on() -> None:
    source = await open_resuming(ScriptedStore(ScriptedSource(b"abcdef")), "k", Span(0, 5), "v", 3)
    with pytest.raises(Broken):
        await source.read()


class Lavish(ScriptedSource):
    """Has six bytes at hand, and pours as many as it may."""

    def at_hand(self) -> memoryview:
        return memoryview(b"abcdef")

    def pour(self, to: int, most: int) -> int:
        return os.write(to, b"abcdef"[:most])

    async def ready(self) -> None: ...


async def test_more_than_was_asked_for_neither_leaves_with_the_head_nor_is_poured() -> None:
    source = await open_resuming(ScriptedStore(Lavish()), "k", Span(0, 5), "v", 3)
    with pytest.raises(Broken):
        source.at_hand()
    near, far = socket.socketpair()
    with near, far:
        assert [source.pour(near.fileno(), most) for most in (2, 100, 100)] == [2, 3, 0]
        assert far.recv(100) == b"ababc"


async def test_with_no_resumes_the_first_break_is_the_end() -> None:
    broken_source = ScriptedSource(Broken("x"))
    source = await open_resuming(ScriptedStore(broken_source), "k", Span(0, 5), "v", 0)
    with pytest.raises(Broken, match="0 resumes"):
        await source.read()
    assert broken_source.closed


async def test_a_body_that_arrives_after_close_is_closed() -> None:
    late = ScriptedSource(b"abcde")
    store = ScriptedStore(ScriptedSource(Broken("x")), late)
    store.may_answer.clear()
    source = await open_resuming(store, "k", Span(0, 5), "v", 3)
    reading = asyncio.create_task(source.read())
    await store.asked_twice.wait()
    await source.close()
    store.may_answer.set()
    with pytest.raises(Broken):
        await reading
    assert late.closed


DATA = bytes(range(40))


@settings(max_examples=300)
@given(st.integers(0, 39), st.integers(1, 40), st.lists(st.lists(st.integers(1, 9), max_size=6), max_size=6), st.data())
async def test_whatever_breaks_where_the_bytes_are_the_objects(
    start: int, length: int, script: list[list[int]], data: st.DataObject
) -> None:
    """Each inner list is one connection: the sizes of its pieces, and then a break; the last one holds."""
    span = Span(start, min(start + length, 40))
    resumes = data.draw(st.integers(0, 6))

    class Store:
        opened = 0

        async def open(self, _key: str, asked: Span, version: str) -> Source:
            assert (asked.stop, version) == (span.stop, "v")
            sizes = script[self.opened] if self.opened < len(script) else [40]
            self.opened += 1
            pieces, at = [], asked.start
            for size in sizes:
                pieces.append(DATA[at : min(at + size, asked.stop)])
                at = min(at + size, asked.stop)
                if at == asked.stop:
                    break
            return ScriptedSource(*pieces, Broken("x"))

    store = Store()
    with mock.patch("gateway.stores.resume.jittered", return_value=0):
        source = await open_resuming(store, "k", span, "v", resumes)
        got = b""
        try:
            while piece := await source.read():
                got += piece
        except Broken:
            assert store.opened == resumes + 1
            assert got == DATA[span.start : span.start + len(got)]
            assert len(got) < len(span)
        else:
            assert got == DATA[span.start : span.stop]
    assert source.resumed <= resumes
