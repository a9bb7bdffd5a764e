"""The demo's configuration: a file like any other, so that the other commands work on the running demo too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomlkit

from ..config import ENV_FILE, ENV_PREFIX, Config, load
from . import cast, tokens
from .seaweed import S3
from .state import State, write_private

FILE = "gateway.toml"
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


def write(state: State, *, port: int, database_url: str, s3: S3 | None) -> Config:
    """Writes ``gateway.toml`` into the state folder, for its owner's eyes only, and reads it back."""
    stores: dict[str, Any] = {cast.DISK_STORE: {"kind": "disk", "root": str(disk_root(state))}}
    if s3 is not None:
        stores[cast.S3_STORE] = {
            "kind": "s3",
            "bucket": s3.bucket,
            "endpoint": s3.endpoint,
            "access_key_id": s3.access_key_id,
            "secret_access_key": s3.secret_access_key,
        }
    settings = {
        "server": {"port": port, "drain_delay_s": 0, "drain_s": 5},
        "database": {"url": database_url},
        "stores": stores,
        "audit": {"journal_dir": str(state.folder / "journal")},
        "identity": {
            "link_keys": [state.secret("link_key")],
            "roles": cast.ROLES,
            "issuers": [tokens.issuer(state)],
        },
        # Whoever tries the demo asks from this one machine.
        "limits": {"public": "1000000/minute", "failing": "1000000/minute"},
        # Whoever tries its webhooks has a receiver here, too.
        "webhooks": {"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
        # Whoever tries it in a page has that page somewhere else.
        "cors": {"origins": ["*"]},
        "log": {"format": "console"},
    }
    path = state.folder / FILE
    write_private(path, tomlkit.dumps(settings).encode())
    return load(path)


def disk_root(state: State) -> Path:
    """The disk store's folder."""
    root = state.folder / "recordings"
    root.mkdir(mode=0o700, exist_ok=True)
    return root


def forget_environment() -> list[str]:
    """Drops what this process's environment says of another gateway: the demo touches nobody's database but its own.

    What Postgres' and AWS' clients are told there, and of proxies, goes as well, without a word: it is meant for other servers.
    """
    names = [name for name in os.environ if name.startswith(ENV_PREFIX) or name == ENV_FILE]
    others = [name for name in os.environ if name.startswith(("PG", "AWS_")) or name.lower() in _PROXIES]
    for name in names + others:
        del os.environ[name]
    return names
