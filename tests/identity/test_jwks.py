"""The key set's cache against a real HTTP server: rotation, floods, outages."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, ClientTimeout
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from parts.clock import Clock
from parts.issuer import JwksServer, ec_key, jwk, rsa_key

from gateway.errors import Unauthenticated, Unavailable
from gateway.identity.jwks import MAX_BYTES, RETRY_S, Jwks

OLD, NEW = jwk(rsa_key("old"), kid="old"), jwk(rsa_key("new"), kid="new")
REFRESH, INTERVAL = 3600.0, 60.0


@pytest.fixture
async def server() -> AsyncIterator[JwksServer]:
    async with JwksServer(OLD) as server:
        yield server


def cache(url: str, session: ClientSession, clock: Clock, *, total: float = 5) -> Jwks:
    return Jwks(
        url,
        ("RS256",),
        session,
        refresh_s=REFRESH,
        min_interval_s=INTERVAL,
        timeout=ClientTimeout(total=total),
        clock=clock,
    )


@pytest.fixture
async def jwks(server: JwksServer, session: ClientSession, clock: Clock) -> AsyncIterator[Jwks]:
    jwks = cache(server.url, session, clock)
    yield jwks
    await jwks.close()


def public(name: str) -> RSAPublicKey:
    return rsa_key(name).public_key()


async def settled(jwks: Jwks) -> None:
    """Waits for the fetch that goes on behind the requests."""
    if jwks._task is not None:
        await asyncio.wait([jwks._task])


async def test_the_first_request_waits_for_the_keys_and_later_ones_do_not_ask(server: JwksServer, jwks: Jwks):
    assert await jwks.key("old", "RS256") == public("old")
    assert [await jwks.key("old", "RS256") for _ in range(10)] == [public("old")] * 10
    assert server.fetches == 1


async def test_a_hundred_first_requests_share_one_fetch(server: JwksServer, jwks: Jwks):
    jwks.begin()
    keys = await asyncio.gather(*(jwks.key("old", "RS256") for _ in range(100)))
    assert all(key == public("old") for key in keys)
    assert server.fetches == 1


async def test_a_rotated_key_is_fetched_when_it_is_first_seen(server: JwksServer, jwks: Jwks, clock: Clock):
    await jwks.key("old", "RS256")
    server.keys = [OLD, NEW]
    clock.now += INTERVAL
    assert await jwks.key("new", "RS256") == public("new")
    assert await jwks.key("old", "RS256") == public("old"), "the issuer still publishes it"
    server.keys = [NEW]
    clock.now += REFRESH
    assert await jwks.key("old", "RS256") == public("old"), "renewed behind this very request"
    await settled(jwks)
    with pytest.raises(Unauthenticated):
        await jwks.key("old", "RS256")
    assert await jwks.key("new", "RS256") == public("new")
    assert server.fetches == 3


async def test_a_flood_of_unknown_kids_costs_one_fetch_an_interval(server: JwksServer, jwks: Jwks, clock: Clock):
    await jwks.key("old", "RS256")

    async def flood() -> set[type[object]]:
        asked = (jwks.key(f"unknown-{number}", "RS256") for number in range(1000))
        return {type(each) for each in await asyncio.gather(*asked, return_exceptions=True)}

    assert await flood() == {Unauthenticated}
    assert server.fetches == 1, "too soon after the first"
    clock.now += INTERVAL - 1
    assert await flood() == {Unauthenticated}
    assert server.fetches == 1
    clock.now += 1
    assert await flood() == {Unauthenticated}
    assert await flood() == {Unauthenticated}
    assert server.fetches == 2
    assert await jwks.key("old", "RS256") == public("old")


async def test_old_keys_are_renewed_behind_the_requests(server: JwksServer, jwks: Jwks, clock: Clock):
    await jwks.key("old", "RS256")
    server.asked.clear()
    server.open.clear()
    clock.now += REFRESH
    assert await jwks.key("old", "RS256") == public("old"), "served while the issuer still ponders"
    await server.asked.wait()
    assert await jwks.key("old", "RS256") == public("old")
    server.open.set()
    await settled(jwks)
    assert server.fetches == 2


async def test_keys_that_nobody_used_for_long_are_not_believed_unasked(server: JwksServer, jwks: Jwks, clock: Clock):
    await jwks.key("old", "RS256")
    server.keys = [NEW]
    clock.now += 2 * REFRESH
    with pytest.raises(Unauthenticated):
        await jwks.key("old", "RS256")


async def test_a_failed_renewal_keeps_the_old_keys(server: JwksServer, jwks: Jwks, clock: Clock):
    await jwks.key("old", "RS256")
    server.status = 500
    for round_ in range(1, 5):
        clock.now += REFRESH
        assert await jwks.key("old", "RS256") == public("old")
        await settled(jwks)
        assert await jwks.key("old", "RS256") == public("old"), "no second try within the interval"
        assert server.fetches == 1 + round_


async def test_nobody_waits_for_an_issuer_that_was_found_away(server: JwksServer, jwks: Jwks, clock: Clock):
    await jwks.key("old", "RS256")
    server.status = 500
    clock.now += 2 * REFRESH
    assert await jwks.key("old", "RS256") == public("old"), "its word was awaited, and it had none"
    server.asked.clear()
    server.open.clear()
    clock.now += INTERVAL
    async with asyncio.timeout(2):
        assert await jwks.key("old", "RS256") == public("old"), "served while the issuer still ponders"
    await server.asked.wait()
    server.open.set()
    await settled(jwks)


async def test_an_unknown_key_is_no_refusal_while_the_issuer_is_away(server: JwksServer, jwks: Jwks, clock: Clock):
    await jwks.key("old", "RS256")
    server.status, server.keys = 503, [OLD, NEW]
    clock.now += INTERVAL
    with pytest.raises(Unavailable) as caught:
        await jwks.key("new", "RS256")
    assert caught.value.retry_after == INTERVAL
    server.status = 200
    clock.now += INTERVAL
    assert await jwks.key("new", "RS256") == public("new")
    with pytest.raises(Unauthenticated):  # what was away once is believed again
        await jwks.key("never published", "RS256")


async def test_keys_that_were_never_had_are_an_outage_and_soon_tried_again(
    server: JwksServer, jwks: Jwks, clock: Clock
):
    server.status = 500
    for _ in range(20):
        with pytest.raises(Unavailable) as caught:
            await jwks.key("old", "RS256")
    assert server.fetches == 1
    assert caught.value.retry_after == math.ceil(RETRY_S)
    server.status = 200
    clock.now += RETRY_S
    assert await jwks.key("old", "RS256") == public("old")


HONEST = json.dumps({"keys": [OLD]}).encode()
BAD_ANSWERS: dict[str, tuple[int, bytes | None]] = {
    "an error": (500, None),
    "no content": (204, b""),
    "not modified": (304, b""),
    "no JSON": (200, b"<html>"),
    "no fit key": (200, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "old"}]}'),
    "empty": (200, b'{"keys": []}'),
    "too large": (200, HONEST.ljust(MAX_BYTES + 1)),
    "far too large": (200, HONEST.ljust(64 * MAX_BYTES)),
}


@pytest.mark.parametrize(("status", "body"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_a_bad_answer_is_an_outage_and_displaces_no_key(
    server: JwksServer, session: ClientSession, clock: Clock, status: int, body: bytes | None
):
    never, once = cache(server.url, session, clock), cache(server.url, session, clock)
    await once.key("old", "RS256")
    server.status, server.body = status, body
    with pytest.raises(Unavailable):
        await never.key("old", "RS256")
    clock.now += INTERVAL
    with pytest.raises(Unavailable):
        await once.key("unknown", "RS256")
    assert await once.key("old", "RS256") == public("old")


async def test_a_document_of_just_the_bound_is_taken(server: JwksServer, jwks: Jwks):
    server.body = HONEST.ljust(MAX_BYTES)
    assert await jwks.key("old", "RS256") == public("old")


async def test_a_redirect_is_not_followed(server: JwksServer, session: ClientSession, clock: Clock):
    with pytest.raises(Unavailable, match="302"):
        await cache(server.moved_url, session, clock).key("old", "RS256")
    assert server.fetches == 0


async def test_nobody_at_the_address_is_an_outage(session: ClientSession, clock: Clock):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unavailable, match="jwks"):
        await cache(f"http://127.0.0.1:{port}/jwks.json", session, clock).key("old", "RS256")


async def test_an_issuer_that_never_answers_is_given_up(server: JwksServer, session: ClientSession, clock: Clock):
    server.open.clear()
    with pytest.raises(Unavailable, match="Timeout"):
        await cache(server.url, session, clock, total=0.1).key("old", "RS256")


async def test_a_check_waits_for_the_keys_and_names_an_issuer_that_gives_none(
    server: JwksServer, session: ClientSession, clock: Clock
):
    await (jwks := cache(server.url, session, clock)).check()
    await jwks.check()
    assert server.fetches == 1
    server.keys = [jwk(ec_key("theirs"), kid="theirs")]
    with pytest.raises(Unavailable, match=rf"JWKS {server.url}: ValueError: none of its 1 keys fits RS256"):
        await cache(server.url, session, clock).check()
    server.status = 500
    with pytest.raises(Unavailable, match=rf"JWKS {server.url}: ValueError: answered 500"):
        await cache(server.url, session, clock).check()


async def test_a_request_that_gives_up_does_not_take_the_fetch_with_it(server: JwksServer, jwks: Jwks):
    server.open.clear()
    first, second = (asyncio.create_task(jwks.key("old", "RS256")) for _ in range(2))
    await server.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.open.set()
    assert await second == public("old")
    assert server.fetches == 1


async def test_closing_gives_up_the_fetch_under_way(server: JwksServer, jwks: Jwks):
    server.open.clear()
    jwks.begin()
    await server.asked.wait()
    await jwks.close()
    await jwks.close()
    assert jwks._task is not None
    assert jwks._task.cancelled()
