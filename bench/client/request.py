"""Requests as bytes, and one blocking exchange. One thread asks; nothing here parses more than it must."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass

from ..variants import Target

HOST = "127.0.0.1"
PIECE = 1 << 20
END = b"\r\n\r\n"
PATIENCE_S = 60.0


class WrongAnswer(Exception):
    """What came is not what was asked for: no figure stands on it."""


def request(target: Target, origin: str, key: str, span: tuple[int, int | None] | None = None) -> bytes:
    """``span``: first and last byte as Range names them; no last one is an open range."""
    fields = {"Host": f"{HOST}:{target.ports[origin]}", **target.headers}
    if span is not None:
        fields["Range"] = f"bytes={span[0]}-{'' if span[1] is None else span[1]}"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {target.path(origin, key)} HTTP/1.1\r\n{lines}\r\n".encode()


@dataclass(frozen=True, slots=True)
class Head:
    """Of an answer; ``taken`` of its body's bytes came with it."""

    status: int
    length: int
    taken: int


def parse_head(received: bytes) -> Head | None:
    """None: it has not all come. Raises WrongAnswer for anything but a 200 or 206 with a Content-Length."""
    end = received.find(END)
    if end < 0:
        return None
    first, *lines = received[:end].decode("latin-1").split("\r\n")
    status = int(first.split(" ", 2)[1])
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if status not in {200, 206} or "content-length" not in fields:
        raise WrongAnswer(f"{first}; {fields.get('content-length', 'no')} Content-Length")
    return Head(status, int(fields["content-length"]), len(received) - end - len(END))


def connect(target: Target, origin: str) -> socket.socket:
    """A connection for requests."""
    made = socket.create_connection((HOST, target.ports[origin]), PATIENCE_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def digest(target: Target, origin: str, key: str, span: tuple[int, int | None] | None = None) -> tuple[int, str]:
    """Status, and the body's SHA-256. Raises WrongAnswer, OSError."""
    with connect(target, origin) as made:
        made.sendall(request(target, origin, key, span))
        received = b""
        while (head := parse_head(received)) is None:
            if not (piece := made.recv(PIECE)):
                raise WrongAnswer(f"{target.name}: ended before its head did")
            received += piece
        body = hashlib.sha256(received[len(received) - head.taken :])
        left = head.length - head.taken
        while left > 0:
            if not (piece := made.recv(min(PIECE, left))):
                raise WrongAnswer(f"{target.name}: ended {left} bytes early")
            body.update(piece)
            left -= len(piece)
    return head.status, body.hexdigest()
