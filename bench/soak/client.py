"""The client: one thread, one epoll, thousands of requests a second. What it only counts, the kernel throws away."""

from __future__ import annotations

import heapq
import re
import select
import socket
import time
from collections import deque
from itertools import count
from pathlib import Path

from ..client.request import END, HOST, PIECE
from .asks import Ask, Asker, Kind, Plan
from .tally import End, Tally

AT_ONCE = 1024
"""Requests under way at most, slow and stalled readers not counted."""
IDLE_S = 20.0
"""After which a kept connection is closed, well before the gateway would."""
SIPS_A_SECOND = 4
LOOKS = 4
"""The gateway looks so many times in the time it has patience for, and cuts off by the look after that."""
LINGER_S = 5.0
"""Beyond that look, before a stalled reader sees whether it was cut off."""
PATIENCE_S = 60.0
"""For answers still under way when nothing more is asked."""
_QUARTERS = 4
_HEAD = 16_384
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


_NARROW = 65_536


class _Talk:
    """A connection, and the answer that is under way on it."""

    __slots__ = ("ask", "body", "due", "left", "received", "since", "sock", "taken")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ask: Ask | None = None
        self.since = 0.0
        """Idle since; or, amid an answer, when it began."""

    def begin(self, ask: Ask, due: float) -> None:
        self.ask, self.due = ask, due
        self.received = b""
        self.left: int | None = None
        self.taken = 0
        self.body: bytearray | None = None if ask.check is None else bytearray()


class Client:
    """Asks by ``plan``. Every request that was made is in one ``tally``, ended in one way, once ``settle`` has returned."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._asker = Asker(plan)
        self._content = Path(plan.content).read_bytes()
        self._scratch = bytearray(PIECE)
        self._epoll = select.epoll()
        self._talks: dict[int, _Talk] = {}
        self._idle: deque[_Talk] = deque()
        self._sips: list[tuple[float, int, _Talk]] = []
        self._turn = count()
        self._busy = 0
        self._populations = {Kind.SLOW: 0, Kind.STALLED: 0}
        self.tally = Tally()

    def taken(self) -> Tally:
        """What was counted since it was last asked."""
        told, self.tally = self.tally, Tally()
        return told

    def saturate(self, at_once: int, seconds: float) -> float:
        """So many requests at once, each followed by another; how many were answered a second in the slowest quarter but the first.

        In the first slow readers come. The others differ as the machine is shared: what one of them alone carries is not what lasts.
        """
        since, before, rates = time.perf_counter(), 0, list[float]()
        while len(rates) < _QUARTERS:
            now = time.perf_counter()
            if now >= since + seconds / _QUARTERS:
                rates.append((self.tally.ended - before) / (now - since))
                since, before = now, self.tally.ended
            for _ in range(at_once - self._busy):
                self._ask(self._asker.any(), now)
            self._populate(now)
            self._turn_once(since + seconds / _QUARTERS)
        return min(rates[1:])

    def drive(self, rate: float, seconds: float) -> None:
        """``rate`` requests a second by chance, whatever becomes of them, beside the slow and the stalled readers."""
        now = time.perf_counter()
        end, due, looked = now + seconds, now, now
        while now < end:
            while due <= now:
                if self._busy < AT_ONCE:
                    self._ask(self._asker.any(), due)
                else:
                    self.tally.held_back += 1
                due += self._asker.pause(rate)
            self._populate(now)
            if now > looked + 1:
                self._forget_idle(now)
                looked = now
            self._turn_once(min(due, end))
            now = time.perf_counter()

    def settle(self) -> None:
        """Nothing more is asked; what is under way ends: slow readers take the rest, stalled ones leave."""
        end = time.perf_counter() + PATIENCE_S
        while busy := [talk for talk in self._talks.values() if talk.ask is not None]:
            for talk in busy:
                self._hasten(talk)
            if time.perf_counter() > end:
                for talk in busy:
                    self._wrong(talk, f"no end of it within {PATIENCE_S:g} s")
            else:
                self._turn_once(time.perf_counter() + 0.05)
        for talk in list(self._talks.values()):
            self._close(talk)
        self._idle.clear()

    def _hasten(self, talk: _Talk) -> None:
        ask = talk.ask
        assert ask is not None
        if ask.kind is Kind.STALLED and talk.left is not None:
            self._end(talk, End.CLIENT_GONE)
        elif ask.kind is Kind.SLOW and talk.left is not None:
            if ask.wanted is not None:
                self._end(talk, End.CLIENT_GONE)
            else:
                self._epoll.modify(talk.sock, _IN)

    def _populate(self, now: float) -> None:
        """One of each at a time, so that they don't walk in step."""
        if self._populations[Kind.SLOW] < self._plan.slow:
            self._ask(self._asker.slow(), now)
        if self._populations[Kind.STALLED] < self._plan.stalled:
            self._ask(self._asker.stalled(), now)

    # --- asking -----------------------------------------------------------------------------------------------------

    def _ask(self, ask: Ask, due: float) -> None:
        slow = ask.kind in self._populations
        talk = self._connect(narrow=slow) if slow or ask.fresh or not self._idle else self._idle.pop()
        talk.begin(ask, due)
        if ask.kind in self._populations:
            self._populations[ask.kind] += 1
        else:
            self._busy += 1
        self._send(talk)

    def _connect(self, *, narrow: bool) -> _Talk:
        """``narrow``: for a reader that is slow, whose own kernel would else take megabytes for it at once."""
        sock = socket.socket()
        if narrow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex((HOST, self._plan.port))
        talk = _Talk(sock)
        self._talks[sock.fileno()] = talk
        self._epoll.register(sock, _IN)
        self.tally.connections += 1
        return talk

    def _send(self, talk: _Talk) -> None:
        assert talk.ask is not None
        try:
            talk.sock.send(talk.ask.request)
        except BlockingIOError:  # its handshake is under way
            self._epoll.modify(talk.sock, _OUT)
        except OSError as error:
            self._wrong(talk, f"could not be asked: {error}")

    # --- answers ----------------------------------------------------------------------------------------------------

    def _turn_once(self, until: float) -> None:
        now = time.perf_counter()
        if self._sips:
            until = min(until, self._sips[0][0])
        for fd, events in self._epoll.poll(max(until - now, 0)):
            if (talk := self._talks.get(fd)) is None:
                continue
            if events & _OUT and not events & _IN:
                self._epoll.modify(fd, _IN)
                self._send(talk)
            elif talk.ask is None:
                self._idle.remove(talk)
                self._close(talk)
            else:
                self._read(talk, PIECE)
        now = time.perf_counter()
        while self._sips and self._sips[0][0] <= now:
            due, _, talk = heapq.heappop(self._sips)
            if talk.ask is not None and talk.ask.kind is Kind.SLOW:
                self._sip(talk, due)
            elif talk.ask is not None:
                self._epoll.modify(talk.sock, _IN)  # was it cut off?

    def _sip(self, talk: _Talk, due: float) -> None:
        ask = talk.ask
        assert ask is not None
        self._read(talk, ask.rate // SIPS_A_SECOND)
        if talk.ask is ask:
            heapq.heappush(self._sips, (due + 1 / SIPS_A_SECOND, next(self._turn), talk))

    def _read(self, talk: _Talk, most: int) -> None:
        """Once, what is there."""
        try:
            if talk.left is None:
                came = talk.sock.recv(_HEAD)
                got = len(came)
                if got:
                    self._head(talk, talk.received + came)
            elif talk.body is not None:
                talk.body += (piece := talk.sock.recv(talk.left))
                got = len(piece)
                talk.left -= got
                talk.taken += got
            else:
                got = talk.sock.recv_into(self._scratch, min(talk.left, most), socket.MSG_TRUNC)
                talk.left -= got
                talk.taken += got
        except BlockingIOError:
            return
        except OSError as error:
            self._cut(talk, str(error))
            return
        if not got:
            self._cut(talk, "it was closed")
        else:
            self._look(talk)

    def _head(self, talk: _Talk, received: bytes) -> None:
        """Notes the body's length, once the head is whole."""
        ask = talk.ask
        assert ask is not None
        if (end := received.find(END)) < 0:
            talk.received = received
            return
        status, length = int(received[9:12]), _LENGTH.search(received, 0, end + 2)
        if status != ask.status or length is None or ask.length not in {None, int(length[1])}:
            if status >= 400:  # a refusal all the same, and counted as one
                self.tally.ends[status, End.REFUSED] += 1
            self._wrong(talk, repr(received[:600]))
            return
        body = received[end + len(END) :]
        talk.taken = len(body)
        talk.left = (0 if ask.kind is Kind.HEAD else int(length[1])) - len(body)
        if talk.body is not None:
            talk.body += body
        if ask.rate or ask.kind is Kind.STALLED:
            self._epoll.modify(talk.sock, 0)
            pause = 1 / SIPS_A_SECOND if ask.rate else self._plan.stall_s * (1 + 1 / LOOKS) + LINGER_S
            heapq.heappush(self._sips, (time.perf_counter() + pause, next(self._turn), talk))

    def _look(self, talk: _Talk) -> None:
        """Ends what has all come."""
        ask = talk.ask
        if ask is None or talk.left is None:
            return
        if talk.left < 0:
            self._wrong(talk, "more came than it had told")
        elif ask.wanted is not None and talk.taken >= ask.wanted:
            self._end(talk, End.CLIENT_GONE)
        elif talk.left == 0:
            if ask.kind is Kind.STALLED:
                self._wrong(talk, "all of it came to one who had stopped reading")
            elif talk.body is not None and talk.body != self._content[ask.check : (ask.check or 0) + len(talk.body)]:
                self._wrong(talk, "other bytes than the object's")
            else:
                self._end(talk, End.REFUSED if ask.length is None else End.COMPLETE)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _end(self, talk: _Talk, end: End) -> None:
        ask, tally = talk.ask, self.tally
        assert ask is not None
        now = time.perf_counter()
        tally.ends[ask.status, end] += 1
        tally.kinds[ask.kind] += 1
        if end is End.COMPLETE:
            tally.complete_bytes += talk.taken
        elif end is End.CLIENT_GONE:
            tally.partial_bytes += talk.taken
        if ask.kind is Kind.RANGE:
            tally.took_s.append(now - talk.due)
        self._released(talk)
        if end is End.CLIENT_GONE or ask.fresh:
            self._close(talk)
        else:
            talk.since = now
            self._idle.append(talk)

    def _cut(self, talk: _Talk, how: str) -> None:
        """The gateway ended it."""
        if talk.ask is not None and talk.ask.kind is Kind.STALLED and talk.left is not None:
            self._end(talk, End.CLIENT_GONE)
        else:
            self._wrong(talk, f"{how}, after {talk.taken} bytes, {talk.left} left")

    def _wrong(self, talk: _Talk, how: str) -> None:
        ask = talk.ask
        assert ask is not None
        asked = ask.request.split(b"\r\n", 1)[0].decode()
        self.tally.went_wrong(f"{ask.kind}, {asked}: {how}")
        self._released(talk)
        self._close(talk)

    def _released(self, talk: _Talk) -> None:
        assert talk.ask is not None
        if talk.ask.kind in self._populations:
            self._populations[talk.ask.kind] -= 1
        else:
            self._busy -= 1
        talk.ask = None

    def _forget_idle(self, now: float) -> None:
        while self._idle and self._idle[0].since < now - IDLE_S:
            self._close(self._idle.popleft())

    def _close(self, talk: _Talk) -> None:
        """With bytes unread, the kernel tells the gateway at once (RST)."""
        del self._talks[talk.sock.fileno()]
        talk.sock.close()
