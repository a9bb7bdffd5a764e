"""A thread pool that goes on with the threads it has where the system gives no more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress


class Threads(ThreadPoolExecutor):
    """At most ``most`` threads, one of them from the beginning; where the system gives no more, work waits for those there are.

    A container at its limit of threads is such a place. The library's own raises then, though the work is queued and will
    run: nobody gets its result, and a file that it opened stays open.
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
