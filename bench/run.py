"""A run: everything is started, checked and measured, and ended again."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.demo.state import DemoFailed, State

from .client.request import WrongAnswer, digest
from .results import Results, unique
from .sizes import SPAN, Size
from .stage import BUCKET, Stage, set_up
from .variants import VARIANTS, Target
from .workloads import FAILURES, WORKLOADS, Turn, Workload

Tell = Callable[[str], None]


async def run(
    size: Size,
    workloads: Sequence[str],
    leaving_out: frozenset[str],
    seed: int,
    folder: Path,
    results: Results,
    tell: Tell,
) -> None:
    """All of ``workloads`` but for the variants ``leaving_out``, into ``results``.

    A variant that fails is told of, and the rest goes on. Raises DemoFailed: what is measured with does not start.
    """
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        state = stack.enter_context(State(folder))
        checked: set[tuple[str, str]] = set()
        tell(f"origin, objects of {size.object_bytes // 1_000_000} MB, Postgres and its catalog")
        s3 = any(WORKLOADS[name].origin == "s3" for name in workloads)
        stage = await set_up(state, size, stack, s3=s3)
        for name in workloads:
            workload = WORKLOADS[name]
            chosen = [variant for variant in workload.variants if variant not in leaving_out]
            await _measure(workload, chosen, stage, results, chance, checked, tell)


async def _measure(
    workload: Workload,
    chosen: Sequence[str],
    stage: Stage,
    results: Results,
    chance: random.Random,
    checked: set[tuple[str, str]],
    tell: Tell,
) -> None:
    rounds = workload.rounds or stage.size.rounds
    started_for = 1 if workload.fresh else rounds
    failures: list[str] = []
    left = list(chosen)
    for begin in range(0, rounds, started_for):
        async with AsyncExitStack() as stack:
            targets = await _start(workload, left, stage, stack, failures, checked)
            left = list(targets)
            for number in range(begin, begin + started_for):
                tell(f"{workload.name}: round {number + 1} of {rounds}")
                turn = Turn(stage, targets, chance, failures)
                try:
                    measured = await asyncio.to_thread(workload.round, turn)
                except FAILURES as error:
                    failures.append(f"round {number + 1}: {type(error).__name__}: {error}")
                    continue
                for variant, metrics in measured.items():
                    results.add(workload.name, variant, metrics)
    for failure in unique(failures):
        results.failures.append(f"{workload.name}: {failure}")
        tell(results.failures[-1])


async def _start(
    workload: Workload,
    names: Sequence[str],
    stage: Stage,
    stack: AsyncExitStack,
    failures: list[str],
    checked: set[tuple[str, str]],
) -> dict[str, Target]:
    """Those that run and serve the right bytes; of the others is told. ``checked``: (variant, origin) that did already."""
    targets = {}
    for name in names:
        try:
            target = await VARIANTS[name](stage, stack)
            if (name, workload.origin) not in checked:
                await asyncio.to_thread(_check, stage, target, workload.origin)
                checked.add((name, workload.origin))
        except (*FAILURES, DemoFailed) as error:
            failures.append(f"{name}: {error}")
        else:
            targets[name] = target
    return targets


def _check(stage: Stage, target: Target, origin: str) -> None:
    """Whole objects and ranges have the SHA-256 they should. Raises WrongAnswer."""
    content = (stage.objects / BUCKET / stage.keys[0]).read_bytes()
    middle = stage.size.object_bytes // 2 + 7
    for key in (stage.keys[0], stage.keys[-1]):
        if digest(target, origin, key) != (200, stage.sha256):
            raise WrongAnswer("a whole object is not what it should be")
    for first, last in ((0, SPAN - 1), (middle, middle + SPAN - 1), (stage.size.object_bytes - 10, None)):
        should = hashlib.sha256(content[first : None if last is None else last + 1]).hexdigest()
        if digest(target, origin, stage.keys[0], (first, last)) != (206, should):
            raise WrongAnswer(f"bytes {first}-{last} are not what they should be")
