"""Who connects to Postgres."""

import pytest

from gateway.config import ConfigError, Database
from gateway.postgres import open_pool


def nameless() -> str:
    raise KeyError("uid not found")


async def test_a_uid_without_a_name_is_told_to_write_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.delenv("PGUSER", raising=False)
    with pytest.raises(ConfigError, match=r"database\.url: names no user"):
        await open_pool(Database.model_validate({"url": "postgresql://127.0.0.1:1/gateway"}))


@pytest.mark.parametrize("url", ["postgresql://me@127.0.0.1:1/gateway", "postgresql:///gateway?host=/nowhere&user=me"])
async def test_a_url_that_names_a_user_needs_no_other(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setattr("getpass.getuser", nameless)
    pool = await open_pool(Database.model_validate({"url": url, "connect_s": 0.2}))
    await pool.close()
