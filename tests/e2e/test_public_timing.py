"""How long the public download takes to say no, and that it tells nothing of why."""

import asyncio
import random
import time
from collections import defaultdict
from datetime import UTC, datetime
from itertools import chain
from math import sqrt
from statistics import mean, median
from uuid import uuid4

import pytest
from parts.stage import Stage

from gateway.model import State
from gateway.surfaces.agentphone import EVEN_S

CONNECTIONS = 8
OF_EACH = 12
Z_MOST = 4.5
"""Two samples of one distribution are further apart by rank than this once in 150,000 times."""
LATE_S = 1.9 * EVEN_S
"""What comes later was not ready when the first answers may leave: on a busy machine that tells what is still looked up."""
LATE_APART_MOST = 0.5
"""Between the shares of those, however busy it is."""
PATH = "/agentphone/v1/calls/{}/recording"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def rank_z(one: list[float], other: list[float]) -> float:
    """Mann and Whitney's U of the two samples, as standard deviations from what equals would have; ties are averaged."""
    pooled = sorted(chain(one, other))
    first: dict[float, int] = {}
    count: dict[float, int] = defaultdict(int)
    for place, value in enumerate(pooled, 1):
        first.setdefault(value, place)
        count[value] += 1
    ranks = sum(first[value] + (count[value] - 1) / 2 for value in one)
    n, m = len(one), len(other)
    return (ranks - n * (n + 1) / 2 - n * m / 2) / sqrt(n * m * (n + m + 1) / 12)


def test_rank_z_tells_shifted_samples_from_equal_ones():
    chance = random.Random(1)
    equal = [chance.expovariate(1) for _ in range(2000)]
    assert abs(rank_z(equal[:1000], equal[1000:])) < 3
    assert rank_z([x + 0.3 for x in equal[:1000]], equal[1000:]) > 5
    assert rank_z([1.0] * 50, [1.0] * 50) == 0
    assert rank_z([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx(-1.964, abs=0.001)


async def refused_ids(stage: Stage) -> dict[str, list[str]]:
    """Ids that are refused, by why."""
    on = await stage.office.tenant("timed-on", recording_enabled=True)
    off = await stage.office.tenant("timed-off", recording_enabled=False)
    ids: dict[str, list[str]] = defaultdict(list)
    for number in range(OF_EACH):
        for state in (State.ABSENT, State.PENDING, State.PROCESSING, State.FAILED):
            external = str(uuid4())
            await stage.office.call(on, state, aliases={"agentphone": external})
            ids[state.value].append(external)
        for why, tenant, external, end in (
            ("switched off", off, str(uuid4()), None),
            ("expired", on, str(uuid4()), LONG_AGO),
            ("weak", on, f"call-{number:06}", None),
        ):
            await stage.file("disk", b"x" * 1000, tenant=tenant, expires_at=end, aliases={"agentphone": external})
            ids[why].append(external)
    return ids


async def timed(base_url: str, asked: list[tuple[str, str]]) -> list[tuple[str, float, bytes]]:
    """Why, seconds, and the answer but for what differs between any two."""
    host, _, port = base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    seen = []
    for why, external in asked:
        request = f"GET {PATH.format(external)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        took = time.perf_counter() - begun
        lines = head.split(b"\r\n")
        length = next(int(line[16:]) for line in lines if line.lower().startswith(b"content-length: "))
        body = await reader.readexactly(length)
        told = [line for line in lines if not line.lower().startswith((b"date: ", b"x-request-id: "))]
        seen.append((why, took, b"\n".join([*told, body])))
    writer.close()
    await writer.wait_closed()
    return seen


async def test_refusals_of_the_public_download_are_one_in_word_and_time(stage: Stage, pytestconfig: pytest.Config):
    count: int = pytestconfig.getoption("--timings")
    ids, chance = await refused_ids(stage), random.Random(7)
    kinds = [*ids, "missing", "missing, weak"]
    asked = []
    for number in range(count):
        why = kinds[number % len(kinds)]
        external = chance.choice(ids[why]) if why in ids else str(uuid4())
        asked.append((why, f"call-{chance.randrange(1_000_000, 9_999_999)}" if why == "missing, weak" else external))
    chance.shuffle(asked)
    await timed(stage.house.base_url, [(why, external) for why, them in ids.items() for external in them])  # now known
    by_turns = [timed(stage.house.base_url, asked[lane::CONNECTIONS]) for lane in range(CONNECTIONS)]
    seen = list(chain.from_iterable(await asyncio.gather(*by_turns)))
    assert len({told for _, _, told in seen}) == 1, "one answer, whatever is the reason"
    times = defaultdict(list)
    for why, took, _ in seen:
        times[why].append(took)
    times["all of these"] = [took for why, took, _ in seen if why != "missing"]
    late = {why: mean(took > LATE_S for took in each) for why, each in times.items()}
    in_time = {why: [took for took in each if took <= LATE_S] for why, each in times.items()}
    missing = in_time.pop("missing")
    middle = median(missing)
    print(f"{count} refusals; missing: {middle * 1000:.3f} ms, {late['missing']:.0%} late")
    apart = {why: rank_z(each, missing) for why, each in in_time.items()}
    for why, z in apart.items():
        by = median(in_time[why]) - middle
        print(f"  {why}: z = {z:+.2f}, medians {by * 1e6:+.0f} µs apart, {late[why]:.0%} late")
    assert all(abs(z) < Z_MOST for z in apart.values())
    assert all(abs(share - late["missing"]) < LATE_APART_MOST for share in late.values())
