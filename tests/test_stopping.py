"""How a gateway ends within one process: what it waits for, and what for no longer than a moment."""

import asyncio
from unittest import mock

import pytest

from gateway.edge import lifecycle as lifecycle_module
from gateway.edge.lifecycle import PROBES, Lifecycle
from gateway.errors import Unavailable


async def test_a_part_whose_check_is_broken_is_named_as_any_that_is_away():
    async def broken() -> None:
        raise KeyError("secret")

    async def away() -> None:
        raise Unavailable("gone")

    reply = await Lifecycle({"store": broken, "journal": away}).answer("GET", "/readyz")
    assert reply.status == 503
    assert reply.body == b'{"status":"unready","checks":{"store":"defect","journal":"unavailable"}}'


async def test_a_part_that_does_not_answer_in_time_is_named_and_keeps_no_prober_waiting(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("gateway.edge.lifecycle._CHECK_S", 0.01)
    async with asyncio.timeout(20):
        reply = await Lifecycle({"store": asyncio.Event().wait}).answer("GET", "/readyz")
    assert (reply.status, reply.body) == (503, b'{"status":"unready","checks":{"store":"timeout"}}')


@pytest.mark.parametrize("path", sorted(PROBES))
async def test_a_probe_takes_no_method_that_could_change_anything(path: str):
    asked: list[str] = []

    async def look() -> None:
        asked.append("store")

    lifecycle = Lifecycle({"store": look})
    reply = await lifecycle.answer("POST", path)
    assert (reply.status, reply.headers["Allow"], reply.body, asked) == (405, "GET, HEAD", b"", [])


async def test_probers_that_do_not_wait_have_the_parts_asked_once_for_all_of_them():
    asked: list[str] = []
    answered = asyncio.Event()

    async def slow() -> None:
        asked.append("store")
        await answered.wait()

    lifecycle = Lifecycle({"store": slow})
    for _ in range(5):
        prober = asyncio.create_task(lifecycle.answer("GET", "/readyz"))
        await asyncio.wait([prober], timeout=0.01)
        prober.cancel()
        await asyncio.wait([prober])
    answered.set()
    for _ in range(2):  # whoever comes soon after is told the same
        reply = await lifecycle.answer("GET", "/readyz")
        assert (reply.status, asked) == (200, ["store"])
    with mock.patch.object(lifecycle_module, "_KEPT_S", -1.0):  # and who comes late is not
        await lifecycle.answer("GET", "/readyz")
    assert asked == ["store"] * 2
    lifecycle.leaving = True
    assert (await lifecycle.answer("GET", "/readyz")).status == 503
    assert (await lifecycle.answer("GET", "/healthz")).status == 200


async def test_a_look_that_nobody_waits_for_any_more_ends_with_the_gateway():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hangs() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    lifecycle = Lifecycle({"store": hangs})
    prober = asyncio.create_task(lifecycle.answer("GET", "/readyz"))
    await begun.wait()
    prober.cancel()
    await lifecycle.close()
    assert ended.is_set()
