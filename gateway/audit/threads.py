"""A thread of one's own for what blocks: whatever else hangs elsewhere, the audit moves on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from ..threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class OwnThread:
    """Does one thing after another. Raises RuntimeError where the system gives no thread."""

    def __init__(self, name: str) -> None:
        self._pool = Threads(1, name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Cancelled, it leaves the work to be done by itself, begun or not."""
        done = asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))
        return await asyncio.shield(done)  # cancelled itself, it would take back what the thread has not begun

    def close(self) -> None:
        """Waits for nothing."""
        self._pool.shutdown(wait=False)

    async def end(self, last: Callable[[], None], within_s: float) -> None:
        """Does ``last`` behind what was begun, and waits for it; no longer than ``within_s`` seconds."""
        ended = asyncio.wrap_future(self._pool.submit(last))
        self._pool.shutdown(wait=False)
        await asyncio.wait([ended], timeout=within_s)
