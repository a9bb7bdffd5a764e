"""Database or store away: what is answered then is never a 404."""

import asyncio

from parts.calls import DATA, MISSING, Calls, assert_refused
from parts.liar import LIES, Liar
from parts.s3 import free_ports
from parts.wire import Answer, Lines, Wire


async def test_away_database_is_a_503_and_what_is_known_is_served_on(brittle):
    stage = brittle.stage
    known, unknown = await stage.file("disk", DATA), await stage.file("disk", DATA)
    with Wire(stage.house.base_url) as wire:

        def ask(method: str, target: str, lines: Lines = ()) -> Answer:
            return wire.ask(method, target, [*stage.full.items(), *lines])

        paths = ("/v1/recordings/{0.id}", "{0.native}", "{0.yotel}", "/yotel/api/v1/calls/{0.alias}/recording")
        for path in paths:
            assert ask("GET", path.format(known)).status == 200
        brittle.postgres.stop()
        for path in paths:
            assert ask("GET", path.format(known)).status == 200
            assert ask("HEAD", path.format(known)).status == 200
            surface = "yotel" if "yotel" in path.format(known) else "native"
            refused = ask("GET", path.format(unknown))
            assert_refused(refused, surface, (503, "unavailable", "5"))
            assert_refused(ask("HEAD", path.format(unknown)), surface, (503, "unavailable", "5"), "HEAD")
        ranged = ask("GET", known.native, [("Range", "bytes=10-19")])
        assert (ranged.status, ranged.body) == (206, DATA[10:20])
        assert_refused(ask("GET", f"/v1/recordings/{MISSING}"), "native", (503, "unavailable", "5"))
        assert_refused(ask("GET", "/v1/recordings"), "native", (503, "unavailable", "5"))
        while (ready := wire.ask("GET", "/readyz")).status == 200:
            pass  # what was found is told for a second
        assert (ready.status, ready.json()["checks"]["postgres"]) == (503, "unavailable")
        assert ready.json()["checks"]["store.disk"] == "ok"
        assert wire.ask("GET", "/healthz").status == 200


async def test_store_that_is_away_is_a_503_and_one_that_lies_a_502(calls: Calls):
    stage = calls.stage
    away = stage.stores["s3"] | {"endpoint": f"http://127.0.0.1:{free_ports(1)[0]}"}
    async with Liar(DATA) as liar:
        liar.lie = LIES["another part"]
        stores = {"s3": stage.stores["s3"], "away": away, "lying": liar.settings()}
        house = await asyncio.to_thread(stage.another, stores)
        by_store = {name: await stage.file("disk", DATA) for name in ("away", "lying")}
        for name, of in by_store.items():
            await stage.office.rows("UPDATE recordings SET store = $2 WHERE call_id = $1", of.id, name)

        def look() -> None:
            with Wire(house.base_url) as wire:
                for name, status, codes, retry in (
                    ("away", 503, ("unavailable", "unavailable"), "5"),
                    ("lying", 502, ("storage_failed", "storage_failed"), None),
                ):
                    of = by_store[name]
                    for lines in ([], [("Range", "bytes=5-9")], [("Range", "bytes=0-1,5-9")]):
                        asked = [*stage.full.items(), *lines]
                        assert_refused(wire.ask("GET", of.native, asked), "native", (status, codes[0], retry))
                        assert_refused(wire.ask("GET", of.yotel, asked), "yotel", (status, codes[1], retry))
                    assert wire.ask("HEAD", of.native, stage.full.items()).status == 200
                    assert wire.ask("GET", f"/v1/recordings/{of.id}", stage.full.items()).status == 200
                ready = wire.ask("GET", "/readyz")
                assert ready.status == 503
                assert ready.json()["checks"]["store.s3"] == "ok"
                assert ready.json()["checks"]["store.away"] == "unavailable"

        await asyncio.to_thread(look)
        await asyncio.to_thread(house.stop)
