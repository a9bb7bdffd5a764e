"""Timed segments as a WebVTT file (W3C WebVTT, section 4: syntax). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..model import Segment

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"})
_BREAKS = re.compile(r"[\r\n]+")
"""WebVTT's line terminators; an empty line would end the cue."""
_SHORTEST_MS = 1


def webvtt(segments: Iterable[Segment]) -> str:
    """A cue for each segment that has words; who speaks is its voice span.

    A cue must end after it starts: a segment of no length is shown for a millisecond.
    """
    return "".join(["WEBVTT\n", *(_cue(segment) for segment in segments if segment.text.strip())])


def _cue(segment: Segment) -> str:
    end_ms = max(segment.end_ms, segment.start_ms + _SHORTEST_MS)
    lines = [line for line in _BREAKS.split(segment.text) if line.strip()]
    voice = _one_line(segment.speaker)
    name = _escaped(voice).replace("--", "-&#45;")  # before its ">" two of them would make the arrow of a timing
    text = (f"<v {name}>" if voice else "") + "\n".join(map(_escaped, lines))
    return f"\n{_timestamp(segment.start_ms)} --> {_timestamp(end_ms)}\n{text}\n"


def _timestamp(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{ms:03}"


def _one_line(speaker: str | None) -> str:
    return _BREAKS.sub(" ", speaker or "").strip()


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
