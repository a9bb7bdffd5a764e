"""Keys and tokens, as running gateways take them: revoked, expired, rotated, and with their proof out of reach."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from parts.house import Filed, House, some_bytes
from parts.issuer import AUDIENCE, ISSUER, JwksServer, ec_key, jwk, rsa_key, token
from parts.stage import Stage
from parts.wire import Answer, Wire

REVOKED_S = 2.0
"""Seconds until every replica refuses a key that was revoked on one."""
DATA = some_bytes(1000)
FIRST, SECOND = rsa_key(), ec_key()


def ask(house: House, target: str, credential: Mapping[str, str]) -> Answer:
    with Wire(house.base_url) as wire:
        return wire.ask("GET", target, credential.items())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_revoked_key_is_dead_on_every_gateway_within_two_seconds(stage: Stage):
    """Both have it in memory when it is revoked in Postgres, by neither of them."""
    of, houses = await stage.file("disk", DATA), [stage.house, stage.another(stage.on_disk)]
    for _ in range(5):
        key = await stage.key()
        for house in houses:
            assert ask(house, of.native, key).status == 200
        await stage.office.revoke(key)
        begun = time.monotonic()
        for house in houses:
            while (answer := ask(house, of.native, key)).status == 200:
                assert time.monotonic() - begun < REVOKED_S
            assert (answer.status, answer.get("WWW-Authenticate")) == (401, 'Bearer error="invalid_token"')
        assert ask(houses[1], of.native, stage.full).status == 200
    houses[1].stop()


async def test_key_ends_when_it_expires_though_it_is_in_memory(stage: Stage):
    of, now = await stage.file("disk", DATA), datetime.now(UTC)
    assert ask(stage.house, of.native, await stage.key(expires_at=now - timedelta(seconds=1))).status == 401
    ends = datetime.now(UTC) + timedelta(seconds=1)
    key = await stage.key(expires_at=ends)
    served = ask(stage.house, of.native, key)
    assert served.status == 200 or datetime.now(UTC) >= ends
    await asyncio.sleep(max((ends - datetime.now(UTC)).total_seconds(), 0))  # the very thing that is waited for
    assert ask(stage.house, of.native, key).status == 401


async def test_whose_key_it_was_that_is_good_no_more_stands_in_the_audit(stage: Stage):
    of, now = await stage.file("disk", DATA), datetime.now(UTC)
    revoked, expired = await stage.key(), await stage.key(expires_at=now - timedelta(seconds=1))
    await stage.office.revoke(revoked)
    for key in (revoked, expired):
        agent, digest = f"leaver {uuid4()}", hashlib.sha256(key["Authorization"].removeprefix("Bearer ").encode())
        assert ask(stage.house, of.native, {**key, "User-Agent": agent}).status == 401
        (row,) = await stage.accesses("user_agent", agent, 1)
        (known,) = await stage.office.rows("SELECT id FROM api_keys WHERE sha256 = $1", digest.digest())
        assert (row["tenant"], row["actor_kind"], row["auth_method"]) == (stage.tenant, "api_key", "api_key")
        assert row["actor_id"] == row["credential_id"] == str(known["id"])
        assert (row["status"], row["result"], row["reason"]) == (401, "refused", "unauthenticated")
        assert (row["call"], row["bytes_sent"]) == (None, 0)


async def test_key_of_one_tenant_opens_nothing_of_another(stage: Stage):
    of = await stage.file("disk", DATA)
    other = await stage.key(tenant=await stage.office.tenant("identity-other"))
    assert ask(stage.house, of.native, other).status == 404
    assert ask(stage.house, "/v1/recordings", other).json()["data"] == []


@asynccontextmanager
async def believing(stage: Stage, *issuers: Mapping[str, object]) -> AsyncIterator[tuple[House, Filed]]:
    """A gateway that believes these issuers, and a recording of its tenant."""
    common = {"audience": AUDIENCE, "algorithms": ["RS256", "ES256"]}
    of = await stage.file("disk", DATA)
    house = await asyncio.to_thread(stage.another, identity={"issuers": [{**common, **each} for each in issuers]})
    try:
        yield house, of
    finally:
        await asyncio.to_thread(house.stop)


async def test_token_is_believed_by_its_issuers_published_keys_through_their_rotation(stage: Stage):
    async with JwksServer(jwk(FIRST, kid="one")) as server:
        issuer = {"issuer": ISSUER, "jwks_url": server.url, "jwks_min_interval_s": 0.2}
        async with believing(stage, issuer) as (house, of):

            async def status(credential: str) -> int:
                stage.secrets.add(credential)
                return (await asyncio.to_thread(ask, house, of.native, bearer(credential))).status

            old = token(FIRST, header={"kid": "one"})
            new = token(SECOND, "ES256", header={"kid": "two"})
            assert await status(old) == 200
            assert await status(new) == 401
            assert await status(token(SECOND, "ES256", header={"kid": "one"})) == 401
            server.keys.append(jwk(SECOND, kid="two"))
            async with asyncio.timeout(20):
                while await status(new) != 200:
                    assert await status(old) == 200
            server.keys.pop(0)  # withdrawn: no further token by it is good from the next fetch on
            async with asyncio.timeout(20):
                while await status(token(FIRST, header={"kid": "one"}, jti=uuid4().hex)) != 401:
                    assert await status(token(FIRST, header={"kid": "three"}, jti=uuid4().hex)) == 401
            assert await status(new) == 200


async def test_whose_token_it_was_that_has_expired_stands_in_the_audit(stage: Stage):
    agent = f"leaver {uuid4()}"
    late = bearer(token(FIRST, header={"kid": "one"}, exp=int(time.time()) - 3600, sub="anna", jti="t-1"))
    async with (
        JwksServer(jwk(FIRST, kid="one")) as server,
        believing(stage, {"issuer": ISSUER, "jwks_url": server.url}) as (house, of),
    ):
        assert (await asyncio.to_thread(ask, house, of.native, {**late, "User-Agent": agent})).status == 401
    (row,) = await stage.accesses("user_agent", agent, 1)
    assert (row["tenant"], row["actor_kind"], row["actor_id"]) == (stage.tenant, "user", "anna")
    assert (row["auth_method"], row["credential_id"]) == ("jwt", "t-1")
    assert (row["status"], row["result"], row["reason"]) == (401, "refused", "unauthenticated")
    assert (row["call"], row["bytes_sent"]) == (None, 0)


async def test_flood_of_unknown_key_ids_is_no_flood_of_fetches(stage: Stage):
    async with JwksServer(jwk(FIRST, kid="one")) as server:
        async with believing(stage, {"issuer": ISSUER, "jwks_url": server.url}) as (house, of):

            def flood() -> None:
                assert ask(house, of.native, bearer(token(FIRST, header={"kid": "one"}))).status == 200
                with Wire(house.base_url) as wire:
                    for number in range(100):
                        unknown = bearer(token(FIRST, header={"kid": f"unknown {number}"}))
                        assert wire.ask("GET", of.native, unknown.items()).status == 401

            await asyncio.to_thread(flood)
        assert server.fetches == 1


async def test_issuer_that_cannot_be_asked_is_an_outage_and_no_bad_token(stage: Stage):
    async with JwksServer() as server:
        server.status = 500
        async with believing(stage, {"issuer": ISSUER, "jwks_url": server.url}) as (house, of):
            answer = await asyncio.to_thread(ask, house, of.native, bearer(token(FIRST)))
            assert answer.status == 503
            assert 1 <= int(answer.headers["retry-after"]) <= 5
            assert (await asyncio.to_thread(ask, house, of.native, stage.full)).status == 200


async def test_known_key_is_served_on_without_the_database_and_an_unknown_one_is_a_503(brittle):
    stage = brittle.stage
    of, known, unknown = await stage.file("disk", DATA), await stage.key(), await stage.key()
    assert ask(stage.house, of.native, known).status == 200
    brittle.postgres.stop()
    assert ask(stage.house, of.native, known).body == DATA
    answer = ask(stage.house, of.native, unknown)
    assert (answer.status, answer.get("Retry-After")) == (503, "5")
    secret = unknown["Authorization"]
    mistyped = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    assert ask(stage.house, of.native, {"Authorization": mistyped}).status == 401
    brittle.postgres.start()
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(ask, stage.house, of.native, unknown)).status != 200:
            pass  # it is the gateway that finds it, and tells nobody
