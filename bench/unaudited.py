"""The gateway without its audit, to see what the audit costs. No setting does this, and none should.

`python -m bench.unaudited --config FILE serve`
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator

from gateway.audit import JournalTrail
from gateway.audit.renewed import Renewed
from gateway.cli import main
from gateway.event import Intent, Outcome


class _Done:
    """Awaited, it goes on at once."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def _intend(self: JournalTrail, intent: Intent) -> Awaitable[None]:  # noqa: ARG001 - as the real one
    """Nothing is kept."""
    return _Done()


async def _record(self: JournalTrail, intent: Intent, outcome: Outcome) -> None:
    """Nothing is kept."""


def _intend_again(self: JournalTrail, *_: object, told: Callable[[], None]) -> Renewed:  # noqa: ARG001 - as the real one
    """Durable in a moment."""
    renewed = Renewed(told, lambda _reason: None)
    asyncio.get_running_loop().call_soon(renewed.set_result, None)
    return renewed


def _conclude(self: JournalTrail, outcome: Outcome) -> None:
    """Nothing was begun."""


if __name__ == "__main__":
    JournalTrail.intend = _intend  # type: ignore[method-assign]  # the point of this file
    JournalTrail.intend_again = _intend_again  # type: ignore[method-assign,assignment]  # likewise
    JournalTrail.record = _record  # type: ignore[method-assign]  # likewise
    JournalTrail.conclude = _conclude  # type: ignore[method-assign]  # likewise
    main()
