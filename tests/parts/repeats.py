"""Two gateways that differ in server.repeats alone, each with a door of its own before the store, and what either said."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from gateway.demo.ports import free_ports

from .faults import FaultProxy
from .house import SERVE, Filed, House, Office
from .stage import Stage
from .twins import COLUMNS, ENDS, NEW_EACH_TIME
from .wire import Answer, Wire

WATCHED = (
    """
import os
from pathlib import Path
from time import sleep

from gateway.audit.segments import DiskFiles
from gateway.edge.again import Again, Shortcut

_told = os.open("repeats", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def _watched(method, word):
    def watched(self, *given):
        done = method(self, *given)
        os.write(_told, f"{self.request_id} {word}\\n".encode())
        return done
    return watched

Again.begin = _watched(Again.begin, "taken")
Again._hand_over = _watched(Again._hand_over, "handed over")

def step(self, step, call, *, many=2):
    if Path("no-company").exists():
        call()
    else:
        self.rounds.add(step, call)

Shortcut.step = step

_write = DiskFiles.write

def write(self, fd, data, offset):
    while Path("journal-is-slow").exists():
        sleep(0.005)
    if Path("journal-is-full").exists():
        raise OSError(28, "No space left on device")
    return _write(self, fd, data, offset)

DiskFiles.write = write
"""
    + SERVE
)
"""A gateway that says which requests took the short cut, and obeys files in its folder.

Each step of a request is put off until others could take theirs with it, whether there are any or not; NO_COMPANY: none is.
"""

SLOW, FULL, NO_COMPANY = "journal-is-slow", "journal-is-full", "no-company"
BOUNDARY = re.compile(r"boundary=\"?([0-9A-Za-z_-]+)")
STORE = "behind"


def taken(house: House) -> dict[str, list[str]]:
    """What a house that is WATCHED says: request id → its words."""
    found: dict[str, list[str]] = {}
    for line in (house.folder / "repeats").read_text().splitlines():
        name, _, word = line.partition(" ")
        found.setdefault(name, []).append(word)
    return found


@dataclass
class Side:
    """One gateway, and the port where the proxy before its store belongs."""

    house: House
    door: int
    metrics: int
    proxy: FaultProxy = field(init=False)

    @property
    def told(self) -> dict[str, list[str]]:
        """Request id → what it says of it: first "taken", and then perhaps "handed over", or the other way round."""
        return taken(self.house)

    def took(self, answer: Answer) -> str:
        """``whole``: the short cut to its end; ``begun``: it was handed over; ``no``: it was never taken."""
        words = self.told.get(answer.headers["x-request-id"], [])
        return "begun" if "handed over" in words else "whole" if words else "no"

    @property
    def journal(self) -> Path:
        """The folder whose files SLOW and FULL it obeys."""
        return self.house.folder


@dataclass
class Sides:
    """``on`` takes the short cut, ``off`` never does."""

    stage: Stage
    on: Side
    off: Side
    """The same one, where there is but one."""
    _seekers: "list[Seeker]" = field(default_factory=list)

    @classmethod
    def open(cls, stage: Stage, **sections: Any) -> "Sides":
        return cls(stage, *(side(stage, repeats, **sections) for repeats in (True, False)))

    @property
    def both(self) -> tuple[Side, ...]:
        return (self.on, self.off) if self.off is not self.on else (self.on,)

    @asynccontextmanager
    async def ajar(self, origin: Mapping[str, Any] | None = None) -> AsyncIterator["Sides"]:
        """The store behind their doors can be reached, each over a proxy of its own. At the end no player is connected."""
        async with AsyncExitStack() as stack:
            for each in self.both:
                await stack.enter_async_context(ajar(each, origin or self.stage.stores["s3"]))
            try:
                yield self
            finally:
                while self._seekers:
                    self._seekers.pop().close()

    def seeker(self, one: Side, filed: Filed, key: Mapping[str, str] | None = None, **more: Any) -> "Seeker":
        """As Seeker has it; without a key it has that of the stage."""
        made = Seeker(self.stage, one, filed, self.stage.full if key is None else key, **more)
        self._seekers.append(made)
        return made

    async def file(self, data: bytes, *, key: str = "", origin: Mapping[str, Any] | None = None, **more: Any) -> Filed:
        """In the store behind the doors; with ``origin`` it lies there under ``key`` already."""
        key = key or f"repeats/{uuid4().hex}.wav"
        if origin is None:
            self.stage.shelves["s3"].put(key, data)
        office = Office(self.stage.database_url, {STORE: dict(origin or self.stage.stores["s3"])})
        return await office.file(more.pop("tenant", self.stage.tenant), STORE, key, data, **more)

    async def alike(self, on: "Seeker", off: "Seeker", events: int | None = None) -> list[dict[str, Any]]:
        """Asserts that one agent had the same answers on both sides, and of the same ``events`` each; these, without ids and times."""
        assert [plain(answer) for answer in on.answers] == [plain(answer) for answer in off.answers]
        count = len(on.answers) if events is None else events
        rows = await self.stage.accesses("user_agent", on.agent, 2 * count)
        own = [[noted(row) for row in rows if row["request_id"] in each.ids] for each in (on, off)]
        assert own[0] == own[1]
        assert len(own[0]) == count
        return own[0]

    def close(self) -> None:
        for each in self.both:
            assert each.house.stop() == 0


@asynccontextmanager
async def alone(stage: Stage, origin_is: Mapping[str, Any] | None = None, **sections: Any) -> AsyncIterator[Sides]:
    """One that takes the short cut, with ``sections`` of its own, ajar. It must end well."""
    one = side(stage, repeats=True, **sections)
    at = Sides(stage, one, one)
    try:
        async with at.ajar(origin_is):
            yield at
    finally:
        at.close()


def side(stage: Stage, repeats: bool, **sections: Any) -> Side:
    door, metrics = free_ports(2)
    stores = {STORE: stage.stores["s3"] | {"endpoint": f"http://127.0.0.1:{door}"}}
    server = sections.pop("server", {}) | {"repeats": repeats}
    house = stage.another(stores, serve=WATCHED, server=server, metrics={"port": metrics}, **sections)
    return Side(house, door, metrics)


@asynccontextmanager
async def ajar(one: Side, origin: Mapping[str, Any]) -> AsyncIterator[FaultProxy]:
    one.proxy = FaultProxy(int(origin["endpoint"].rpartition(":")[2]))
    one.proxy.port = one.door
    async with one.proxy:
        yield one.proxy


def spans(first: int, last: int) -> tuple[str, str]:
    return "Range", f"bytes={first}-{last}"


def raw(target: str, lines: Sequence[tuple[str, str]]) -> bytes:
    """A GET, as bytes."""
    told = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"GET {target} HTTP/1.1\r\n{told}\r\n".encode()


class Seeker:
    """A player of one recording on one side. Its User-Agent tells it apart in the audit."""

    def __init__(
        self,
        stage: Stage,
        one: Side,
        filed: Filed,
        key: Mapping[str, str],
        *,
        agent: str = "",
        target: str = "",
        **wire: Any,
    ) -> None:
        """``wire``: as Wire has it."""
        self.stage = stage
        self.side = one
        self.filed = filed
        self.agent = agent or uuid4().hex
        self.target = target or filed.native
        self._key, self._wire = key, wire
        self.lines = [("Host", "repeats.test"), *key.items(), ("User-Agent", self.agent)]
        self.wire = Wire(one.house.base_url, **wire)
        self.answers: list[Answer] = []

    def raw(self, first: int, last: int, *more: tuple[str, str]) -> bytes:
        return raw(self.target, [*self.lines, *more, spans(first, last)])

    def heard(self, answer: Answer) -> Answer:
        self.answers.append(answer)
        return answer

    async def ask(self, *more: tuple[str, str], method: str = "GET") -> Answer:
        return self.heard(await asyncio.to_thread(self.wire.ask, method, self.target, [*self.lines, *more]))

    async def seek(self, first: int, last: int) -> Answer:
        """Right to the last byte, or no 206."""
        answer = await self.ask(spans(first, last))
        if answer.status == 206:
            assert answer.body == self.filed.data[first : last + 1]
        return answer

    async def read(self) -> Answer:
        return self.heard(await asyncio.to_thread(self.wire.read))

    async def learned(self) -> "Seeker":
        """Asks twice, once what was registered just before has been heard of: the next one is a repeat."""
        other = Seeker(self.stage, self.side, self.filed, self._key, target=self.target, **self._wire)
        while self.side.took(await other.seek(5, 9)) != "whole":
            pass  # a change that is heard meanwhile has it learned anew
        other.close()
        await self.seek(1000, 1999)
        assert self.side.took(await self.seek(3000, 3999)) == "whole"
        return self

    def took(self) -> list[str]:
        return [self.side.took(answer) for answer in self.answers]

    async def rows(self, count: int | None = None) -> list[Any]:
        """Its accesses: as many as it had answers, unless said otherwise."""
        wanted = len(self.answers) if count is None else count
        return await self.stage.accesses("user_agent", self.agent, wanted)

    @property
    def ids(self) -> set[str]:
        return {answer.headers["x-request-id"] for answer in self.answers}

    def close(self) -> None:
        self.wire.close()


def plain(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """Without what is new each time."""
    told = [(name, value) for name, value in answer.fields if name not in NEW_EACH_TIME]
    boundary = BOUNDARY.search(answer.headers.get("content-type", ""))
    body = answer.body.replace(answer.headers["x-request-id"].encode(), b"ID")
    if boundary is not None:
        told = [(name, value.replace(boundary[1], "BOUNDARY")) for name, value in told]
        body = body.replace(boundary[1].encode(), b"BOUNDARY")
    return answer.status, told, body


def noted(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an access says beside its ids and times."""
    return {name: row[name] for name in (*COLUMNS, *ENDS)}
