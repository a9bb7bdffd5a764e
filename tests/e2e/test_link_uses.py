"""What is a use of a link that is good for so many, and what is none: a request that gave its listener nothing."""

import asyncio
import resource
from uuid import UUID, uuid4

import pytest
from parts.doors import Doors
from parts.house import some_bytes
from parts.linked import linked, play
from parts.stage import Stage

DATA = some_bytes(100_000)
ONE, OTHER = ("User-Agent", "one"), ("User-Agent", "another")
REFUSED = {
    "precondition": (412, [("If-Match", '"another"')]),
    "range": (416, [("Range", "bytes=100000-")]),
    "two ranges": (400, [("Range", "bytes=0-1"), ("Range", "bytes=2-3")]),
}


@pytest.mark.parametrize(("status", "lines"), REFUSED.values(), ids=REFUSED)
async def test_a_refusal_is_no_use_and_a_link_used_up_is_refused_as_such(
    stage: Stage, status: int, lines: list[tuple[str, str]]
):
    link = linked(stage, await stage.file("disk", DATA), max_uses=1)
    assert play(stage.house, link.target, ONE, *lines).status == status
    assert play(stage.house, link.target, OTHER).body == DATA
    assert play(stage.house, link.target, ONE, *lines).status == 403
    assert play(stage.house, link.target, OTHER, *lines).status == status, "its playback goes on"
    rows = await stage.accesses("credential_id", link.id, 4)
    assert [(row["status"], row["reason"]) for row in rows][1:3] == [(200, None), (403, "link_used_up")]
    assert rows[1]["session"] == rows[3]["session"]


@pytest.mark.parametrize(
    ("status", "method", "lines"),
    [(200, "HEAD", []), (304, "GET", [("If-None-Match", "*")]), (206, "GET", [("Range", "bytes=0-0")])],
)
async def test_any_success_is_a_use(stage: Stage, status: int, method: str, lines: list[tuple[str, str]]):
    link = linked(stage, await stage.file("disk", DATA), max_uses=1)
    assert play(stage.house, link.target, ONE, *lines, method=method).status == status
    assert play(stage.house, link.target, OTHER).status == 403
    assert play(stage.house, link.target, ONE, source="127.0.0.9").status == 403, "the same player elsewhere"
    assert play(stage.house, link.target, ONE).body == DATA


async def test_listeners_who_all_found_a_use_left_are_as_many_as_there_were(stage: Stage):
    """Of those whose bytes the store had given already, the others get none of them."""
    link = linked(stage, await stage.file("s3", DATA), max_uses=2)
    asking = (asyncio.to_thread(play, stage.house, link.target, ("User-Agent", f"listener {n}")) for n in range(16))
    answers = await asyncio.gather(*asking)
    assert sorted(answer.status for answer in answers) == [200] * 2 + [403] * 14
    assert all(answer.body == DATA for answer in answers if answer.status == 200)
    rows = await stage.accesses("credential_id", link.id, 16)
    assert (
        sorted((row["status"], row["bytes_sent"], row["reason"]) for row in rows if row["status"] != 200)
        == [(403, 0, "link_used_up")] * 14
    )


async def test_an_outage_of_the_store_is_no_use(stage: Stage, doors: Doors):
    """Whoever comes back long after it, or from elsewhere, plays what he was promised."""
    origin, key = stage.stores["s3"], f"uses/{uuid4().hex}.wav"
    stage.shelves["s3"].put(key, DATA)
    link = linked(stage, await doors.file("s3-3", origin, key, DATA), doors.house, max_uses=1)
    assert (await asyncio.to_thread(play, doors.house, link.target, ONE)).status == 503
    async with doors.ajar("s3-3", origin):
        assert (await asyncio.to_thread(play, doors.house, link.target, OTHER)).body == DATA
        assert (await asyncio.to_thread(play, doors.house, link.target, ONE)).status == 403
        assert (await asyncio.to_thread(play, doors.house, link.target, OTHER)).body == DATA
    reasons = [row["reason"] for row in await stage.accesses("credential_id", link.id, 4)]
    assert reasons == ["unavailable", None, "link_used_up", None]


@pytest.mark.parametrize(
    ("method", "lines"), [("GET", []), ("HEAD", []), ("GET", [("If-None-Match", "*")])], ids=["body", "head", "304"]
)
async def test_an_outage_of_the_journal_is_no_use(stage: Stage, method: str, lines: list[tuple[str, str]]):
    house, link = stage.another(stage.on_disk), linked(stage, await stage.file("disk", DATA), max_uses=1)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, (1, most))
    assert play(house, link.target, ONE, *lines, method=method).status == 503
    resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, (most, most))
    assert play(stage.house, link.target, OTHER).body == DATA
    assert play(stage.house, link.target, ONE).status == 403


@pytest.mark.parametrize("store", ["s3", "disk"])
async def test_a_recording_replaced_at_its_store_is_one_use_still(stage: Stage, store: str):
    """It is planned anew for what lies there now, and counted once."""
    key, new = f"uses/{uuid4().hex}.wav", some_bytes(90_000, 2)
    link = linked(stage, await stage.file(store, DATA, key=key), max_uses=1)
    stage.shelves[store].put(key, new)
    for _ in range(2):
        assert play(stage.house, link.target, ONE).body == new
    assert play(stage.house, link.target, ONE, ("Range", "bytes=80000-")).body == new[80_000:]
    assert play(stage.house, link.target, OTHER).status == 403
    rows = await stage.accesses("credential_id", link.id, 7)
    assert [row["reason"] for row in rows] == ["object_changed", None] * 3 + ["link_used_up"]
    (counted,) = await stage.office.rows("SELECT session FROM link_uses WHERE link_id = $1", UUID(link.id))
    assert {row["session"] for row in rows[:-1]} == {counted["session"]}, "the audit calls it what it was counted as"


async def test_a_player_whose_name_is_no_utf_8_uses_a_link_as_any_other(stage: Stage):
    link = linked(stage, await stage.file("disk", DATA), max_uses=1)
    player = ("User-Agent", b"M\xfcller/1")
    assert play(stage.house, link.target, player).body == DATA
    assert play(stage.house, link.target, OTHER).status == 403
    assert play(stage.house, link.target, player).body == DATA, "its playback goes on"
