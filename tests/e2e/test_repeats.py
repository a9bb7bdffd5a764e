"""Requests that differ from one before in their Range alone: answered by the short cut exactly as by the whole way."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from parts.house import some_bytes
from parts.repeats import Sides, spans
from parts.stage import Stage

SIZE = 300_007
DATA = some_bytes(SIZE, 5)
PIECE = 65_536
IMPATIENT = {"connect_s": 1, "first_byte_s": 1, "progress_s": 0.4, "resumes": 2}
SURFACES = ("native", "yotel", "agentphone", "callsid")
MOUNTS = [{"surface": "native"}, *({"surface": name, "prefix": f"/{name}", "ranges": True} for name in SURFACES[1:])]


@pytest.fixture(scope="module")
def sides(stage: Stage) -> Iterator[Sides]:
    opened = Sides.open(stage, origin=IMPATIENT, mounts=MOUNTS)
    yield opened
    opened.close()


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
    [("X-Request-Id", "mine"), ("If-Match", "*"), ("Content-Length", "0"), ("Expect", "100-continue")],
    ids=lambda line: line[0],
)
async def test_what_more_than_the_bytes_may_tell_apart_is_not_remembered(sides: Sides, line: tuple[str, str]):
    async with sides.ajar():
        seeker = sides.seeker(sides.on, await sides.file(DATA))
        for first in range(3):
            assert (await seeker.ask(line, spans(first, 9))).status == 206
    assert seeker.took() == ["no"] * 3


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
