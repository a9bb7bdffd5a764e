"""The two loops the gateway may run on; a test of sockets holds on both."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs it once on each. Its fixtures are to be synchronous ones: they know no loop."""

    @functools.wraps(test)
    def run(*args: Any, loop: str, **given: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(test(*args, **given))

    # What pytest reads the fixtures from.
    wanted = inspect.signature(test)
    parameters = [*wanted.parameters.values(), inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)]
    run.__signature__ = wanted.replace(parameters=parameters)
    del run.__wrapped__
    return pytest.mark.parametrize("loop", LOOPS)(run)
