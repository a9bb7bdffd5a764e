"""Who and what the demo shows: tenants, calls, and which call plays which part. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

TENANT, OTHER_TENANT = "demo", "other"
S3_STORE, DISK_STORE = "s3", "disk"
SURFACES = {
    "native": "rg_live",
    "yotel": "yt_live",
    "agentphone": "rg_live",
    "callsid": "rg_live",
    "voki": None,
    "envoy": "rg_live",
}
"""The surfaces shown, and the prefix of the keys made for each. None: it is asked with tokens."""
ROLES = ("guest", "attendant", "supervisor", "manager", "admin")
"""Lowest first. A guest is there to be refused."""

DEPARTMENTS = {"with_recordings": "Service", "empty": "Archive"}
"""Departments by their part: the first cannot be deleted, the second can."""

_IDS = UUID("5f3c0f6e-6f0a-4a53-9b1e-3f1d1c0a7d11")
TAKEN = frozenset({"empty", "pending", "processing", "failed", "expired", "absent", "foreign", "missing"})
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
    media_type: str = "audio/wav"


def call_id(name: str) -> UUID:
    """The call's internal id, the same on every machine."""
    return uuid5(_IDS, name)


def department_id(name: str) -> UUID:
    """The same on every machine."""
    return uuid5(_IDS, f"department {name}")


def _secret_id(secret: str, name: str) -> str:
    """122 bits that follow from ``secret`` alone: on agentphone's surface the id is the credential."""
    digest = hmac.digest(secret.encode(), name.encode(), hashlib.sha256)
    return str(UUID(bytes=digest[:16], version=4))


_ALIASES: Mapping[str, Callable[[str, str], str]] = {
    "yotel": lambda _secret, name: f"call_{name}",
    "agentphone": _secret_id,
    "callsid": lambda _secret, name: f"call_{name}",
    "voki": lambda _secret, name: str(uuid5(_IDS, f"voki {name}")),
    "envoy": lambda _secret, name: str(uuid5(_IDS, f"envoy {name}")),
}


def aliases(secret: str, name: str) -> dict[str, str]:
    """Surface → the call's id there, as the catalog has it. ``secret``: the demo's own, for ids nobody may guess."""
    return {surface: alias(secret, name) for surface, alias in _ALIASES.items()}


def store_of(place: int, *, last: bool, s3: bool) -> str:
    """Where the recording at ``place`` (from 0) lies: most in S3, some on disk, the ``last`` one too."""
    return DISK_STORE if last or not s3 or place % DISK_SHARE == DISK_SHARE - 1 else S3_STORE


def parts(sounds: Sequence[Sound], *, video: bool = False) -> Mapping[str, str]:
    """Part → name of the call that plays it. ``missing`` is nobody's. ``video``: the first part is one's, if there is one."""
    seen = [sound.name for sound in sounds if video and sound.media_type == "video/webm"]
    sounds = [sound for sound in sounds if sound.media_type != "video/webm"] or sounds
    human = [sound.name for sound in sounds if not sound.voice_agent]
    stereo = [sound.name for sound in sounds if sound.voice_agent]
    on_disk = [sound.name for sound in sounds if sound.store == DISK_STORE]
    return {
        "ready": (seen or human or [sounds[0].name])[0],
        "ready_stereo": stereo[0] if stereo else sounds[0].name,
        "ready_disk": on_disk[0] if on_disk else sounds[0].name,
        "ready_empty": "empty",
        **{name: name for name in sorted(TAKEN - {"empty"})},
    }


def ids(surface: str, sounds: Sequence[Sound], secret: str) -> dict[str, str]:
    """Part → the call's id as ``surface`` is asked for it."""
    named = parts(sounds, video=surface == "voki")
    if surface == "native":
        return {part: str(call_id(name)) for part, name in named.items()}
    prefix = "call_" if surface == "envoy" else ""
    return {part: prefix + aliases(secret, name)[surface] for part, name in named.items()}
