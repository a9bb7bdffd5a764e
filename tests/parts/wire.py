"""HTTP/1.1 by hand, over a real socket: sends exactly what it is given, reads strictly what comes."""

import json
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

Lines = Iterable[tuple[str, str | bytes]]

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\r\n\0]*)\Z")
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """``fields`` in the order they came, names in lower case. ``body`` is whole, or reading it raised."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """Field → value. Nothing the gateway sends comes twice."""
        named = dict(self.fields)
        assert len(named) == len(self.fields), f"a field comes twice: {self.fields}"
        return named

    def get(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection at a time; a new one when the last has ended. ``source``: the address to come from.

    ``receive_buffer``: what the kernel may hold for it, in bytes.
    """

    def __init__(
        self, url: str, *, source: str | None = None, receive_buffer: int | None = None, patience_s: float = _PATIENCE_S
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self.address = (parts.hostname, parts.port)
        self.host = parts.netloc
        self._source = source
        self._receive_buffer = receive_buffer
        self._patience_s = patience_s
        self._sock: socket.socket | None = None
        self._buffer = b""

    @property
    def socket(self) -> socket.socket:
        if self._sock is None:
            self._sock = socket.socket()
            self._sock.settimeout(self._patience_s)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._receive_buffer is not None:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            if self._source is not None:
                self._sock.bind((self._source, 0))
            self._sock.connect(self.address)
        return self._sock

    def ask(self, method: str, target: str, lines: Lines = (), body: bytes = b"") -> Answer:
        """One request; Host stands first unless ``lines`` have their own."""
        fields = list(lines)
        if not any(name.lower() == "host" for name, _ in fields):
            fields.insert(0, ("Host", self.host))
        if body:
            fields.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n".encode()
        head += b"".join(name.encode() + b": " + _raw(value) + b"\r\n" for name, value in fields)
        self.send(head + b"\r\n" + body)
        return self.read(method)

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def read(self, method: str = "GET") -> Answer:
        """The next answer. Raises ConnectionError where it is cut short."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = head.split(b"\r\n")
        status = _STATUS_LINE.match(first)
        assert status, first
        fields = tuple(_field(line) for line in rest)
        answer = Answer(int(status[1]), fields, b"")
        named = answer.headers
        assert "transfer-encoding" not in named, "lengths are always told"
        if method != "HEAD" and answer.status not in {204, 304}:
            length = int(named["content-length"])
            while len(self._buffer) < length:
                self._more()
            answer = Answer(answer.status, fields, self._buffer[:length])
            self._buffer = self._buffer[length:]
        if named.get("connection", "").lower() == "close":
            assert self.ended(), "more came after an answer that closes"
        return answer

    def ended(self) -> bool:
        """Waits for the other side to close; False where it said something more first."""
        try:
            said = self._buffer + self.socket.recv(1)
        except ConnectionError:
            said = self._buffer
        self.close()
        return not said

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock, self._buffer = None, b""

    def _more(self) -> None:
        piece = self.socket.recv(1 << 20)
        if not piece:
            got = self._buffer
            self.close()
            raise ConnectionAbortedError(f"ended after {got[:200]!r}")
        self._buffer += piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _field(line: bytes) -> tuple[str, str]:
    match = _FIELD.match(line)
    assert match, line
    return match[1].decode().lower(), match[2].decode()
