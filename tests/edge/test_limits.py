"""Rates, counted in memory: who is counted together, when one more is let in, and what it costs."""

import random
from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Address
from uuid import UUID, uuid4

import pytest
from limits import parse
from parts.clock import Clock

from gateway.config import ConfigError, load
from gateway.config import Limits as Settings
from gateway.edge.counts import BoundedMemory, Counter, Wait, wait_s
from gateway.edge.limits import _REMEMBERED, RateLimits, Until, network
from gateway.errors import TooMany
from gateway.model import Caller, Presented

NOBODY = Presented(None)


def limited(clock: Clock, **rates: str | None) -> RateLimits:
    settings = Settings.model_validate({"public": None, "failing": None, **rates})
    return RateLimits(settings, Counter(BoundedMemory(clock=clock)), clock=clock)


def key_of(tenant: UUID, *, kind: str = "api_key", subject: str | None = None, credential: str = "") -> Caller:
    subject = subject or str(uuid4())
    return Caller(tenant, kind=kind, subject=subject, credential=credential or subject, method=kind)


async def refused(asking: Callable[[], object]) -> TooMany:
    with pytest.raises(TooMany) as raised:
        await asking()
    return raised.value


# --- windows --------------------------------------------------------------------------------------------------------


async def test_quota_is_let_in_and_one_more_is_not(clock: Clock):
    counter, rate = Counter(BoundedMemory(clock=clock)), parse("3/minute")
    assert [await counter.hit(rate, "a") for _ in range(3)] == [None] * 3
    wait = await counter.hit(rate, "a")
    assert wait is not None
    assert wait > 0
    assert await counter.hit(rate, "b") is None


@pytest.mark.parametrize("seed", range(20))
async def test_one_more_fits_in_after_the_wait_told_and_not_a_second_earlier(clock: Clock, seed: int):
    chance = random.Random(seed)
    quota, window = chance.randint(1, 40), chance.choice(["second", "minute", "hour"])
    counter, rate = Counter(BoundedMemory(clock=clock)), parse(f"{quota}/{window}")
    told = 0
    for _ in range(300):
        wait = await counter.hit(rate, "a")
        if wait is None:
            clock.now += chance.expovariate(quota / rate.get_expiry() * 3)
            continue
        told += 1
        assert await counter.look(rate, "a") == wait
        if wait > 1:
            clock.now += wait - 1.001
            assert await counter.look(rate, "a") is not None
            clock.now += 1.001
        else:
            clock.now += 1
        assert await counter.look(rate, "a") is None
    assert told


@pytest.mark.parametrize("seed", range(20))
async def test_no_window_holds_twice_the_quota_nor_a_steady_caller_less_than_it(clock: Clock, seed: int):
    chance = random.Random(seed)
    counter, rate = Counter(BoundedMemory(clock=clock)), parse("20/minute")
    let_in: list[float] = []
    begun = clock.now
    while clock.now < begun + 600:
        if await counter.hit(rate, "a") is None:
            let_in.append(clock.now)
        clock.now += chance.expovariate(1)
    for at in let_in:
        assert sum(at <= other < at + 60 for other in let_in) < 2 * 20
    assert len(let_in) >= 20 * 9


async def test_what_was_refused_is_not_counted(clock: Clock):
    counter, rate = Counter(BoundedMemory(clock=clock)), parse("5/minute")
    for _ in range(500):
        await counter.hit(rate, "a")
    clock.now += 120
    assert [await counter.hit(rate, "a") for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("silent_s", [119, 120, 121, 150, 179, 180, 1000])
async def test_who_was_silent_for_long_may_ask_as_much_as_anybody_and_no_more(clock: Clock, silent_s: int):
    counter, rate = Counter(BoundedMemory(clock=clock)), parse("5/minute")
    for _ in range(5):
        await counter.hit(rate, "a")
    clock.now += silent_s
    assert [await counter.hit(rate, "a") is None for _ in range(8)] == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("counts", "wait"),
    [
        ((10, 60, 0, 0.0, 10, 120.0), 60),  # all of this window's: one fades once it is over
        ((10, 60, 0, 0.0, 10, 60.5), 1),
        ((10, 60, 10, 60.0, 0, 120.0), 1),
        ((10, 60, 10, 60.0, 5, 120.0), 30),
        ((1, 1, 0, 0.0, 1, 2.0), 1),
        ((10, 60, 0, 0.0, 20, 120.0), 90),  # a quota that was larger a moment ago
        ((10, 60, 0, 0.0, 0, 0.0), 1),
    ],
)
def test_wait_by_hand(counts: tuple[int, int, int, float, int, float], wait: int):
    assert wait_s(*counts) == wait


async def test_flood_of_addresses_takes_bounded_memory_and_forgets_the_quietest(clock: Clock):
    memory = BoundedMemory(1000, clock=clock)
    counter, rate = Counter(memory), parse("2/minute")
    steady: list[Wait] = []
    for flood in range(5000):
        await counter.hit(rate, f"198.51.{flood}")
        steady.append(await counter.hit(rate, "steady"))
    assert (len(memory), steady.count(None)) == (1000, 2)


# --- whom they concern ----------------------------------------------------------------------------------------------


async def test_credential_and_tenant_are_counted_apart(clock: Clock):
    limits, tenant = limited(clock, key="2/minute", tenant="3/minute"), uuid4()
    one, other = key_of(tenant), key_of(tenant)
    await limits.caller(one, NOBODY)
    await limits.caller(one, NOBODY)
    over = await refused(lambda: limits.caller(one, NOBODY))
    assert (over.policy, over.quota, over.window_s) == ("key", 2, 60)
    await limits.caller(other, NOBODY)
    assert (await refused(lambda: limits.caller(other, NOBODY))).policy == "tenant"
    await limits.caller(key_of(uuid4()), NOBODY)


async def test_tokens_of_one_user_are_counted_together_and_of_two_apart(clock: Clock):
    limits, tenant = limited(clock, key="1/minute"), uuid4()

    def token(subject: str, tenant: UUID = tenant) -> Caller:
        return key_of(tenant, kind="user", subject=subject, credential="https://issuer#k1")

    await limits.caller(token("ann"), NOBODY)
    await limits.caller(token("bob"), NOBODY)
    await limits.caller(token("ann", uuid4()), NOBODY)
    await refused(lambda: limits.caller(token("ann"), NOBODY))


async def test_guesser_behind_the_same_address_locks_no_proven_caller_out(clock: Clock):
    limits, shared = limited(clock, failing="10/minute"), "203.0.113.9"
    own = Presented("a key that was proven")
    await limits.suspect(shared, own)
    await limits.caller(key_of(uuid4()), own)
    for _ in range(50):
        await limits.failed(shared)
    assert (await refused(lambda: limits.suspect(shared, Presented("a guess")))).policy == "failing"
    await refused(lambda: limits.suspect(shared, NOBODY))
    await limits.suspect(shared, own)
    await limits.suspect("203.0.113.10", Presented("a guess"))
    clock.now += 601
    for _ in range(50):
        await limits.failed(shared)
    await refused(lambda: limits.suspect(shared, own))


async def test_guesses_from_one_64_are_counted_together(clock: Clock):
    limits = limited(clock, failing="2/minute")
    for host in (1, 2):
        await limits.failed(f"2001:db8::{host}")
    assert (await refused(lambda: limits.suspect("2001:db8::3", NOBODY))).policy == "failing"
    await limits.suspect("2001:db8:0:1::1", NOBODY)


async def test_credential_that_was_refused_is_looked_at_as_a_guess_is_until_it_is_proven_again(clock: Clock):
    limits, own, address = limited(clock, failing="3/minute"), Presented("a key that was proven"), "203.0.113.9"
    await limits.caller(key_of(uuid4()), own)
    for _ in range(3):
        await limits.failed(address)
    await limits.suspect(address, own)
    limits.doubt(own)
    assert (await refused(lambda: limits.suspect(address, own))).policy == "failing"
    await limits.caller(key_of(uuid4()), own)
    await limits.suspect(address, own)


async def test_strangers_are_counted_by_address(clock: Clock):
    limits = limited(clock, public="1/minute")
    await limits.stranger("203.0.113.9")
    await limits.stranger("203.0.113.10")
    assert (await refused(lambda: limits.stranger("203.0.113.9"))).policy == "public"
    await limits.stranger("2001:db8::1")
    await limits.stranger("2001:db8:0:1::1")
    await refused(lambda: limits.stranger("2001:db8::ffff:1"))


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_ipv6_is_counted_by_64(address: str, who: str):
    assert network(address) == who


def test_addresses_of_one_64_are_one_and_of_two_are_two():
    chance = random.Random(64)
    for _ in range(500):
        top, one, other = chance.getrandbits(63) | 1 << 62, chance.getrandbits(64), chance.getrandbits(64)
        assert network(str(IPv6Address(top << 64 | one))) == network(str(IPv6Address(top << 64 | other)))
        assert network(str(IPv6Address(top << 64 | one))) != network(str(IPv6Address((top ^ 1) << 64 | one)))


async def test_one_429_a_window_is_told_as_new(clock: Clock):
    limits = limited(clock, public="1/minute", key="1/minute")
    await limits.stranger("a")
    assert [(await refused(lambda: limits.stranger("a"))).repeated for _ in range(3)] == [False, True, True]
    clock.now += 59
    assert (await refused(lambda: limits.stranger("a"))).repeated
    clock.now += 61
    await limits.stranger("a")
    assert not (await refused(lambda: limits.stranger("a"))).repeated


async def test_it_is_told_as_new_to_each_whom_it_concerns_by_each_policy_and_for_as_long_as_its_window(clock: Clock):
    limits = limited(clock, public="1/hour", failing="1/hour")
    for who in ("a", "b"):
        await limits.stranger(who)
        await limits.failed(who)
    asking = [
        ask for who in ("a", "b") for ask in (partial(limits.stranger, who), partial(limits.suspect, who, NOBODY))
    ]
    for repeated in (False, True, True):
        assert [(await refused(ask)).repeated for ask in asking] == [repeated] * 4
        clock.now += 61


async def test_what_is_not_configured_is_not_counted(clock: Clock):
    limits = limited(clock)
    for _ in range(1000):
        await limits.stranger("a")
        await limits.failed("a")
        await limits.suspect("a", NOBODY)
        await limits.caller(key_of(uuid4()), NOBODY)
    assert not limits._counts._storage._windows


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory://x",
        "redis://",
        "redis:6379",
        "http://h:1",
        "redis://h:1/x",
        "redis://h:0",
        "redis://u:pwd",
    ],
)
def test_url_that_is_none_is_refused_by_name_and_not_quoted(url: str):
    with pytest.raises(ConfigError) as refusal:
        load(overrides={"limits": {"url": url}})
    (problem,) = refusal.value.problems
    assert problem.startswith("limits.url: give memory://")
    assert "pwd" not in problem


@pytest.mark.parametrize("option", ["socket_timeout=pwd", "pwd=1", "ssl_cert_reqs=pwd", "protocol=pwd", "protocol=9"])
async def test_option_that_redis_does_not_know_is_refused_by_name_and_not_quoted(option: str):
    """The client itself finds out about some as it connects: every count would be this process's own from then on."""
    config = load(overrides={"limits": {"url": f"redis://u:pwd@127.0.0.1:1?{option}"}})
    with pytest.raises(ConfigError, match=r"^limits\.url: ") as refusal:
        RateLimits.open(config.limits)
    assert "pwd" not in str(refusal.value)


@pytest.mark.parametrize("rate", ["0/minute", "10", "10/min", "1e3/minute", "10/2 minute", "-1/second"])
def test_rate_that_is_none_is_refused_by_name(rate: str):
    with pytest.raises(ConfigError, match=r"^limits\.key: "):
        load(overrides={"limits": {"key": rate}})


def test_what_holds_for_a_while_is_bounded_and_the_one_put_longest_ago_goes_first(clock: Clock):
    held = Until(clock)
    for thing in [*range(_REMEMBERED), 0, "one more"]:
        held.put(thing, 60)
    assert [thing in held for thing in (0, 1, 2, "one more")] == [True, False, True, True]
    clock.now += 60
    assert 0 not in held
