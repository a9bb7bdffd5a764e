"""What an upload pipeline registers: calls, where their recordings lie, and what a storage tells of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from ..model import NOTHING_TOLD, Entry, Lifetime, NewCall, State


@dataclass(frozen=True, slots=True)
class PutCall:
    """Made, or brought up to date. Gives back a CallPut.

    Raises Contradicts (one of the ids is another call's), Malformed (no such department).
    """

    call: NewCall


@dataclass(frozen=True, slots=True)
class CallPut:
    """``made``: it was not there before."""

    entry: Entry
    made: bool


@dataclass(frozen=True, slots=True)
class PutRecording:
    """Of the call that the route names. Gives back its Entry as it is then.

    ``state`` (PENDING, PROCESSING, FAILED) is taken as told; without it, an object that is named is looked at, and the
    recording is ready or has failed. Raises Contradicts, Malformed (no such store, or not a key to be registered),
    and what a store that fails raises.
    """

    state: State | None = None
    failure: str | None = None
    """Why it failed, to operators and to the pipeline."""
    place: tuple[str, str] | None = None
    """(store, key)"""
    media_type: str | None = None
    """Overrules what the object's header says."""
    lifetime: Lifetime = NOTHING_TOLD


class StoreKind(StrEnum):
    """As ``stores.<name>.kind`` has it."""

    S3 = "s3"
    GCS = "gcs"


@dataclass(frozen=True, slots=True)
class Noticed:
    """One thing that a storage tells of. ``created`` False: of another kind, and nothing is done."""

    bucket: str
    key: str
    created: bool = True


@dataclass(frozen=True, slots=True)
class TakeNotices:
    """Gives back a Taken for each, in their order. Raises Unavailable where one could not be decided: all may be sent again."""

    kind: StoreKind
    notices: Sequence[Noticed]


class Fate(StrEnum):
    """What became of a notice."""

    READY = "ready"
    UNCHANGED = "unchanged"
    PENDING = "pending"
    FAILED = "failed"
    IGNORED = "ignored"
    """Not about a recording that could be registered; sending it again changes nothing."""


@dataclass(frozen=True, slots=True)
class Taken:
    """``reason`` says, for FAILED and IGNORED, why."""

    fate: Fate
    call: UUID | None = None
    reason: str | None = None
