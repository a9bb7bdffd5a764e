"""A soak: servers started, a client in a process of its own, looks from outside, counts at the end."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from gateway.demo.ports import free_ports
from gateway.demo.state import DemoFailed, State

from ..sizes import MB, TINY
from ..stage import BUCKET, Stage, set_up
from ..variants import Target, start_gateway
from .asks import Plan
from .client import Client
from .counts import compare, drained, kept
from .page import COLUMNS, Soaked, line
from .tally import Tally
from .verdicts import Minute, judge
from .watch import Seen, Told, Watch

SIZE = replace(TINY, name="soak", object_bytes=32 * MB, streams=8, cold_ids=64)
AT_ONCE = 32
"""Requests at once that saturate."""
DRAINED_S = 120.0
BACK_S = 15.0
"""Within which descriptors are back."""
LONG_S = 300.0
"""From here on a line is a minute, and a reader patient."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked of a soak. ``rate`` None: ``share`` of what saturates."""

    seconds: float
    rate: float | None
    share: float
    slow: int
    stalled: int
    workers: int
    portable: bool
    seed: int

    @property
    def short(self) -> bool:
        return self.seconds < LONG_S

    @property
    def period_s(self) -> float:
        """Of one line."""
        return self.seconds / 9 if self.short else 60.0

    @property
    def stall_s(self) -> int:
        """For which a reader may take nothing: shorter than as shipped, so that many are cut off."""
        return 2 if self.short else 20

    @property
    def saturate_s(self) -> float:
        """In its first quarter as many readers become slow or stalled as will be."""
        return 2.0 if self.short else 120.0


async def soak(settings: Settings, folder: Path, machine: Mapping[str, str], tell: Tell) -> Soaked:
    """Raises DemoFailed: something does not start, or the client ended."""
    async with AsyncExitStack() as stack:
        state = stack.enter_context(State(folder))
        tell("origin, Postgres, its catalog and the gateway")
        stage = await set_up(state, SIZE, stack)
        (metrics_port,) = free_ports(1)
        target = await start_gateway(
            stage,
            stack,
            name="soaked",
            server__workers=str(settings.workers),
            server__zero_copy=str(not settings.portable).lower(),
            server__write_stall_s=str(settings.stall_s),
            limits__failing="999999999/minute",  # all of them ask from one address
            metrics__port=str(metrics_port),
        )
        watch = Watch(target, stage.folder / "soaked.journal", stage.postgres_pid, metrics_port)
        plan = _plan(settings, stage, target)
        with _client(plan, settings) as client:
            return await asyncio.to_thread(_observed, settings, stage, watch, client, dict(machine), tell)


def _plan(settings: Settings, stage: Stage, target: Target) -> Plan:
    return Plan(
        port=target.ports["plain"],
        secret=stage.secret,
        large=[target.path("plain", key) for key in stage.keys],
        small=[target.path("plain", key) for key in stage.cold],
        object_bytes=stage.size.object_bytes,
        content=str(stage.objects / BUCKET / stage.keys[0]),
        seed=settings.seed,
        slow=settings.slow,
        slow_rate=131_072,
        slow_s=min(30.0, settings.seconds / 6),
        stalled=settings.stalled,
        stall_s=settings.stall_s,
    )


def _observed(
    settings: Settings, stage: Stage, watch: Watch, client: _Remote, machine: dict[str, str], tell: Tell
) -> Soaked:
    zero = _told(watch)
    total = Tally()
    saturation, warm = client.saturate()
    total.add(warm)
    time.sleep(1)
    before = watch.look()
    rate = settings.rate or settings.share * saturation
    machine |= {"saturation": f"{saturation:.0f} requests/s", "rate": f"{rate:.0f} requests/s"}
    tell(f"saturated at {saturation:.0f} requests/s; now {rate:.0f} a second for {settings.seconds:.0f} s")
    tell(" | ".join(COLUMNS))
    minutes, last, lag = [], before, zero
    for tally in client.drive(rate):
        seen, told = watch.look(), _told(watch)
        minutes.append(Minute(tally, seen, _lag_s(lag, told), seen.cpu_s - last.cpu_s))
        total.add(replace(tally, took_s=[]))
        tell(" | ".join(line(sum(each.tally.seconds for each in minutes), total.ended, minutes[-1], last)))
        last, lag = seen, told
    total.add(client.settled())
    drained_s = asyncio.run(drained(stage.database_url, total.ended, DRAINED_S))
    tell("not drained in time" if drained_s is None else f"drained {drained_s:.1f} s after the last answer")
    after = _settled(watch, before)
    in_postgres = asyncio.run(kept(stage.database_url))
    counts = compare(total, in_postgres, _since(zero, _told(watch)))
    verdicts = judge(minutes, before, after, total, counts, drained_s, in_postgres.partial_bytes)
    return Soaked(machine, before, after, minutes, total, counts, verdicts)


def _settled(watch: Watch, before: Seen) -> Seen:
    """What is left once connections had the time to end."""
    until = time.monotonic() + BACK_S
    while True:
        seen = watch.look()
        if (seen.clients == 0 and seen.descriptors <= before.descriptors) or time.monotonic() > until:
            return seen
        time.sleep(0.5)


def _told(watch: Watch) -> Told | None:
    """None: it tells no metrics."""
    try:
        return watch.told()
    except (OSError, ValueError):
        return None


def _since(before: Told | None, now: Told | None) -> Counter[int] | None:
    if before is None or now is None:
        return None
    return Counter({status: count - before.requests[status] for status, count in now.requests.items()})


def _lag_s(before: Told | None, now: Told | None) -> float | None:
    """The mean since, where a sum and a count are told; else what is told last."""
    if now is None:
        return None
    earlier = before.loop if before is not None else {}
    total = next((name for name in now.loop if name.endswith("_sum")), None)
    if total is None:
        return next(iter(now.loop.values()), None)
    count = total.removesuffix("_sum") + "_count"
    turns = now.loop.get(count, 0) - earlier.get(count, 0)
    return (now.loop[total] - earlier.get(total, 0)) / turns if turns else None


# --- the client's process -------------------------------------------------------------------------------------------


class _Remote:
    """The client, by its pipe."""

    def __init__(self, pipe: Connection, settings: Settings) -> None:
        self._pipe = pipe
        self._settings = settings

    def saturate(self) -> tuple[float, Tally]:
        """Requests a second, and all that was counted; no connection is left."""
        rate = self._next()
        assert isinstance(rate, float)
        return rate, self._tally()

    def drive(self, rate: float) -> Iterator[Tally]:
        """One for each period."""
        self._pipe.send(rate)
        for _ in range(_periods(self._settings)):
            yield self._tally()

    def settled(self) -> Tally:
        """Of what was still under way."""
        return self._tally()

    def _tally(self) -> Tally:
        tally = self._next()
        assert isinstance(tally, Tally)
        return tally

    def _next(self) -> float | Tally:
        try:
            told: float | Tally = self._pipe.recv()
        except EOFError:
            raise DemoFailed("the client ended; what it said stands above") from None
        return told


def _periods(settings: Settings) -> int:
    return max(1, round(settings.seconds / settings.period_s))


@contextmanager
def _client(plan: Plan, settings: Settings) -> Iterator[_Remote]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(plan, settings, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield _Remote(ours, settings)
    finally:
        ours.close()
        process.terminate()
        process.join()


def _run(plan: Plan, settings: Settings, pipe: Connection) -> None:
    client = Client(plan)
    pipe.send(client.saturate(AT_ONCE, settings.saturate_s))
    client.settle()
    pipe.send(client.taken())
    rate = pipe.recv()
    for _ in range(_periods(settings)):
        began, cpu_s = time.perf_counter(), _cpu_s()
        client.drive(rate, settings.period_s)
        tally = client.taken()
        tally.seconds, tally.cpu_s = time.perf_counter() - began, _cpu_s() - cpu_s
        pipe.send(tally)
    client.settle()
    pipe.send(client.taken())
    with suppress(EOFError):
        pipe.recv()  # whoever asked has it all


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
