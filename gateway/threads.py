"""Threads for what blocks, of which there is one from the beginning."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress


class Threads(ThreadPoolExecutor):
    """``most`` at once. Where the system gives no more of them, as a container at its limit, work waits for those there are.

    The library's own would refuse that work and do it all the same, for nobody: a file that was opened so stays open.
    """

    def __init__(self, most: int, name: str) -> None:
        """Raises RuntimeError: the system gives not even one."""
        super().__init__(most, thread_name_prefix=name)
        super()._adjust_thread_count()

    @property
    def waiting(self) -> int:
        """Calls that no thread has begun, those among them that were given up."""
        return self._work_queue.qsize()

    def _adjust_thread_count(self) -> None:
        with suppress(RuntimeError):
            super()._adjust_thread_count()
