"""Database or store away: what is answered then is never a 404."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

from parts.calls import DATA, MISSING, Calls, Wanted, assert_refused
from parts.house import Filed, House
from parts.liar import LIES, Liar
from parts.wire import Answer, Lines, Wire

from gateway.demo.ports import free_ports

BOTH_WAYS = True


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


async def test_what_a_batch_had_found_when_an_outage_ended_it_is_not_said_to_have_left(brittle):
    stage, agent = brittle.stage, f"batcher {uuid4()}"
    known, unknown = await stage.file("disk", DATA), await stage.file("disk", DATA)
    with Wire(stage.house.base_url) as wire:
        assert wire.ask("GET", f"/v1/recordings/{known.id}", stage.full.items()).status == 200
        brittle.postgres.stop()
        body = json.dumps({"ids": [str(known.id), str(unknown.id)]}).encode()
        fields = [*stage.full.items(), ("User-Agent", agent)]
        assert wire.ask("POST", "/v1/recordings/batch", fields, body).status == 503
    await asyncio.to_thread(brittle.postgres.start)
    rows = await stage.accesses("user_agent", agent, 2)
    assert {(row["method"], row["call"]) for row in rows} == {("batch", None), ("metadata", known.id)}
    assert {(row["status"], row["result"], row["reason"]) for row in rows} == {(503, "refused", "unavailable")}


async def test_store_that_is_away_is_a_503_and_one_that_lies_a_502(calls: Calls, tmp_path: Path):
    stage, nobody = calls.stage, f"http://127.0.0.1:{free_ports(1)[0]}"
    folder = tmp_path / "unmounted"
    folder.mkdir()
    async with Liar(DATA) as liar:
        liar.lie = LIES["another part"]
        stores = {
            "disk": stage.stores["disk"],
            "s3 away": stage.stores["s3"] | {"endpoint": nobody},
            "gcs away": stage.stores["gcs"] | {"endpoint": nobody},
            "disk away": {"kind": "disk", "root": str(folder)},
            "lying": liar.settings(),
        }
        house = await asyncio.to_thread(stage.another, stores)
        folder.rmdir()
        for name in ("s3 away", "gcs away", "disk away", "lying"):
            of = await stage.file("disk", DATA)
            await stage.office.rows("UPDATE recordings SET store = $2 WHERE call_id = $1", of.id, name)
            wanted = (502, "storage_failed", None) if name == "lying" else (503, "unavailable", "5")
            await asyncio.to_thread(look, calls, house, of, wanted)
        with Wire(house.base_url) as wire:
            ready = await asyncio.to_thread(wire.ask, "GET", "/readyz")
        assert ready.status == 503
        assert {name: state for name, state in ready.json()["checks"].items() if "away" in name or state != "ok"} == {
            "store.s3 away": "unavailable",
            "store.gcs away": "unavailable",
            "store.disk away": "unavailable",
        }
        await asyncio.to_thread(house.stop)


def look(calls: Calls, house: House, of: Filed, wanted: Wanted) -> None:
    """What needs the store is refused as ``wanted``, and what does not is served."""
    with Wire(house.base_url) as wire:
        for lines in ([], [("Range", "bytes=5-9")], [("Range", "bytes=0-1,5-9")]):
            asked = [*calls.full.items(), *lines]
            assert_refused(wire.ask("GET", of.native, asked), "native", wanted)
            assert_refused(wire.ask("GET", of.yotel, asked), "yotel", wanted)
        for method, target in (("HEAD", of.native), ("HEAD", of.yotel), ("GET", f"/v1/recordings/{of.id}")):
            assert wire.ask(method, target, calls.full.items()).status == 200
