"""Bodies poured into a client's socket: each byte once and in its order, whatever either end does."""

import asyncio
import contextlib
import fcntl
import gc
import hashlib
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator
from typing import cast
from unittest import mock

import pytest
from parts.labs import QUICK, drain
from parts.loops import on_both_loops
from parts.pouring import Tap, descriptors, pour, writable
from parts.ranged import ETAG, RangedServer

from gateway.config import Origin
from gateway.errors import Broken
from gateway.model import PIECE, Pourable, Source, Span
from gateway.stores import open_resuming
from gateway.stores import pipes as pipes_module
from gateway.stores.answer import Pin
from gateway.stores.body import Body
from gateway.stores.origin import Reader, Target

DATA = random.Random(11).randbytes(6_000_011)
WAYS = pytest.mark.parametrize("way", ["plain", "pipeless", "copied", "tls"])
"""``pipeless``: where no pipe is to be had; ``copied``: where the system does not splice."""


class Lab:
    """One store of one object, with the server behind it."""

    def __init__(self, server: RangedServer, reader: Reader, target: Target) -> None:
        self.server = server
        self.reader = reader
        self.target = target
        self.counts = reader.counts

    async def open(self, _key: str, span: Span, _version: str) -> Source:
        return await self.reader.get(self.target, span)


@contextlib.asynccontextmanager
async def lab(way: str, tls: ssl.SSLContext, origin: Origin = QUICK) -> AsyncIterator[Lab]:
    async with RangedServer(DATA, tls=tls if way == "tls" else None) as server:
        with mock.patch("gateway.stores.origin.can_splice", return_value=way in {"plain", "pipeless"}):
            reader = Reader("lab", origin)
        scheme = "https" if way == "tls" else "http"
        target = reader.target(f"{scheme}://localhost:{server.port}/o", {}, Pin("ETag", ETAG))
        with mock.patch.object(pipes_module, "AT_ONCE", 0) if way == "pipeless" else contextlib.nullcontext():
            try:
                yield Lab(server, reader, target)
            finally:
                await reader.close()


def test_this_system_splices() -> None:
    """Where it doesn't, all that follows would be tried one way only, and nobody would know."""
    assert pipes_module.can_splice()


def test_a_system_that_cannot_splice_is_known_by_trying() -> None:
    with mock.patch("os.splice", side_effect=OSError(38, "Function not implemented")):
        assert not pipes_module.can_splice.__wrapped__()


def test_a_pipe_with_bytes_left_in_it_is_nobodys_again() -> None:
    pipes = pipes_module.Pipes()
    taken = [pipes.take() for _ in range(pipes_module.FREE + 2)]
    for number, pipe in enumerate(taken):
        assert pipe is not None
        pipe.filled = os.write(pipe.entry, b"x") if number == 0 else 0
        pipes.give(pipe)
    assert (pipes._free, pipes.used) == (taken[1:-1], 0), "of the empty ones so many are kept"
    again = pipes.take()
    assert again is not None
    with pytest.raises(BlockingIOError):
        os.read(again.exit, 1)
    pipes.give(again)
    pipes.close()


@pytest.mark.parametrize("told", [True, False])
def test_a_pipe_too_small_to_be_of_use_is_not_left_open(*, told: bool) -> None:
    def small(_pipe: int, command: int, *_size: int) -> int:
        if command == fcntl.F_SETPIPE_SZ or not told:
            raise PermissionError
        return 4096

    before = descriptors()
    with mock.patch("fcntl.fcntl", small):
        assert pipes_module.Pipes().take() is None
    assert descriptors() == before


@WAYS
@on_both_loops
async def test_a_client_that_takes_its_time_gets_every_byte(way: str, tls: ssl.SSLContext) -> None:
    async with lab(way, tls) as at:
        with Tap(buffer=32 * 1024) as tap:
            span = Span(13, len(DATA) - 7)
            source = await open_resuming(at, "k", span, ETAG, 0)
            tap.sock.send(first := source.at_hand().tobytes())
            sending = asyncio.create_task(pour(source, tap.sock, len(span) - len(first), most=300_000))
            await asyncio.sleep(0.05)  # until the client's socket is full
            assert not sending.done()
            got = await tap.take(len(span))
            assert await sending == len(span) - len(first)
            await source.close()
        assert hashlib.sha256(got).digest() == hashlib.sha256(DATA[span.start : span.stop]).digest()
        assert at.counts.connections == 1


@WAYS
@on_both_loops
async def test_a_full_socket_is_told_at_once_and_nothing_is_lost_by_it(way: str, tls: ssl.SSLContext) -> None:
    async with lab(way, tls) as at:
        with Tap(buffer=4096) as tap:
            source = await at.open("k", Span(0, len(DATA)), ETAG)
            assert isinstance(source, Pourable)
            given = dropped = len(source.at_hand())
            for _ in range(1000):
                try:
                    if not (moved := source.pour(tap.sock.fileno(), len(DATA))):
                        await source.ready()
                    given += moved
                except BlockingIOError:
                    break
            else:
                pytest.fail("a socket that nobody reads from was never full")
            for _ in range(3):
                with pytest.raises(BlockingIOError):
                    source.pour(tap.sock.fileno(), len(DATA))
            await source.ready()  # there is something, so it is not the origin that is waited for
            taking = asyncio.create_task(tap.take(PIECE))
            await writable(tap.sock)
            assert source.pour(tap.sock.fileno(), 10) == 10
            got = await taking + await tap.take(given + 10 - dropped - PIECE)
            assert got == DATA[dropped : given + 10]
            assert await drain(source) == DATA[given + 10 :]


@on_both_loops
async def test_a_stalled_client_without_a_pipe_costs_no_memory_here(tls: ssl.SSLContext) -> None:
    async with lab("pipeless", tls) as at:
        with Tap(buffer=4096) as tap:
            source = await at.open("k", Span(0, len(DATA)), ETAG)
            assert isinstance(source, Pourable) and isinstance(source, Body)
            given = dropped = len(source.at_hand())
            with contextlib.suppress(BlockingIOError):
                while True:
                    if not (moved := source.pour(tap.sock.fileno(), len(DATA))):
                        await source.ready()
                    given += moved
            assert (source._held, source._pipe) == (b"", None)
            assert await tap.take(given - dropped) == DATA[dropped:given]
            await source.close()


class _Reset:
    """A socket whose peer resets it between the look at ``body``'s last byte and its removal."""

    def __init__(self, sock: socket.socket, body: Body) -> None:
        self._sock, self._body = sock, body

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def recv_into(self, into: bytearray, count: int, flags: int = 0) -> int:
        if flags & socket.MSG_TRUNC and not self._body._left:
            raise ConnectionResetError
        return self._sock.recv_into(into, count, flags)


@on_both_loops
async def test_an_origin_that_resets_behind_the_last_byte_broke_nothing(tls: ssl.SSLContext) -> None:
    async with lab("pipeless", tls) as at:
        with Tap() as tap:
            source = await at.open("k", Span(0, 300_000), ETAG)
            assert isinstance(source, Pourable) and isinstance(source, Body) and source._connection is not None
            connection = source._connection
            connection.sock = cast("socket.socket", _Reset(connection.sock, source))
            tap.sock.send(first := source.at_hand().tobytes())
            sending = asyncio.create_task(pour(source, tap.sock, 300_000 - len(first)))
            assert await tap.take(300_000) == DATA[:300_000]
            await sending
            assert at.counts.errors["origin_broken"] == 0
            assert connection.sock.fileno() == -1, "it may not serve again"
            await source.close()


@WAYS
@on_both_loops
async def test_a_client_that_left_is_no_fault_of_the_origin(way: str, tls: ssl.SSLContext) -> None:
    async with lab(way, tls) as at:
        with Tap() as tap:
            source = await open_resuming(at, "k", Span(0, len(DATA)), ETAG, 3)
            tap.leave()
            with pytest.raises(ConnectionError):
                await pour(source, tap.sock, len(DATA))
            await source.close()
            assert source.resumed == 0
            assert not at.counts.errors
        await at.server.until(lambda: at.server.open == 0)


@WAYS
@on_both_loops
async def test_an_origin_cut_at_random_places_is_taken_up_again(way: str, tls: ssl.SSLContext) -> None:
    chance = random.Random(5)
    async with lab(way, tls) as at:
        for _ in range(6):
            start = chance.randrange(len(DATA) - 100_000)
            span = Span(start, chance.choice([start + 50_000, len(DATA)]))
            at.server.cuts.extend([chance.randrange(len(span) // 3) for _ in range(3)])
            with Tap() as tap, mock.patch("gateway.stores.resume.jittered", return_value=0):
                source = await open_resuming(at, "k", span, ETAG, 3)
                first = source.at_hand().tobytes()
                taking = asyncio.create_task(tap.take(len(span) - len(first)))
                await pour(source, tap.sock, len(span) - len(first))
                assert first + await taking == DATA[span.start : span.stop]
                assert source.resumed == 3
                await source.close()
        assert at.counts.resumes == 18
        assert at.counts.errors["origin_broken"] == 18


@WAYS
@on_both_loops
async def test_what_came_before_a_cut_is_delivered_before_it_is_told(way: str, tls: ssl.SSLContext) -> None:
    async with lab(way, tls) as at:
        for length, cut in ((PIECE, 40_000), (1_000_000, 700_000)):
            at.server.cuts.append(cut)
            with Tap() as tap:
                source = await at.open("k", Span(0, length), ETAG)
                assert isinstance(source, Pourable)
                first = source.at_hand().tobytes()
                taking = asyncio.create_task(tap.take(length))
                with pytest.raises(Broken, match=f"{length - cut} bytes"):
                    await pour(source, tap.sock, length - len(first))
                with pytest.raises(Broken):
                    await source.read()
                await source.close()
                tap.sock.close()
                assert first + await taking == DATA[:cut]


@WAYS
@on_both_loops
async def test_an_origin_that_stalls_is_broken_when_progress_is_due(way: str, tls: ssl.SSLContext) -> None:
    origin = QUICK.model_copy(update={"progress_s": 0.1})
    async with lab(way, tls, origin) as at:
        at.server.after = b""
        for length in (PIECE, 1_000_000):
            with Tap() as tap, mock.patch.object(at.server, "_data", DATA[:40_000]):
                at.server.split = lambda answer, length=length: [answer.replace(b"Length: 40000", b"Length: %d" % length)
                    .replace(b"-39999/40000", b"-%d/9999999" % (length - 1))
                    .replace(b"-%d/40000" % (length - 1), b"-%d/9999999" % (length - 1))]  # fmt: skip
                source = await at.open("k", Span(0, length), ETAG)
                assert isinstance(source, Pourable)
                first = source.at_hand().tobytes()
                taking = asyncio.create_task(tap.take(40_000 - len(first)))
                with pytest.raises(Broken, match="TimeoutError"):
                    await pour(source, tap.sock, length - len(first))
                assert first + await taking == DATA[:40_000]
                await source.close()


@WAYS
@on_both_loops
async def test_reading_and_pouring_may_follow_each_other(way: str, tls: ssl.SSLContext) -> None:
    async with lab(way, tls) as at:
        for seed in range(12):
            chance = random.Random(seed)
            start = chance.randrange(len(DATA) - 1_200_000)
            span = Span(start, start + chance.choice([1, 5000, PIECE, PIECE + 1, 300_000, 1_200_000]))
            pieces: list[bytes] = []
            with Tap(buffer=chance.choice([4096, 65536, 1 << 20])) as tap:
                source = await open_resuming(at, "k", span, ETAG, 0)
                done = 0
                while done < len(span):
                    match chance.randrange(4):
                        case 0:
                            pieces.append(await source.read())
                            assert 0 < len(pieces[-1]) <= PIECE
                        case 1:
                            pieces.append(source.at_hand().tobytes())
                        case _:
                            try:
                                moved = source.pour(tap.sock.fileno(), chance.choice([1, 100, 70_000, 1 << 20]))
                            except BlockingIOError:
                                moved = 0
                            if not moved:
                                await source.ready()
                            pieces.append(await tap.take(moved) if moved else b"")
                    done += len(pieces[-1])
                assert await source.read() == b""
                await source.close()
            assert b"".join(pieces) == DATA[span.start : span.stop], seed


@WAYS
@on_both_loops
async def test_bodies_closed_with_bytes_waiting_leave_no_descriptor(way: str, tls: ssl.SSLContext) -> None:
    async with lab(way, tls) as at:
        before = 0
        for turn in range(30):
            if turn == 3:  # what is made once has been made
                gc.collect()
                await at.server.until(lambda: at.server.open == 0)
                before = descriptors()
            with Tap(buffer=4096) as tap:
                source = await at.open("k", Span(0, 3_000_000), ETAG)
                assert isinstance(source, Pourable)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        if not source.pour(tap.sock.fileno(), 3_000_000):
                            await source.ready()
                if turn % 2:
                    assert await source.read()
                await source.close()
                await source.close()
        gc.collect()
        await at.server.until(lambda: at.server.open == 0)
        assert descriptors() <= before + 2  # one pipe that is empty may be kept
        assert at.reader._means.pipes is None or at.reader._means.pipes.used == 0


@WAYS
@pytest.mark.parametrize("poured", [False, True], ids=["read", "poured"])
@on_both_loops
async def test_a_body_whose_store_was_closed_is_broken(way: str, tls: ssl.SSLContext, *, poured: bool) -> None:
    async with lab(way, tls) as at:
        source = await at.open("k", Span(0, len(DATA)), ETAG)
        assert isinstance(source, Pourable)
        assert await source.read()
        await at.reader.close()
        with Tap() as tap, pytest.raises(Broken):
            await (pour(source, tap.sock, len(DATA)) if poured else drain(source))
        await source.close()


@on_both_loops
async def test_streams_beyond_the_pipes_there_are_go_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes_module, "AT_ONCE", 1)
    async with lab("plain", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as at:
        with Tap(buffer=4096) as stalled, Tap() as other:
            holder = await at.open("k", Span(0, len(DATA)), ETAG)
            assert isinstance(holder, Pourable)
            with contextlib.suppress(BlockingIOError):
                while True:
                    if not holder.pour(stalled.sock.fileno(), len(DATA)):
                        await holder.ready()
            source = await at.open("k", Span(0, 2_000_000), ETAG)
            assert isinstance(source, Pourable)
            first = source.at_hand().tobytes()
            taking = asyncio.create_task(other.take(2_000_000))
            with mock.patch("os.splice", side_effect=AssertionError("there was a pipe")):
                await pour(source, other.sock, 2_000_000 - len(first))
            other.sock.close()
            assert first + await taking == DATA[:2_000_000]
            await source.close()
            await holder.close()


@on_both_loops
async def test_a_source_that_does_not_pour_is_poured_piece_by_piece() -> None:
    class Pieces:
        def __init__(self, *pieces: bytes) -> None:
            self.pieces = list(pieces)

        async def read(self) -> bytes:
            if not self.pieces:
                raise Broken("no more")
            return self.pieces.pop(0)

        async def close(self) -> None: ...

    class Store:
        async def open(self, _key: str, span: Span, _version: str) -> Source:
            return Pieces(DATA[span.start : min(span.start + 9, span.stop)])

    with Tap() as tap, mock.patch("gateway.stores.resume.jittered", return_value=0):
        source = await open_resuming(Store(), "k", Span(5, 25), ETAG, 3)
        assert source.at_hand() == b""
        assert await pour(source, tap.sock, 20, most=4) == 20
        assert await tap.take(20) == DATA[5:25]
        assert (source.resumed, source.pour(tap.sock.fileno(), 4)) == (2, 0)
