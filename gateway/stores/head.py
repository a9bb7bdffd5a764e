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


class Head:
    """One answer's head, interim ones left out; ``more`` reads the body of one that is an error."""

    __slots__ = ("_parser", "body", "complete", "ended", "fields", "keep_alive", "status")

    def __init__(self, raw: bytes) -> None:
        """``raw`` ends with the empty line. Raises NotHttp."""
        self.fields: dict[str, str] = {}
        """Of KEPT those that were sent, under the names as they stand there; several of a name are joined by commas."""
        self.complete = False
        self.ended = False
        """The whole answer has come, body and all, as far as ``more`` was told."""
        self.body = b""
        if not raw.startswith(START):
            raise NotHttp
        self._parser = HttpResponseParser(self)
        try:
            self._parser.feed_data(raw)
        except (HttpParserError, HttpParserUpgrade):
            raise NotHttp from None
        if not self.complete:
            raise NotHttp
        self.status: int = self._parser.get_status_code()
        self.keep_alive: bool = self._parser.should_keep_alive()
        """As the head has it. Only a body that was read to its end makes it true of the connection."""

    def more(self, piece: bytes) -> None:
        """Takes a piece of the body: see ``body``, ``ended``. Raises NotHttp."""
        try:
            self._parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade):
            raise NotHttp from None

    # What the parser calls.

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
