"""How many bodies at once: whom a place is counted for, who is refused in which words, and that none is lost or kept."""

import random
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from parts.clock import Clock

from gateway.config import Limits
from gateway.edge.streams import StreamBounds
from gateway.errors import StreamsLimited, TooManyStreams

ONE, OTHER = uuid4(), uuid4()
HERE, THERE = "203.0.113.9", "203.0.113.10"


def bounds(streams: int = 100, *, tenant: int | None = None, address: int | None = None) -> StreamBounds:
    return StreamBounds(Limits(streams=streams, streams_per_tenant=tenant, streams_per_address=address))


def limited(streams: StreamBounds, tenant: UUID, address: str) -> StreamsLimited:
    with pytest.raises(StreamsLimited) as raised:
        streams.admit(tenant, address)
    return raised.value


def full(streams: StreamBounds, tenant: UUID = ONE, address: str = HERE) -> TooManyStreams:
    with pytest.raises(TooManyStreams) as raised:
        streams.admit(tenant, address)
    return raised.value


def test_as_many_as_the_process_may_have_are_admitted_and_one_more_once_one_is_over():
    streams = bounds(3)
    releases = [streams.admit(uuid4(), f"203.0.113.{n}") for n in range(3)]
    assert full(streams).retry_after == 5
    assert streams.in_flight == 3
    releases[1]()
    streams.admit(ONE, HERE)
    full(streams)


def test_a_tenant_is_counted_over_all_addresses_and_no_other_is():
    streams = bounds(tenant=2)
    release = streams.admit(ONE, HERE)
    streams.admit(ONE, THERE)
    refusal = limited(streams, ONE, "203.0.113.11")
    assert (refusal.policy, refusal.quota, refusal.retry_after) == ("streams_per_tenant", 2, 5)
    streams.admit(OTHER, HERE)
    release()
    streams.admit(ONE, HERE)


def test_an_address_is_counted_over_all_tenants_and_no_other_is():
    streams = bounds(address=2)
    streams.admit(ONE, HERE)
    release = streams.admit(OTHER, HERE)
    refusal = limited(streams, uuid4(), HERE)
    assert (refusal.policy, refusal.quota) == ("streams_per_address", 2)
    streams.admit(ONE, THERE)
    release()
    streams.admit(ONE, HERE)


def test_a_64_of_ipv6_is_one_address():
    streams = bounds(address=1)
    release = streams.admit(ONE, "2001:db8:0:7::1")
    limited(streams, ONE, "2001:db8:0:7:ffff::2")
    streams.admit(ONE, "2001:db8:0:8::1")
    streams.admit(ONE, "::ffff:203.0.113.9")
    limited(streams, ONE, HERE)
    release()
    streams.admit(ONE, "2001:db8:0:7:ffff::2")


def test_whose_own_bound_is_reached_is_told_so_where_the_process_is_full_as_well():
    streams = bounds(1, tenant=1, address=1)
    streams.admit(ONE, HERE)
    assert limited(streams, ONE, THERE).policy == "streams_per_tenant"
    assert limited(streams, OTHER, HERE).policy == "streams_per_address"
    full(streams, OTHER, THERE)


def test_no_bound_is_none():
    streams = bounds(10_000)
    for _ in range(10_000):
        streams.admit(ONE, HERE)
    full(streams)


def test_a_place_given_back_twice_is_given_back_once():
    streams = bounds(2, tenant=2, address=2)
    release = streams.admit(ONE, HERE)
    streams.admit(ONE, HERE)
    release()
    release()
    assert streams.in_flight == 1
    streams.admit(ONE, HERE)
    limited(streams, ONE, HERE)


def test_what_was_refused_has_no_place_and_is_counted_by_policy():
    streams = bounds(2, tenant=1)
    release = streams.admit(ONE, HERE)
    for _ in range(5):
        limited(streams, ONE, HERE)
    other = streams.admit(OTHER, HERE)
    full(streams, uuid4())
    assert streams.refused == {"streams": 1, "streams_per_tenant": 5, "streams_per_address": 0}
    release()
    other()
    assert streams.in_flight == 0
    streams.admit(ONE, HERE)


def test_the_same_refusal_is_told_as_new_once_a_minute_and_anothers_by_itself(clock: Clock):
    streams = StreamBounds(Limits(streams=2, streams_per_tenant=1), clock=clock)
    streams.admit(ONE, HERE)
    assert [limited(streams, ONE, HERE).repeated for _ in range(3)] == [False, True, True]
    assert not limited(streams, ONE, THERE).repeated
    streams.admit(OTHER, HERE)
    third = uuid4()
    assert [full(streams, third).repeated for _ in range(3)] == [False, True, True]
    assert not full(streams, uuid4()).repeated
    clock.now += 59
    assert limited(streams, ONE, HERE).repeated
    clock.now += 2
    assert not limited(streams, ONE, HERE).repeated
    assert not full(streams, third).repeated


def test_a_refusal_by_another_bound_is_told_as_new():
    streams = bounds(1, tenant=1)
    release = streams.admit(ONE, HERE)
    assert [limited(streams, ONE, HERE).repeated for _ in range(2)] == [False, True]
    release()
    streams.admit(OTHER, THERE)
    assert [full(streams, ONE, HERE).repeated for _ in range(2)] == [False, True]


@pytest.mark.parametrize("seed", range(10))
def test_bounds_hold_however_streams_come_and_go_and_nothing_is_left_behind(seed: int):
    chance = random.Random(seed)
    streams = bounds(12, tenant=5, address=4)
    tenants, addresses = [uuid4() for _ in range(4)], ["203.0.113.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
    held: list[tuple[UUID, str, Callable[[], None]]] = []
    over: list[Callable[[], None]] = []
    refused = 0
    for _ in range(1000):
        tenant, address = chance.choice(tenants), chance.choice(addresses)
        if held and chance.random() < 0.45:
            *_, release = held.pop(chance.randrange(len(held)))
            release()
            over.append(release)
        elif over and chance.random() < 0.1:
            chance.choice(over)()
        else:
            own = sum(t == tenant for t, *_ in held)
            near = sum(_place(a) == _place(address) for _, a, _ in held)
            try:
                release = streams.admit(tenant, address)
            except StreamsLimited:
                refused += 1
                assert own == 5 or near == 4
            except TooManyStreams:
                refused += 1
                assert len(held) == 12 and own < 5 and near < 4
            else:
                assert own < 5 and near < 4 and len(held) < 12
                held.append((tenant, address, release))
        assert streams.in_flight == len(held)
    assert refused > 20
    assert sum(streams.refused.values()) == refused
    for *_, release in held:
        release()
    assert streams.in_flight == 0
    assert not streams._of_tenants
    assert not streams._of_networks


def _place(address: str) -> str:
    return "2001:db8::/64" if address.startswith("2001:db8::") else address
