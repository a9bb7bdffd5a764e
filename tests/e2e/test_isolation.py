"""Nobody gets a byte, a field or a status that his tenant and his rights don't allow: random requests to every route."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
import pytest_asyncio
from parts.house import House
from parts.lanes import Lane
from parts.population import Population
from parts.postgres import Databases
from parts.rights import Case, may
from parts.settler import Settler, identity
from parts.stage import Shelf, Stage
from parts.trespass import Trespasser
from parts.wire import Answer

from gateway.contract import Route
from gateway.model import Verb
from gateway.surfaces import SURFACES

LANES = 6
SCOPES = frozenset[str]().union(*(route.scopes for surface in SURFACES.values() for route in surface.routes))
_CURSOR = re.compile(rb'"next_cursor":"([^"]+)"')
_CHANGING = {"date", "x-request-id"}


@dataclass(frozen=True)
class World:
    """A gateway of its own, and whom it serves."""

    stage: Stage
    house: House
    people: Population


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    databases: Databases, shelved: dict[str, Shelf], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("isolation")
    stage = Stage(await databases.create(), shelved, folder)
    settler = Settler(stage, SCOPES, seed=3)
    people = await settler.make()
    house = stage.another(
        identity=identity(folder),
        webhooks={"allow_networks": ["127.0.0.0/8"], "allow_http": True},
        retention={"sweep": False},
    )
    try:
        await settler.furnish(people, house.base_url)
        yield World(stage, house, people)
    finally:
        stage.close()


@dataclass
class Seen:
    """What came of it. ``wrong``: a line for each request that was answered as it may not be."""

    wrong: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)
    twins: int = 0


def name(case: Case, route: Route) -> str:
    return f"{case.surface.name} {route.method} {route.path}"


def leaks(case: Case, answer: Answer, people: Population) -> list[str]:
    """Whose marks stand in the answer that may not."""
    told = b"\n".join([f"{name}: {value}".encode() for name, value in answer.fields] + [answer.body])
    for _, value in parse_qsl(case.query):  # a listing's next page names what was asked for
        told = told.replace(quote(value, safe="").encode(), b"").replace(value.encode(), b"")
    for asked in batched(case):  # an answer to several repeats which
        told = told.replace(f'"id":"{asked}"'.encode(), b"")
    owner = case.proven
    if case.target is not None and case.target.kind == "link":
        owner = case.target.link.call.owner if case.target.link and case.target.link.call else None
    elif case.surface.name == "agentphone" and case.route is not None and case.route.verb is Verb.PLAY:
        owner = case.target.owner if case.target else None
    acts = case.route is not None and case.route.verb is Verb.ACT
    if answer.status in {400, 401, 403, 404, 405, 410} or (answer.status == 409 and not acts):
        owner = None  # a refusal tells nothing, of one's own either
    leaking = [each.name for each in people.owners if each is not owner and any(n in told for n in each.marks.needles)]
    if owner is not None and not owner.transcribed and owner.marks.hush.encode() in told:
        leaking.append(f"the transcript of {owner.name}, who has none made")
    return leaking


def excerpt(answer: Answer, people: Population, leaking: list[str]) -> bytes:
    """Where in the answer it stands."""
    told = b" ".join([repr(answer.fields).encode(), answer.body])
    needles = [n for owner in people.owners if owner.name in leaking for n in owner.marks.needles if n in told]
    return told[max(0, told.find(needles[0]) - 300) :][:500] if needles else told[:500]


def batched(case: Case) -> list[str]:
    """The ids that are asked for at once."""
    if case.route is None or case.route.verb is not Verb.BATCH:
        return []
    try:
        asked = json.loads(case.body)
    except ValueError:
        return []
    return asked.get("ids", []) if isinstance(asked, dict) else []


def look(case: Case, answer: Answer, people: Population, seen: Seen) -> None:
    right = may(case)
    if answer.status >= 500 and answer.status != 501 if right is None else answer.status not in right:
        seen.wrong.append(f"{answer.status}, not {right and sorted(right)}: {case} {answer.body[:200]!r}")
    if leaking := leaks(case, answer, people):
        seen.wrong.append(f"{answer.status} tells of {leaking}: {case} {excerpt(answer, people, leaking)}")
    fact = case.target.fact if case.target else None
    played = case.route is not None and case.route.verb is Verb.PLAY and (case.method, answer.status) == ("GET", 200)
    if fact and played and answer.body != fact.audio:
        seen.wrong.append(f"other audio than its own: {case}")
    if case.route is None:
        return
    if case.route.verb is Verb.BATCH and answer.status == 200:
        by_id = {str(call.id): call.owner for call in people.calls}
        for item in answer.json()["data"]:
            foreign = item["id"] in by_id and by_id[item["id"]] is not case.proven
            if foreign and (item["status"], item.keys()) != (404, {"id", "status", "error"}):
                seen.wrong.append(f"one of several that is foreign: {item} {case}")
    seen.asked[name(case, case.route)] += 1
    seen.served[name(case, case.route)] += answer.status < 300
    seen.foreign[name(case, case.route)] += case.target is not None and case.target.owner is not case.proven
    if answer.status == 200 and (cursor := _CURSOR.search(answer.body)) and len(people.cursors) < 200:
        people.cursors.append(cursor[1].decode())


def comparable(answer: Answer) -> tuple[object, ...]:
    return answer.status, [field for field in answer.fields if field[0] not in _CHANGING], answer.body


async def walk(world: World, trespasser: Trespasser, count: int, seen: Seen) -> None:
    async with Lane(world.house.base_url) as lane:
        for _ in range(count):
            case = trespasser.case()
            answer = await lane.ask(case.method, case.path, case.query, case.lines, case.body, case.host)
            look(case, answer, world.people, seen)
            if case.twin is not None and answer.status == 404 and trespasser.chance.random() < 0.3:
                other = await lane.ask(case.method, case.twin, case.query, case.lines, case.body, case.host)
                seen.twins += 1
                if comparable(other) != comparable(answer):
                    seen.wrong.append(f"unlike what is missing: {case} {comparable(answer)} {comparable(other)}")


async def rows_of_the_still(world: World) -> dict[str, list[Any]]:
    """Whatever belongs to the tenant that nobody can be proven to belong to."""
    (still,) = [owner for owner in world.people.owners if owner.still]
    rows = {}
    for table in world.people.ids:
        found = await world.stage.office.rows(f"SELECT * FROM {table} WHERE tenant_id = $1 ORDER BY id", still.id)
        rows[table] = [dict(row) for row in found]
    rows["tenants"] = [dict(r) for r in await world.stage.office.rows("SELECT * FROM tenants WHERE id = $1", still.id)]
    return rows


@pytest.mark.timeout(3600)  # the long run
async def test_nobody_gets_what_he_may_not(world: World, pytestconfig: pytest.Config):
    count: int = pytestconfig.getoption("--isolation")
    surfaces = list(SURFACES.values())
    before = await rows_of_the_still(world)
    seen = Seen()
    lanes = [Trespasser(world.people, surfaces, random.Random(f"isolation {lane}")) for lane in range(LANES)]
    await asyncio.gather(*(walk(world, trespasser, count // LANES, seen) for trespasser in lanes))
    print(f"{sum(seen.asked.values())} requests, {sum(seen.served.values())} served, {seen.twins} held against missing")
    for route, asked in sorted(seen.asked.items()):
        print(f"  {asked:6} {seen.served[route]:6} {seen.foreign[route]:6}  {route}")
    assert not seen.wrong, "\n".join([f"{len(seen.wrong)} wrong:", *seen.wrong[:20]])
    assert await rows_of_the_still(world) == before, "something of a tenant's was changed by another"
    reached(seen)
    told = repr(world.house.logs).encode()
    assert not [owner.name for owner in world.people.owners if any(n in told for n in owner.marks.needles)]


def reached(seen: Seen) -> None:
    """The random requests were not idle: every route was asked, and served where it may be; foreign things were asked for."""
    for surface in SURFACES.values():
        for route in surface.routes:
            asked = f"{surface.name} {route.method} {route.path}"
            assert seen.asked[asked], asked
            if route.verb not in {Verb.ACT, Verb.DELETE}:
                assert seen.served[asked], f"never served: {asked}"
            if "{" in route.path:
                assert seen.foreign[asked], f"nothing foreign: {asked}"


READS: Mapping[Verb, frozenset[str]] = {
    Verb.PLAY: frozenset({"recordings:download"}),
    Verb.LINK: frozenset({"recordings:download", "calls:read"}),
    Verb.DESCRIBE: frozenset({"calls:read", "recordings:download"}),
    Verb.LIST: frozenset({"calls:read"}),
    Verb.BATCH: frozenset({"calls:read", "recordings:download"}),
}


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda surface: surface.name)
def test_every_route_asks_for_a_right_that_befits_it(surface):
    for route in surface.routes:
        assert route.scopes or route.role, f"{route.path}: nobody may"
        if route.verb in READS:
            assert route.scopes <= READS[route.verb], route.path
        elif route.method != "GET" and not route.role:
            assert "calls:read" not in route.scopes, f"{route.path}: a right to read changes something"
