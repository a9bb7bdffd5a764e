"""Too many requests: who is turned away, in which words, for how long, and what the audit keeps of it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest
from parts.house import House, some_bytes
from parts.linked import linked, revoke
from parts.stage import PROXY, Stage
from parts.wire import Answer, Wire

from gateway.identity.keys import mint
from gateway.surfaces import SURFACES

BRISK = {"key": "6/second", "public": "6/second", "failing": "6/second"}
STRICT = {"key": "20/minute", "tenant": "30/minute", "public": "5/minute", "failing": "5/minute"}
PUBLIC = "/agentphone/v1/calls/{}/recording"
ENOUGH = 300


@pytest.fixture(scope="module")
def brisk(stage: Stage) -> Iterator[House]:
    house = stage.another(limits=BRISK)
    yield house
    house.stop()


@pytest.fixture(scope="module")
def strict(stage: Stage) -> Iterator[House]:
    house = stage.another(limits=STRICT)
    yield house
    house.stop()


def secured_path(surface: str) -> str:
    """A path of the surface that asks for a credential, and names no call."""
    route = next(r for r in SURFACES[surface].routes if r.method == "GET" and r.present is None)
    path = "/".join("x" if segment.startswith("{") else segment for segment in route.path.split("/"))
    return path if surface == "native" else f"/{surface}{path}"


def until_429(ask: Callable[[], Answer]) -> Answer:
    for _ in range(ENOUGH):
        if (answer := ask()).status == 429:
            return answer
    raise AssertionError(f"{ENOUGH} requests in a row were let in")


def assert_429(answer: Answer, policy: str, quota: int, window_s: int) -> int:
    """Every field of it. Gives the seconds to wait."""
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 2 * window_s
    assert answer.get("RateLimit") == f'"{policy}";r=0;t={wait}'
    assert answer.get("RateLimit-Policy") == f'"{policy}";q={quota};w={window_s}'
    assert answer.get("Cache-Control") == "no-store"
    assert answer.get("X-Request-Id")
    assert "WWW-Authenticate" not in answer.headers
    return wait


ERRORS: dict[str, Callable[[dict[str, object]], object]] = {
    "native": lambda body: (body["status"], body["code"], bool(body["detail"])),
    "yotel": lambda body: (429, body["error"]["code"], bool(body["error"]["message"])),
    "agentphone": lambda body: (429, "rate_limited", bool(body["detail"])),
    "callsid": lambda body: (429, body["error"]["code"], not body["success"]),
    "voki": lambda body: (429, "rate_limited", bool(body["errors"]["detail"])),
    "envoy": lambda body: (429, "rate_limited", bool(body["detail"])),
}


@pytest.mark.parametrize("surface", SURFACES)
async def test_each_surface_words_too_many_and_lets_in_again_after_the_wait(stage: Stage, brisk: House, surface: str):
    key = await stage.key(tenant=await stage.office.tenant(f"brisk-{surface}"))
    with Wire(brisk.base_url) as wire:

        def ask() -> Answer:
            return wire.ask("GET", secured_path(surface), key.items())

        assert ask().status in {200, 403, 404, 422}
        over = until_429(ask)
        assert_429(over, "key", 6, 1)
        assert ERRORS[surface](over.json()) == (429, "rate_limited", True)
        head = until_429(lambda: wire.ask("HEAD", secured_path(surface), key.items()))
        assert head.body == b""
        await asyncio.sleep(assert_429(head, "key", 6, 1))
        assert ask().status in {200, 403, 404, 422}


def test_public_download_is_limited_by_address_and_let_in_again_after_the_wait(brisk: House):
    with Wire(brisk.base_url) as wire:

        def ask() -> Answer:
            return wire.ask("GET", PUBLIC.format(uuid4()))

        assert ask().status == 404
        over = until_429(ask)
        wait = assert_429(over, "public", 6, 1)
        assert ERRORS["agentphone"](over.json())
        time.sleep(wait)
        assert ask().status == 404


def test_guessing_is_limited_by_address_and_let_in_again_after_the_wait(brisk: House):
    with Wire(brisk.base_url, source=PROXY) as wire:

        def ask() -> Answer:
            guess = ("Authorization", f"Bearer {mint('yt_live').secret}")
            return wire.ask("GET", "/v1/recordings", [("X-Forwarded-For", "203.0.113.77"), guess])

        assert ask().status == 401
        wait = assert_429(until_429(ask), "failing", 6, 1)
        time.sleep(wait)
        assert ask().status == 401


def asked_from(house: House, address: str, target: str, key: dict[str, str]) -> Answer:
    """Through a trusted proxy."""
    with Wire(house.base_url, source=PROXY) as wire:
        return wire.ask("GET", target, [("X-Forwarded-For", address), *key.items()])


async def test_tenant_is_limited_over_all_of_its_keys_and_no_other_is(stage: Stage, strict: House):
    tenant, other = await stage.office.tenant("strict-one"), await stage.office.tenant("strict-other")
    keys = [await stage.key(tenant=tenant) for _ in range(2)]
    for key in keys * 15:
        assert asked_from(strict, "198.51.100.1", "/v1/recordings", key).status == 200
    for key in [*keys, await stage.key(tenant=tenant)]:
        assert_429(asked_from(strict, "198.51.100.2", "/v1/recordings", key), "tenant", 30, 60)
    assert asked_from(strict, "198.51.100.1", "/v1/recordings", await stage.key(tenant=other)).status == 200


async def test_guesser_locks_out_nobody_who_was_proven_and_no_other_address(stage: Stage, strict: House):
    tenant, shared = await stage.office.tenant("strict-behind-nat"), "198.51.100.20"
    proven, fresh = await stage.key(tenant=tenant), await stage.key(tenant=tenant)
    assert asked_from(strict, shared, "/v1/recordings", proven).status == 200
    for status in [401] * 5 + [429] * 5:
        guess = {"Authorization": f"Bearer {mint('yt_live').secret}"}
        assert asked_from(strict, shared, "/v1/recordings", guess).status == status
    for broken in ({}, {"Authorization": "Basic eDp5"}, fresh):
        assert_429(asked_from(strict, shared, "/v1/recordings", broken), "failing", 5, 60)
    assert asked_from(strict, shared, "/v1/recordings", proven).status == 200
    assert asked_from(strict, "198.51.100.21", "/v1/recordings", fresh).status == 200
    assert asked_from(strict, shared, "/v1/recordings", fresh).status == 200, "it was proven elsewhere meanwhile"


@pytest.mark.parametrize("why", ["another tenant is named", "revoked"])
async def test_credential_that_was_proven_and_is_refused_is_limited_as_a_guess_is(
    stage: Stage, strict: House, why: str
):
    """Else whoever holds it could ask on without an end, each time with a record in the audit."""
    address = f"198.51.100.{100 + len(why)}"
    if why == "revoked":
        link = linked(stage, await stage.file("disk", some_bytes(1000)))
        assert asked_from(strict, address, link.target, {}).status == 200
        assert revoke(stage.house, link.id, stage.full.items()).status == 204
        target, fields, status = link.target, dict[str, str](), 410
    else:
        key = await stage.key(tenant=await stage.office.tenant("strict-astray"))
        assert asked_from(strict, address, "/v1/recordings", key).status == 200
        target, fields, status = secured_path("callsid"), key | {"X-Organization-Id": "another"}, 404
    answers = [asked_from(strict, address, target, fields).status for _ in range(8)]
    assert answers == [status] * 5 + [429] * 3


def statuses(strict: House, source: str | None, addresses: list[str]) -> list[int]:
    with Wire(strict.base_url, source=source) as wire:
        path = PUBLIC.format(uuid4())
        return [wire.ask("GET", path, [("X-Forwarded-For", address)]).status for address in addresses]


def test_addresses_are_told_apart_behind_trusted_proxies_alone(strict: House):
    within, over = [404] * 5, [429] * 3
    assert statuses(strict, "127.0.0.3", [f"192.0.2.{n}" for n in range(8)]) == within + over
    assert statuses(strict, PROXY, [f"192.0.2.{n}" for n in range(8)]) == [404] * 8
    assert statuses(strict, PROXY, [f"192.0.2.{n}, 192.0.2.99" for n in range(8)]) == within + over
    assert statuses(strict, PROXY, [f"2001:db8:7:7::{n:x}" for n in range(1, 9)]) == within + over
    assert statuses(strict, PROXY, [f"2001:db8:7:{n:x}::1" for n in range(8, 16)]) == [404] * 8


async def test_public_answers_count_not_as_failing_whether_the_call_is_there_or_not(stage: Stage, strict: House):
    """Else an address that was, or was not, turned away afterwards would tell which ids are calls."""
    off = await public_call(stage, await stage.office.tenant("strict-off"))
    key = await stage.key(tenant=await stage.office.tenant("strict-fresh"))
    for number, external in enumerate((off, uuid4())):
        address = f"198.51.100.{40 + number}"
        for _ in range(8):
            asked_from(strict, address, PUBLIC.format(external), {})
        assert asked_from(strict, address, "/v1/recordings", {}).status == 401
        assert asked_from(strict, address, "/v1/recordings", key).status == 200


async def public_call(stage: Stage, tenant: UUID) -> str:
    """A ready call's agentphone id."""
    filed, external = await stage.file("disk", some_bytes(1000), tenant=tenant), str(uuid4())
    await stage.office.rows(
        "INSERT INTO call_aliases (tenant_id, surface, external_id, call_id) VALUES ($1, 'agentphone', $2, $3)",
        tenant,
        external,
        filed.id,
    )
    return external


async def test_flood_of_too_many_leaves_one_event_of_each_in_the_audit(stage: Stage, strict: House):
    tenant = await stage.office.tenant("strict-audited")
    key = await stage.key(tenant=tenant)
    with Wire(strict.base_url, source=PROXY) as wire:
        told = [("X-Forwarded-For", "198.51.100.60"), *key.items()]
        answers = [wire.ask("GET", "/v1/recordings", told).status for _ in range(120)]
        assert answers == [200] * 20 + [429] * 100
        unknown = [("X-Forwarded-For", "198.51.100.61")]
        answers = [wire.ask("GET", "/v1/recordings", unknown).status for _ in range(60)]
        assert answers == [401] * 5 + [429] * 55
    rows = await stage.accesses("address", "198.51.100.60", 21)
    assert [row["reason"] for row in rows] == [None] * 20 + ["rate_limited"]
    assert (rows[-1]["tenant"], rows[-1]["status"], rows[-1]["actor_kind"]) == (tenant, 429, "api_key")
    rows = await stage.accesses("address", "198.51.100.61", 6)
    assert [row["reason"] for row in rows] == ["unauthenticated"] * 5 + ["rate_limited"]


async def test_a_body_that_is_refused_is_nobodys_failed_credential_and_its_senders_event(stage: Stage, strict: House):
    tenant, agent = await stage.office.tenant("strict-sender"), f"sender {uuid4()}"
    key, another = await stage.key(tenant=tenant), await stage.key(tenant=tenant)
    told, large = [("X-Forwarded-For", "198.51.100.70"), ("User-Agent", agent)], b" " * 1_048_577
    with Wire(strict.base_url, source=PROXY) as wire:
        for _ in range(6):
            assert wire.ask("PUT", "/v1/calls/yotel:large", [*told, *key.items()], large).status == 413
        assert wire.ask("GET", "/v1/recordings", [*told, *another.items()]).status == 200
    rows = await stage.accesses("user_agent", agent, 7)
    assert {(row["tenant"], row["actor_kind"]) for row in rows} == {(tenant, "api_key")}
    assert [(row["status"], row["reason"]) for row in rows] == [(413, "too_large")] * 6 + [(200, None)]
