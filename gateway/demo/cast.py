"""Who and what the demo shows: tenants, calls, and which call plays which part. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

TENANT, OTHER_TENANT = "demo", "other"
S3_STORE, DISK_STORE = "s3", "disk"
SURFACES = {"native": "rg_live", "yotel": "yt_live"}
"""The surfaces shown, and the prefix of the keys made for each."""

_IDS = UUID("5f3c0f6e-6f0a-4a53-9b1e-3f1d1c0a7d11")
TAKEN = frozenset({"empty", "pending", "failed", "expired", "absent", "foreign", "missing"})
"""Names of the calls that are there to be refused, and of the one that isn't there."""
DISK_SHARE = 4
"""Of so many recordings one lies on disk."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording that the demo has put into a store."""

    name: str
    """Stem of its call's ids."""
    store: str
    key: str
    size: int
    sha256: str
    voice_agent: bool
    description: str


def call_id(name: str) -> UUID:
    """The call's internal id, the same on every machine."""
    return uuid5(_IDS, name)


def alias(name: str) -> str:
    """The call's id on a vendor's surface."""
    return f"call_{name}"


def store_of(place: int, *, last: bool, s3: bool) -> str:
    """Where the recording at ``place`` (from 0) lies: most in S3, some on disk, the ``last`` one too."""
    return DISK_STORE if last or not s3 or place % DISK_SHARE == DISK_SHARE - 1 else S3_STORE


def parts(sounds: Sequence[Sound]) -> Mapping[str, str]:
    """Part → name of the call that plays it. ``missing`` is nobody's."""
    human = [sound.name for sound in sounds if not sound.voice_agent]
    stereo = [sound.name for sound in sounds if sound.voice_agent]
    on_disk = [sound.name for sound in sounds if sound.store == DISK_STORE]
    return {
        "ready": human[0] if human else sounds[0].name,
        "ready_stereo": stereo[0] if stereo else sounds[0].name,
        "ready_disk": on_disk[0] if on_disk else sounds[0].name,
        "ready_empty": "empty",
        **{name: name for name in sorted(TAKEN - {"empty"})},
    }


def ids(surface: str, sounds: Sequence[Sound]) -> dict[str, str]:
    """Part → the call's id as ``surface`` has it."""
    named = parts(sounds)
    if surface == "native":
        return {part: str(call_id(name)) for part, name in named.items()}
    return {part: alias(name) for part, name in named.items()}
