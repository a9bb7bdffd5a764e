"""A tenant's upload pipeline, as it would talk to the gateway."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID, uuid4

from .house import House
from .stage import Stage
from .wire import Answer, Wire

SCOPES = ("calls:read", "recordings:download", "recordings:write", "tenants:admin", "audit:read")


@dataclass(frozen=True)
class Uploader:
    """``key``: request fields of a key with every scope. Objects lie under ``slug``/."""

    stage: Stage
    house: House
    slug: str
    tenant: UUID
    key: dict[str, str]

    @classmethod
    async def made(cls, stage: Stage, house: House, slug: str) -> Self:
        tenant = await stage.office.tenant(slug)
        return cls(stage, house, slug, tenant, await stage.key(*SCOPES, tenant=tenant))

    def ask(
        self, method: str, path: str, body: object = None, key: Mapping[str, str] | None = None, *, raw: bytes = b""
    ) -> Answer:
        """``body`` is sent as JSON, ``raw`` as it is."""
        sent = raw if body is None else json.dumps(body).encode()
        with Wire(self.house.base_url) as wire:
            credential = self.key if key is None else key
            return wire.ask(method, path, [*credential.items(), ("Content-Type", "application/json")], sent)

    def call(self, name: str, **facts: object) -> Answer:
        """Registers a call."""
        return self.ask("PUT", f"/v1/calls/{name}", facts)

    def recording(self, name: str, **facts: object) -> Answer:
        """Registers its recording."""
        return self.ask("PUT", f"/v1/calls/{name}/recording", facts)

    def new_call(self) -> str:
        """A call by its yotel id, as the native surface names it."""
        name = f"yotel:call_{uuid4().hex[:12]}"
        assert self.call(name).status == 201
        return name

    def store(self, name: str, data: bytes, store: str = "s3") -> str:
        """An object put into a store; returns its key."""
        key = f"{self.slug}/{uuid4().hex}/{name}"
        self.stage.shelves[store].put(key, data)
        return key

    def facts(self, name: str) -> Any:
        """What is known of a call, whatever its recording's state; nothing is told anew."""
        answer = self.call(name)
        assert answer.status == 200
        return answer.json()
