"""Two gateways, one with zero copy and one without, say the same to the same requests: on the wire and in the audit."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from parts.certificates import server_context
from parts.faults import FaultProxy, Kind
from parts.house import Filed, House, Office, some_bytes
from parts.postgres import Databases
from parts.repeats import WATCHED, taken
from parts.stage import Shelf, Stage
from parts.twins import MANY, RESUMES, STALLED_S, Ear, Thing, Told, Turn, Whims, unlike, unlike_in_audit

pytestmark = pytest.mark.timeout(1800)

SIZES = (0, 1, 1000, 65_536, 200_003, 1_500_000)
LONG = MANY + 8_000_000
DOORS = ("s3", "gcs")
LANES = 3
BROKEN = 0.12
"""The share of requests that the doors' lanes make."""
ORIGIN = {"connect_s": 5, "first_byte_s": 10, "progress_s": STALLED_S, "resumes": RESUMES}
TWINS = ("a", "b")
SETTLE_S = 30.0
ENOUGH = 5
"""Differences, after which nothing more is asked."""
LEAST = {
    "200": 150, "206": 150, "304": 20, "400": 1, "401": 10, "404": 10, "412": 50, "416": 50, "multipart": 20, "1.0": 20,
    "pipelined": 20, "narrow": 10, "left": 20, "cut": 10, "resumed": 10, "overwritten": 1, "s3": 50, "gcs": 50, "disk": 50,
    "tls": 50, "sought": 200, "short": 100,
}  # fmt: skip
"""How often each must have come of 1,500 requests, or the run shows little about it."""


@dataclass
class Pair:
    """The twins, what they were asked, and what either said."""

    stage: Stage
    houses: Mapping[str, House]
    things: list[Thing]
    doors: Mapping[str, Mapping[str, FaultProxy]]
    """store → twin → its origin's proxy"""
    credentials: dict[str, dict[str, str]]
    turns: list[tuple[Turn, dict[str, Told]]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def ears(self) -> dict[str, Ear]:
        return {twin: Ear(house.base_url, twin) for twin, house in self.houses.items()}

    def heard(self, turn: Turn, told: dict[str, Told]) -> None:
        one, other = (told[twin] for twin in TWINS)
        self.turns.append((turn, told))
        self.wrong += unlike(turn, one, other)
        self.seen[turn.thing.store.partition("-")[0]] += len(turn.asked)
        self.seen[one.end] += 1
        self.seen["pipelined"] += turn.pipelined
        self.seen["narrow"] += turn.narrow
        self.seen["overwritten"] += turn.overwritten
        self.seen["resumed"] += bool(turn.faults) and one.end != "cut"
        for heard in one.heard:
            self.seen[str(heard.status)] += 1
            self.seen["multipart"] += "multipart" in dict(heard.fields).get("content-type", "")
        self.seen["sought"] += sum(not asked.named for asked in turn.asked)
        self.seen["1.0"] += sum(asked.version == "1.0" for asked in turn.asked)


@asynccontextmanager
async def behind_tls(port: int, stage: Stage) -> AsyncIterator[int]:
    """Another port of the server on ``port``, with TLS by an authority that gateways started meanwhile trust."""
    context, _ = server_context(stage.folder, "localhost")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)
        finally:
            for each in (writer, far_writer):
                each.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def twins(databases: Databases, shelved: Mapping[str, Shelf], folder: Any) -> AsyncIterator[Pair]:
    """Both on one Postgres and the same stores; each has proxies of its own before those whose answers break."""
    stage = Stage(await databases.create(), shelved, folder)
    async with AsyncExitStack() as stack:
        stack.callback(stage.close)
        stage.tenant = await stage.office.tenant("acme", recording_enabled=True)
        stage.full = await stage.key()
        origins = {name: stage.stores[name] for name in DOORS}
        tls = await stack.enter_async_context(behind_tls(port_of(origins["s3"]), stage))
        stores = stage.stores | {"tls": origins["s3"] | {"endpoint": f"https://localhost:{tls}"}}
        doors: dict[str, dict[str, FaultProxy]] = {name: {} for name in DOORS}
        houses = {}
        for twin, zero_copy in zip(TWINS, (True, False), strict=True):
            for name in DOORS:
                doors[name][twin] = await stack.enter_async_context(FaultProxy(port_of(origins[name])))
            reached = {f"{name}-door": origins[name] | {"endpoint": doors[name][twin].url} for name in DOORS}
            os.environ["SSL_CERT_FILE"] = str(folder / "root.pem")
            try:
                houses[twin] = await asyncio.to_thread(
                    stage.another,
                    stores | reached,
                    server={"zero_copy": zero_copy, "repeats": zero_copy},
                    origin=ORIGIN,
                    serve=WATCHED,
                )
            finally:
                del os.environ["SSL_CERT_FILE"]
        bearer = stage.full
        credentials = dict.fromkeys(("native", "yotel", "agentphone"), bearer)
        credentials["callsid"] = bearer | {"X-Organization-Id": "acme"}
        yield Pair(stage, houses, await things(stage), doors, credentials)


async def things(stage: Stage) -> list[Thing]:
    """Recordings of every size in every store, some long ones, and some behind doors."""
    made = []
    for name in (*stage.shelves, "tls"):
        made += [Thing(name, await filed(stage, name, some_bytes(size, size))) for size in SIZES]
    made += [Thing(name, await filed(stage, name, some_bytes(LONG, 9))) for name in ("s3", "disk")]
    for name in (f"{kind}-door" for kind in DOORS):
        made += [Thing(name, await filed(stage, name, some_bytes(size, size)), door=True) for size in SIZES[-2:]]
    return made


async def filed(stage: Stage, store: str, data: bytes) -> Filed:
    """Registered in ``store``, which may be another one's other name."""
    place = "s3" if store == "tls" else store.partition("-")[0]
    key = f"twins/{store}/{len(data)}.wav"
    stage.shelves[place].put(key, data)
    return await Office(stage.database_url, {store: stage.stores[place]}).file(stage.tenant, store, key, data)


def port_of(settings: Mapping[str, Any]) -> int:
    return int(settings["endpoint"].rpartition(":")[2])


def turns(pair: Pair, count: int, *, seed: int, door: str | None) -> Iterator[Turn]:
    """With ``count`` requests in all; ``door``: for recordings behind it, else for all others."""
    chosen = [thing for thing in pair.things if thing.store == door or (door is None and not thing.door)]
    whims = Whims(chosen, pair.credentials, random.Random(seed), f"t{seed}")
    while count > 0 and len(pair.wrong) < ENOUGH:
        turn = whims.turn()
        count -= len(turn.asked)
        yield turn


def listen(pair: Pair, count: int, seed: int) -> None:
    """One lane, blocking: each turn is taken by one twin and then by the other."""
    ears = pair.ears()
    order = random.Random(seed)
    for turn in turns(pair, count, seed=seed, door=None):
        pair.heard(turn, {twin: ears[twin].take(turn) for twin in order.sample(TWINS, 2)})
    for ear in ears.values():
        ear.close()


async def listen_at_the_door(pair: Pair, name: str, count: int, seed: int) -> None:
    ears = pair.ears()
    for turn in turns(pair, count, seed=seed, door=f"{name}-door"):
        told = {}
        for twin, ear in ears.items():
            proxy = pair.doors[name][twin]
            proxy.plan(*turn.faults)
            struck = len(proxy.struck) + 1
            taking = asyncio.create_task(asyncio.to_thread(ear.take, turn))
            if turn.overwritten:
                await proxy.until(lambda proxy, struck=struck: len(proxy.struck) == struck)
                rewrite(pair, turn, some_bytes(turn.thing.size, 77))
            told[twin] = await taking
            if turn.overwritten:
                rewrite(pair, turn, turn.thing.filed.data)
            proxy.forget()
        pair.heard(turn, told)
    for ear in ears.values():
        ear.close()


def rewrite(pair: Pair, turn: Turn, data: bytes) -> None:
    name = turn.thing.store
    pair.stage.shelves[name.partition("-")[0]].put(f"twins/{name}/{turn.thing.size}.wav", data)


async def accesses(pair: Pair) -> dict[str, list[Any]]:
    """Request id → its rows, oldest first, once every request that was understood has one, and each has ended."""
    answered = {
        heard.id: (asked, heard)
        for turn, told in pair.turns
        for twin in TWINS
        for asked, heard in zip(turn.asked, told[twin].heard, strict=False)
        if heard.id  # what is no HTTP is told so before anybody asks who is there
    }
    rows: list[Any] = []
    end = time.monotonic() + SETTLE_S
    while missing := answered.keys() ^ {row["request_id"] for row in rows if row["result"] is not None}:
        assert time.monotonic() < end, [(each, answered.get(each)) for each in list(missing)[:5]]
        rows = await pair.stage.office.rows("SELECT * FROM accesses ORDER BY event_id")
        await asyncio.sleep(0.1)  # Postgres tells nobody of what arrives
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row["request_id"], []).append(row)
    assert found.keys() == answered.keys(), "an access that nobody made"
    return found


async def test_with_zero_copy_and_without_all_is_said_and_recorded_alike(
    databases: Databases, shelved: dict[str, Shelf], tmp_path: Any, request: pytest.FixtureRequest
):
    count = request.config.getoption("--twins")
    async with twins(databases, shelved, tmp_path) as pair:
        broken = round(count * BROKEN / len(DOORS))
        plain = (count - broken * len(DOORS)) // LANES + 1
        await asyncio.gather(
            *(asyncio.to_thread(listen, pair, plain, seed) for seed in range(LANES)),
            *(listen_at_the_door(pair, name, broken, 100 + place) for place, name in enumerate(DOORS)),
        )
        assert not pair.wrong, "\n".join(pair.wrong)
        rows = await accesses(pair)
        for turn, told in pair.turns:
            for place, asked in enumerate(turn.asked):
                heard = tuple(told[twin].heard[place] if place < len(told[twin].heard) else None for twin in TWINS)
                own = tuple(rows.get(each.id, []) if each else [] for each in heard)
                pair.wrong += unlike_in_audit(turn, asked, heard, own)
        pair.seen["short"] = len(taken(pair.houses["a"]))
        assert not taken(pair.houses["b"])
        results = Counter(f"{row['result']} {row['reason'] or ''}".strip() for each in rows.values() for row in each)
        stalls = sum(fault.kind is Kind.STALL for turn, _ in pair.turns for fault in turn.faults)
        print(
            f"\n{sum(len(turn.asked) for turn, _ in pair.turns)} requests, {dict(pair.seen)}, {stalls} stalls; {results}"
        )
    assert not pair.wrong, "\n".join(pair.wrong[:20])
    few = {kind: pair.seen[kind] for kind, least in LEAST.items() if pair.seen[kind] * 1500 < least * count}
    assert not few, few
