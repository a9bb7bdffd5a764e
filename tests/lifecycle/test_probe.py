"""An object's header is read from a store that misbehaves, and nothing of it stays open."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from parts.wavs import silence

from gateway.errors import Broken, Changed, OriginFailed
from gateway.lifecycle.probe import ATTEMPTS, examine
from gateway.model import Span, Stat

DATA = silence(1)
STAT = Stat(len(DATA), '"e"', "v1", datetime(2026, 3, 1, tzinfo=UTC))


@dataclass
class Body:
    """Gives its bytes in two pieces, or breaks before the second."""

    data: bytes
    error: Exception | None = None
    closed: bool = False

    async def read(self) -> bytes:
        if self.error is not None and len(self.data) < STAT.size:
            raise self.error
        piece, self.data = self.data[:5000], self.data[5000:]
        return piece

    async def close(self) -> None:
        self.closed = True


@dataclass
class Shelf:
    """A store of one object; ``errors``: how the bodies that are opened first end."""

    errors: list[Exception] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)

    async def stat(self, _key: str) -> Stat:
        return STAT

    async def open(self, _key: str, span: Span, _version: str) -> Body:
        self.bodies.append(Body(DATA[span.start : span.stop], self.errors.pop(0) if self.errors else None))
        return self.bodies[-1]


async def looked_at(shelf: Any) -> int | None:
    return (await examine(shelf, "k", STAT))[1].duration_ms


@pytest.mark.parametrize("errors", [[], [Broken("x")], [Changed("x"), Broken("x")]], ids=len)
async def test_a_body_that_breaks_off_is_read_again_and_each_is_closed(errors: list[Exception]):
    shelf = Shelf(errors)
    tries = len(errors) + 1
    assert await looked_at(shelf) == 1000
    assert [body.closed for body in shelf.bodies] == [True] * tries


async def test_what_breaks_off_every_time_decides_nothing():
    shelf = Shelf([Broken("x")] * 9)
    with pytest.raises(OriginFailed, match="breaks off"):
        await looked_at(shelf)
    assert [body.closed for body in shelf.bodies] == [True] * ATTEMPTS
