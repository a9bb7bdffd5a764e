"""Waiting for what nobody tells of."""

import time
from collections.abc import Callable


def soon(true: Callable[[], bool], *, within: float = 20) -> None:
    """Until it is, ``within`` so many seconds. Blocks."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it has not come true"
        time.sleep(0.01)  # gateways hear of changes from Postgres, Postgres of accesses from gateways: neither tells us
