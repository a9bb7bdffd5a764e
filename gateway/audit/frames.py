"""Records as framed bytes: what a journal file is made of. Pure.

A frame is a 12-byte header and its payload::

    3 bytes  FF 4A 01          magic; FF stands in no UTF-8 text, so a payload never looks like the start of a frame
    1 byte   kind
    4 bytes  payload length    little-endian
    4 bytes  CRC-32            of the payload, seeded with kind and length

Behind the last frame there may be zeros: space that was reserved and not used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from zlib import crc32

MAGIC = b"\xffJ\x01"
MAX_PAYLOAD = 128 * 1024
"""Bytes of one payload at most; a length above it is damage."""

_HEADER = struct.Struct("<3sBII")
HEADER_SIZE = _HEADER.size
_KIND_AT = len(MAGIC)
_NO_FRAME, _NOT_WHOLE = 0, -1

Record = tuple[int, bytes]
"""(kind, payload)"""


class Kind(IntEnum):
    """What a payload is."""

    INTENT = 1
    OUTCOME = 2
    OPEN = 3
    """Events that are still open, carried on from a file that was about to go: ``[[event_id, occurred_at], …]``."""


INTENT, OUTCOME, OPEN = Kind
"""Under names of the module: to read a member off its class takes ten times as long, and records come by the thousand."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What was made of some bytes. Offsets count from their start."""

    records: list[Record]
    end: int
    """Where the next scan goes on: behind the last frame, or at one that is not whole yet."""
    damaged: list[tuple[int, int]] = field(default_factory=list)
    """From, to: bytes that are no frame though frames follow; or, in the final piece, that nothing follows."""


def frame(kind: Kind, payload: bytes) -> bytes:
    """One frame. ValueError for a payload that is empty or longer than MAX_PAYLOAD."""
    length = len(payload)
    if not 0 < length <= MAX_PAYLOAD:
        raise ValueError(f"a payload of {length} bytes")
    return _HEADER.pack(MAGIC, kind, length, crc32(payload, kind << 24 ^ length)) + payload


def split(data: bytes, at: int, limit: int) -> tuple[list[Record], int]:
    """``limit`` records at most of whole frames that never left this process, from the one at ``at`` on; and where to go on."""
    records: list[Record] = []
    size = len(data)
    while at < size and len(records) < limit:
        _, kind, length, _ = _HEADER.unpack_from(data, at)
        start = at + HEADER_SIZE
        at = start + length
        records.append((kind, data[start:at]))
    return records, at


def scan(data: bytes, *, limit: int, final: bool) -> Scan:
    """Reads at most ``limit`` frames. ``final``: nothing will ever follow ``data``, so what is not whole is damage.

    Nothing is skipped unseen: each byte is in a record, in ``damaged``, behind ``end``, or a zero at the very end.
    Where not ``final`` and nothing could be read, more bytes are needed to tell.
    """
    records: list[Record] = []
    damaged: list[tuple[int, int]] = []
    at, size = 0, len(data)
    while at < size and len(records) < limit:
        stop = _frame_end(data, at)
        if stop > 0:
            records.append((data[at + _KIND_AT], data[at + HEADER_SIZE : stop]))
            at = stop
            continue
        if stop == _NOT_WHOLE and not final:
            break
        following = _next_frame(data, at + 1)
        if following is not None:
            damaged.append((at, following))
            at = following
        elif final:
            if data[at:].strip(b"\0"):
                damaged.append((at, size))
            at = size
        else:
            break
    return Scan(records, at, damaged)


def _frame_end(data: bytes, at: int) -> int:
    """Behind the sound frame that starts at ``at``; or _NO_FRAME, or _NOT_WHOLE where what is there might become one."""
    if len(data) - at < HEADER_SIZE:
        return _NOT_WHOLE
    magic, kind, length, check = _HEADER.unpack_from(data, at)
    if magic != MAGIC or not 0 < length <= MAX_PAYLOAD:
        return _NO_FRAME
    start = at + HEADER_SIZE
    stop: int = start + length
    if stop > len(data):
        return _NOT_WHOLE
    return stop if crc32(data[start:stop], kind << 24 ^ length) == check else _NO_FRAME


def _next_frame(data: bytes, at: int) -> int | None:
    """Where the next sound frame starts."""
    while (at := data.find(MAGIC, at)) >= 0:
        if _frame_end(data, at) > 0:
            return at
        at += 1
    return None
