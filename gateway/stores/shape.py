"""Heads of answers that are like one before: told by one look, not parsed anew. Pure.

What a store answers to one range after another differs in a few values. A head whose lines are those of one that was parsed, in
their order, with the same values wherever a value says how the answer is to be read, is read like that one.
"""

from __future__ import annotations

import re
from typing import Final

from ..model import Span

_AS_THEY_WERE: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields whose values must be the same again. Those of _TOLD are told, and all others say nothing here."""
_TOLD: Final = {
    "content-range": rb"[ \t]*+bytes (?P<range>[0-9]{1,19}-[0-9]{1,19})/(?P<size>[0-9]{1,19})",
    "content-length": rb"[ \t]*+(?P<length>[0-9]{1,19})",
}
_ANY: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS: Final = b"HTTP/1.1 206 "
_EMPTY: Final = [b"", b""]


class Shape:
    """How one head of a 206 was. ValueError: it is none that others could be told by."""

    __slots__ = ("_match",)

    def __init__(self, head: bytes, pin: str) -> None:
        """``head`` was parsed, is in order, and leaves its connection open. ``pin``: a field's name."""
        status, *lines = head.split(b"\r\n")
        if not status.startswith(_STATUS) or lines[-2:] != _EMPTY or b"\n" in head.replace(b"\r\n", b""):
            raise ValueError("not the head of a 206")
        told = {**_TOLD, pin.lower(): rb"(?P<version>" + _ANY + rb")"}
        pieces, seen = [re.escape(status)], set()
        for line in lines[:-2]:
            name, colon, value = line.partition(b":")
            if not colon or not _NAME.fullmatch(name):
                raise ValueError("a line that is no field")
            known = name.decode().lower()
            if known in seen and (known in told or known in _AS_THEY_WERE):
                raise ValueError("a field that decides comes twice")
            seen.add(known)
            as_it_was = re.escape(value) if known in _AS_THEY_WERE else _ANY
            pieces.append(re.escape(name) + b":" + told.get(known, as_it_was))
        if not seen.issuperset(told) or "transfer-encoding" in seen or "content-encoding" in seen:
            raise ValueError("a field that is needed is missing, or the body is coded")
        self._match = re.compile(rb"\r\n".join(pieces) + rb"\r\n\r\n").match

    def end(self, room: bytearray, have: int, span: Span, version: str) -> int:
        """Where the head at the beginning of ``room``, of which ``have`` bytes are filled, ends.

        0: it is another, or not that of just ``span`` of ``version``.
        """
        found = self._match(room, 0, have)
        if found is None:
            return 0
        told, size, length, pin = found.group("range", "size", "length", "version")
        asked = b"%d-%d" % (span.start, span.stop - 1), b"%d" % (span.stop - span.start)
        right = (told, length) == asked and int(size) >= span.stop and pin.decode("latin-1").strip(" \t") == version
        return found.end() if right else 0
