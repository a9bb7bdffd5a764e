"""A gateway whose stores are reached over doors: ports that stand empty until a test puts a proxy there."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.demo.ports import free_ports

from .faults import FaultProxy
from .house import Filed, House, Office
from .stage import Stage

LANES = 4
"""Doors to each kind of store, so that as many downloads can be watched at once."""
IMPATIENT = {"connect_s": 1, "first_byte_s": 2, "progress_s": 0.4, "resumes": 2}


@dataclass
class Doors:
    """``house`` runs, with stores ``s3-0`` to ``s3-3`` and ``gcs-0`` to ``gcs-3`` behind doors, and ``disk`` at ``root``."""

    stage: Stage
    house: House
    root: Path
    _ports: Mapping[str, int]

    @classmethod
    def open(cls, stage: Stage, root: Path, **sections: dict[str, Any]) -> "Doors":
        """``sections`` change the configuration."""
        names = [f"{kind}-{lane}" for kind in ("s3", "gcs") for lane in range(LANES)]
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        stores = {
            name: stage.stores[name.partition("-")[0]] | {"endpoint": f"http://127.0.0.1:{port}"}
            for name, port in ports.items()
        }
        house = stage.another(stores | {"disk": {"kind": "disk", "root": str(root)}}, **sections)
        return cls(stage, house, root, ports)

    @asynccontextmanager
    async def ajar(self, store: str, origin: Mapping[str, Any]) -> AsyncIterator[FaultProxy]:
        """A proxy at the door of ``store``, before the server that the settings ``origin`` name."""
        proxy = FaultProxy(int(origin["endpoint"].rpartition(":")[2]))
        proxy.port = self._ports[store]
        async with proxy:
            yield proxy

    async def file(self, store: str, origin: Mapping[str, Any], key: str, data: bytes) -> Filed:
        """Registers what lies at ``origin`` as if it lay in ``store``."""
        return await Office(self.stage.database_url, {store: dict(origin)}).file(self.stage.tenant, store, key, data)
