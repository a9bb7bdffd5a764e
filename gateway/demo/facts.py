"""What a running demo tells of itself: ``demo.json``, and lines to paste into a shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import cast
from .cast import Sound
from .lines import Line, lines
from .seed import Fields

FILE = "demo.json"
VARIABLES = "env"
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Facts:
    """A demo that runs. ``mounts``, ``hosts``: surface → its base URL by prefix, and by a host name of its own."""

    base_url: str
    database_url: str
    mounts: Mapping[str, str]
    hosts: Mapping[str, str]
    credentials: Mapping[str, Fields]
    sounds: Sequence[Sound]
    secret: str = field(repr=False)
    """Of the ids that nobody may guess."""
    config: Path

    def ids(self, surface: str) -> dict[str, str]:
        """Part → the call's id as ``surface`` is asked for it."""
        return cast.ids(surface, self.sounds, self.secret)

    def document(self) -> dict[str, Any]:
        """``demo.json``. Each surface stands under ``surfaces`` and, for short, under its own name."""
        surfaces = {
            surface: {
                "mount": self.mounts[surface],
                "host": self.hosts.get(surface),
                "headers": dict(fields.full),
                "headers_limited": dict(fields.limited),
                "headers_foreign": dict(fields.foreign),
                "calls": self.ids(surface),
                "departments": {part: str(cast.department_id(name)) for part, name in cast.DEPARTMENTS.items()},
            }
            for surface, fields in self.credentials.items()
        }
        return {"base_url": self.base_url, "database_url": self.database_url, "surfaces": surfaces, **surfaces}

    def variables(self) -> str:
        """``env``: the same for a shell to read, short names for what is pasted most."""
        named = {"URL": self.base_url, "DATABASE_URL": self.database_url, "RECORDING_GATEWAY_CONFIG": str(self.config)}
        named |= {
            "KEY": _secret(self.credentials["native"].full),
            "LIMITED_KEY": _secret(self.credentials["native"].limited),
        }
        named |= {
            f"{surface.upper()}_{'KEY' if cast.SURFACES[surface] else 'TOKEN'}": _secret(fields.full)
            for surface, fields in self.credentials.items()
            if surface != "native"
        }
        named |= {part.upper(): call for part, call in self.ids("native").items()}
        for surface in self.credentials:
            if surface != "native":
                named |= {f"{surface.upper()}_{part.upper()}": call for part, call in self.ids(surface).items()}
        named |= {f"DEPARTMENT_{part.upper()}": str(cast.department_id(n)) for part, n in cast.DEPARTMENTS.items()}
        path = f"export PATH={shlex.quote(str(BIN))}:$PATH\n"
        return path + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in named.items())

    def lines(self) -> Iterator[Line]:
        """Lines to paste, by what they do."""
        ids = {surface: self.ids(surface) for surface in self.credentials}
        fields = {surface: each.full for surface, each in self.credentials.items()}
        s3 = any(sound.store == cast.S3_STORE for sound in self.sounds)
        yield from lines(self.mounts, self.hosts, fields, self.credentials["native"].limited, ids, s3=s3)
        config = f"{_program()} --config {shlex.quote(str(self.config))}"
        yield "Is everything within reach?", f"curl {self.base_url}/readyz"
        yield "Who accessed what", f"{config} audit list --limit 5"
        yield "The same, in Postgres", f"psql {shlex.quote(self.database_url)} -c 'TABLE accesses'"
        yield "A key of your own", f"{config} keys create -t {cast.TENANT} -n mine -s recordings:download --expires 1d"


def _program() -> str:
    """How to call this program from here."""
    here = BIN / "recording-gateway"
    if shutil.which("recording-gateway") == str(here):
        return "recording-gateway"
    return shlex.quote(str(here))


def _secret(fields: Mapping[str, str]) -> str:
    """The key or token in request fields."""
    return (fields.get("Authorization") or fields["X-API-Key"]).removeprefix("Bearer ")
