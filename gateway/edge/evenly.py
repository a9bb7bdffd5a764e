"""Waits for an exact moment, so that the time an answer took does not tell what was done for it (a timing side channel).

An event loop's timers count whole milliseconds from when they are set: they end later or earlier by what is left of the
last one, and that depends on how long the work before took. A thread's sleep is good to some ten microseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

_EXACTLY_S = 0.002
"""Seconds before the moment that a thread takes over: more than a timer may be late."""
_THREADS = ThreadPoolExecutor(4, thread_name_prefix="evenly")


async def until_multiple(of_s: float, since: float) -> None:
    """Waits until a multiple of ``of_s`` seconds after ``since``, in the loop's time."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    moment = now + of_s - (now - since) % of_s
    if (rest := moment - now) > _EXACTLY_S:
        await asyncio.sleep(rest - _EXACTLY_S)
    if (rest := moment - loop.time()) > 0:
        try:
            exactly: Awaitable[None] = loop.run_in_executor(_THREADS, time.sleep, rest)
        except RuntimeError:  # the system gives no more threads: to the millisecond, then
            exactly = asyncio.sleep(rest)
        await exactly
