"""The head of a WebM or Matroska object (RFC 8794, RFC 9559): what stands before the first cluster.

Libraries were tried: those there are walk a segment of unknown size, as MediaRecorder writes it, to the object's end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from .window import Unreadable, Window


class _Id(IntEnum):
    """Element ids, with their length marker, as RFC 9559 lists them."""

    EBML = 0x1A45DFA3
    DOC_TYPE = 0x4282
    SEGMENT = 0x18538067
    SEEK_HEAD = 0x114D9B74
    SEEK = 0x4DBB
    SEEK_ID = 0x53AB
    INFO = 0x1549A966
    SCALE = 0x2AD7B1
    DURATION = 0x4489
    TRACKS = 0x1654AE6B
    TRACK = 0xAE
    TRACK_TYPE = 0x83
    AUDIO = 0xE1
    CHANNELS = 0x9F
    CLUSTER = 0x1F43B675
    CUES = 0x1C53BB6B


_VIDEO_TRACK, _AUDIO_TRACK = 1, 2


@dataclass(frozen=True, slots=True)
class Webm:
    """``duration_ms`` is None where it was never written, as live recorders leave it. ``cues``: an index is there."""

    matroska: bool
    duration_ms: int | None
    channels: int | None
    video: bool
    cues: bool


@dataclass(frozen=True, slots=True)
class _Element:
    id: int
    start: int
    """Of its content."""
    stop: int


def read(window: Window) -> Webm:
    """Raises Unreadable, Need."""
    top = _elements(window, 0, window.size)
    head = next(top, None)
    if head is None or head.id != _Id.EBML:
        raise Unreadable("WebM: no EBML header")
    kinds = [_bytes(window, e) for e in _elements(window, head.start, head.stop) if e.id == _Id.DOC_TYPE]
    if kinds not in ([b"webm"], [b"matroska"]):
        raise Unreadable("EBML, but neither WebM nor Matroska")
    segment = next((e for e in top if e.id == _Id.SEGMENT), None)
    if segment is None:
        raise Unreadable("WebM: no segment")
    return _segment(window, segment, matroska=kinds == [b"matroska"])


def _segment(window: Window, segment: _Element, *, matroska: bool) -> Webm:
    duration: int | None = None
    tracks: list[tuple[int, int | None]] = []
    cues = False
    for element in _elements(window, segment.start, segment.stop):
        match element.id:
            case _Id.SEEK_HEAD:
                cues = cues or _points_to_cues(window, element)
            case _Id.INFO:
                duration = _duration(window, element)
            case _Id.TRACKS:
                entries = _elements(window, element.start, element.stop)
                tracks = [_track(window, entry) for entry in entries if entry.id == _Id.TRACK]
            case _Id.CUES:
                cues = True
            case _Id.CLUSTER:
                break
    audio = [channels for kind, channels in tracks if kind == _AUDIO_TRACK]
    video = any(kind == _VIDEO_TRACK for kind, _ in tracks)
    if not audio and not video:
        raise Unreadable("WebM: neither an audio nor a video track before the first cluster")
    return Webm(matroska, duration, audio[0] if audio else None, video, cues)


def _elements(window: Window, start: int, stop: int) -> Iterator[_Element]:
    """The elements side by side from ``start``. One of unknown size reaches to ``stop``. Each takes 2 bytes or more."""
    while start < stop:
        head = window.at(start, 12)
        width = _width(head[:1])
        if not 1 <= width <= 4 or len(head) <= width:
            raise Unreadable("WebM: an element id that is none, or cut short")
        size_width = _width(head[width : width + 1])
        if not 1 <= size_width <= 8 or len(head) < width + size_width:
            raise Unreadable("WebM: an element size that is none, or cut short")
        bits = 7 * size_width
        size = int.from_bytes(head[width : width + size_width]) & ((1 << bits) - 1)
        content = start + width + size_width
        end = stop if size == (1 << bits) - 1 else min(content + size, stop)
        yield _Element(int.from_bytes(head[:width]), content, end)
        start = content + size if end < stop else stop


def _width(first: bytes) -> int:
    """How many bytes a variable-size integer takes, by its first one; 9 for a zero byte."""
    return 9 - first[0].bit_length() if first else 0


def _bytes(window: Window, element: _Element) -> bytes:
    """A short content; what is longer than 16 bytes is none of those asked for."""
    return window.at(element.start, min(element.stop - element.start, 16)).rstrip(b"\0")


def _uint(window: Window, element: _Element) -> int:
    return int.from_bytes(window.at(element.start, min(element.stop - element.start, 8)))


def _points_to_cues(window: Window, head: _Element) -> bool:
    return any(
        field.id == _Id.SEEK_ID and _uint(window, field) == _Id.CUES
        for seek in _elements(window, head.start, head.stop)
        if seek.id == _Id.SEEK
        for field in _elements(window, seek.start, seek.stop)
    )


def _duration(window: Window, info: _Element) -> int | None:
    scale, ticks = 1_000_000, 0.0
    for field in _elements(window, info.start, info.stop):
        if field.id == _Id.SCALE:
            scale = _uint(window, field)
        elif field.id == _Id.DURATION:
            body = window.at(field.start, min(field.stop - field.start, 8))
            form = {4: ">f", 8: ">d"}.get(len(body))
            ticks = float(struct.unpack(form, body)[0]) if form else 0.0
    # NaN, negative and infinite compare false; beyond a hundred years is no recording
    return int(ticks * scale / 1e6) if 0 < ticks * scale < 3e18 else None


def _track(window: Window, entry: _Element) -> tuple[int, int | None]:
    """The track's type, and for an audio track its channels (1 where not written: RFC 9559 section 5.1.4.1.29.3)."""
    kind, channels = 0, None
    for field in _elements(window, entry.start, entry.stop):
        if field.id == _Id.TRACK_TYPE:
            kind = _uint(window, field)
        elif field.id == _Id.AUDIO:
            counts = [_uint(window, f) for f in _elements(window, field.start, field.stop) if f.id == _Id.CHANNELS]
            channels = counts[0] if counts else 1
    return kind, channels
