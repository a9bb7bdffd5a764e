"""Two gateways asked the same: requests by chance, what came on the wire, and what stands in the audit."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from .faults import Fault, Kind
from .house import Filed
from .http_cases import fields as ranges_and_conditions
from .http_table import Known
from .stage import PROXY

PATIENCE_S = 10.0
"""After which a twin that says nothing more counts as one that has cut the connection."""
MANY = 16_000_000
"""Bytes beyond which no buffers hold what is left of a body: whoever leaves before them has left an unfinished one."""
NARROW = 4096
"""The receive buffer of a slow reader: the other side waits for it all the time."""
RESUMES = 2
STALLED_S = 0.6
"""After which these gateways count a silent origin as broken."""
SEEKS = 0.1
"""The share of turns that are seeks, of several requests each."""
LONGEST = 65_536
"""Bytes that are asked of a store in one go."""
NEW_EACH_TIME = {"date", "x-request-id"}
_BOUNDARY = re.compile(r"boundary=\"?([0-9A-Za-z_-]+)\"?")

Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Thing:
    """A recording, and where it lies. ``door``: behind a proxy that breaks answers."""

    store: str
    filed: Filed
    door: bool = False

    @property
    def size(self) -> int:
        return len(self.filed.data)


@dataclass(frozen=True)
class Asked:
    """One request, but for whom it is asked of."""

    name: str
    method: str
    target: str
    lines: Lines
    version: str = "1.1"
    named: bool = True
    """It names itself. One that does not may be like another but for its Range, and is known by the id that its answer gives it."""

    def raw(self, twin: str) -> bytes:
        told = [("Host", "twins.test"), ("User-Agent", "twins"), *self.lines]
        if self.named:
            told.insert(1, ("X-Request-Id", self.id(twin)))
        head = "".join(f"{name}: {value}\r\n" for name, value in told)
        return f"{self.method} {self.target} HTTP/{self.version}\r\n".encode() + head.encode() + b"\r\n"

    def id(self, twin: str) -> str:
        return f"{self.name}-{twin}"


@dataclass(frozen=True)
class Turn:
    """What is done on one connection, on each twin's in the same way."""

    thing: Thing
    asked: tuple[Asked, ...]
    pipelined: bool = False
    fresh: bool = False
    narrow: bool = False
    leaves: int | None = None
    """After so many bytes of the last body; None: it takes all."""
    reset: bool = False
    """It leaves with a RST in place of a FIN."""
    faults: tuple[Fault, ...] = ()
    overwritten: bool = False
    """While the origin is silent in mid-body."""

    @property
    def given(self) -> int:
        """Bytes that an origin which does not come back has given in all."""
        return sum(fault.at for fault in self.faults)


@dataclass(frozen=True)
class Heard:
    """An answer, without what is new each time. ``whole``: as many bytes of body as its head told."""

    status_line: str
    fields: Lines
    body: bytes
    whole: bool
    id: str = field(default="", compare=False)
    """As its X-Request-Id says."""

    @property
    def status(self) -> int:
        return int(self.status_line.split(" ")[1])

    def __repr__(self) -> str:
        return f"{self.status_line} {self.fields} {len(self.body)} bytes{'' if self.whole else ' of it'}"


@dataclass
class Told:
    """All that one twin said in a turn. ``end``: of the connection: kept, closed, cut (by the gateway), left."""

    heard: list[Heard] = field(default_factory=list)
    end: str = "kept"


class Ear:
    """A connection to one twin; a new one where the last has ended."""

    def __init__(self, url: str, twin: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self.twin = twin
        self._sock: socket.socket | None = None
        self._buffer = b""

    def take(self, turn: Turn) -> Told:
        """The whole turn."""
        if turn.fresh or turn.narrow:
            self.close()
        sock, told = self._connected(NARROW if turn.narrow else None), Told()
        if turn.pipelined:
            sock.sendall(b"".join(asked.raw(self.twin) for asked in turn.asked))
        for asked in turn.asked:
            if not turn.pipelined:
                sock.sendall(asked.raw(self.twin))
            leaves = turn.leaves if asked is turn.asked[-1] else None
            heard = self._answer(asked, leaves)
            told.heard += [] if heard is None else [heard]
            told.end = self._end(heard, turn, leaves)
            if told.end != "kept":
                self.close()
                break
        return told

    def _end(self, heard: Heard | None, turn: Turn, leaves: int | None) -> str:
        if leaves is not None:
            self._leave(turn.reset)
            return "left"
        if heard is None or not heard.whole:
            return "cut"
        if _closes(heard):
            return "said more" if self._buffer or self._more(1) else "closed"
        return "kept"

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock, self._buffer = None, b""

    def _connected(self, receive_buffer: int | None) -> socket.socket:
        if self._sock is None:
            self._sock = socket.socket()
            self._sock.settimeout(PATIENCE_S)
            if receive_buffer is not None:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._sock.bind((PROXY, 0))  # whose X-Request-Id is believed
            self._sock.connect(self._address)
        return self._sock

    def _answer(self, asked: Asked, leaves: int | None) -> Heard | None:
        """None: it ended before its head did."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more(65536):
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        named = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = int(dict(named).get("content-length", 0))
        if asked.method == "HEAD" or status_line.split(" ")[1] in {"204", "304"}:
            length = 0
        most = length if leaves is None else min(length, leaves)
        pieces, taken = [self._buffer], len(self._buffer)
        while taken < most:
            if not (piece := self._received(min(most - taken, 1 << 20))):
                break
            pieces.append(piece)
            taken += len(piece)
        came = b"".join(pieces)
        body, self._buffer = came[:length], came[length:]
        request_id = dict(named).get("x-request-id", "")
        assert not asked.named or request_id in {"", asked.id(self.twin)}
        return _without_what_is_new(status_line, named, body, request_id, whole=taken >= length)

    def _more(self, most: int) -> bytes:
        piece = self._received(most)
        self._buffer += piece
        return piece

    def _received(self, most: int) -> bytes:
        assert self._sock is not None
        try:
            return self._sock.recv(most)
        except (ConnectionError, TimeoutError):
            return b""

    def _leave(self, reset: bool) -> None:
        assert self._sock is not None
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def _closes(heard: Heard) -> bool:
    connection = dict(heard.fields).get("connection", "").lower()
    return connection == "close" or (heard.status_line.startswith("HTTP/1.0") and connection != "keep-alive")


def _without_what_is_new(
    status_line: str, named: Sequence[tuple[str, str]], body: bytes, request_id: str, *, whole: bool
) -> Heard:
    boundary = _BOUNDARY.search(dict(named).get("content-type", ""))
    told = [(name, value) for name, value in named if name not in NEW_EACH_TIME]
    if boundary is not None:
        told = [(name, value.replace(boundary[1], "BOUNDARY")) for name, value in told]
        body = body.replace(boundary[1].encode(), b"BOUNDARY")
    body = body.replace(request_id.encode(), b"ID") if request_id else body
    return Heard(status_line, tuple(told), body, whole, request_id)


# --- turns by chance ------------------------------------------------------------------------------------------------


@dataclass
class Whims:
    """Makes turns up. ``chance`` decides everything; ``credentials``: surface → request fields."""

    things: Sequence[Thing]
    credentials: Mapping[str, Mapping[str, str]]
    chance: Random
    prefix: str
    _count: int = 0

    def turn(self) -> Turn:
        thing = self.chance.choice(self.things)
        if thing.size > 1000 and thing.store != "disk" and self.chance.random() < SEEKS:
            return self._sought(thing)
        if thing.door:
            return self._broken(thing)
        kind = self.chance.random()
        if thing.size > MANY or (thing.size > 1000 and kind < 0.1):
            return self._left(thing)
        many = self.chance.choice((2, 3, 4)) if kind > 0.85 else 1
        version = "1.0" if many == 1 and kind > 0.8 else "1.1"
        asked = tuple(self._ask(thing, version, last=place == many - 1) for place in range(many))
        return Turn(thing, asked, pipelined=many > 1 and kind > 0.9, fresh=kind < 0.2, narrow=0.2 < kind < 0.25)

    def _sought(self, thing: Thing) -> Turn:
        """Short parts of it one after the other, by a player whose requests differ in their Range alone."""
        chance = self.chance
        surface = chance.choice(("native", "yotel"))
        target, credential = self._target(surface, thing), self.credentials[surface].items()
        asked, least = [], thing.size
        for _ in range(chance.choice((4, 6, 8))):
            first = chance.randrange(thing.size)
            last = first + chance.choice((0, 99, 5000, LONGEST - 1, LONGEST))
            least = min(least, last + 1 - first, thing.size - first)
            asked.append(self._named("GET", target, (*credential, ("Range", f"bytes={first}-{last}")), named=False))
        faults = (self._fault(least),) if thing.door and chance.random() < 0.5 else ()
        fresh, pipelined = chance.random() < 0.2, chance.random() < 0.1
        return Turn(thing, tuple(asked), pipelined=pipelined, fresh=fresh, narrow=chance.random() < 0.05, faults=faults)

    def _ask(self, thing: Thing, version: str, *, last: bool) -> Asked:
        """Any method, surface, range and condition; now and then without a right to it, or to nothing at all."""
        chance = self.chance
        surface = chance.choice(("native", "native", "native", "yotel", "yotel", "callsid", "agentphone"))
        target, credential = self._target(surface, thing), dict(self.credentials[surface])
        oddity = chance.random()
        if oddity < 0.03:
            target = target.replace(str(thing.filed.id)[:8], "5eb10000").replace(thing.filed.alias, "call_nowhere")
        elif oddity < 0.05:
            credential = {name: value[:-3] + "xyz" for name, value in credential.items()}
        known = Known(thing.size, thing.filed.etag, thing.filed.modified)
        lines = [*ranges_and_conditions(chance, known)]
        if chance.random() < 0.3:
            lines = [line for line in lines if line[0].lower() == "range"]
        if version == "1.0" and chance.random() < 0.3:
            lines.append(("Connection", "keep-alive"))
        elif version == "1.1" and last and chance.random() < 0.1:
            lines.append(("Connection", "close"))
        method = chance.choice(("GET",) * 9 + ("HEAD",))
        return self._named(method, target, (*credential.items(), *lines), version)

    def _left(self, thing: Thing) -> Turn:
        chance = self.chance
        first = chance.randrange(min(thing.size, 1_000_000)) if chance.random() < 0.5 else 0
        lines = (*self.credentials["native"].items(), *((("Range", f"bytes={first}-"),) if first else ()))
        asked = self._named("GET", thing.filed.native, lines)
        leaves = chance.randrange(min(thing.size - first, 3_000_000))
        return Turn(thing, (asked,), fresh=True, leaves=leaves, reset=chance.random() < 0.5)

    def _broken(self, thing: Thing) -> Turn:
        """By an origin that comes back in time, or too often, or is another meanwhile."""
        chance, size = self.chance, thing.size
        first = chance.randrange(size // 2) if chance.random() < 0.5 else 0
        left = size - first
        lines: Lines = (*self.credentials["native"].items(), *((("Range", f"bytes={first}-"),) if first else ()))
        kind = chance.random()
        if kind < 0.06 and thing.store.startswith("s3"):
            faults = (Fault(Kind.STALL, chance.randrange(1, left)),)
            return Turn(thing, (self._named("GET", thing.filed.native, lines),), faults=faults, overwritten=True)
        if kind < 0.1:
            faults = (Fault(Kind.STALL, chance.randrange(left)),)
        elif kind < 0.2:
            faults = (Fault(Kind.DELAY, chance.randrange(left), seconds=0.05),)
        elif kind < 0.6:
            faults = tuple(self._fault(left // RESUMES) for _ in range(chance.randint(1, RESUMES)))
        elif kind < 0.9:
            faults = tuple(self._fault(left // (RESUMES + 1)) for _ in range(RESUMES + 1))
        else:
            half = size // 2
            lines = (*self.credentials["native"].items(), ("Range", f"bytes=0-{half // 2},{half}-{size - 1}"))
            faults = (self._fault(half // 2),)
        return Turn(thing, (self._named("GET", thing.filed.native, lines),), faults=faults, fresh=chance.random() < 0.2)

    def _fault(self, before: int) -> Fault:
        return Fault(self.chance.choice((Kind.CUT, Kind.RESET)), self.chance.randrange(max(before, 1)))

    def _target(self, surface: str, thing: Thing) -> str:
        match surface:
            case "native":
                return thing.filed.native
            case "yotel":
                return thing.filed.yotel
            case "callsid":
                return f"/callsid/api/calls/{thing.filed.aliases['callsid']}/recording/download"
            case _:
                return f"/agentphone/v1/calls/{thing.filed.aliases['agentphone']}/recording"

    def _named(self, method: str, target: str, lines: Lines, version: str = "1.1", *, named: bool = True) -> Asked:
        self._count += 1
        return Asked(f"{self.prefix}-{self._count:06}", method, target, lines, version, named)


# --- where they differ ----------------------------------------------------------------------------------------------

COLUMNS = (
    "surface", "method", "status", "tenant", "call", "recording", "actor_kind", "actor_id", "credential_id",
    "auth_method", "scopes", "role", "address", "peer", "user_agent", "etag", "range_asked", "session",
)  # fmt: skip
"""Of an access, what is the same in every case."""
ENDS = ("result", "reason", "bytes_sent")


def unlike(turn: Turn, one: Told, other: Told) -> list[str]:
    """What differs on the wire: nothing may, but how much comes of a body that does not come whole; that is a beginning of it."""
    found = [] if one.end == other.end else [f"the connection was {one.end} and {other.end}"]
    if len(one.heard) != len(other.heard):
        return [*found, f"{len(one.heard)} and {len(other.heard)} answers"]
    for asked, a, b in zip(turn.asked, one.heard, other.heard, strict=False):
        if (a.status_line, a.fields) != (b.status_line, b.fields):
            found.append(f"{asked}: {a} and {b}")
        elif a.whole != b.whole and turn.leaves is None:
            found.append(f"{asked}: one of them came whole: {a} and {b}")
        elif a.whole and b.whole and a.body != b.body:
            found.append(f"{asked}: other bytes: {a} and {b}")
        elif not (a.body.startswith(b.body) or b.body.startswith(a.body)):
            found.append(f"{asked}: neither is how the other begins: {a} and {b}")
        if a.status == 200 and asked.method == "GET" and not turn.thing.filed.data.startswith(a.body):
            found.append(f"{asked}: other bytes than the object's: {a}")
    return found


def unlike_in_audit(
    turn: Turn, asked: Asked, heard: tuple[Heard | None, Heard | None], rows: tuple[Sequence[Any], Sequence[Any]]
) -> list[str]:
    """What differs between the accesses of one request.

    All of it is alike, and ``bytes_sent`` is what came, but for a body that did not come whole: of a client that left, it lies
    between what it took and what it asked for, and the access is ``complete`` only if that is all (never with more than MANY
    bytes left); of an origin that gave up, between what came and what the origin had given.
    """
    found = []
    if len(rows[0]) != len(rows[1]):
        return [f"{asked}: {len(rows[0])} and {len(rows[1])} accesses"]
    for a, b in zip(*rows, strict=True):
        found += [f"{asked}: {name} {a[name]!r} and {b[name]!r}" for name in COLUMNS if a[name] != b[name]]
    for each, own in zip(heard, rows, strict=True):
        if own and each is not None and not each.whole:
            found += _amiss(turn, asked, each, own[-1])
    tolerant = any(each is not None and not each.whole for each in heard)
    exact = list(zip(*rows, strict=True))
    for a, b in exact[:-1] if tolerant else exact:
        found += [f"{asked}: {name} {a[name]!r} and {b[name]!r}" for name in ENDS if a[name] != b[name]]
    if tolerant and rows[0] and turn.leaves is None:
        found += [
            f"{asked}: {name} {rows[0][-1][name]!r} and {rows[1][-1][name]!r}"
            for name in ("result", "reason")
            if rows[0][-1][name] != rows[1][-1][name]
        ]
    return found


def _amiss(turn: Turn, asked: Asked, heard: Heard, row: Any) -> list[str]:
    """Of a body that did not come whole."""
    came, told = len(heard.body), int(dict(heard.fields)["content-length"])
    sent, result = row["bytes_sent"], row["result"]
    most = told if turn.leaves is not None else turn.given
    found = [] if sent is not None and came <= sent <= most else [f"{asked}: {came} came, {sent} sent, {most} at most"]
    if turn.leaves is None:
        right = result == "origin_failed"
    else:
        right = result == "client_gone" or (result == "complete" and sent == told and told - came <= MANY)
    return found if right else [*found, f"{asked}: {result}, {sent} of {told}, {came} came"]
