"""The recordings that the demo plays: made ones, or the user's own, put into stores once and found again later."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from ..errors import NotFound
from ..model import Store
from . import cast
from .cast import Sound
from .samples import samples
from .shelves import Shelf
from .state import DemoFailed, State, write_private

KINDS = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".mp4": "video/mp4",
    ".webm": "audio/webm",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}
"""What ``--audio`` takes, by the files' endings."""
SAMPLES = 2
"""Version of the made samples: a change of it has an old state filled anew."""
MEETING = Path(__file__).with_name("meeting.webm")
"""The made call "support" for a minute, encoded once: nothing that the demo needs can encode video."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A recording before it is in a store."""

    name: str
    filename: str
    content: bytes | Path
    media_type: str
    voice_agent: bool
    description: str


class Sounds:
    """Kept in the state's ``sounds.json``, with what they were made from: when that changes, they are put anew."""

    def __init__(self, state: State, shelves: Mapping[str, Shelf], audio: Path | None) -> None:
        self._file = state.folder / "sounds.json"
        self._shelves = shelves
        self._files = None if audio is None else user_files(audio)
        self._made_from = self._fingerprint()

    async def kept(self, stores: Mapping[str, Store]) -> list[Sound] | None:
        """Those of an earlier run, if all of them are still in their stores."""
        if not self._file.exists():
            return None
        kept = orjson.loads(self._file.read_bytes())
        if kept["made_from"] != self._made_from:
            return None
        sounds = [Sound(**each) for each in kept["sounds"]]
        try:
            stats = await asyncio.gather(*(stores[sound.store].stat(sound.key) for sound in sounds))
        except NotFound:
            return None
        return sounds if [stat.size for stat in stats] == [sound.size for sound in sounds] else None

    async def put(self, tell: Callable[[str], None]) -> list[Sound]:
        """Makes or reads each, puts it into its store, and ``tell``s of it."""
        sounds: list[Sound] = []
        async for raw in self._raw():
            last = self._files is not None and len(sounds) == max(1, len(self._files) - 1)
            store = cast.store_of(len(sounds), last=last, s3=cast.S3_STORE in self._shelves)
            key = f"{cast.TENANT}/calls/{raw.filename}"
            size, digest = await asyncio.to_thread(_measure, raw.content)
            await self._shelves[store].put(key, raw.content, raw.media_type)
            sounds.append(Sound(raw.name, store, key, size, digest, raw.voice_agent, raw.description))
            tell(f"{raw.filename}: {raw.description}")
        return sounds

    def keep(self, sounds: list[Sound]) -> None:
        """To be called once everything that rests on them is done."""
        kept = {"made_from": self._made_from, "sounds": [asdict(sound) for sound in sounds]}
        write_private(self._file, orjson.dumps(kept, option=orjson.OPT_INDENT_2))

    def _fingerprint(self) -> list[object]:
        stores: list[object] = [*sorted(self._shelves)]
        if self._files is None:
            return [SAMPLES, *stores]
        return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in self._files] + stores

    async def _raw(self) -> AsyncIterator[Raw]:
        if self._files is None:
            made = samples()
            while (sample := await asyncio.to_thread(next, made, None)) is not None:
                name = sample.name.removesuffix(".wav")
                yield Raw(name, sample.name, sample.data, sample.media_type, sample.voice_agent, sample.description)
            yield Raw("meeting", "meeting.webm", MEETING, "video/webm", False, "two people on video; VP8 and Opus")
            return
        # One that is alone lies in both stores, so that each has something to play.
        files = self._files if len(self._files) > 1 else self._files * 2
        for name, file in zip(_names(files), files, strict=True):
            yield Raw(name, f"{name}{file.suffix.lower()}", file, KINDS[file.suffix.lower()], False, file.name)


def user_files(folder: Path) -> list[Path]:
    """The recordings in ``folder``, by name. Raises DemoFailed where there is none."""
    try:
        found = sorted(file.resolve() for file in folder.iterdir() if file.suffix.lower() in KINDS and file.is_file())
    except OSError as error:
        raise DemoFailed(f"--audio {folder}: {error.strerror}") from error
    if not found:
        raise DemoFailed(f"--audio {folder}: no recording there; files may end in {', '.join(KINDS)}")
    return found


def _names(files: list[Path]) -> list[str]:
    """A name fit for an id on every surface: letters and digits, none twice, none that the demo has given away."""
    names: list[str] = []
    for file in files:
        stem = re.sub(r"[^a-z0-9]", "", file.stem.lower())[:40] or "audio"
        name, number = stem, 2
        while name in names or name in cast.TAKEN:
            name, number = f"{stem}{number}", number + 1
        names.append(name)
    return names


def _measure(content: bytes | Path) -> tuple[int, str]:
    """Size and SHA-256."""
    if isinstance(content, bytes):
        return len(content), hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return content.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
