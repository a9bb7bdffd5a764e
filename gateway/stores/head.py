"""The head of an HTTP/1 answer, parsed by llhttp. Only the fields that a read is judged by are kept."""

from __future__ import annotations

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
FINAL: Final = 200
"""The least status that is no interim answer's."""


class NotHttp(Exception):
    """What was answered is not HTTP/1, or contradicts itself in how long it is."""


class _Heard:
    """What the parser calls. It stands apart from Head, which holds the parser: a ring of both would stay until a collection."""

    __slots__ = ("body", "complete", "ended", "fields")

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.complete = False
        self.ended = False
        self.body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        kept = KEPT.get(name.lower())
        if kept is not None:
            before = self.fields.get(kept)
            told = value.decode("latin-1").strip(" \t")
            self.fields[kept] = told if before is None else f"{before}, {told}"

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
        self.fields = heard.fields
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

    def more(self, piece: bytes) -> None:
        """Takes a piece of the body: see ``body``, ``ended``. Raises NotHttp."""
        try:
            self._parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade):
            raise NotHttp from None
