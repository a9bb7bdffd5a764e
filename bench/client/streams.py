"""Many bodies at once in one thread. The kernel throws away what is read (MSG_TRUNC, tcp(7)): reading costs next to nothing."""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from ..variants import Target
from .request import PATIENCE_S, PIECE, WrongAnswer, connect, parse_head

_SCRATCH = bytearray(PIECE)
_HEAD = 16_384


class Stream:
    """One answer on a connection of its own. ``wanted`` None: the whole body; else it is abandoned there."""

    __slots__ = ("_received", "left", "sock", "taken", "wanted")

    def __init__(self, sock: socket.socket, wanted: int | None = None) -> None:
        self.sock = sock
        self.wanted = wanted
        self.left: int | None = None
        """None: the head has not come."""
        self.taken = 0
        self._received = b""

    def take(self, most: int = PIECE) -> bool:
        """Reads once, what is there; whether that was all that is wanted. Raises WrongAnswer, BlockingIOError."""
        if self.left is None:
            count = len(piece := self.sock.recv(_HEAD))
            self._received += piece
            if (head := parse_head(self._received)) is not None:
                self.taken = head.taken
                self.left = (head.length if self.wanted is None else self.wanted) - head.taken
        else:
            count = self.sock.recv_into(_SCRATCH, min(self.left, most), socket.MSG_TRUNC)
            self.taken += count
            self.left -= count
        if not count:
            raise WrongAnswer(f"ended after {self.taken} bytes")
        return self.left is not None and self.left <= 0


def _opened(target: Target, origin: str, request: bytes, wanted: int | None = None) -> Stream:
    sock = connect(target, origin)
    sock.sendall(request)
    sock.setblocking(False)
    return Stream(sock, wanted)


def read_all(
    target: Target, origin: str, requests: Sequence[bytes], *, at_once: int, wanted: int | None = None
) -> list[float]:
    """Reads every answer, ``at_once`` of them at a time; the seconds each took from connecting on."""
    took: list[float] = []
    waiting = iter(requests)
    with selectors.DefaultSelector() as selector, ExitStack() as open_:

        def next_one() -> None:
            if (request := next(waiting, None)) is not None:
                began = time.perf_counter()
                stream = _opened(target, origin, request, wanted)
                open_.callback(stream.sock.close)
                selector.register(stream.sock, selectors.EVENT_READ, (stream, began))

        for _ in range(at_once):
            next_one()
        while selector.get_map():
            ready = selector.select(PATIENCE_S)
            if not ready:
                raise WrongAnswer(f"{target.name}: nothing for {PATIENCE_S:g} s")
            for key, _ in ready:
                stream, began = key.data
                if stream.take():
                    took.append(time.perf_counter() - began)
                    selector.unregister(stream.sock)
                    stream.sock.close()
                    next_one()
    return took


@contextlib.contextmanager
def readers(target: Target, origin: str, requests: Sequence[bytes]) -> Iterator[list[Stream]]:
    """One open answer for each request, its head read."""
    with ExitStack() as open_:
        streams = []
        for request in requests:
            stream = _opened(target, origin, request)
            open_.callback(stream.sock.close)
            streams.append(stream)
        for stream in streams:
            stream.sock.settimeout(PATIENCE_S)
            while stream.left is None:
                stream.take()
            stream.sock.setblocking(False)
        yield streams


def sip(
    streams: Sequence[Stream], *, rate: int, seconds: float, sips_a_second: int, halfway: Callable[[], None]
) -> float:
    """Reads each at ``rate`` bytes a second; the share of that which came. ``halfway`` is called in the middle."""
    began = time.perf_counter()
    step, mouthful = 1 / sips_a_second, rate // sips_a_second
    due = [(began + step * place / len(streams), place) for place in range(len(streams))]
    heapq.heapify(due)
    before = sum(stream.taken for stream in streams)
    called = False
    while (now := time.perf_counter()) < began + seconds:
        if not called and now > began + seconds / 2:
            halfway()
            called = True
        when, place = due[0]
        if when > now:
            time.sleep(when - now)
        with contextlib.suppress(BlockingIOError):
            streams[place].take(mouthful)
        heapq.heapreplace(due, (when + step, place))
    return (sum(stream.taken for stream in streams) - before) / (rate * seconds * len(streams))
