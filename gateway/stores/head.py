"""The head of an HTTP/1 answer, parsed by llhttp. Only the fields that a read is judged by are kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

LONGEST: Final = 64 * 1024
"""Bytes of a head beyond which it is none."""
END: Final = b"\r\n\r\n"
START: Final = b"HTTP/1."
KEPT: Final = {
    name.lower().encode(): name
    for name in (
        "Content-Length",
        "Content-Range",
        "Content-Encoding",
        "Transfer-Encoding",
        "ETag",
        "X-Goog-Generation",
    )
}
_OTHER_LINES: Final = 2
"""The status line and the empty one."""
FINAL: Final = 200
"""The least status that is no interim answer's."""


class NotHttp(Exception):
    """What was answered is not HTTP/1, or contradicts itself in how long it is."""


class _Heard:
    """What the parser calls. It stands apart from Head, which holds the parser: a ring of both would stay until a collection."""

    __slots__ = ("body", "complete", "ended", "on_header", "sent")

    def __init__(self) -> None:
        self.sent: dict[bytes, bytes] = {}
        """Name → value; of a name that comes twice the last."""
        self.on_header: Callable[[bytes, bytes], None] = (
            self.sent.__setitem__
        )  # called for each: a function would cost more
        self.complete = False
        self.ended = False
        self.body = b""

    def on_headers_complete(self) -> None:
        self.complete = True

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.ended = True


class Head:
    """One answer's head, interim ones left out; ``more`` reads the body of one that is an error."""

    __slots__ = ("_heard", "_parser", "fields", "keep_alive", "status")

    def __init__(self, raw: bytes) -> None:
        """``raw`` ends with the empty line. Raises NotHttp."""
        if not raw.startswith(START):
            raise NotHttp
        heard = self._heard = _Heard()
        self._parser = HttpResponseParser(heard)
        try:
            self._parser.feed_data(raw)
        except (HttpParserError, HttpParserUpgrade):
            raise NotHttp from None
        if not heard.complete:
            raise NotHttp
        sent, kept = heard.sent, _kept(tuple(heard.sent))
        if kept is None or len(sent) + _OTHER_LINES != raw.count(b"\n"):
            self.fields = _joined(raw)
        else:
            self.fields = {name: _text(sent[as_sent]) for as_sent, name in kept}
        """Of KEPT those that were sent, under the names as they stand there; several of a name are joined by commas."""
        self.status: int = self._parser.get_status_code()
        self.keep_alive: bool = self._parser.should_keep_alive()
        """As the head has it. Only a body that was read to its end makes it true of the connection."""

    @property
    def body(self) -> bytes:
        """What ``more`` was told of it, without its framing."""
        return self._heard.body

    @property
    def ended(self) -> bool:
        """The whole answer has come, body and all, as far as ``more`` was told."""
        return self._heard.ended

    def more(self, piece: bytes | memoryview) -> None:
        """Takes a piece of the body: see ``body``, ``ended``. Raises NotHttp."""
        try:
            self._parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade):
            raise NotHttp from None


@lru_cache(maxsize=256)
def _kept(names: tuple[bytes, ...]) -> tuple[tuple[bytes, str], ...] | None:
    """Of an answer's field names those that are kept, each beside its name in KEPT; None: one of them comes twice.

    Remembered, for a store sends the same names each time.
    """
    kept = [(name, KEPT[name.lower()]) for name in names if name.lower() in KEPT]
    return tuple(kept) if len({name for _, name in kept}) == len(kept) else None


def _joined(raw: bytes) -> dict[str, str]:
    """The fields of KEPT where some come twice. ``raw`` was parsed before, and nothing was wrong with it."""
    fields: dict[str, str] = {}

    def hear(name: bytes, value: bytes) -> None:
        kept = KEPT.get(name.lower())
        if kept is not None:
            fields[kept] = f"{fields[kept]}, {_text(value)}" if kept in fields else _text(value)

    HttpResponseParser(SimpleNamespace(on_header=hear)).feed_data(raw)
    return fields


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \t")
