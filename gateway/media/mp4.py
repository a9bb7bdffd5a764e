"""The index of an MP4 (ISO/IEC 14496-12): how long, which tracks, how many channels.

Read here rather than by tinytag, which tells neither audio from video nor the channels of Opus or ALAC tracks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .window import Unreadable, Window

_ESCAPE, _PARAMETRIC_STEREO = 31, 29
"""Audio object types of AAC: one that a longer number follows, and one that is heard as two channels."""
_UNCOUNTED = frozenset({b"mp4a", b"samr", b"sawb", b"ac-3", b"ec-3"})
"""Entries whose own count is 2 whatever they hold, by their specifications; QuickTime's count, from version 1 on."""
_LAYOUTS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8}
"""channelConfiguration → channels"""
_UNKNOWN = {0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}


@dataclass(frozen=True, slots=True)
class Mp4:
    """``indexed``: sample tables say where every moment lies. A fragmented file has none in its moov."""

    duration_ms: int | None
    channels: int | None
    video: bool
    indexed: bool


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    """Of its content."""
    stop: int


@dataclass(frozen=True, slots=True)
class _Track:
    handler: bytes
    channels: int | None


def read(window: Window) -> Mp4:
    """Raises Unreadable, Need."""
    for box in _boxes(window, 0, window.size):
        if box.kind == b"moov":
            return _movie(window, box)
    raise Unreadable("MP4: no moov box; the recording ended before its index was written")


def _boxes(window: Window, start: int, stop: int) -> Iterator[_Box]:
    """The boxes side by side from ``start``; one that would reach beyond ``stop`` ends there. Each takes 8 bytes or more."""
    while start + 8 <= stop:
        head = window.at(start, 16)
        if len(head) < 8:
            return
        size, kind = int.from_bytes(head[:4]), head[4:8]
        content = start + 8
        if size == 1:
            size, content = int.from_bytes(head[8:16]), start + 16
        elif size == 0:
            size = stop - start
        if size < content - start:
            raise Unreadable("MP4: a box smaller than its own header")
        yield _Box(kind, content, min(start + size, stop))
        start += size


def _movie(window: Window, moov: _Box) -> Mp4:
    scale = duration = whole = 0
    fragmented = False
    tracks: list[_Track] = []
    for box in _boxes(window, moov.start, moov.stop):
        match box.kind:
            case b"mvhd":
                scale, duration = _header(window, box)
            case b"trak":
                tracks.append(_track(window, box))
            case b"mvex":
                fragmented = True
                mehd = next((b for b in _boxes(window, box.start, box.stop) if b.kind == b"mehd"), None)
                whole = 0 if mehd is None else _extended(window, mehd)
    if fragmented:  # mvhd counts no fragment
        duration = whole
    sound = [track for track in tracks if track.handler == b"soun"]
    video = any(track.handler == b"vide" for track in tracks)
    if not sound and not video:
        raise Unreadable("MP4: neither an audio nor a video track")
    return Mp4(
        duration_ms=None if duration in _UNKNOWN or not scale else duration * 1000 // scale,
        channels=sound[0].channels if sound else None,
        video=video,
        indexed=not fragmented,
    )


def _header(window: Window, mvhd: _Box) -> tuple[int, int]:
    body = window.at(mvhd.start, 32)
    form, at = (">IQ", 20) if body[:1] == b"\1" else (">II", 12)
    if len(body) < 32:
        raise Unreadable("MP4: mvhd box cut short")
    scale, duration = struct.unpack_from(form, body, at)
    return int(scale), int(duration)


def _extended(window: Window, mehd: _Box) -> int:
    body = window.at(mehd.start, 12)
    return int.from_bytes(body[4:12] if body[:1] == b"\1" else body[4:8])


def _track(window: Window, trak: _Box) -> _Track:
    handler, channels = b"", None
    for mdia in _named(window, trak, b"mdia"):
        for box in _boxes(window, mdia.start, mdia.stop):
            if box.kind == b"hdlr":
                handler = window.at(box.start, 12)[8:]
            elif box.kind == b"minf" and handler == b"soun":
                for table in _named(window, box, b"stbl"):
                    for described in _named(window, table, b"stsd"):
                        channels = _channels(window, described)
    return _Track(handler, channels)


def _named(window: Window, parent: _Box, kind: bytes) -> Iterator[_Box]:
    return (box for box in _boxes(window, parent.start, parent.stop) if box.kind == kind)


def _channels(window: Window, stsd: _Box) -> int | None:
    """The channels of the first AudioSampleEntry: what its AAC configuration says, else its own count.

    The count stands after 8 bytes of stsd, 8 of box, 8 of entry and 8 of versions. Version 2 of the entry, QuickTime's, has
    a constant there.
    """
    body = window.at(stsd.start, 34)
    if len(body) < 34:
        return None
    version, count = int.from_bytes(body[24:26]), int.from_bytes(body[32:34])
    inner = _Box(body[12:16], stsd.start + 44 + (16 if version == 1 else 0), stsd.stop)
    configured = None
    for box in _named(window, inner, b"esds"):
        configured = _aac_channels(window.at(box.start + 4, min(box.stop - box.start, 256)))
    if version > 1:
        return None
    counted = version == 1 or count != 2 or inner.kind not in _UNCOUNTED
    return configured or (count if counted else 0) or None


def _aac_channels(descriptors: bytes) -> int | None:
    """The channels in an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1), down through the ES and decoder descriptors."""
    at = 0
    for tag, fixed in ((3, 3), (4, 13), (5, 0)):
        if descriptors[at : at + 1] != bytes([tag]):
            return None
        at += 1
        while descriptors[at : at + 1] >= b"\x80":
            at += 1
        at += 1 + fixed
    config = int.from_bytes(descriptors[at : at + 8].ljust(8, b"\0"))
    bits = f"{config:064b}"
    kind, at = int(bits[:5], 2), 5
    if kind == _ESCAPE:
        kind, at = 32 + int(bits[5:11], 2), 11
    at += 28 if bits[at : at + 4] == "1111" else 4
    layout = int(bits[at : at + 4], 2)
    if kind == _PARAMETRIC_STEREO:
        return 2
    return _LAYOUTS.get(layout)
