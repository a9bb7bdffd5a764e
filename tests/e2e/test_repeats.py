"""Requests that differ from one before in their Range alone: answered by the short cut exactly as by the whole way."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from select import select
from uuid import uuid4

import pytest
from parts.faults import Fault, Kind
from parts.house import Filed, some_bytes
from parts.liar import ETAG, LIES, Liar, Lie
from parts.linked import linked
from parts.repeats import FULL, NO_COMPANY, SLOW, Seeker, Side, Sides, alone, noted, plain, spans
from parts.scrape import settled
from parts.stage import LINK_KEY, PROXY, Stage
from parts.wire import Answer
from pydantic import SecretStr

from gateway.edge.repeats import LONGEST
from gateway.identity import Links
from gateway.surfaces.native import play_url

SIZE = 300_007
DATA = some_bytes(SIZE, 5)
PIECE = 65_536
IMPATIENT = {"connect_s": 1, "first_byte_s": 1, "progress_s": 0.4, "resumes": 2}
LINKS = Links((SecretStr(LINK_KEY),))
SURFACES = ("native", "yotel", "agentphone", "callsid")
MOUNTS = [{"surface": "native"}, *({"surface": name, "prefix": f"/{name}", "ranges": True} for name in SURFACES[1:])]


@pytest.fixture(scope="module")
def sides(stage: Stage) -> Iterator[Sides]:
    opened = Sides.open(stage, origin=IMPATIENT, mounts=MOUNTS)
    yield opened
    opened.close()


@pytest.fixture(params=["with others", "by itself"])
def each_step(request: pytest.FixtureRequest, sides: Sides) -> Iterator[None]:
    """How it is taken."""
    if request.param == "by itself":
        with ordered(sides.on, NO_COMPANY):
            yield
    else:
        yield


@contextmanager
def ordered(one: Side, what: str) -> Iterator[None]:
    """As long as the file is in its folder."""
    (one.journal / what).touch()
    try:
        yield
    finally:
        (one.journal / what).unlink()


SECOND = {
    "another part": ([spans(5000, 5999)], True),
    "the same part": ([spans(1000, 1999)], True),
    "its first byte": ([spans(0, 0)], True),
    "its last byte": ([spans(SIZE - 1, SIZE - 1)], True),
    "clipped at its end": ([spans(SIZE - 100, SIZE + 1000)], True),
    "clipped far behind its end": ([spans(SIZE - 100, 10**17)], True),
    "with leading zeros": ([("Range", "bytes=0005-0000009")], True),
    "as long as a piece": ([spans(7, 6 + PIECE)], True),
    "a byte longer than a piece": ([spans(7, 7 + PIECE)], False),
    "of nineteen digits": ([spans(SIZE - 100, 10**18)], False),
    "from its end on": ([spans(SIZE, SIZE)], False),
    "far behind its end": ([spans(10**16, 10**17)], False),
    "backwards": ([spans(9, 5)], False),
    "a suffix": ([("Range", "bytes=-100")], False),
    "open": ([("Range", "bytes=200000-")], False),
    "several": ([("Range", "bytes=0-9,50-59")], False),
    "another unit": ([("Range", "lines=0-9")], False),
    "none": ([], False),
    "two lines": ([spans(0, 9), spans(5, 9)], False),
    "with a space behind it": ([("Range", "bytes=5-9 ")], False),
    "with another field": ([("Accept", "audio/wav"), spans(5, 9)], False),
    "with a condition that holds": ([("If-Match", "*"), spans(5, 9)], False),
    "with a condition that fails": ([("If-None-Match", "*"), spans(5, 9)], False),
    "of another version": ([("If-Range", '"another"'), spans(5, 9)], False),
    "and close": ([("Connection", "close"), spans(5, 9)], False),
    "with an Expect": ([("Expect", "100-continue"), spans(5, 9)], False),
    "with an empty body": ([("Content-Length", "0"), spans(5, 9)], False),
}


@pytest.mark.parametrize("second", SECOND)
async def test_the_short_cut_says_and_records_what_the_whole_way_does(sides: Sides, second: str):
    lines, taken = SECOND[second]
    seen, agent = [], uuid4().hex
    async with sides.ajar():
        filed = await sides.file(DATA)
        for side in sides.both:
            seeker = sides.seeker(side, filed, agent=agent)
            assert (await seeker.seek(1000, 1999)).status == 206
            await seeker.ask(*lines)
            assert (await seeker.seek(70_000, 79_999)).status == 206
            seen.append(seeker)
    on, off = seen
    assert on.took() == ["no", "whole" if taken else "no", "whole"]
    assert off.took() == ["no"] * 3
    await sides.alike(on, off)


@pytest.mark.parametrize("method", ["HEAD", "POST"])
async def test_another_method_goes_the_whole_way(sides: Sides, method: str):
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        answer = await seeker.ask(spans(5, 9), method=method)
    assert (answer.status, seeker.took()[-1]) == ({"HEAD": 200, "POST": 405}[method], "no")


@pytest.mark.parametrize(
    "line",
    [("If-Match", "*"), ("Content-Length", "0"), ("Expect", "100-continue")],
    ids=lambda line: line[0],
)
async def test_what_more_than_the_bytes_may_tell_apart_is_not_remembered(sides: Sides, line: tuple[str, str]):
    async with sides.ajar():
        seeker = sides.seeker(sides.on, await sides.file(DATA))
        for first in range(3):
            assert (await seeker.ask(line, spans(first, 9))).status == 206
    assert seeker.took() == ["no"] * 3


@pytest.mark.parametrize(("length", "took"), [(LONGEST - 1024, "whole"), (LONGEST, "no")])
async def test_a_head_is_remembered_up_to_some_length(sides: Sides, length: int, took: str):
    long = ("X-Long", "a" * length)
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        for first in range(2):
            assert (await seeker.ask(long, spans(first, 9))).status == 206
    assert seeker.took()[-2:] == ["no", took]


@pytest.mark.parametrize("surface", SURFACES)
async def test_every_surface_has_it(stage: Stage, sides: Sides, surface: str):
    seen, agent = [], uuid4().hex
    async with sides.ajar():
        tenant = await stage.office.tenant("repeats", recording_enabled=True)
        filed = await sides.file(DATA, tenant=tenant)
        key = await stage.key(tenant=tenant)
        target = {
            "native": filed.native,
            "yotel": filed.yotel,
            "agentphone": f"/agentphone/v1/calls/{filed.aliases['agentphone']}/recording",
            "callsid": f"/callsid/api/calls/{filed.aliases['callsid']}/recording/download",
        }[surface]
        if surface == "callsid":
            key |= {"X-Organization-Id": "repeats"}
        for side in sides.both:
            seeker = sides.seeker(side, filed, key, target=target, agent=agent)
            assert (await seeker.seek(1000, 1999)).status == 206
            assert (await seeker.seek(5, 9)).status == 206
            seen.append(seeker)
    on, off = seen
    first, _ = await sides.alike(on, off)
    taken = "whole" if first["actor_kind"] == "api_key" else "no"
    assert (on.took(), off.took()) == (["no", taken], ["no", "no"])
    assert (taken == "no") == (surface == "agentphone"), "what is public asks for no key"


# --- how it comes in -------------------------------------------------------------------------------------------------


async def test_another_user_agent_or_another_key_is_another_request(stage: Stage, sides: Sides):
    async with sides.ajar():
        filed = await sides.file(DATA)
        first = await sides.seeker(sides.on, filed).learned()
        assert sides.on.took(await sides.seeker(sides.on, filed).seek(5, 9)) == "no"
        other = sides.seeker(sides.on, filed, await stage.key(), agent=first.agent)
        assert sides.on.took(await other.seek(5, 9)) == "no"
        known = first.lines[1][1]
        wrong = {"Authorization": known[:-1] + ("y" if known.endswith("x") else "x")}
        assert (await sides.seeker(sides.on, filed, wrong, agent=first.agent).seek(5, 9)).status == 401


async def test_from_another_address_it_is_another_request(stage: Stage, sides: Sides):
    """The audit names the address, and so does what is remembered."""
    async with sides.ajar():
        filed = await sides.file(DATA)
        near = await sides.seeker(sides.on, filed).learned()
        far = sides.seeker(sides.on, filed, agent=near.agent, source="127.0.0.9")
        await far.seek(5, 9)
        await far.seek(5, 9)
        again = sides.seeker(sides.on, filed, agent=near.agent)
        await again.seek(5, 9)
        assert (far.took(), again.took()) == (["no", "whole"], ["whole"])
        rows = await stage.accesses("user_agent", near.agent, 5)
    assert [row["peer"] for row in rows] == ["127.0.0.1"] * 2 + ["127.0.0.9"] * 2 + ["127.0.0.1"]


def passing(number: int) -> list[tuple[str, str]]:
    """What proxies add, another to each request."""
    return [
        ("X-REQUEST-ID", f" from-the-proxy-{number}\t"),
        ("X-Amzn-Trace-Id", f"Root=1-67891233-abcdef{number:06}"),
        ("X-Cloud-Trace-Context", f"{number:032}/1;o=1"),
        ("tracestate", f"rojo={number}"),
    ]


@pytest.mark.parametrize("believed", [True, False], ids=["a trusted proxy", "anybody"])
async def test_what_proxies_add_to_each_request_is_passed_over_and_its_id_believed_of_those_trusted(
    sides: Sides, *, believed: bool
):
    source, agent, seen = PROXY if believed else "127.0.0.9", uuid4().hex, []
    async with sides.ajar():
        filed = await sides.file(DATA)
        for each in sides.both:
            seeker = sides.seeker(each, filed, agent=agent, source=source)
            for number in range(3):
                assert (await seeker.ask(*passing(number), spans(5, 9))).body == DATA[5:10]
            await seeker.ask(("X-Request-Id", "no id"), *passing(7)[1:], spans(5, 9))
            await seeker.ask(("traceparent", f"00-{uuid4().hex}-{'1' * 16}-01"), spans(5, 9))
            await seeker.ask(("traceparent", f"00-{uuid4().hex}-{'1' * 16}-01"), spans(5, 9))
            seen.append(seeker)
        on, off = seen
        names = [answer.headers["x-request-id"] for answer in on.answers]
        assert (names[:3] == [f"from-the-proxy-{number}" for number in range(3)]) == believed
        assert names[3] != "no id"
        assert on.took() == ["no", "whole", "whole", "no", "no", "no"]
        assert off.took() == ["no"] * 6
        rows = await sides.stage.accesses("user_agent", agent, 12)
    assert [noted(row) for row in rows[:6]] == [noted(row) for row in rows[6:]]
    assert [row["request_id"] for row in rows[:6]] == names


async def test_another_tenants_name_beside_the_key_is_refused_as_ever(stage: Stage, sides: Sides):
    async with sides.ajar():
        tenant = await stage.office.tenant("repeats", recording_enabled=True)
        filed, key = await sides.file(DATA, tenant=tenant), await stage.key(tenant=tenant)
        target = f"/callsid/api/calls/{filed.aliases['callsid']}/recording/download"
        own, other = ({**key, "X-Organization-Id": slug} for slug in ("repeats", "acme"))
        seeker = await sides.seeker(sides.on, filed, own, target=target).learned()
        stranger = sides.seeker(sides.on, filed, other, target=target, agent=seeker.agent)
        answer = await stranger.seek(5, 9)
    assert answer.status in {401, 403, 404}
    assert stranger.took() == ["no"]


@pytest.mark.parametrize("shown", ["a token", "a link"])
async def test_whoever_asks_with_another_credential_is_told_apart_and_recorded_alike(
    stage: Stage, sides: Sides, shown: str
):
    seen, agent = [], uuid4().hex
    async with sides.ajar():
        filed = await sides.file(DATA)
        key, target = stage.token(scope="recordings:download"), filed.native
        if shown == "a link":
            key, target = {}, play_url("", LINKS.mint(stage.tenant, filed.id, timedelta(hours=1)).token)
        for side in sides.both:
            seeker = sides.seeker(side, filed, key, target=target, agent=agent)
            for first in range(3):
                assert (await seeker.seek(first, 9)).status == 206
            seen.append(seeker)
    on, off = seen
    first, *_ = await sides.alike(on, off)
    assert first["actor_kind"] == {"a token": "user", "a link": "link"}[shown]
    assert (on.took(), off.took()) == (["no", "whole", "whole"], ["no"] * 3)


async def test_a_link_that_can_be_taken_back_is_asked_about_each_time(stage: Stage, sides: Sides):
    async with sides.ajar():
        filed = await sides.file(DATA)
        seeker = sides.seeker(sides.on, filed, {}, target=linked(stage, filed).target)
        for first in range(3):
            assert (await seeker.seek(first, 9)).status == 206
    assert seeker.took() == ["no"] * 3


@pytest.mark.usefixtures("each_step")
async def test_two_in_one_packet_are_answered_in_their_order(sides: Sides):
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        seeker.wire.send(seeker.raw(10, 19) + seeker.raw(20, 29))
        assert [(await seeker.read()).body for _ in range(2)] == [DATA[10:20], DATA[20:30]]
        await seeker.seek(5, 9)
        assert seeker.took()[2:] == ["no", "no", "whole"]
        assert [row["range_asked"] for row in (await seeker.rows())[2:4]] == ["bytes=10-19", "bytes=20-29"]


@pytest.mark.parametrize(
    ("packets", "taken"),
    [
        ([[20]], ["whole"]),
        ([[20, 30, 40]], ["no"] * 3),
        ([[20], [30]], ["no"] * 2),
    ],
    ids=["one", "three at once", "one by one"],
)
async def test_what_comes_while_one_is_answered_waits_for_its_turn(
    sides: Sides, packets: list[list[int]], taken: list[str]
):
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        sides.on.proxy.plan(Fault(Kind.DELAY, at=4, seconds=0.2))
        seeker.wire.send(seeker.raw(10, 19))
        await sides.on.proxy.until(lambda proxy: len(proxy.struck) == 1)
        for packet in packets:
            seeker.wire.send(b"".join(seeker.raw(first, first + 9) for first in packet))
            await asyncio.sleep(0.02)  # a read of its own
        firsts = [10, *(first for packet in packets for first in packet)]
        assert [(await seeker.read()).body for _ in firsts] == [DATA[first : first + 10] for first in firsts]
        await seeker.seek(5, 9)
        assert seeker.took()[2:] == ["whole", *taken, "whole"]
        assert len(await seeker.rows()) == len(firsts) + 3


@pytest.mark.usefixtures("each_step")
async def test_what_waits_behind_one_that_is_handed_over_comes_behind_it(sides: Sides):
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        sides.on.proxy.plan(Fault(Kind.STALL, at=4))
        seeker.wire.send(seeker.raw(10, 19))
        await sides.on.proxy.until(lambda proxy: len(proxy.struck) == 1)
        seeker.wire.send(seeker.raw(20, 29))
        assert [(await seeker.read()).body for _ in range(2)] == [DATA[10:20], DATA[20:30]]
        await seeker.seek(5, 9)
        assert seeker.took()[2:] == ["begun", "no", "whole"]
        assert len(await seeker.rows()) == 5


@pytest.mark.parametrize("at", [1, 30, -1])
async def test_a_head_that_comes_in_two_pieces_goes_the_whole_way(sides: Sides, at: int):
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        raw = seeker.raw(10, 19)
        seeker.wire.send(raw[:at])
        await asyncio.sleep(0.05)  # a read of its own
        seeker.wire.send(raw[at:])
        assert (await seeker.read()).body == DATA[10:20]
        await seeker.seek(5, 9)
        assert seeker.took()[2:] == ["no", "whole"]


async def test_half_a_head_that_waited_is_put_together_with_its_rest(sides: Sides):
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        sides.on.proxy.plan(Fault(Kind.DELAY, at=4, seconds=0.2))
        seeker.wire.send(seeker.raw(10, 19))
        await sides.on.proxy.until(lambda proxy: len(proxy.struck) == 1)
        raw = seeker.raw(20, 29)
        seeker.wire.send(raw[:40])
        assert (await seeker.read()).body == DATA[10:20]
        seeker.wire.send(raw[40:])
        assert (await seeker.read()).body == DATA[20:30]
        assert seeker.took()[2:] == ["whole", "no"]


# --- who may, and what there is ---------------------------------------------------------------------------------------


async def until(seeker: Seeker, status: int) -> Answer:
    """Seeks until the answer has that status: another process has heard of a change then."""
    async with asyncio.timeout(20):
        while (answer := await seeker.seek(5, 9)).status == 206:  # noqa: ASYNC110  it is told to another process
            await asyncio.sleep(0.01)
    assert answer.status == status
    return answer


async def test_a_key_that_was_revoked_is_refused(stage: Stage, sides: Sides):
    async with sides.ajar():
        key = await stage.key()
        seeker = await sides.seeker(sides.on, await sides.file(DATA), key).learned()
        await stage.office.revoke(key)
        await until(seeker, 401)
        assert (await seeker.seek(5, 9)).status == 401
        assert "whole" not in seeker.took()[-2:]


@pytest.mark.parametrize("what", ["key", "link", "recording"])
async def test_what_ends_at_a_time_ends_then(stage: Stage, sides: Sides, what: str):
    async with sides.ajar():
        end = datetime.fromtimestamp(int(time.time()) + 4, UTC)
        ends = {"expires_at": end}
        filed = await sides.file(DATA, **(ends if what == "recording" else {}))
        key, target = await stage.key(**(ends if what == "key" else {})), filed.native
        if what == "link":
            key, minted = {}, LINKS.mint(stage.tenant, filed.id, timedelta(seconds=4))
            end, target = minted.expires_at, play_url("", minted.token)
        seeker = await sides.seeker(sides.on, filed, key, target=target).learned()
        await until(seeker, 410 if what in {"link", "recording"} else 401)
        *_, last, over = await seeker.rows()
    assert last["occurred_at"] < end <= over["occurred_at"]
    assert seeker.took()[-2:] == ["whole", "no"]


async def test_a_tenant_that_is_changed_is_looked_up_anew(stage: Stage, sides: Sides):
    async with sides.ajar():
        tenant = await stage.office.tenant("repeats-changing")
        seeker = await sides.seeker(
            sides.on, await sides.file(DATA, tenant=tenant), await stage.key(tenant=tenant)
        ).learned()
        await stage.office.tenant("repeats-changing", recording_enabled=True)
        async with asyncio.timeout(20):
            while sides.on.took(await seeker.seek(5, 9)) != "no":  # noqa: ASYNC110  it is told to another process
                await asyncio.sleep(0.01)
        assert sides.on.took(await seeker.seek(5, 9)) == "whole"


async def test_a_recording_that_was_ended_is_gone(stage: Stage, sides: Sides):
    async with sides.ajar():
        filed = await sides.file(DATA)
        seeker = await sides.seeker(sides.on, filed).learned()
        await stage.office.rows("UPDATE recordings SET expires_at = now() WHERE call_id = $1", filed.id)
        await until(seeker, 410)


async def test_another_object_that_is_registered_is_what_is_played(sides: Sides):
    other = some_bytes(SIZE + 5, 6)
    async with sides.ajar():
        filed = await sides.file(DATA)
        seeker = await sides.seeker(sides.on, filed).learned()
        beside = await sides.file(other)
        answer = await registered(seeker, beside)
        assert answer.body == other[5:10]
        again = await seeker.ask(spans(SIZE, SIZE + 4))
        assert (again.status, again.body, seeker.took()[-1]) == (206, other[-5:], "whole")


async def registered(seeker: Seeker, beside: Filed) -> Answer:
    """Its call has ``beside``'s object from now on; the first answer that says so."""
    await seeker.stage.office.rows(
        "UPDATE recordings r SET store = o.store, key = o.key, size = o.size, etag = o.etag, version = o.version,"
        " modified = o.modified FROM recordings o WHERE r.call_id = $1 AND o.call_id = $2",
        seeker.filed.id,
        beside.id,
    )
    async with asyncio.timeout(20):
        while (answer := await seeker.ask(spans(5, 9))).get("etag") == seeker.filed.etag:
            assert answer.body == DATA[5:10]
            await asyncio.sleep(0.01)  # it is told to another process
    assert answer.get("etag") == beside.etag
    return answer


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["key", "tenant"])
async def test_where_requests_are_counted_each_is(stage: Stage, policy: str):
    async with alone(stage, limits={policy: "5/hour"}) as at:
        tenant = await stage.office.tenant(f"repeats-{policy}")
        seeker = at.seeker(at.on, await at.file(DATA, tenant=tenant), await stage.key(tenant=tenant))
        statuses = [(await seeker.seek(n, n + 9)).status for n in range(8)]
    assert statuses == [206] * 5 + [429] * 3
    assert seeker.took() == ["no"] * 8


async def test_where_guesses_are_counted_whoever_proved_a_key_is_not_held_up(stage: Stage):
    async with alone(stage, limits={"failing": "5/hour"}) as at:
        filed = await at.file(DATA)
        seeker = await at.seeker(at.on, filed).learned()
        guess = at.seeker(at.on, filed, {"Authorization": "Bearer nobody"})
        assert [(await guess.seek(5, 9)).status for _ in range(6)] == [401] * 5 + [429]
        assert (await seeker.seek(5, 9)).status == 206
        assert seeker.took()[-1] == "whole"


@pytest.mark.parametrize(
    ("bound", "status"), [("streams", 503), ("streams_per_tenant", 429), ("streams_per_address", 429)]
)
async def test_where_the_places_are_taken_it_is_turned_away_and_each_is_given_back(
    stage: Stage, bound: str, status: int
):
    async with alone(stage, limits={bound: 2}, origin=IMPATIENT) as at:
        proxy = at.on.proxy
        filed = await at.file(DATA)
        seeker = await at.seeker(at.on, filed).learned()
        held = [at.seeker(at.on, filed, agent=seeker.agent) for _ in range(2)]
        for number, each in enumerate(held, 1):
            proxy.plan(Fault(Kind.DELAY, at=4, seconds=0.3))
            each.wire.send(each.raw(10, 19))
            async with asyncio.timeout(20):  # one that is turned away asks no store
                await proxy.until(lambda seen, number=number: len(seen.struck) == number)
        assert (await seeker.seek(5, 9)).status == status
        for each in held:
            assert (await each.read()).body == DATA[10:20]
        assert "whole" in {taken for each in held for taken in each.took()}
        proxy.plan(Fault(Kind.CUT, at=4))
        for _ in range(5):
            assert (await seeker.seek(5, 9)).status == 206
        assert seeker.took()[2:] == ["no", "begun", *["whole"] * 4]
        figures = await settled(at.on.metrics, lambda figures: figures.sum("requests_in_flight") == 0)
        assert figures.sum("streams_in_flight") == 0


async def test_of_many_at_once_each_has_its_own_bytes_and_one_event(sides: Sides):
    async with sides.ajar():
        filed = await sides.file(DATA)
        seekers = [await sides.seeker(sides.on, filed).learned() for _ in range(12)]

        async def seek_on(seeker: Seeker, number: int) -> None:
            for turn in range(20):
                first = (number * 20 + turn) * 997 % (SIZE - 5000)
                assert (await seeker.seek(first, first + 100 + number)).status == 206

        await asyncio.gather(*(seek_on(seeker, number) for number, seeker in enumerate(seekers)))
        assert sum(seeker.took()[2:].count("whole") for seeker in seekers) > 200, (
            "most of them find a connection to the store"
        )
        for number, seeker in enumerate(seekers):
            rows = (await seeker.rows())[2:]
            assert {row["request_id"] for row in rows} <= seeker.ids
            assert [(row["result"], row["bytes_sent"]) for row in rows] == [("complete", 101 + number)] * 20
        figures = await settled(sides.on.metrics, lambda figures: figures.sum("requests_in_flight") == 0)
        assert figures.sum("streams_in_flight") == 0


# --- stores that break -----------------------------------------------------------------------------------------------

LENGTH = 50_000


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.RESET, Kind.STALL])
@pytest.mark.parametrize("at", [-1, 0, 1, LENGTH // 2, LENGTH - 1])
@pytest.mark.usefixtures("each_step")
async def test_over_a_store_that_breaks_the_bytes_are_right_and_the_event_is_one(sides: Sides, kind: Kind, at: int):
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        sides.on.proxy.plan(Fault(kind, at=at))
        assert (await seeker.seek(100, 99 + LENGTH)).status == 206
        assert len(sides.on.proxy.struck) == 1
        await seeker.seek(5, 9)
        assert seeker.took()[2:] == ["begun", "whole"]
        *_, row, _ = await seeker.rows()
    assert (row["status"], row["result"], row["bytes_sent"]) == (206, "complete", LENGTH)


@pytest.mark.parametrize("fault", [Fault(Kind.STALL, at=-1), Fault(Kind.CUT, at=-1), Fault(Kind.CUT, at=9)], ids=str)
async def test_a_store_that_stays_away_is_told_of_alike(sides: Sides, fault: Fault):
    """Amid the body it is told by cutting the client off: its head had to leave first."""
    agent, seen = uuid4().hex, []
    async with sides.ajar():
        filed = await sides.file(DATA)
        for each in sides.both:
            seeker = sides.seeker(each, filed, agent=agent)
            await seeker.seek(1000, 1999)
            each.proxy.always(fault)
            try:
                await seeker.seek(10, 49)
                cut = False
            except ConnectionError:
                cut = True
            seen.append((seeker, cut))
        (on, one), (off, other) = seen
        assert (one, other) == (fault.at >= 0,) * 2
        assert "taken" in {word for words in list(sides.on.told.values())[-1:] for word in words}
        assert [plain(answer) for answer in on.answers] == [plain(answer) for answer in off.answers]
        rows = [noted(row) for row in await sides.stage.accesses("user_agent", agent, 4)]
    assert rows[:2] == rows[2:]
    assert rows[1]["result"] == ("origin_failed" if fault.at >= 0 else "refused")


def once(liar: Liar, lie: Lie) -> Lie:
    """Then it tells the truth."""

    def told(data: bytes, first: int, last: int) -> tuple[str, dict[str, str], bytes]:
        liar.lie = None
        return lie(data, first, last)

    return told


def broken(_data: bytes, _first: int, _last: int) -> tuple[str, dict[str, str], bytes]:
    return "500 Internal Server Error", {}, b"no"


def longer(data: bytes, first: int, last: int) -> tuple[str, dict[str, str], bytes]:
    """More than it says."""
    status, fields, body = LIES["another part"](data, first, last)
    return status, fields | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, body + b"x"


def closing(data: bytes, first: int, last: int) -> tuple[str, dict[str, str], bytes]:
    """All is true, and the connection is to be closed behind it."""
    fields = {"ETag": ETAG, "Content-Range": f"bytes {first}-{last}/{len(data)}", "Connection": "close"}
    return "206 Partial Content", fields, data[first : last + 1]


ODD = {**LIES, "500": broken, "a longer part": longer, "the last answer": closing}


@pytest.fixture(scope="module")
def lying(stage: Stage) -> Iterator[Sides]:
    opened = Sides.open(stage, origin=IMPATIENT)
    yield opened
    opened.close()


@pytest.mark.parametrize("lie", ODD)
async def test_a_store_that_lies_once_is_not_believed(lying: Sides, lie: str):
    async with Liar(DATA) as liar, lying.ajar(liar.settings()):
        filed = await lying.file(DATA, key="a.wav", origin=liar.settings())
        seeker = await lying.seeker(lying.on, filed).learned()
        liar.lie = once(liar, ODD[lie])
        assert (await seeker.seek(10, 99)).status == 206
        assert liar.lie is None
        await seeker.seek(5, 9)
        assert seeker.took()[2] == "begun"
        rows = await seeker.rows()
    assert {(row["result"], row["status"]) for row in rows} == {("complete", 206)}


@pytest.mark.parametrize("lie", LIES)
async def test_a_store_that_goes_on_lying_is_told_of_alike(lying: Sides, lie: str):
    agent, seen = uuid4().hex, []
    async with Liar(DATA) as liar, lying.ajar(liar.settings()):
        filed = await lying.file(DATA, key="a.wav", origin=liar.settings())
        for each in lying.both:
            liar.lie = None
            seeker = lying.seeker(each, filed, agent=agent)
            if each is lying.on:
                await seeker.learned()
            else:
                await seeker.seek(1000, 1999)
                await seeker.seek(3000, 3999)
            liar.lie = LIES[lie]
            answer = await seeker.seek(10, 99)
            assert (answer.status, DATA[10:20] in answer.body) == (502, False)
            seen.append(seeker)
        on, off = seen
        assert (on.took(), off.took()) == (["no", "whole", "begun"], ["no"] * 3)
        await lying.alike(on, off, 4 if lie == "another ETag" else 3)


async def test_while_a_store_goes_on_lying_nobody_asks_it_twice_for_each_request(lying: Sides):
    async with Liar(DATA) as liar, lying.ajar(liar.settings()):
        filed = await lying.file(DATA, key="a.wav", origin=liar.settings())
        seeker = await lying.seeker(lying.on, filed).learned()
        liar.lie = LIES["another part"]
        for _ in range(4):
            assert (await seeker.seek(10, 99)).status == 502
    assert seeker.took()[2:] == ["begun", "no", "no", "no"]


async def test_an_object_that_was_overwritten_is_told_of_alike(sides: Sides):
    other, agent, seen = some_bytes(SIZE, 8), uuid4().hex, []
    async with sides.ajar():
        for each in sides.both:
            key = f"repeats/{uuid4().hex}.wav"
            filed = await sides.file(DATA, key=key)
            seeker = sides.seeker(each, filed, agent=agent)
            await seeker.seek(1000, 1999)
            sides.stage.shelves["s3"].put(key, other)
            answer = await seeker.ask(spans(10, 99))
            assert (answer.status, answer.body, answer.get("etag") == filed.etag) == (206, other[10:100], False)
            seen.append(seeker)
        on, off = seen
        assert (on.took(), off.took()) == (["no", "begun"], ["no", "no"])
        rows = await sides.stage.accesses("user_agent", agent, 6)
    ends = [(row["result"], row["reason"], row["bytes_sent"], row["etag"] == rows[0]["etag"]) for row in rows]
    assert ends[:3] == ends[3:]
    assert ends[1:3] == [("refused", "object_changed", 0, True), ("complete", None, 90, False)]


async def test_another_object_registered_while_the_store_breaks_has_an_event_of_its_own(sides: Sides):
    other = some_bytes(SIZE, 9)
    async with sides.ajar():
        filed, beside = await sides.file(DATA), await sides.file(other)
        seeker = await sides.seeker(sides.on, filed).learned()
        sides.on.proxy.plan(Fault(Kind.STALL, at=-1))
        seeker.wire.send(seeker.raw(10, 19))
        await sides.on.proxy.until(lambda proxy: len(proxy.struck) == 1)
        await registered(sides.seeker(sides.on, filed), beside)
        answer = await seeker.read()
        assert (answer.status, answer.body, answer.get("etag")) == (206, other[10:20], beside.etag)
        *_, first, second = await seeker.rows(4)
    assert (first["result"], first["reason"], first["etag"]) == ("refused", "object_changed", filed.etag)
    assert (second["result"], second["bytes_sent"], second["etag"]) == ("complete", 10, beside.etag)
    assert first["request_id"] == second["request_id"]


async def test_a_key_revoked_while_the_store_breaks_is_refused_and_the_event_says_so(stage: Stage, sides: Sides):
    """What was begun is handed over to a path that refuses it before it records anything."""
    async with sides.ajar():
        key = await stage.key()
        filed = await sides.file(DATA)
        seeker = await sides.seeker(sides.on, filed, key).learned()
        other = sides.seeker(sides.on, filed, key)
        sides.on.proxy.plan(Fault(Kind.STALL, at=-1))
        seeker.wire.send(seeker.raw(10, 19))
        await sides.on.proxy.until(lambda proxy: len(proxy.struck) == 1)
        await stage.office.revoke(key)
        await until(other, 401)
        assert (await seeker.read()).status == 401
        assert seeker.took()[2:] == ["begun"]
        *_, row = await seeker.rows()
    assert (row["status"], row["result"], row["range_asked"]) == (401, "refused", "bytes=10-19")


# --- clients that leave, or do not read -------------------------------------------------------------------------------


async def warm(sides: Sides, like: Seeker, count: int = 3) -> int:
    """So many connections to the store are kept."""
    sides.on.proxy.plan(*[Fault(Kind.DELAY, at=-1, seconds=0.6)] * count)
    await asyncio.gather(*(sides.seeker(sides.on, like.filed).seek(5, 9) for _ in range(count)))
    assert sides.on.proxy.open == count
    return count


@pytest.mark.parametrize("behind", [0, 1, 2], ids=["alone", "with one more behind it", "with two more behind it"])
@pytest.mark.parametrize("at", [-1, 4], ids=["before its head", "amid its body"])
@pytest.mark.usefixtures("each_step")
async def test_a_client_that_leaves_while_the_store_is_slow_takes_all_of_it_along(sides: Sides, at: int, behind: int):
    async with sides.ajar():
        proxy = sides.on.proxy
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        kept = await warm(sides, seeker)
        proxy.plan(Fault(Kind.STALL, at=at))
        seeker.wire.send(seeker.raw(10, 19))
        await proxy.until(lambda proxy: len(proxy.struck) == kept + 1)
        if behind:
            seeker.wire.send(b"".join(seeker.raw(20 + n, 29) for n in range(behind)))
            await asyncio.sleep(0.02)  # a read of its own
        seeker.close()
        await proxy.until(lambda proxy: proxy.open == kept - 1)
        await settled(sides.on.metrics, lambda figures: figures.sum("requests_in_flight") == 0)
        *_, row = await seeker.rows(3)
    assert (row["status"], row["result"], row["reason"], row["bytes_sent"]) == (
        0,
        "client_gone",
        "before_first_byte",
        0,
    )


STALL_S = 0.8


@pytest.fixture(scope="module")
def unhurried(stage: Stage) -> Iterator[Sides]:
    """They hold little for a client, and keep nobody long."""
    server = {"send_buffer_bytes": 4096, "write_stall_s": STALL_S, "keepalive_s": 1}
    opened = Sides.open(stage, server=server)
    yield opened
    opened.close()


async def test_a_client_that_reads_slowly_gets_all_of_it(unhurried: Sides):
    agent, seen = uuid4().hex, []
    async with unhurried.ajar():
        filed = await unhurried.file(DATA)
        for each in unhurried.both:
            await unhurried.seeker(each, filed, agent=agent).seek(1000, 1999)
            slow = unhurried.seeker(each, filed, agent=agent, receive_buffer=2048)
            slow.wire.send(slow.raw(0, PIECE - 1))
            await asyncio.sleep(STALL_S / 2)  # as a slow reader does
            assert (await slow.read()).body == DATA[:PIECE]
            assert (await slow.seek(5, 9)).status == 206
            seen.append(slow)
        on, off = seen
        assert (on.took(), off.took()) == (["whole"] * 2, ["no"] * 2)
        rows = [noted(row) for row in await unhurried.stage.accesses("user_agent", agent, 6)]
    assert rows[:3] == rows[3:]
    assert rows[1]["bytes_sent"] == PIECE


async def test_a_client_that_reads_nothing_is_cut_off(unhurried: Sides):
    """At the second answer at the latest: the kernel may take one write whole, however little it is to hold."""
    async with unhurried.ajar():
        filed = await unhurried.file(DATA)
        first = await unhurried.seeker(unhurried.on, filed).learned()
        before = len(unhurried.on.told)
        slow = unhurried.seeker(unhurried.on, filed, agent=first.agent, receive_buffer=2048)
        for start in (0, PIECE):
            slow.wire.send(slow.raw(start, start + PIECE - 1))
            await asyncio.sleep(0.1)  # a read of its own
        await settled(unhurried.on.metrics, lambda figures: figures.sum("requests_in_flight") == 0)
        assert not await asyncio.to_thread(slow.wire.ended), "some of it came"
        taken = list(unhurried.on.told.values())[before:]
        *_, row = await first.rows(2 + len(taken))
    assert taken in ([["taken"]], [["taken"]] * 2)
    assert (row["status"], row["result"], row["reason"]) == (206, "client_gone", "stalled")
    assert row["bytes_sent"] < PIECE


async def test_a_client_that_leaves_amid_the_answer_is_gone_unless_the_kernel_had_all_of_it(unhurried: Sides):
    async with unhurried.ajar():
        filed = await unhurried.file(DATA)
        first = await unhurried.seeker(unhurried.on, filed).learned()
        slow = unhurried.seeker(unhurried.on, filed, agent=first.agent, receive_buffer=2048)
        slow.wire.send(slow.raw(0, PIECE - 1))
        await asyncio.to_thread(slow.wire.socket.recv, 1)
        slow.close()
        await settled(unhurried.on.metrics, lambda figures: figures.sum("requests_in_flight") == 0)
        *_, row = await first.rows(3)
    assert (row["status"], row["reason"], row["bytes_sent"]) == (206, None, PIECE)
    assert row["result"] in {"client_gone", "complete"}


async def test_a_connection_that_is_used_is_kept_and_one_that_is_idle_is_closed(unhurried: Sides):
    async with unhurried.ajar():
        filed = await unhurried.file(DATA)
        first = await unhurried.seeker(unhurried.on, filed).learned()
        seeker = unhurried.seeker(unhurried.on, filed, agent=first.agent)
        begun = time.monotonic()
        mine = seeker.wire.socket.getsockname()
        while time.monotonic() < begun + 2.5:
            await seeker.seek(5, 9)
            await asyncio.sleep(0.4)  # less than it is kept
        assert seeker.wire.socket.getsockname() == mine
        assert set(seeker.took()) == {"whole"}
        await seeker.seek(5, 9)
        begun = time.monotonic()
        assert await asyncio.to_thread(seeker.wire.ended)
    assert 0.9 < time.monotonic() - begun < 5


async def test_a_connection_is_kept_while_the_store_is_slow(unhurried: Sides):
    async with unhurried.ajar():
        seeker = await unhurried.seeker(unhurried.on, await unhurried.file(DATA)).learned()
        unhurried.on.proxy.plan(Fault(Kind.DELAY, at=4, seconds=2.5))
        await seeker.seek(10, 19)
        await seeker.seek(5, 9)
        assert seeker.took()[2:] == ["whole", "whole"]


# --- the journal -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("each_step")
async def test_nothing_leaves_before_its_intent_is_durable(sides: Sides):
    async with sides.ajar():
        seeker = await sides.seeker(sides.on, await sides.file(DATA)).learned()
        with ordered(sides.on, SLOW):
            sides.on.proxy.plan(Fault(Kind.DELAY, at=4, seconds=0.02))
            seeker.wire.send(seeker.raw(10, 19))
            await sides.on.proxy.until(lambda proxy: len(proxy.struck) == 1)
            assert not (await asyncio.to_thread(select, [seeker.wire.socket], [], [], 0.3))[0]
        assert (await seeker.read()).body == DATA[10:20]
        assert seeker.took()[-1] == "whole"


@pytest.mark.parametrize("how", [FULL, SLOW])
async def test_where_the_journal_cannot_be_written_nothing_leaves_and_the_event_says_so(stage: Stage, how: str):
    async with alone(stage, audit={"commit_s": 0.5}) as at:
        seeker = await at.seeker(at.on, await at.file(DATA)).learned()
        with ordered(at.on, how):
            answer = await seeker.seek(10, 19)
            assert (answer.status, answer.get("cache-control")) == (503, "no-store")
            assert (await seeker.seek(10, 19)).status == 503
        assert seeker.took()[2:] == ["begun", "no"]
        *_, row = await seeker.rows(3)
        assert (row["status"], row["result"]) == (503, "refused")
        assert row["reason"] == ("journal_failed" if how == FULL else "journal_timeout")
        figures = await settled(at.on.metrics, lambda figures: figures.sum("requests_in_flight") == 0)
        assert figures.sum("streams_in_flight") == 0


# --- its end ---------------------------------------------------------------------------------------------------------


async def test_at_sigterm_one_that_is_under_way_is_answered_and_closes(stage: Stage):
    async with alone(stage, server={"drain_s": 20}) as at:
        filed = await at.file(DATA)
        seeker = await at.seeker(at.on, filed).learned()
        at.on.proxy.plan(Fault(Kind.DELAY, at=4, seconds=1.5))
        seeker.wire.send(seeker.raw(10, 19))
        await at.on.proxy.until(lambda proxy: len(proxy.struck) == 1)
        seeker.wire.send(seeker.raw(20, 29))
        at.on.house.signal(signal.SIGTERM)
        answer = await seeker.read()
        assert (answer.status, answer.body, answer.get("connection")) == (206, DATA[10:20], "close")
        status = await asyncio.to_thread(at.on.house.process.wait, 20)
        *_, row = await seeker.rows()
    assert (status, row["result"], row["bytes_sent"]) == (0, "complete", 10)


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "with one more behind it"])
async def test_one_that_outlasts_the_drain_is_cut_off_and_audited(stage: Stage, behind: bool):
    async with alone(stage, server={"drain_s": 0.5}) as at:
        seeker = await at.seeker(at.on, await at.file(DATA)).learned()
        kept = await warm(at, seeker)
        at.on.proxy.always(Fault(Kind.STALL, at=4))
        seeker.wire.send(seeker.raw(10, 19))
        await at.on.proxy.until(lambda proxy: len(proxy.struck) == kept + 1)
        if behind:
            seeker.wire.send(seeker.raw(20, 29))
        at.on.house.signal(signal.SIGTERM)
        assert await asyncio.to_thread(seeker.wire.ended), "what answers another would be taken for its answer"
        status = await asyncio.to_thread(at.on.house.process.wait, 20)
        rows = (await stage.accesses("user_agent", seeker.agent, 3, or_more=True))[2:]
    assert status == 0
    assert {(row["status"], row["result"], row["reason"], row["bytes_sent"]) for row in rows} == {
        (0, "interrupted", "shutdown", 0)
    }
    assert len(rows) == 1


async def test_one_that_is_read_slowly_at_sigterm_is_cut_off_and_audited(stage: Stage):
    async with alone(stage, server={"drain_s": 0.5, "send_buffer_bytes": 4096}) as at:
        filed = await at.file(DATA)
        first = await at.seeker(at.on, filed).learned()
        slow = at.seeker(at.on, filed, agent=first.agent, receive_buffer=2048)
        slow.wire.send(slow.raw(0, PIECE - 1))
        assert await asyncio.to_thread(slow.wire.socket.recv, 1)
        at.on.house.signal(signal.SIGTERM)
        status = await asyncio.to_thread(at.on.house.process.wait, 20)
        *_, row = await first.rows(3)
    assert (status, row["status"], row["result"], row["reason"]) == (0, 206, "interrupted", "shutdown")
