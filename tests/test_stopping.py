"""How a gateway ends within one process: what it waits for, and what for no longer than a moment."""

import asyncio
from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.config import Config
from gateway.edge.lifecycle import Lifecycle
from gateway.errors import Unavailable


async def test_stopping_flushes_the_audit_whatever_connection_the_listener_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """From Python 3.12 on a listener waits for every connection it accepted, the one nobody reads from among them."""
    config = Config(
        server={"host": "127.0.0.1", "port": 0, "flush_s": 1},
        database={"url": "postgresql://nobody@127.0.0.1:9/none", "connect_s": 0.3},
        audit={"journal_dir": tmp_path / "journal"},
        stores={"disk": {"kind": "disk", "root": str(tmp_path)}},
    )
    gateway = await Gateway.start(config)
    monkeypatch.setattr(asyncio.base_events.Server, "wait_closed", lambda _: asyncio.Event().wait())
    async with asyncio.timeout(20):
        await gateway.stop()
    assert not list((tmp_path / "journal").glob("*/"))


async def test_a_part_whose_check_is_broken_is_named_as_any_that_is_away():
    async def broken() -> None:
        raise KeyError("secret")

    async def away() -> None:
        raise Unavailable("gone")

    reply = await Lifecycle({"store": broken, "journal": away}).answer("GET", "/readyz")
    assert reply.status == 503
    assert reply.body == b'{"status":"unready","checks":{"store":"defect","journal":"unavailable"}}'
