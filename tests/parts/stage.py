"""Where end-to-end tests play: a database, stores to put objects in, a tenant with keys, and gateways on all of it."""

import asyncio
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from .gcs import GcsEmulator
from .house import SERVE, Filed, House, Office, plain
from .issuer import AUDIENCE, ISSUER, pem, rsa_key, token
from .s3 import SeaweedS3

ORIGIN = "https://app.example.com"
"""The one web origin that is allowed."""
PROXY = "127.0.0.2"
"""Whoever connects from here is a trusted proxy."""
LINK_KEY = "link-key-of-the-stage-" + "k" * 32
ISSUER_KEY = rsa_key()
"""The one whose tokens are believed."""


@dataclass(frozen=True)
class Shelf:
    """A store as tests see it: how a gateway is told of it, and how an object gets there."""

    settings: dict[str, Any]
    put: Callable[[str, bytes], None]


def shelves(s3: SeaweedS3, gcs: GcsEmulator, root: Path) -> dict[str, Shelf]:
    """A store of each kind, by its kind's name."""

    def write(key: str, data: bytes) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)

    bare = s3.settings().model_dump(mode="json", exclude_none=True)
    secrets = {"access_key_id": s3.access_key_id, "secret_access_key": s3.secret_access_key}
    return {
        "s3": Shelf(plain(bare | secrets), s3.put),
        "gcs": Shelf(plain(gcs.settings().model_dump(mode="json", exclude_none=True)), gcs.put),
        "disk": Shelf({"kind": "disk", "root": str(root)}, write),
    }


@dataclass
class Stage:
    """``house`` runs; ``full`` are the request fields of a key with every scope. ``secrets`` may stand in no log."""

    database_url: str
    shelves: Mapping[str, Shelf]
    folder: Path
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    tenant: UUID = field(init=False)
    full: dict[str, str] = field(init=False)
    secrets: set[str] = field(default_factory=lambda: {LINK_KEY})
    houses: list[House] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stores = {name: shelf.settings for name, shelf in self.shelves.items()}
        self.office = Office(self.database_url, self.stores)
        self.secrets |= {s["secret_access_key"] for s in self.stores.values() if "secret_access_key" in s}

    @property
    def on_disk(self) -> dict[str, dict[str, Any]]:
        """Of the stores the folder alone, which a gateway has open soonest."""
        return {"disk": self.stores["disk"]}

    @property
    def house(self) -> House:
        """The first one opened."""
        return self.houses[0]

    async def open(self, tenant: str = "acme", **sections: dict[str, Any]) -> House:
        """Makes the tenant and its key, and starts ``house``."""
        self.tenant = await self.office.tenant(tenant)
        self.full = await self.key()
        return self.another(**sections)

    def another(
        self, stores: Mapping[str, dict[str, Any]] | None = None, *, serve: str = SERVE, **sections: Any
    ) -> House:
        """Starts one more gateway on the same database; ``sections`` change the stage's configuration, ``stores`` replaces.

        A list of tables, as ``mounts``, stands in place of what there was. ``serve``: as House has it.
        """
        merged: dict[str, Any] = {
            "server": {"trusted_proxies": [f"{PROXY}/32"]},
            "cors": {"origins": [ORIGIN]},
            "identity": {"link_keys": [LINK_KEY], "issuers": [self.issuer]},
        }
        for name, table in [*self.sections.items(), *sections.items()]:
            merged[name] = merged.get(name, {}) | table if isinstance(table, dict) else table
        folder = self.folder / uuid4().hex
        folder.mkdir()
        house = House(self.database_url, self.stores if stores is None else stores, merged, folder, serve)
        self.houses.append(house)
        house.start()
        return house

    async def key(
        self,
        *scopes: str,
        tenant: UUID | None = None,
        expires_at: datetime | None = None,
        role: str | None = None,
    ) -> dict[str, str]:
        """The request fields of a new key, the stage's tenant's unless another is named."""
        fields = await self.office.key(tenant or self.tenant, *scopes, expires_at=expires_at, role=role)
        self.secrets.add(fields["Authorization"].removeprefix("Bearer "))
        return fields

    @cached_property
    def issuer(self) -> dict[str, Any]:
        """The issuer of JWTs that every gateway here believes, as configured."""
        public = self.folder / "issuer.pem"
        public.write_bytes(pem(ISSUER_KEY))
        return {"issuer": ISSUER, "audience": AUDIENCE, "public_key_file": str(public)}

    def token(self, tenant: str = "acme", **claims: Any) -> dict[str, str]:
        """The request fields of a JWT for the tenant of that slug; ``claims`` as parts.issuer has them."""
        written = token(ISSUER_KEY, tenant=tenant, **claims)
        self.secrets.add(written)
        return {"Authorization": f"Bearer {written}"}

    async def file(self, store: str, data: bytes, *, key: str = "", **options: Any) -> Filed:
        """Puts ``data`` into ``store`` and registers it; ``options`` as Office.file takes them."""
        key = key or f"calls/{uuid4().hex}.wav"
        self.shelves[store].put(key, data)
        return await self.office.file(options.pop("tenant", self.tenant), store, key, data, **options)

    async def accesses(self, column: str, value: object, count: int, *, or_more: bool = False) -> list[asyncpg.Record]:
        """The audit's rows in which ``column`` has ``value``, oldest first, once ``count`` of them are there and ended."""
        rows: list[asyncpg.Record] = []
        try:
            async with asyncio.timeout(20):
                while len(rows) < count or any(row["result"] is None for row in rows):
                    query = f"SELECT * FROM accesses WHERE {column} = $1 ORDER BY event_id"
                    rows = await self.office.rows(query, value)
                    await asyncio.sleep(0.02)  # Postgres tells nobody of what arrives
        except TimeoutError:
            raise AssertionError(f"of {count} accesses the audit has {_ends(rows)}") from None
        assert or_more or len(rows) == count, "more stands in the audit than was asked"
        return rows

    def close(self) -> None:
        """Ends every gateway, and looks whether one of them told a secret."""
        for house in self.houses:
            if house.process is not None and house.process.poll() is None:
                house.signal(signal.SIGTERM)
        for house in self.houses:
            house.stop()
        told = "\n".join(json.dumps(line, ensure_ascii=False) for house in self.houses for line in house.logs)
        for secret in self.secrets:
            assert secret not in told, "a secret stands in a log"


def _ends(rows: Sequence[asyncpg.Record]) -> list[tuple[object, ...]]:
    return [(row["method"], row["status"], row["result"], row["reason"]) for row in rows]
