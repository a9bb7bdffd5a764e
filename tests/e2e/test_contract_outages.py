"""Database or storage away, on every surface: 503, 502 or 504, and never a 404."""

import asyncio
from collections.abc import Mapping
from uuid import uuid4

from parts.aliases import fresh
from parts.contracts import MOVING, OWN, Cast, Fields, assert_worded
from parts.house import Filed, House, some_bytes
from parts.liar import LIES, Liar
from parts.stage import Stage
from parts.wire import Wire

from gateway.demo.ports import free_ports

DATA = some_bytes(5_000)
TELLING = {
    "native": "/v1/recordings/{}",
    "yotel": "/yotel/api/v1/calls/{}/recording",
    "agentphone": "/agentphone/v1/calls/{}",
    "callsid": "/callsid/api/calls/{}/recording/stream",
    "voki": "/voki/api/v1/calls/{}/recording",
    "envoy": "/envoy/api/v1/calls/{}/recording",
}
"""What does not."""
EVERY = [*MOVING.items(), *TELLING.items()]
HOSTILE = (
    "..%2f..%2fetc%2fpasswd",
    "%c0%ae%c0%ae%c0%afetc",
    "%00",
    "call_%00",
    "a%0d%0aSet-Cookie:%20a=b",
    "'%20OR%20'1'='1",
    "%ff%fe",
    "%EF%BC%91",
    "%20" * 3_000,
)
MALFORMED = {"native": 422, "yotel": 404, "agentphone": 422, "callsid": 422, "voki": 404, "envoy": 422}
CODES = {503: "unavailable", 502: "storage_failed"}


async def credentials(stage: Stage) -> Mapping[str, Fields]:
    """surface → request fields that do, for everything"""
    tenant = await stage.office.tenant(OWN, recording_enabled=True)
    key = await stage.key(tenant=tenant)
    token = stage.token(OWN, role="attendant") | {"X-Tenant": OWN}
    return {**dict.fromkeys(("native", "yotel", "agentphone", "callsid", "envoy"), key), "voki": token}


def named(of: Filed) -> Mapping[str, str]:
    return {"native": str(of.id), **of.aliases}


def look(wire: Wire, surface: str, target: str, fields: Fields, status: int, retry_after: str | None) -> None:
    for method in ("GET", "HEAD"):
        answer = wire.ask(method, target, fields.items())
        assert answer.status == status
        extra = {} if retry_after is None else {"retry-after": retry_after}
        assert_worded(surface, answer, method, code=CODES[status], extra=extra)


async def test_away_database_is_a_503_on_every_surface(brittle):
    """For calls that are there and not yet known to the gateway, and for those that are nowhere."""
    stage: Stage = brittle.stage
    given = await credentials(stage)
    tenant = await stage.office.tenant(OWN)
    known, unknown = [named(await stage.file("disk", DATA, tenant=tenant)) for _ in range(2)]
    missing = {"native": str(uuid4()), **fresh()}
    with Wire(stage.house.base_url) as wire:
        for surface, path in EVERY:
            assert wire.ask("GET", path.format(known[surface]), given[surface].items()).status == 200
        brittle.postgres.stop()
        for surface, path in EVERY:
            for call in (unknown, missing):
                look(wire, surface, path.format(call[surface]), given[surface], 503, "5")
            assert wire.ask("GET", path.format(known[surface]), given[surface].items()).status == 200
            for id_ in HOSTILE:  # which no database is asked for
                assert wire.ask("GET", path.format(id_), given[surface].items()).status == MALFORMED[surface]


async def test_away_or_lying_storage_is_a_503_or_a_502_on_every_surface(cast: Cast):
    stage, given = cast.stage, await credentials(cast.stage)
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with Liar(DATA) as liar:
        liar.lie = LIES["another part"]
        stores = {
            "disk": stage.stores["disk"],
            "away": stage.stores["s3"] | {"endpoint": nobody},
            "lying": liar.settings(),
        }
        house = await asyncio.to_thread(stage.another, stores)
        for store, status, retry_after in (("away", 503, "5"), ("lying", 502, None)):
            of = await stage.file("disk", DATA, tenant=cast.tenants["own"])
            await stage.office.rows("UPDATE recordings SET store = $2 WHERE call_id = $1", of.id, store)
            await asyncio.to_thread(over_all, house, of, given, status, retry_after)
        await asyncio.to_thread(house.stop)


def over_all(house: House, of: Filed, given: Mapping[str, Fields], status: int, retry_after: str | None) -> None:
    """What needs the object is refused, and what does not is served."""
    with Wire(house.base_url) as wire:
        for surface, path in MOVING.items():
            target = path.format(named(of)[surface])
            answer = wire.ask("GET", target, given[surface].items())
            assert answer.status == status
            extra = {} if retry_after is None else {"retry-after": retry_after}
            assert_worded(surface, answer, "GET", code=CODES[status], extra=extra)
            assert wire.ask("HEAD", target, given[surface].items()).status == 200
        for surface, path in TELLING.items():
            assert wire.ask("GET", path.format(named(of)[surface]), given[surface].items()).status == 200
