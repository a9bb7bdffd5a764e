"""What a running demo tells of itself: ``demo.json``, and lines to paste into a shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cast
from .cast import Sound
from .seed import Keys

FILE = "demo.json"
VARIABLES = "env"
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Facts:
    """A demo that runs. ``mounts``: surface → its base URL."""

    base_url: str
    database_url: str
    mounts: Mapping[str, str]
    keys: Mapping[str, Keys]
    sounds: Sequence[Sound]
    config: Path

    def document(self) -> dict[str, Any]:
        """``demo.json``. Each surface stands under ``surfaces`` and, for short, under its own name."""
        surfaces = {
            surface: {
                "mount": self.mounts[surface],
                "headers": bearer(keys.full),
                "headers_limited": bearer(keys.limited),
                "calls": cast.ids(surface, self.sounds),
            }
            for surface, keys in self.keys.items()
        }
        return {"base_url": self.base_url, "database_url": self.database_url, "surfaces": surfaces, **surfaces}

    def variables(self) -> str:
        """``env``: the same for a shell to read, short names for what is pasted most."""
        named = {"URL": self.base_url, "DATABASE_URL": self.database_url, "RECORDING_GATEWAY_CONFIG": str(self.config)}
        named |= {"KEY": self.keys["native"].full, "LIMITED_KEY": self.keys["native"].limited}
        named |= {"YOTEL_KEY": self.keys["yotel"].full}
        named |= {part.upper(): call for part, call in cast.ids("native", self.sounds).items()}
        path = f"export PATH={shlex.quote(str(BIN))}:$PATH\n"
        return path + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in named.items())

    def lines(self) -> Iterator[tuple[str, str]]:
        """What it does, and the line that does it."""
        native, yotel = self.mounts["native"], self.mounts["yotel"]
        ids, yotel_ids = cast.ids("native", self.sounds), cast.ids("yotel", self.sounds)
        full, limited = _header(self.keys["native"].full), _header(self.keys["native"].limited)
        yotel_full = _header(self.keys["yotel"].full)
        audio = f"{native}/v1/recordings/{ids['ready']}/audio"
        links = f"{native}/v1/recordings/{ids['ready']}/links"
        config = f"{_program()} --config {shlex.quote(str(self.config))}"
        yield "Fetch a recording", f"curl {full} -o recording.wav {audio}"
        yield "Fetch bytes 1000 to 1999 of it", f"curl {full} -r 1000-1999 -D - -o part.bin {audio}"
        yield "Take up a download again", f"curl {full} -C - -o recording.wav {audio}"
        yield "Ask for its headers alone", f"curl {full} -I {audio}"
        yield "Play it from the second minute on", f"mpv --start=60 --http-header-fields={_field(full)} {audio}"
        yield "Describe it", f"curl {full} {native}/v1/recordings/{ids['ready']}"
        yield "List the newest three", f"curl {full} '{native}/v1/recordings?limit=3'"
        yield (
            "A link that plays in a browser for an hour, without headers",
            f'curl {full} -d \'{{"delivery":"gateway"}}\' {links}',
        )
        if any(sound.store == cast.S3_STORE for sound in self.sounds):
            yield "A link to the store itself", f"curl {full} -d '{{\"ttl_s\":600}}' {links}"
            yield (
                "yotel: a signed URL for seven days",
                f"curl {yotel_full} {yotel}/api/v1/calls/{yotel_ids['ready_stereo']}/recording",
            )
        yield (
            "yotel: the audio",
            f"curl {yotel_full} -o call.wav {yotel}/api/v1/calls/{yotel_ids['ready_stereo']}/recording/audio",
        )
        yield "Not ready yet: 409", f"curl -i {full} {native}/v1/recordings/{ids['pending']}/audio"
        yield "Another tenant's, and nobody's: 404", f"curl -i {full} {native}/v1/recordings/{ids['foreign']}/audio"
        yield "Past its retention: 410", f"curl -i {full} {native}/v1/recordings/{ids['expired']}/audio"
        yield "A key that may not download: 403", f"curl -i {limited} {audio}"
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


def bearer(key: str) -> dict[str, str]:
    """The request headers that present ``key``."""
    return {"Authorization": f"Bearer {key}"}


def _header(key: str) -> str:
    return f"-H 'Authorization: Bearer {key}'"


def _field(header: str) -> str:
    return header.removeprefix("-H ")
