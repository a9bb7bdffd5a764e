"""A process that records accesses as fast as it is told, and says which were acknowledged: made to be killed.

``python audit_worker.py JOURNAL_DIR DATABASE_URL RATE``. On stdout ``ready`` when it serves, ``seen EVENT_ID`` once an
intent is durable, ``stats {…}`` every 100 ms. SIGTERM ends it in order.
"""

import asyncio
import logging
import os
import random
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import orjson
import structlog

from gateway.audit import Audit
from gateway.config import Database
from gateway.errors import Unavailable
from gateway.postgres import open_pool
from parts.audit import intent, outcome, settings

SEGMENT = 64 * 1024


async def main(journal: Path, url: str, rate: int) -> None:
    pool = await open_pool(Database(url=url, connect_s=1, query_s=1))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Audit(settings(journal, segment_bytes=SEGMENT, adopt_interval_s=0.2), pool, flush_s=20) as audit:
        os.write(1, b"ready\n")
        telling = asyncio.create_task(tell(audit))
        accesses: set[asyncio.Task[None]] = set()
        start, begun = asyncio.get_running_loop().time(), 0
        while not stop.is_set():
            for _ in range(begun, int((asyncio.get_running_loop().time() - start) * rate)):
                task = asyncio.create_task(access(audit))
                accesses.add(task)
                task.add_done_callback(accesses.discard)
                begun += 1
            await asyncio.sleep(0.001)
        telling.cancel()
        await asyncio.gather(*accesses, telling, return_exceptions=True)
    pool.terminate()


async def access(audit: Audit) -> None:
    given = intent()
    try:
        await audit.trail.intend(given)
    except Unavailable:
        return
    os.write(1, b"seen %s\n" % str(given.event_id).encode())
    try:
        await asyncio.sleep(random.choice((0, 0.001, 0.01, 0.5)))
    finally:
        audit.trail.conclude(outcome(given))


async def tell(audit: Audit) -> None:
    while True:
        os.write(1, b"stats %s\n" % orjson.dumps(asdict(audit.stats())))
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
