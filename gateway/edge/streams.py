"""How many bodies may be on their way at once: in this process, to one tenant, to one address.

A place is counted from before the store is asked until the body is over, however it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeVar
from uuid import UUID

from .. import config
from ..errors import Refusal, StreamsLimited, TooManyStreams
from .limits import Until, network

PER_PROCESS, PER_TENANT, PER_ADDRESS = "streams", "streams_per_tenant", "streams_per_address"
"""The policies, named as their settings."""

_Key = TypeVar("_Key")
_RETRY_S = 5
_TOLD_S = 60.0
"""Seconds within which the same refusal counts as repeated."""

_network = lru_cache(maxsize=4096)(network)


class StreamBounds:
    """A place for each. Nothing is kept of whom no body is on its way to."""

    def __init__(self, settings: config.Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.bound = settings.streams
        """Places in all."""
        self._per_tenant = settings.streams_per_tenant
        self._per_address = settings.streams_per_address
        self._of_tenants: dict[int, int] = {}  # by their numbers, for UUIDs are slow to hash
        self._of_networks: dict[str, int] = {}
        self._told = Until(clock)
        self._refused = dict.fromkeys((PER_PROCESS, PER_TENANT, PER_ADDRESS), 0)
        self.in_flight = 0
        """Places taken."""

    @property
    def refused(self) -> Mapping[str, int]:
        """Policy → how often it was the reason to refuse."""
        return self._refused

    def has_room(self, tenant: UUID, address: str) -> bool:
        """Whether ``admit`` would take a place now."""
        return (
            self.in_flight < self.bound
            and (self._per_tenant is None or self._of_tenants.get(tenant.int, 0) < self._per_tenant)
            and (self._per_address is None or self._of_networks.get(_network(address), 0) < self._per_address)
        )

    def admit(self, tenant: UUID, address: str) -> Callable[[], None]:
        """Takes a place, and returns the function that gives it back (further calls do nothing).

        Raises StreamsLimited, TooManyStreams: no place was taken. Where both apply it is StreamsLimited, for the caller's own bound.
        """
        tenants, networks = self._of_tenants, self._of_networks
        whose, who = tenant.int, _network(address)
        of_tenant, of_network = tenants.get(whose, 0), networks.get(who, 0)
        if self._per_tenant is not None and of_tenant >= self._per_tenant:
            raise self._refusal(PER_TENANT, self._per_tenant, tenant, who)
        if self._per_address is not None and of_network >= self._per_address:
            raise self._refusal(PER_ADDRESS, self._per_address, tenant, who)
        if self.in_flight >= self.bound:
            raise self._refusal(PER_PROCESS, self.bound, tenant, who)
        tenants[whose] = of_tenant + 1
        networks[who] = of_network + 1
        self.in_flight += 1
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self.in_flight -= 1
                _less(tenants, whose)
                _less(networks, who)

        return release

    def _refusal(self, policy: str, quota: int, tenant: UUID, who: str) -> Refusal:
        self._refused[policy] += 1
        told = (policy, tenant, who)
        repeated = told in self._told
        if not repeated:
            self._told.put(told, _TOLD_S)
        if policy == PER_PROCESS:
            return TooManyStreams(f"limits.streams = {quota}", retry_after=_RETRY_S, repeated=repeated)
        return StreamsLimited(policy, quota=quota, retry_after=_RETRY_S, repeated=repeated)


def _less(counts: dict[_Key, int], key: _Key) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
