"""The framing of a multipart/byteranges body (RFC 9110 section 14.6, RFC 2046 section 5.1.1)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from ..model import Part, Span
from .ranges import content_range


@dataclass(frozen=True, slots=True)
class Framed:
    """``length`` counts every byte of the body: heads, spans and tail."""

    media_type: str
    parts: tuple[Part, ...]
    tail: bytes
    length: int


def new_boundary() -> str:
    """128 random bits: nobody can have put them into an object beforehand."""
    return secrets.token_hex(16)


def frame(spans: Sequence[Span], size: int, media_type: str, boundary: str) -> Framed:
    """Frames ``spans`` of an object of ``size`` bytes. ``media_type`` and ``boundary`` hold no line ends."""
    parts: list[Part] = []
    for span in spans:
        lead = "\r\n" if parts else ""
        head = f"{lead}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range(span, size)}\r\n\r\n"
        parts.append(Part(head.encode("ascii"), span))
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = sum(len(part.head) + len(part.span) for part in parts) + len(tail)
    return Framed(f"multipart/byteranges; boundary={boundary}", tuple(parts), tail, length)
