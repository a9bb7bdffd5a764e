"""A response's head as bytes (RFC 9112 sections 4 and 5)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus

from ..pattern import pattern
from .headers import seconds_as_date

_LINES = {
    version: {status.value: f"HTTP/1.{version} {status.value} {status.phrase}" for status in HTTPStatus}
    for version in (0, 1)
}


def response_head(status: int, fields: Mapping[str, str], *, keep_alive: bool, minor: int = 1) -> bytes:
    """Status line, ``fields`` in their order, Date, Connection where it says anything, and the empty line.

    ``minor``: of the HTTP version that was asked in. ValueError: a field would break out of its line.
    """
    connection = ("" if minor else "keep-alive") if keep_alive else ("close" if minor else "")
    return (_beginning(status, fields, minor) + _ending(int(time.time()), connection)).encode()


def head_pattern(status: int, fields: Callable[..., Mapping[str, str]], count: int) -> bytes:
    """``response_head`` with the ``count`` texts that ``fields`` is made of left open; ``last_lines`` belongs behind it.

    ValueError: ``fields`` has them not, or in another order.
    """
    return pattern(lambda *texts: _beginning(status, fields(*texts), 1).encode(), count)


def last_lines() -> bytes:
    """Date and the empty line, where a connection is kept."""
    return _ending(int(time.time()), "").encode()


def _beginning(status: int, fields: Mapping[str, str], minor: int) -> str:
    lines = [*map(": ".join, fields.items())]
    plain = "".join(lines)
    if "\n" in plain or "\r" in plain or "\0" in plain:
        raise ValueError("a field holds a line break")
    return "\r\n".join([_LINES[minor][status], *lines, ""])


@lru_cache(maxsize=8)
def _ending(now: int, connection: str) -> str:
    said = f"Connection: {connection}\r\n" if connection else ""
    return f"Date: {seconds_as_date(now)}\r\n{said}\r\n"
