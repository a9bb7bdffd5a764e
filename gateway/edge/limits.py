"""How much anybody may ask, as ``config.Limits`` says: by credential, by tenant, by address.

An address from which too many credentials failed is turned away, but not with a credential that was proven here lately: who
guesses keys behind a NAT locks nobody else out. A credential that is refused (revoked, expired, shown for another tenant) loses
that exemption until it is proven again. Counts name credentials by their ids or by a digest, never by the secret.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from ipaddress import IPv6Address
from typing import Self

from limits import RateLimitItem, parse

from .. import config
from ..errors import TooMany
from ..model import Caller, Presented
from .counts import BoundedMemory, Counter, Counts, Wait

_PROVEN_S = 600.0
"""Seconds after its proof that a credential is exempt from what its address did."""
_PROOF_STEP_S = 1.0
"""How finely it is known when a credential was proven last."""
_REMEMBERED = 10_000
_V6_HOST_BITS = 64


class RateLimits:
    """A ``model.Limits``. ``close`` it."""

    def __init__(self, settings: config.Limits, counts: Counts, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = _item("key", settings.key)
        self._tenant = _item("tenant", settings.tenant)
        self._public = _item("public", settings.public)
        self._failing = _item("failing", settings.failing)
        self._counts = counts
        self._proven = Until(clock)
        self._told = Until(clock)

    @classmethod
    def open(cls, settings: config.Limits) -> Self:
        """Connects to nothing yet: a Redis that is away is found so by the first count. Raises ConfigError."""
        url = settings.url.get_secret_value()
        if url.startswith("memory:"):
            return cls(settings, Counter(BoundedMemory()))
        from .shared_counts import SharedCounts  # noqa: PLC0415  whoever shares no counts starts without it

        try:
            return cls(settings, SharedCounts(url, wait_s=settings.wait_s))
        except ValueError as error:  # without its text, which may quote the URL
            raise config.ConfigError(
                ["limits.url: an option in its query is not one of Redis's; correct it"]
            ) from error

    async def stranger(self, address: str) -> None:
        if self._public is not None:
            who = network(address)
            self._refuse(self._public, who, await self._counts.hit(self._public, who))

    async def suspect(self, address: str, presented: Presented) -> None:
        if self._failing is not None and hash(presented.token) not in self._proven:
            who = network(address)
            self._refuse(self._failing, who, await self._counts.look(self._failing, who))

    async def caller(self, caller: Caller, presented: Presented) -> None:
        if self._failing is not None:
            # If two tokens share a hash, the other one is exempt too: its proof is still asked for.
            self._proven.put(hash(presented.token), _PROVEN_S)
        if self._key is not None:
            who = _credential(caller)
            self._refuse(self._key, who, await self._counts.hit(self._key, who))
        if self._tenant is not None:
            who = str(caller.tenant)
            self._refuse(self._tenant, who, await self._counts.hit(self._tenant, who))

    def heeds_not(self, presented: Presented) -> bool:
        """Whether another request with what was proven here lately would be counted nowhere, and pass; noted as ``caller`` does."""
        if self._key is not None or self._tenant is not None:
            return False
        if self._failing is not None:
            token = hash(presented.token)
            left = self._proven.left(token)
            if left <= 0:
                return False
            if left < _PROVEN_S - _PROOF_STEP_S:
                self._proven.put(token, _PROVEN_S)
        return True

    async def failed(self, address: str) -> None:
        if self._failing is not None:
            await self._counts.hit(self._failing, network(address))

    def doubt(self, presented: Presented) -> None:
        self._proven.drop(hash(presented.token))

    async def check(self) -> None:
        """Are they counted where the settings say? Raises Unavailable, saying why."""
        await self._counts.check()

    async def close(self) -> None:
        await self._counts.close()

    def _refuse(self, item: RateLimitItem, who: str, wait: Wait) -> None:
        if wait is None:
            return
        policy, window = item.namespace, item.get_expiry()
        told = (policy, who)
        repeated = told in self._told
        if not repeated:
            self._told.put(told, window)
        raise TooMany(policy, quota=item.amount, window_s=window, retry_after=wait, repeated=repeated)


def network(address: str) -> str:
    """What is counted for ``address``: itself, or its /64 in IPv6, which is one household. What is no address is returned as it is."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> _V6_HOST_BITS << _V6_HOST_BITS)}/{_V6_HOST_BITS}"


def _credential(caller: Caller) -> str:
    """What a caller is counted by: the id of a key or link; for a user a digest of the subject, which may be a name."""
    if caller.kind == "user" or caller.credential is None:
        return blake2b(f"{caller.tenant}/{caller.kind}/{caller.subject}".encode(), digest_size=16).hexdigest()
    return caller.credential


def _item(policy: str, rate: str | None) -> RateLimitItem | None:
    if rate is None:
        return None
    item = parse(rate)
    item.namespace = policy
    return item


class Until:
    """Things that hold for a while; the one put longest ago goes first where there are too many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: OrderedDict[Hashable, float] = OrderedDict()

    def __contains__(self, thing: Hashable) -> bool:
        until = self._held.get(thing)
        return until is not None and self._clock() < until

    def left(self, thing: Hashable) -> float:
        """Seconds for which it still holds."""
        return self._held.get(thing, -math.inf) - self._clock()

    def put(self, thing: Hashable, for_s: float) -> None:
        self._held[thing] = self._clock() + for_s
        self._held.move_to_end(thing)
        if len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)

    def drop(self, thing: Hashable) -> None:
        self._held.pop(thing, None)
