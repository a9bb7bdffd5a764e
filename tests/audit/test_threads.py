"""What blocks, on a thread of the audit's own."""

import asyncio
import threading
from collections.abc import Callable

from gateway.audit.threads import OwnThread


async def test_work_whose_caller_was_cancelled_is_done_all_the_same_begun_or_not():
    thread, held, done = OwnThread("test"), threading.Event(), list[str]()

    def first() -> None:
        held.wait()
        done.append("begun")

    callers = [asyncio.create_task(thread.run(work)) for work in (first, lambda: done.append("not begun"))]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    held.set()
    await thread.end(lambda: done.append("last"), within_s=20)
    assert all(caller.cancelled() for caller in callers)
    assert done == ["begun", "not begun", "last"]


async def test_a_system_that_gives_no_more_threads_later_stops_nothing(no_more_threads: Callable[[], None]):
    thread, done = OwnThread("test"), list[int]()

    no_more_threads()
    for number in range(3):
        await thread.run(done.append, number)
    assert done == [0, 1, 2]
    await thread.end(lambda: done.append(3), within_s=20)
    assert done == [0, 1, 2, 3]
