"""A file's bytes on their way: read or poured, whole or not at all, whatever happens to the file meanwhile."""

import asyncio
import contextlib
import errno
import hashlib
import itertools
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from parts.labs import QUICK, drain, read
from parts.pouring import MOST, Tap, descriptors, pour

from gateway.config import DiskStore
from gateway.errors import Broken, Changed
from gateway.model import PIECE, Pourable, Span
from gateway.stores import file_body
from gateway.stores.disk import Disk
from gateway.stores.file_body import STRIDE, WINDOW

LONG = 3 * WINDOW + PIECE + 17


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Disk]:
    made = Disk("lab", DiskStore(kind="disk", root=tmp_path), QUICK)
    yield made
    await made.close()


@pytest.fixture
def tap() -> Iterator[Tap]:
    with Tap() as made:
        yield made


async def opened(store: Disk, key: str, start: int = 0, stop: int | None = None) -> Pourable:
    stat = await store.stat(key)
    source = await store.open(key, Span(start, stat.size if stop is None else stop), stat.version)
    assert isinstance(source, Pourable)
    return source


def rewrite(path: Path) -> None:
    """Other bytes, as many, in place."""
    before = path.stat().st_mtime_ns
    while path.stat().st_mtime_ns == before:  # the clock of a file system ticks but every few milliseconds
        with path.open("r+b") as file:
            file.write(b"y" * path.stat().st_size)


def truncate(path: Path) -> None:
    os.truncate(path, 2 * PIECE)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.fixture(params=["at once", "by thread"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes come from the page cache at once, or by a thread; both must do the same."""
    if request.param == "by thread":
        monkeypatch.setattr(file_body, "NOWAIT", None)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("change", [rewrite, truncate, append, empty])
async def test_a_file_written_to_while_it_is_read_is_changed(
    store: Disk, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "mid.wav"
    path.write_bytes(b"x" * 5 * PIECE)
    source = await store.open("mid.wav", Span(0, 5 * PIECE), (await store.stat("mid.wav")).version)
    got = await source.read()
    change(path)
    with pytest.raises(Changed):
        await source.read()
    await source.close()
    assert got == b"x" * len(got)
    assert store.counts.errors == {"object_changed": 1}


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("length", [PIECE, 5 * PIECE], ids=["one piece", "several"])
async def test_a_file_written_to_before_a_read_returns_is_changed_though_it_was_not_when_that_began(
    store: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    path = tmp_path / "mid.wav"
    path.write_bytes(b"x" * length)
    version = (await store.stat("mid.wav")).version

    def overtaken(read: Callable[..., Any]) -> Callable[..., Any]:
        def reads(*asked: Any) -> Any:
            got = read(*asked)
            rewrite(path)
            return got

        return reads

    for name in ("pread", "preadv"):
        monkeypatch.setattr(file_body.os, name, overtaken(getattr(os, name)))
    with pytest.raises(Changed):
        await drain(await store.open("mid.wav", Span(0, length), version))


async def test_a_disk_that_ends_a_file_before_its_size_is_broken(
    store: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "short.wav").write_bytes(b"x" * 2 * PIECE)
    source = await opened(store, "short.wav")
    await source.read()
    monkeypatch.setattr(file_body, "NOWAIT", 0)
    monkeypatch.setattr(file_body.os, "preadv", lambda *_: 0)
    monkeypatch.setattr(file_body.os, "pread", lambda *_: b"")
    with pytest.raises(Broken, match="ended early"):
        await source.read()
    await source.close()
    assert store.counts.errors == {"origin_broken": 1}


@pytest.mark.usefixtures("either_way")
async def test_a_file_replaced_or_removed_while_it_is_read_is_read_to_its_end(store: Disk, tmp_path: Path) -> None:
    path = tmp_path / "kept.wav"
    for leave in (lambda: (tmp_path / "new").rename(path), path.unlink):
        path.write_bytes(b"x" * 5 * PIECE)
        (tmp_path / "new").write_bytes(b"y" * 5 * PIECE)
        source = await store.open("kept.wav", Span(0, 5 * PIECE), (await store.stat("kept.wav")).version)
        first = await source.read()
        leave()
        assert first + await drain(source) == b"x" * 5 * PIECE


@pytest.mark.usefixtures("either_way")
async def test_both_ways_of_reading_give_the_same(store: Disk, tmp_path: Path) -> None:
    data = os.urandom(3 * PIECE + 11)
    (tmp_path / "twin.wav").write_bytes(data)
    assert await read(store, "twin.wav") == data
    assert await read(store, "twin.wav", PIECE - 1, 2 * PIECE + 1) == data[PIECE - 1 : 2 * PIECE + 1]


async def test_bytes_that_are_only_partly_at_hand_are_passed_on_as_far_as_they_go(
    store: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, real, turns = os.urandom(3 * PIECE), os.preadv, itertools.cycle([1, PIECE, 0, 1000])
    (tmp_path / "partly.wav").write_bytes(data)

    def partly(file: int, buffers: list[memoryview], at: int, flags: int) -> int:
        if not (some := next(turns)):
            raise BlockingIOError(errno.EAGAIN, "not at hand")
        return real(file, [buffers[0][:some]], at, flags)

    monkeypatch.setattr(file_body, "NOWAIT", 0)
    monkeypatch.setattr(file_body.os, "preadv", partly)
    assert await read(store, "partly.wav") == data


async def test_a_disk_that_fails_in_mid_file_is_broken(
    store: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eio.wav").write_bytes(b"x" * 2 * PIECE)
    source = await opened(store, "eio.wav")
    await source.read()
    monkeypatch.setattr(file_body.os, "preadv", failing(errno.EIO))
    monkeypatch.setattr(file_body.os, "pread", failing(errno.EIO))
    with pytest.raises(Broken):
        await source.read()
    await source.close()
    assert store.counts.errors == {"origin_broken": 1}


def failing(number: int) -> Callable[..., int]:
    def fail(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("asked", ["read", "ready"])
@pytest.mark.parametrize("knows", ["what is at hand", "nothing"])
async def test_a_disk_that_hangs_is_broken_and_its_file_is_closed_when_the_thread_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, knows: str
) -> None:
    store = Disk("lab", DiskStore(kind="disk", root=tmp_path), QUICK.model_copy(update={"progress_s": 0.05}))
    (tmp_path / "hangs.wav").write_bytes(os.urandom(LONG))
    before = descriptors()
    release, real = threading.Event(), (os.pread, os.preadv)

    def pread(file: int, want: int, at: int) -> bytes:
        release.wait(10)
        return real[0](file, want, at)

    def preadv(file: int, buffers: list[memoryview], at: int, flags: int = 0) -> int:
        if flags:
            raise BlockingIOError(errno.EAGAIN, "not at hand")
        release.wait(10)
        return real[1](file, buffers, at)

    if knows == "nothing":
        monkeypatch.setattr(file_body, "NOWAIT", None)
    monkeypatch.setattr(file_body.os, "pread", pread)
    monkeypatch.setattr(file_body.os, "preadv", preadv)
    source = await opened(store, "hangs.wav")
    with pytest.raises(Broken):
        await getattr(source, asked)()
    await source.close()
    await source.close()
    assert descriptors() == before + 1
    release.set()
    await store.close()
    store._pool.shutdown(wait=True)
    assert descriptors() == before


SPANS = {
    "whole": (0, LONG),
    "inside": (1, LONG - 1),
    "a window and a piece": (5, 5 + WINDOW + PIECE),
    "a byte more": (5, 6 + WINDOW + PIECE),
    "a byte less": (5, 4 + WINDOW + PIECE),
    "a stride": (7, 7 + STRIDE + PIECE + 1),
    "more than a piece": (9, 10 + PIECE),
    "a piece": (9, 9 + PIECE),
    "a byte": (LONG - 1, LONG),
}


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    """What long.wav holds."""
    made = random.Random(1).randbytes(LONG)
    (tmp_path / "long.wav").write_bytes(made)
    return made


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("most", [MOST, 10_007])
@pytest.mark.parametrize(("start", "stop"), SPANS.values(), ids=SPANS)
async def test_what_is_poured_is_the_span_to_the_byte(
    store: Disk, tap: Tap, data: bytes, start: int, stop: int, most: int
) -> None:
    source = await opened(store, "long.wav", start, stop)
    taking = asyncio.create_task(tap.take(stop - start))
    assert await pour(source, tap.sock, stop - start, most=most) == stop - start
    assert source.pour(tap.sock.fileno(), most) == 0
    assert await source.read() == b""
    await source.close()
    assert sha256(await taking) == sha256(data[start:stop])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("seed", range(5))
async def test_reading_and_pouring_may_follow_each_other(store: Disk, tap: Tap, data: bytes, seed: int) -> None:
    chance = random.Random(seed)
    source, got = await opened(store, "long.wav"), bytearray()
    while len(got) < LONG:
        match chance.choice(["read", "pour", "pour", "ready", "at_hand"]):
            case "read":
                got += await source.read()
            case "ready":
                await source.ready()
            case "at_hand":
                got += source.at_hand()
            case _:
                with contextlib.suppress(BlockingIOError):
                    got += await tap.take(source.pour(tap.sock.fileno(), chance.randrange(1, WINDOW)))
    await source.close()
    assert sha256(bytes(got)) == sha256(data)


MOMENTS = {"at once": 1, "within": WINDOW + 1, "before the last piece": LONG - PIECE - 1, "at the last": LONG - PIECE}


def once(moment: int, change: Callable[[], object]) -> Callable[[int], None]:
    """Does ``change`` when so many bytes were poured."""
    done: list[object] = []

    def after(sent: int) -> None:
        if sent >= moment and not done:
            done.append(True)
            change()

    return after


@pytest.mark.usefixtures("either_way")
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize("change", [rewrite, truncate, append, empty])
async def test_a_file_written_to_while_it_is_poured_never_comes_to_its_end(
    store: Disk, tap: Tap, tmp_path: Path, change: Callable[[Path], None], moment: int
) -> None:
    source = await opened(store, "long.wav")
    taking = asyncio.create_task(tap.take(LONG))
    with pytest.raises(Changed):
        await pour(source, tap.sock, LONG, most=PIECE // 4, after=once(moment, lambda: change(tmp_path / "long.wav")))
    await source.close()
    tap.sock.close()
    assert moment <= len(await taking) < LONG
    assert store.counts.errors == {"object_changed": 1}


@pytest.mark.usefixtures("data")
async def test_a_file_written_to_within_its_last_piece_never_comes_to_its_end(
    store: Disk, tap: Tap, tmp_path: Path
) -> None:
    source = await opened(store, "long.wav")
    taking = asyncio.create_task(tap.take(LONG))
    await pour(source, tap.sock, LONG - 1000, most=PIECE - 1000)
    rewrite(tmp_path / "long.wav")
    with pytest.raises(Changed):
        await pour(source, tap.sock, 1000)
    await source.close()
    tap.sock.close()
    assert len(await taking) < LONG


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize("leave", ["replaced", "removed"])
async def test_a_file_replaced_or_removed_while_it_is_poured_goes_on_whole(
    store: Disk, tap: Tap, data: bytes, tmp_path: Path, leave: str, moment: int
) -> None:
    path, new = tmp_path / "long.wav", tmp_path / "new"
    new.write_bytes(b"y" * LONG)
    source = await opened(store, "long.wav")
    taking = asyncio.create_task(tap.take(LONG))
    await pour(
        source, tap.sock, LONG, after=once(moment, path.unlink if leave == "removed" else lambda: new.rename(path))
    )
    await source.close()
    assert sha256(await taking) == sha256(data)


async def test_a_short_span_comes_along_with_the_answer_and_holds_no_file(store: Disk, tap: Tap, data: bytes) -> None:
    await store.stat("long.wav")
    before = descriptors()
    source = await opened(store, "long.wav", 11, 11 + PIECE)
    assert descriptors() == before
    assert source.at_hand() == data[11 : 11 + PIECE]
    assert (source.at_hand(), source.pour(tap.sock.fileno(), 1), await source.read()) == (b"", 0, b"")
    await source.close()


async def test_a_long_span_comes_along_with_nothing(store: Disk, data: bytes) -> None:
    source = await opened(store, "long.wav", 0, PIECE + 1)
    assert source.at_hand() == b""
    assert await drain(source) == data[: PIECE + 1]


async def test_the_loop_asks_a_cold_file_for_nothing_that_would_have_to_wait(
    store: Disk, tap: Tap, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "long.wav").open("r+b") as file:
        os.fsync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    pread, preadv, waited = os.pread, os.preadv, []

    def watched(file: int, want: int, at: int) -> bytes:
        waited.append(threading.current_thread())
        return pread(file, want, at)

    def watched_v(file: int, buffers: list[memoryview], at: int, flags: int = 0) -> int:
        if not flags & os.RWF_NOWAIT:
            waited.append(threading.current_thread())
        return preadv(file, buffers, at, flags)

    source = await opened(store, "long.wav")
    monkeypatch.setattr(file_body.os, "pread", watched)
    monkeypatch.setattr(file_body.os, "preadv", watched_v)
    taking = asyncio.create_task(tap.take(LONG))
    await pour(source, tap.sock, LONG)
    await source.close()
    assert sha256(await taking) == sha256(data)
    assert threading.main_thread() not in waited


class Cold:
    """What preadv says of a file that is not in memory before a thread has read it, once ``release`` lets that go on.

    ``forgets``: nor after it.
    """

    def __init__(self, *, forgets: bool = False) -> None:
        self.release = threading.Event()
        self.waited = 0
        self._real = os.preadv
        self._forgets = forgets

    def preadv(self, file: int, buffers: list[memoryview], at: int, flags: int = 0) -> int:
        if flags and (self._forgets or not self.waited):
            raise BlockingIOError(errno.EAGAIN, "not at hand")
        if not flags:
            assert threading.current_thread() is not threading.main_thread()
            self.release.wait(10)
            self.waited += 1
        return self._real(file, buffers, at, flags)


async def test_the_loop_goes_on_while_a_disk_takes_its_time(
    store: Disk, tap: Tap, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = Cold()
    monkeypatch.setattr(file_body.os, "preadv", cold.preadv)
    monkeypatch.setattr(file_body.os, "pread", failing(errno.EIO))
    source = await opened(store, "long.wav")
    assert source.pour(tap.sock.fileno(), MOST) == 0
    ready = asyncio.create_task(source.ready())
    await asyncio.sleep(0)
    assert source.pour(tap.sock.fileno(), MOST) == 0
    assert not ready.done()
    cold.release.set()
    await ready
    taking = asyncio.create_task(tap.take(LONG))
    await pour(source, tap.sock, LONG)
    await source.close()
    assert sha256(await taking) == sha256(data)
    assert cold.waited == WINDOW // PIECE, "a window is brought into memory at once, and goes without waiting"


async def test_a_file_that_does_not_stay_in_memory_comes_to_its_end(
    store: Disk, tap: Tap, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = Cold(forgets=True)
    cold.release.set()
    monkeypatch.setattr(file_body.os, "preadv", cold.preadv)
    source = await opened(store, "long.wav")
    taking = asyncio.create_task(tap.take(LONG))
    await asyncio.wait_for(pour(source, tap.sock, LONG), 10)
    await source.close()
    assert sha256(await taking) == sha256(data)


async def test_a_full_socket_is_told_and_takes_the_rest_later(store: Disk, tap: Tap, data: bytes) -> None:
    source, sent = await opened(store, "long.wav"), 0
    with contextlib.suppress(BlockingIOError):
        while sent < LONG:
            sent += source.pour(tap.sock.fileno(), MOST)
    assert 0 < sent < LONG
    taking = asyncio.create_task(tap.take(LONG))
    await pour(source, tap.sock, LONG - sent)
    await source.close()
    assert sha256(await taking) == sha256(data)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("left", [LONG, PIECE + 1, 1000])
async def test_a_client_that_left_is_no_fault_of_the_files(store: Disk, tap: Tap, left: int) -> None:
    await store.stat("long.wav")
    before = descriptors()
    source = await opened(store, "long.wav", LONG - left, LONG)
    tap.leave()
    with pytest.raises(ConnectionError):
        await pour(source, tap.sock, LONG)
    await source.close()
    assert descriptors() == before - 1


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EPIPE, errno.ECONNRESET])
async def test_what_the_clients_socket_fails_with_is_the_clients(
    store: Disk, tap: Tap, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    source = await opened(store, "long.wav")
    monkeypatch.setattr(file_body.os, "write", failing(number))
    with pytest.raises(ConnectionError):
        source.pour(tap.sock.fileno(), MOST)
    await source.close()


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("calls", [["preadv", "pread"], ["fstat"]], ids=["read", "looked at"])
async def test_what_the_disk_fails_with_is_the_files(
    store: Disk, tap: Tap, monkeypatch: pytest.MonkeyPatch, calls: list[str], number: int
) -> None:
    source = await opened(store, "long.wav")
    await source.read()
    with monkeypatch.context() as disk:
        for call in calls:
            disk.setattr(file_body.os, call, failing(number))
        with pytest.raises(Broken):
            await pour(source, tap.sock, LONG - PIECE)
    await source.close()
    assert store.counts.errors == {"origin_broken": 1}


async def test_a_file_system_that_cannot_tell_what_is_at_hand_is_read_by_a_thread(
    store: Disk, tap: Tap, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await opened(store, "long.wav")
    monkeypatch.setattr(file_body.os, "preadv", failing(errno.EOPNOTSUPP))
    taking = asyncio.create_task(tap.take(LONG))
    await pour(source, tap.sock, LONG)
    await source.close()
    assert sha256(await taking) == sha256(data)


async def test_what_was_written_over_never_leaves(store: Disk, tap: Tap, data: bytes, tmp_path: Path) -> None:
    """Nor out of the socket's buffer, where it was when the file was written to."""
    source, sent = await opened(store, "long.wav"), 0
    with contextlib.suppress(BlockingIOError):
        while sent < LONG:
            sent += source.pour(tap.sock.fileno(), MOST)
    assert sent < LONG
    rewrite(tmp_path / "long.wav")
    assert await tap.take(sent) == data[:sent]
    with pytest.raises(Changed):
        await pour(source, tap.sock, LONG - sent)
    await source.close()


@pytest.mark.usefixtures("data")
async def test_bodies_left_at_any_point_lose_no_descriptor(store: Disk, tap: Tap) -> None:
    await store.stat("long.wav")
    before, chance = descriptors(), random.Random(7)
    for _ in range(100):
        source = await opened(store, "long.wav", 0, chance.choice([1000, PIECE + 1, LONG]))
        for _ in range(chance.randrange(4)):
            with contextlib.suppress(BlockingIOError):
                if not source.pour(tap.sock.fileno(), chance.randrange(PIECE)):
                    asking = asyncio.create_task(source.ready())
                    await asyncio.sleep(0)
                    asking.cancel()
        await source.close()
    await store.close()
    store._pool.shutdown(wait=True)
    assert descriptors() == before


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_it_works_in_either_loop(
    tap: Tap, tmp_path: Path, data: bytes, loops: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def work() -> bytes:
        store = Disk("lab", DiskStore(kind="disk", root=tmp_path), QUICK)
        source = await opened(store, "long.wav")
        first = await source.read()
        taking = asyncio.create_task(tap.take(LONG - len(first)))
        await pour(source, tap.sock, LONG - len(first))
        await source.close()
        await store.close()
        return first + await taking

    with asyncio.Runner(loop_factory=loops) as runner:
        assert sha256(runner.run(work())) == sha256(data)
