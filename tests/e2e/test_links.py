"""Gateway links through running gateways: bounded, counted, taken back, outliving keys and outages as they should."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from parts.calls import about_now
from parts.drinker import Client
from parts.house import Filed, House, some_bytes
from parts.linked import asked, linked, play, revoke
from parts.stage import LINK_KEY, PROXY, Stage
from parts.wire import Answer, Wire

DATA = some_bytes(100_000)
NOBODY = "11111111-1111-4111-8111-111111111111"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def of(stage: Stage) -> Filed:
    return await stage.file("disk", DATA)


@pytest.fixture(scope="module")
def both(stage: Stage) -> Iterator[list[House]]:
    """Two replicas."""
    houses = [stage.house, stage.another(stage.on_disk)]
    yield houses
    houses[1].stop()


# --- asked for ----------------------------------------------------------------------------------------------------------


def test_a_gateway_link_has_an_id_and_a_stores_has_none(stage: Stage, of: Filed):
    answer = asked(stage, of, delivery="gateway", ttl_s=60, max_uses=2, ip_cidr="127.0.0.0/8")
    assert (answer.status, answer.get("Cache-Control")) == (201, "private, no-store")
    told = answer.json()
    stage.secrets.add(told["url"].split("/")[-2])
    assert told.keys() == {"id", "url", "expires_at"}
    UUID(told["id"])
    assert told["url"].startswith(f"{stage.house.base_url}/v1/links/")
    assert about_now(told["expires_at"], timedelta(seconds=60))


async def test_a_stores_link_has_none(stage: Stage):
    told = asked(stage, await stage.file("s3", DATA), delivery="store").json()
    assert told["id"] is None
    stage.secrets.add(told["url"].rsplit("=", 1)[-1])


WRONG = {
    "uses of a store's link": ({"max_uses": 1}, ["body", "max_uses"]),
    "a network of a store's link": ({"delivery": "store", "ip_cidr": "10.0.0.0/8"}, ["body", "ip_cidr"]),
    "no use at all": ({"delivery": "gateway", "max_uses": 0}, ["body", "max_uses"]),
    "uses without end": ({"delivery": "gateway", "max_uses": 10_001}, ["body", "max_uses"]),
    "uses in words": ({"delivery": "gateway", "max_uses": "3"}, ["body", "max_uses"]),
    "no network": ({"delivery": "gateway", "ip_cidr": "10.0.0.0/33"}, ["body", "ip_cidr"]),
    "a host name": ({"delivery": "gateway", "ip_cidr": "localhost"}, ["body", "ip_cidr"]),
    "no life": ({"ttl_s": 0}, ["body", "ttl_s"]),
    "too long a life": ({"ttl_s": 604_801}, ["body", "ttl_s"]),
    "half a second": ({"ttl_s": 1.5}, ["body", "ttl_s"]),
    "another way": ({"delivery": "pigeon"}, ["body", "delivery"]),
    "what there is not": ({"ttl": 60}, ["body"]),
}


@pytest.mark.parametrize(("ask", "place"), WRONG.values(), ids=WRONG)
def test_a_link_asked_for_wrongly_is_refused_by_the_member_at_fault(stage: Stage, of: Filed, ask, place):
    answer = asked(stage, of, **ask)
    assert answer.status == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == place
    assert len(error["msg"]) < 80, "what is long tells nobody what is wanted"


def test_links_are_listed_without_their_tokens_until_they_are_over(stage: Stage):
    of = asyncio.run(stage.file("disk", DATA))
    links = [linked(stage, of, **ask) for ask in ({"max_uses": 2}, {"ip_cidr": "10.1.2.3/8"}, {})]
    play(stage.house, links[0].target)
    revoke(stage.house, links[2].id, stage.full.items())
    with Wire(stage.house.base_url) as wire:
        answer = wire.ask("GET", f"/v1/recordings/{of.id}/links", stage.full.items())
    assert answer.status == 200
    assert not [link.token for link in links if link.token in answer.body.decode()]
    listed = answer.json()["data"]
    told = [(each["id"], each["max_uses"], each["uses"], each["ip_cidr"]) for each in listed]
    assert told == [(links[1].id, None, None, "10.0.0.0/8"), (links[0].id, 2, 1, None)]
    assert listed[0].keys() == {"id", "created_at", "created_by", "expires_at", "max_uses", "uses", "ip_cidr"}
    assert listed[0]["expires_at"] == links[1].expires_at


# --- used ---------------------------------------------------------------------------------------------------------------

PARAMETERS = {
    "": 200,
    "?": 200,
    "?download=1": 200,
    "?download=0": 200,
    "?download=1&download=1": 403,
    "?download=0&download=1": 403,
    "?expires=9999999999": 403,
    "?download=1&x=": 403,
    "?%64ownload=1": 200,
}


@pytest.mark.parametrize(("query", "status"), PARAMETERS.items())
def test_a_link_has_one_parameter_once(stage: Stage, of: Filed, query: str, status: int):
    answer = play(stage.house, linked(stage, of).target + query)
    assert answer.status == status
    if "=1" in query and status == 200:
        assert (answer.get("Content-Disposition") or "").startswith("attachment; ")


def test_refused_links_look_alike(stage: Stage, of: Filed):
    """403 or 410 is all there is to tell one reason from another."""
    good = linked(stage, of)
    gone, spent = linked(stage, of), linked(stage, of, max_uses=1)
    elsewhere, over = linked(stage, of, ip_cidr="10.0.0.0/8"), linked(stage, of, ttl_s=1)
    ends = time.time() + 1
    revoke(stage.house, gone.id, stage.full.items())
    assert play(stage.house, spent.target, ("User-Agent", "one")).status == 200
    altered = good.target.replace(good.token, good.token[:-1] + ("A" if good.token[-1] != "A" else "B"))
    refused = {
        403: [
            play(stage.house, spent.target, ("User-Agent", "another")),
            play(stage.house, elsewhere.target),
            play(stage.house, altered),
            play(stage.house, good.target + "?x=1"),
            play(stage.house, good.target.replace(good.token, "nonsense")),
        ]
    }
    time.sleep(max(ends - time.time(), 0))  # the very thing that is waited for
    refused[410] = [play(stage.house, gone.target), play(stage.house, over.target)]
    for status, answers in refused.items():
        assert {answer.status for answer in answers} == {status}
        assert len({answer.body for answer in answers}) == 1
        assert len({frozenset(dict(answer.fields)) for answer in answers}) == 1
        assert {answer.get("Cache-Control") for answer in answers} == {"no-store"}
        assert answers[0].json()["code"] == "link_invalid"
    words = {answer.json()["detail"] for answers in refused.values() for answer in answers}
    assert len(words) == 1
    assert play(stage.house, good.target).body == DATA


def test_a_link_is_good_from_its_network_as_far_as_proxies_are_trusted(stage: Stage, of: Filed):
    near, far = linked(stage, of, ip_cidr="127.0.0.9"), linked(stage, of, ip_cidr="10.0.0.0/8")
    assert play(stage.house, near.target, source="127.0.0.9").status == 200
    assert play(stage.house, near.target, source="127.0.0.8").status == 403
    mapped = linked(stage, of, ip_cidr="::ffff:7f00:9/128")
    assert play(stage.house, mapped.target, source="127.0.0.9").status == 200
    assert play(stage.house, mapped.target, source="127.0.0.8").status == 403
    forwarded = ("X-Forwarded-For", "10.1.2.3")
    assert play(stage.house, far.target, forwarded, source=PROXY).status == 200
    assert play(stage.house, far.target, forwarded, source="127.0.0.9").status == 403


async def test_fifty_listeners_at_once_on_a_link_of_three_uses_are_three(stage: Stage, both: list[House], of: Filed):
    """Each probes, then asks for ranges of whichever replica, as players do."""
    link, size = linked(stage, of, max_uses=3), len(DATA)
    agents = [f"listener {number} {uuid4()}" for number in range(50)]

    def listen(agent: str) -> list[int]:
        chosen = random.Random(agent)
        statuses = []
        for lines, method in [
            ([], "HEAD"),
            ([("Range", "bytes=0-1")], "GET"),
            ([("Range", f"bytes={size // 2}-")], "GET"),
        ]:
            answer = play(chosen.choice(both), link.target, ("User-Agent", agent), *lines, method=method)
            statuses.append(answer.status)
        return statuses

    with ThreadPoolExecutor(len(agents)) as threads:
        came = dict(zip(agents, await asyncio.to_thread(lambda: list(threads.map(listen, agents))), strict=True))
    playing = [agent for agent, statuses in came.items() if statuses == [200, 206, 206]]
    refused = [agent for agent, statuses in came.items() if statuses == [403, 403, 403]]
    assert (len(playing), len(refused)) == (3, 47)
    rows = await stage.accesses("credential_id", link.id, 150)
    sessions = {agent: {row["session"] for row in rows if row["user_agent"] == agent} for agent in playing}
    assert all(len(each) == 1 for each in sessions.values()), "a playback has one name on every replica"
    assert len(set().union(*sessions.values())) == 3
    assert {row["reason"] for row in rows if row["user_agent"] in refused} == {"link_used_up"}
    for house in both:
        assert play(house, link.target, ("User-Agent", playing[0])).body == DATA


# --- taken back ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resumed_on", [0, 1], ids=["the same replica", "another replica"])
async def test_a_playback_whose_body_is_on_its_way_for_long_is_one_use_still(stage: Stage, resumed_on: int):
    data, agent = some_bytes(8_000_000), f"slow {uuid4()}"
    of = await stage.file("disk", data)
    houses = [await asyncio.to_thread(stage.another, audit={"session_idle_s": 2.5}) for _ in range(2)]
    link = linked(stage, of, max_uses=1)
    rest = [("User-Agent", agent), ("Range", "bytes=7900000-")]
    async with await Client.connect(houses[0].base_url, receive_buffer=65_536) as client:
        await client.request(link.target, {"User-Agent": agent})
        assert await client.head() == 200
        await asyncio.sleep(3)  # longer than what counts as silence
        assert (await asyncio.to_thread(play, houses[resumed_on], link.target, *rest)).status == 206
    assert (await asyncio.to_thread(play, houses[resumed_on], link.target, *rest)).status == 206
    assert len({row["session"] for row in await stage.accesses("user_agent", agent, 3)}) == 1
    for house in houses:
        await asyncio.to_thread(house.stop)


def test_a_revoked_link_is_dead_on_every_replica_from_the_next_request_on(
    stage: Stage, both: list[House], of: Filed, request: pytest.FixtureRequest
):
    """The one that did not revoke is asked first, and had it in memory."""
    here, there = (Wire(house.base_url) for house in both)
    with here, there:
        for _ in range(request.config.getoption("--revocations")):
            link = linked(stage, of)
            for replica in (here, there):
                assert replica.ask("GET", link.target, [("Range", "bytes=0-9")]).status == 206
            assert here.ask("DELETE", f"/v1/links/{link.id}", stage.full.items()).status == 204
            for replica in (there, here):
                assert replica.ask("GET", link.target, [("Range", "bytes=10-19")]).status == 410
            here, there = there, here


async def test_revoking_is_for_the_own_tenant_and_changes_nothing_twice(stage: Stage):
    of = await stage.file("disk", DATA)
    link = linked(stage, of)
    foreign = await stage.key(tenant=await stage.office.tenant("links-other"))
    for status, id_, key in (
        (404, link.id, foreign),
        (404, NOBODY, stage.full),
        (403, link.id, await stage.key("calls:read")),
        (422, "all", stage.full),
        (401, link.id, {}),
    ):
        assert revoke(stage.house, id_, key.items()).status == status
    assert revoke(stage.house, link.id, foreign.items()).body == revoke(stage.house, NOBODY, foreign.items()).body
    assert play(stage.house, link.target).status == 200
    for _ in range(2):
        answer = revoke(stage.house, link.id.upper(), stage.full.items())
        assert (answer.status, answer.body, answer.get("Cache-Control")) == (204, b"", "private, no-store")
    assert play(stage.house, link.target).status == 410


async def test_each_use_of_a_link_its_revocation_and_what_came_after_stand_in_the_audit(stage: Stage):
    of = await stage.file("disk", DATA)
    link = linked(stage, of)
    play(stage.house, link.target, method="HEAD")
    play(stage.house, link.target, ("Range", "bytes=0-9"))
    play(stage.house, link.target, ("Range", "bytes=10-"))
    revoke(stage.house, link.id, stage.full.items())
    play(stage.house, link.target, ("Range", "bytes=20-"))
    rows = await stage.accesses("call", of.id, 6)
    made, probe, first, second, revoked, late = rows
    assert [(row["method"], row["status"], row["bytes_sent"], row["reason"]) for row in rows] == [
        ("link", 201, 0, None),
        ("probe", 200, 0, None),
        ("stream", 206, 10, None),
        ("stream", 206, len(DATA) - 10, None),
        ("revocation", 204, 0, None),
        ("stream", 410, 0, "link_revoked"),
    ]
    for row in (probe, first, second, late):
        assert (row["actor_kind"], row["credential_id"], row["tenant"]) == ("link", link.id, stage.tenant)
    assert {probe["session"]} == {first["session"], second["session"]}
    assert made["actor_id"] == revoked["actor_id"]
    assert made["recording"] == revoked["recording"] == first["recording"]


# --- keys and outages ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def signing(stage: Stage, *keys: str) -> AsyncIterator[House]:
    """A replica with these link keys."""
    stage.secrets.update(keys)
    house = await asyncio.to_thread(stage.another, identity={"link_keys": list(keys)})
    yield house
    await asyncio.to_thread(house.stop)


async def test_a_link_outlives_the_rotation_of_its_key_and_not_its_removal(stage: Stage, of: Filed):
    new = "a-newer-link-key-" + "n" * 32
    async with signing(stage, new, LINK_KEY) as rotated, signing(stage, new) as removed:
        old, fresh = linked(stage, of), linked(stage, of, rotated)
        for link, statuses in ((old, (200, 200, 403)), (fresh, (403, 200, 200))):
            answers = [play(house, link.target) for house in (stage.house, rotated, removed)]
            assert tuple(answer.status for answer in answers) == statuses


async def test_what_a_link_can_do_while_the_database_is_away(brittle):
    """Known links play on, counted playbacks too; unknown ones are an outage. One that only stands in for a store's is even made."""
    stage, house = brittle.stage, brittle.stage.house
    of = await stage.file("disk", DATA)
    known, counted, unknown = linked(stage, of), linked(stage, of, max_uses=2), linked(stage, of)

    def standing_in() -> str:
        with Wire(house.base_url) as wire:
            url: str = wire.ask("GET", f"/yotel/api/v1/calls/{of.alias}/recording", stage.full.items()).json()["url"]
        assert url.startswith(house.base_url)
        stage.secrets.add(url.split("/")[-2])
        return url.removeprefix(house.base_url)

    before = standing_in()
    one, other = ("User-Agent", "one"), ("User-Agent", "another")
    assert play(house, known.target).status == play(house, counted.target, one).status == 200
    brittle.postgres.stop()

    def refused(answer: Answer) -> bool:
        return (answer.status, answer.get("Retry-After")) == (503, "5")

    for _ in range(2):
        assert play(house, known.target, ("Range", "bytes=5-9")).body == DATA[5:10]
        assert play(house, counted.target, one, ("Range", "bytes=5-9")).body == DATA[5:10]
        assert refused(play(house, counted.target, other))
        assert refused(play(house, unknown.target))
        assert refused(asked(stage, of, delivery="gateway"))
        assert refused(revoke(house, known.id, stage.full.items()))
        for target in (before, standing_in()):
            assert play(house, target, ("Range", "bytes=5-9")).body == DATA[5:10]
