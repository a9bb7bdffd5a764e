"""Managing endpoints, for the API and the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from ...asks.webhooks import (
    ChangeEndpoint,
    CreateEndpoint,
    DeleteEndpoint,
    Deliveries,
    Delivery,
    Endpoint,
    ListDeliveries,
    ListEndpoints,
    PingEndpoint,
    Redeliver,
    RotateSecret,
    Secreted,
    ShowEndpoint,
)
from ...config import Webhooks
from ...errors import Malformed
from .guard import Forbidden
from .signing import Sealer, mint_secret


class Book(Protocol):
    """Where endpoints are kept. Raises NotFound, Contradicts, Unavailable."""

    async def add(self, tenant: UUID, url: str, description: str, secret: str, *, at_most: int) -> Endpoint: ...
    async def all(self, tenant: UUID) -> list[Endpoint]: ...
    async def one(self, tenant: UUID, endpoint: UUID) -> Endpoint: ...
    async def change(self, tenant: UUID, ask: ChangeEndpoint) -> Endpoint: ...
    async def delete(self, tenant: UUID, endpoint: UUID) -> None: ...
    async def rotate(self, tenant: UUID, endpoint: UUID, secret: str, *, overlap_s: float) -> Endpoint: ...
    async def ping(self, tenant: UUID, endpoint: UUID) -> Delivery: ...
    async def deliveries(self, tenant: UUID, ask: ListDeliveries) -> Deliveries: ...
    async def redeliver(self, tenant: UUID, ask: Redeliver) -> Delivery: ...


Vet = Callable[[str], Awaitable[None]]
"""May webhooks go to this URL? Raises Forbidden."""


class Desk:
    """Each method does for a tenant what its ask says."""

    def __init__(self, book: Book, vet: Vet, sealer: Sealer, settings: Webhooks) -> None:
        self._book = book
        self._vet = vet
        self._sealer = sealer
        self._settings = settings

    def acts(self) -> Mapping[type, Callable[[UUID, Any], Awaitable[object]]]:
        """The type of each ask → the method that does it. Any: each method takes its own type of ask."""
        return {
            CreateEndpoint: self.create,
            ListEndpoints: self.all,
            ShowEndpoint: self.show,
            ChangeEndpoint: self.change,
            DeleteEndpoint: self.delete,
            RotateSecret: self.rotate,
            PingEndpoint: self.ping,
            ListDeliveries: self.deliveries,
            Redeliver: self.redeliver,
        }

    async def create(self, tenant: UUID, ask: CreateEndpoint) -> Secreted:
        await self._check(ask.url)
        secret = mint_secret()
        endpoint = await self._book.add(
            tenant, ask.url, ask.description, self._sealer.seal(secret), at_most=self._settings.max_endpoints
        )
        return Secreted(endpoint, secret)

    async def all(self, tenant: UUID, _ask: ListEndpoints) -> Sequence[Endpoint]:
        return await self._book.all(tenant)

    async def show(self, tenant: UUID, ask: ShowEndpoint) -> Endpoint:
        return await self._book.one(tenant, ask.endpoint)

    async def change(self, tenant: UUID, ask: ChangeEndpoint) -> Endpoint:
        if ask.url is not None:
            await self._check(ask.url)
        return await self._book.change(tenant, ask)

    async def delete(self, tenant: UUID, ask: DeleteEndpoint) -> None:
        await self._book.delete(tenant, ask.endpoint)

    async def rotate(self, tenant: UUID, ask: RotateSecret) -> Secreted:
        secret = mint_secret()
        overlap_s = self._settings.overlap_s if ask.overlap_s is None else ask.overlap_s
        endpoint = await self._book.rotate(tenant, ask.endpoint, self._sealer.seal(secret), overlap_s=overlap_s)
        return Secreted(endpoint, secret)

    async def ping(self, tenant: UUID, ask: PingEndpoint) -> Delivery:
        return await self._book.ping(tenant, ask.endpoint)

    async def deliveries(self, tenant: UUID, ask: ListDeliveries) -> Deliveries:
        return await self._book.deliveries(tenant, ask)

    async def redeliver(self, tenant: UUID, ask: Redeliver) -> Delivery:
        return await self._book.redeliver(tenant, ask)

    async def _check(self, url: str) -> None:
        try:
            await self._vet(url)
        except Forbidden as refusal:
            raise Malformed("body", "url", message=str(refusal)) from None
