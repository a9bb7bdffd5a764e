"""The demo from start to end: its servers, its catalog, its gateway, and everything stopped again."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .. import logs
from ..app import Gateway
from ..catalog.schema import MigrationFailed, migrate
from ..config import Config
from ..errors import OriginFailed, OriginTimeout, Unavailable
from . import facts, postgres, seaweed, settings
from .check import check
from .facts import Facts
from .fill import fill
from .ports import is_free
from .seaweed import S3
from .server import Server
from .sounds import user_files
from .state import DemoFailed, State, write_private

READY_S = 15
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """As the command line has them."""

    port: int = 8080
    state: Path = Path(".demo")
    s3: bool = True
    audio: Path | None = None
    once: bool = False


async def run(options: Options, out: Console, err: Console) -> bool:
    """Until SIGINT or SIGTERM, or (``once``) until it has checked itself: False where a check fails, or a signal came first.

    Stops what it started, whatever happens, and nothing else. Raises DemoFailed.
    """
    for name in settings.forget_environment():
        err.print(f"{name} is set; the demo has settings of its own and passes over it", markup=False)
    told: list[int] = []
    this = asyncio.current_task()

    def hear(number: int) -> None:
        if not told and this is not None:
            this.cancel()
        told.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, hear, number)
    try:
        async with AsyncExitStack() as stack:
            shown = await _start(options, stack, err)
            if options.once:
                return await _checked(shown, err)
            _print(shown, options, out)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not told:
            raise
    return not options.once


async def _start(options: Options, stack: AsyncExitStack, err: Console) -> Facts:
    if options.port and not is_free(options.port):
        raise DemoFailed(_taken(options.port))
    if options.audio is not None:
        user_files(options.audio)
    state = stack.enter_context(State(options.state))
    (state.folder / facts.FILE).unlink(missing_ok=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn(), console=err, transient=True
    ) as progress:
        doing = progress.add_task("Starting Postgres and S3", total=None)
        database_url, s3 = await _servers(state, stack, s3=options.s3)
        config = settings.write(state, port=options.port, database_url=database_url, s3=s3)
        progress.update(doing, description="Migrating")
        try:
            await migrate(config.database)
        except MigrationFailed as error:
            raise DemoFailed(
                f"the database in {state.folder} cannot be brought up to date: {error}\n"
                "  another version of the demo made it; remove the folder, or choose another with --state DIRECTORY"
            ) from error
        progress.update(doing, description="Filling the catalog")
        try:
            filled = await fill(state, config, s3, options.audio, lambda what: progress.update(doing, description=what))
        except (Unavailable, OriginFailed, OriginTimeout) as error:
            raise DemoFailed(f"the catalog could not be filled: {error}; see the logs in {state.folder}") from error
        progress.update(doing, description="Starting the gateway")
        base_url = await _gateway(config, stack, state, quiet=options.once)
    config = config.listening_on(urlsplit(base_url).port or 0)
    mounts, hosts = (
        {mount.surface: config.public_url(mount) for mount in config.mounts if (mount.host is not None) is by_host}
        for by_host in (False, True)
    )
    shown = Facts(
        base_url,
        database_url,
        mounts,
        hosts,
        filled.credentials,
        filled.sounds,
        filled.secret,
        state.folder / settings.FILE,
    )
    write_private(state.folder / facts.VARIABLES, shown.variables().encode())
    write_private(state.folder / facts.FILE, orjson.dumps(shown.document(), option=orjson.OPT_INDENT_2))
    return shown


async def _servers(state: State, stack: AsyncExitStack, *, s3: bool) -> tuple[str, S3 | None]:
    """Side by side: whatever of them runs is stopped with ``stack``."""

    async def up(starting: Coroutine[Any, Any, tuple[Server, T]]) -> T:
        server, there = await starting
        stack.push_async_callback(server.stop)
        return there

    try:
        async with asyncio.TaskGroup() as group:
            database = group.create_task(up(postgres.start(state)))
            objects = group.create_task(up(seaweed.start(state))) if s3 else None
    except* DemoFailed as failed:
        raise failed.exceptions[0] from None
    return database.result(), objects.result() if objects else None


async def _gateway(config: Config, stack: AsyncExitStack, state: State, *, quiet: bool) -> str:
    """Its base URL, once it says that it is ready. Its log goes to the terminal, or (``quiet``) to a file."""
    logs.configure(config.log, _log(state, stack) if quiet else None)
    try:
        gateway = await Gateway.start(config)
    except OSError as error:
        raise DemoFailed(_taken(config.server.port)) from error
    stack.push_async_callback(gateway.stop, drain_s=config.server.drain_s)
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(READY_S):
            while True:
                async with session.get(f"{gateway.base_url}/readyz") as answer:
                    if answer.ok:
                        return gateway.base_url
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise DemoFailed(f"the gateway was not ready within {READY_S} s; see its log") from None


def _log(state: State, stack: AsyncExitStack) -> TextIO:
    path = state.folder / "gateway.log"
    path.touch(mode=0o600)
    return stack.enter_context(path.open("w", encoding="utf-8"))


def _taken(port: int) -> str:
    return f"port {port} is taken; choose another with --port N, or --port 0 for any free one"


async def _checked(shown: Facts, err: Console) -> bool:
    well = True
    async for what, went_well in check(shown):
        err.print("  ok  " if went_well else "FAILED", what, markup=False)
        well = well and went_well
    return well


def _print(shown: Facts, options: Options, out: Console) -> None:
    variables = shlex.quote(str(options.state / facts.VARIABLES))
    out.print()
    out.print(f"The gateway answers at {shown.base_url}. Lines to paste into another shell:", markup=False)
    for what, line in shown.lines():
        out.print()
        out.print(f"# {what}", markup=False, style="dim")
        out.print(line, markup=False, soft_wrap=True)
    out.print()
    for line in (
        f"The same as variables: `. {variables}`; for programs: {options.state / facts.FILE}.",
        f"Ctrl-C stops the gateway, Postgres and S3; what they hold stays in {options.state} for the next run.",
    ):
        out.print(line, markup=False, soft_wrap=True)
    out.print()
