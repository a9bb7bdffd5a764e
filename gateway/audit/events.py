"""Audit records as JSON bytes, the form in which they are journalled and sent on.

A record is the JSON object of its dataclass, field for field, UUIDs and times as text. What Postgres could not take (NUL,
lone surrogates) and what is absurdly long is mended here, so that a client's header cannot spoil a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson

from ..event import Intent, Outcome, Result
from .frames import INTENT, OPEN, OUTCOME, Kind, frame

LONG = 4096
"""A record of more bytes than this is cut."""
INDEXED = 2560
"""So is one whose actor's id has more: Postgres looks actors up in an index, which takes no entry of more than 2,704 bytes."""
TEXT_KEPT = 300
"""Characters of each text that are kept of a record that is cut."""
SCOPES_KEPT = 32
_NUL = b"\\u0000"

_Kept = TypeVar("_Kept", bound=Intent | Outcome)


def encode(record: Intent | Outcome) -> bytes:
    """The record as a JSON object."""
    try:
        data = orjson.dumps(record, default=_plain)
    except orjson.JSONEncodeError:  # lone surrogates: a header that was not UTF-8
        return orjson.dumps(_mended(record), default=_plain)
    # "in" would ask first whether it is a number
    if (len(data) > INDEXED and _is_long(record, len(data))) or data.find(_NUL) >= 0:
        return orjson.dumps(_mended(record), default=_plain)
    return data


def intent_frame(intent: Intent) -> bytes:
    """Framed for the journal."""
    return frame(INTENT, encode(intent))


def outcome_frame(outcome: Outcome) -> bytes:
    """Framed for the journal."""
    return frame(OUTCOME, encode(outcome))


def open_frame(events: Sequence[tuple[UUID, datetime]]) -> bytes:
    """Says of each (event_id, occurred_at) that it still waits for its outcome."""
    return frame(OPEN, orjson.dumps(events))


class OpenEvents:
    """Which events wait for their outcome, as the records of one journal tell when read in their order."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    def see(self, kind: int, payload: bytes) -> None:
        """Takes note of one record."""
        match kind:
            case Kind.INTENT:
                record = orjson.loads(payload)
                self._open[record["event_id"]] = record["occurred_at"]
            case Kind.OUTCOME:
                self._open.pop(orjson.loads(payload)["event_id"], None)
            case Kind.OPEN:
                self._open.update(orjson.loads(payload))

    def interrupted(self, now: datetime) -> list[bytes]:
        """Their outcomes, encoded: the process ended first. Status 0 says that none is known to have been sent."""
        return [
            encode(
                Outcome(
                    UUID(event), datetime.fromisoformat(occurred), now, 0, None, Result.INTERRUPTED, "process_ended"
                )
            )
            for event, occurred in self._open.items()
        ]


def _is_long(record: Intent | Outcome, size: int) -> bool:
    return size > LONG or (isinstance(record, Intent) and len((record.actor_id or "").encode()) > INDEXED)


def _plain(value: object) -> str:
    if isinstance(value, UUID):  # a database driver's own kind of UUID
        return str(value)
    raise TypeError(type(value).__name__)


def _mended(record: _Kept) -> _Kept:
    return replace(record, **{field.name: _mend(getattr(record, field.name)) for field in fields(record)})


def _mend(value: Any) -> Any:  # a field of any of their types; only texts change
    if isinstance(value, str):
        return value[:TEXT_KEPT].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, tuple):
        return tuple(_mend(item) for item in value[:SCOPES_KEPT])
    return value
