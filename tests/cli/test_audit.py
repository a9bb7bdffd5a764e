import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest
from parts.audit import CALL, intent, outcome
from parts.command import Command, process
from uuid_utils.compat import uuid7

from gateway.audit.events import encode
from gateway.audit.postgres import PostgresSink
from gateway.config import Database
from gateway.event import Intent, Outcome
from gateway.postgres import open_pool


@pytest.fixture
async def sink(database: str) -> AsyncIterator[PostgresSink]:
    pool = await open_pool(Database(url=database))
    yield PostgresSink(pool)
    await pool.close()


async def write(sink: PostgresSink, intents: Sequence[Intent], outcomes: Sequence[Outcome] = ()) -> None:
    await sink.write([encode(each) for each in intents], [encode(each) for each in outcomes])


async def rows(command: Command, *words: object) -> list[dict[str, object]]:
    done = await asyncio.to_thread(command, "audit", "list", "--json", *words)
    assert done.code == 0, done.err
    return done.rows


async def test_accesses_are_listed_with_how_they_ended_the_newest_first(command, sink):
    first = intent()
    second = intent()
    await write(sink, [first, second], [outcome(first)])
    listed = await rows(command)
    assert [row["event_id"] for row in listed] == [str(second.event_id), str(first.event_id)]
    assert [row["result"] for row in listed] == [None, "complete"]
    assert listed[1]["bytes_sent"] == 65536


async def test_filters_let_through_what_they_name(command, sink):
    old = intent(occurred_at=datetime.now(UTC) - timedelta(hours=3), actor_id="old")
    other = replace(intent(), call=UUID(int=7), actor_id="other")
    await write(sink, [old, other])
    assert [row["actor_id"] for row in await rows(command, "--since", "1h")] == ["other"]
    assert [row["actor_id"] for row in await rows(command, "--until", "1h")] == ["old"]
    assert [row["actor_id"] for row in await rows(command, "--call", CALL)] == ["old"]
    assert [row["actor_id"] for row in await rows(command, "--actor", "other")] == ["other"]
    assert len(await rows(command, "--limit", 1)) == 1


async def test_a_table_shows_what_matters(command, sink):
    event = intent()
    await write(sink, [event], [outcome(event)])
    done = await asyncio.to_thread(command, "audit", "list")
    for shown in ("native", "stream", str(CALL), "bytes=65536-131071", "206", "complete"):
        assert shown in done.out


def test_an_unknown_tenant_is_refused_by_name(command):
    done = command("audit", "list", "-t", "nobody")
    assert (done.code, done.out) == (1, "")
    assert "'nobody'" in done.err


@pytest.mark.parametrize("command_", ["list", "follow"])
@pytest.mark.parametrize("option", ["--actor", "--tenant"])
def test_what_is_not_utf8_is_nobodys_and_refused_as_such(command, command_, option):
    done = command("audit", command_, option, "s\udcff")
    assert (done.code, done.out) == (2, "")
    assert "is not UTF-8" in done.err


async def test_follow_tells_of_accesses_until_interrupted(command, sink):
    following = await asyncio.to_thread(process, "-c", command.file, "audit", "follow", "--json")
    try:
        # What is written before the command looks is not told: one is written until the first is heard of.
        line = asyncio.ensure_future(asyncio.to_thread(readline, following))
        while not line.done():
            await write(sink, [intent(event_id=uuid7())])
            await asyncio.wait({line}, timeout=0.5)
        assert orjson.loads(await line)["result"] is None
    finally:
        following.send_signal(2)
        _, err = await asyncio.to_thread(following.communicate, timeout=20)
    assert (following.returncode, err) == (130, "")


def readline(following: subprocess.Popen[str]) -> str:
    assert following.stdout is not None
    return following.stdout.readline()
