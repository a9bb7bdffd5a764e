"""The command line on a database and a folder of the test's own."""

from pathlib import Path

import pytest
from parts.command import Command


@pytest.fixture
def command(tmp_path: Path, database: str) -> Command:
    """With an empty catalog, and a disk store called ``calls`` in ``calls/``."""
    (tmp_path / "calls").mkdir()
    return Command(
        tmp_path,
        {
            "server": {"port": 0, "drain_delay_s": 0},
            "database": {"url": database},
            "stores": {"calls": {"kind": "disk", "root": str(tmp_path / "calls")}},
            "audit": {"journal_dir": str(tmp_path / "journal")},
        },
    )


@pytest.fixture
def acme(command: Command) -> Command:
    """With a tenant."""
    assert command("tenants", "create", "acme", "Acme Ltd").code == 0
    return command


@pytest.fixture
def offline(tmp_path: Path) -> Command:
    """With a Postgres that isn't there."""
    return Command(tmp_path, {"database": {"url": "postgresql://user:hunter2@127.0.0.1:1/none", "connect_s": 1}})
