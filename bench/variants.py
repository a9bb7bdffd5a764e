"""What is compared: how each is started, and where it is asked for an object."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from gateway.config import ENV_FILE, ENV_PREFIX
from gateway.demo.ports import free_ports
from gateway.demo.server import Server

from .stage import BUCKET, Stage, fill, listening, nginx, pid_of, trusting

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Target:
    """A variant that runs."""

    name: str
    pid: int
    """It and its descendants are what CPU and memory are counted of."""
    ports: Mapping[str, int]
    """Kind of origin (plain, tls, disk, s3) → where objects of it are asked for."""
    path: Callable[[str, str], str]
    """(kind of origin, key) → request target."""
    headers: Mapping[str, str]
    origins: tuple[int, ...] = ()
    """Ports it connects to for objects."""


Start = Callable[[Stage, AsyncExitStack], Awaitable[Target]]


def _key_path(stage: Stage, origin: str, key: str) -> str:
    return stage.signed[key] if origin == "s3" else f"/{BUCKET}/{key}"


async def _start(
    name: str,
    command: list[str | Path],
    stage: Stage,
    stack: AsyncExitStack,
    ports: Mapping[str, int],
    environment: Mapping[str, str] | None = None,
    ready: Callable[[], Awaitable[bool]] | None = None,
) -> Target:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(ENV_PREFIX) and key != ENV_FILE}
    path = os.pathsep.join(filter(None, (str(ROOT), clean.get("PYTHONPATH"))))
    server = await Server.start(
        name,
        command,
        folder=stage.folder,
        ready=ready or listening(*set(ports.values())),
        environment=clean | {"PYTHONPATH": path} | dict(environment or {}),
    )
    stack.push_async_callback(server.stop)
    authorised = {"Authorization": f"Bearer {stage.secret}"}
    origins = (stage.plain_origin, stage.tls_origin)
    return Target(name, pid_of(stage.folder, name), ports, partial(_key_path, stage), authorised, origins)


async def _direct(stage: Stage, _: AsyncExitStack, *, name: str) -> Target:
    """The origin itself. Its CPU is its own work on files."""
    ports = {
        "plain": stage.plain_origin,
        "tls": stage.tls_origin,
        "disk": stage.plain_origin,
        "s3": stage.s3_origin,
    }
    return Target(name, stage.origin_pid, ports, partial(_key_path, stage), {})


async def _nginx(
    stage: Stage, stack: AsyncExitStack, *, name: str, source: str = "nginx.conf", workers: int = 1
) -> Target:
    plain, tls, s3, check = free_ports(4)
    places = {"plain_port": plain, "tls_port": tls, "s3_port": s3, "check_port": check}
    holes = {"name": name, "workers": workers, **places}
    config = fill(f"peers/{source}", stage.folder / f"{name}.conf", stage.holes() | holes)
    ports = {"plain": plain, "tls": tls, "s3": s3} if source == "nginx.conf" else {"plain": plain}
    return await _start(name, nginx(stage.folder, name, config), stage, stack, ports)


async def _haproxy(stage: Stage, stack: AsyncExitStack) -> Target:
    plain, tls = free_ports(2)
    holes = {"plain_port": plain, "tls_port": tls}
    config = fill("peers/haproxy.cfg", stage.folder / "haproxy.cfg", stage.holes() | holes)
    return await _start("haproxy", ["haproxy", "-db", "-f", config], stage, stack, {"plain": plain, "tls": tls})


async def _caddy(stage: Stage, stack: AsyncExitStack) -> Target:
    plain, tls = free_ports(2)
    holes = {"plain_port": plain, "tls_port": tls}
    config = fill("peers/Caddyfile", stage.folder / "Caddyfile", stage.holes() | holes)
    command: list[str | Path] = ["caddy", "run", "--config", config, "--adapter", "caddyfile"]
    environment = {"GOMAXPROCS": "1", "HOME": str(stage.folder)}
    return await _start("caddy", command, stage, stack, {"plain": plain, "tls": tls}, environment)


async def _python(stage: Stage, stack: AsyncExitStack, *, name: str, command: list[str]) -> Target:
    (port,) = free_ports(1)
    environment = {
        "PORT": str(port),
        "BUCKET": BUCKET,
        "ORIGIN": f"http://127.0.0.1:{stage.plain_origin}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": stage.secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    filled = [part.replace("@port", str(port)) for part in command]
    return await _start(name, [sys.executable, *filled], stage, stack, {"plain": port}, environment)


async def start_gateway(
    stage: Stage, stack: AsyncExitStack, *, name: str, module: str = "gateway", **settings: str
) -> Target:
    """``settings`` go beside ``bench/gateway.toml``, as ``server__workers="2"``."""
    (port,) = free_ports(1)
    journal = stage.folder / f"{name}.journal"
    shutil.rmtree(journal, ignore_errors=True)
    journal.mkdir()
    config = fill("gateway.toml", stage.folder / f"{name}.toml", stage.holes() | {"port": port, "journal": journal})

    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                return answer.ok
        except aiohttp.ClientError:
            return False

    command: list[str | Path] = [sys.executable, "-m", module, "--config", config, "serve"]
    ports = dict.fromkeys(("plain", "tls", "disk", "s3"), port)
    environment = trusting(stage.ca) | {ENV_PREFIX + key.upper(): value for key, value in settings.items()}
    target = await _start(name, command, stage, stack, ports, environment, ready)
    return Target(
        name,
        target.pid,
        ports,
        lambda origin, key: f"/v1/recordings/{stage.calls[origin, key]}/audio",
        target.headers,
        target.origins,
    )


AIOBOTOCORE = ["-m", "bench.peers.aiobotocore_proxy"]
FASTAPI = [
    "-m",
    "uvicorn",
    "bench.peers.fastapi_httpx:app",
    "--port",
    "@port",
    "--no-access-log",
    "--log-level",
    "warning",
]

VARIANTS: Mapping[str, Start] = {
    "gateway": partial(start_gateway, name="gateway"),
    "gateway-portable": partial(
        start_gateway, name="gateway-portable", server__zero_copy="false", server__repeats="false"
    ),
    "gateway-unaudited": partial(start_gateway, name="gateway-unaudited", module="bench.unaudited"),
    "gateway-1": partial(start_gateway, name="gateway-1", server__workers="1"),
    "gateway-2": partial(start_gateway, name="gateway-2", server__workers="2"),
    "nginx": partial(_nginx, name="nginx"),
    "nginx-1": partial(_nginx, name="nginx-1"),
    "nginx-2": partial(_nginx, name="nginx-2", workers=2),
    "nginx-auth": partial(_nginx, name="nginx-auth", source="nginx_auth.conf"),
    "nginx-file": partial(_direct, name="nginx-file"),
    "direct": partial(_direct, name="direct"),
    "haproxy": _haproxy,
    "caddy": _caddy,
    "aiobotocore": partial(_python, name="aiobotocore", command=AIOBOTOCORE),
    "fastapi-httpx": partial(_python, name="fastapi-httpx", command=FASTAPI),
}
PROXIES = ("gateway", "nginx", "nginx-auth", "haproxy", "caddy", "aiobotocore", "fastapi-httpx")
WITH_PORTABLE = ("gateway", "gateway-portable", *PROXIES[1:])
