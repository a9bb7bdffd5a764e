import asyncio
import signal
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
    theirs = await asyncio.to_thread(command, "tenants", "create", "acme", "--json")
    tenant = UUID(str(theirs.rows[0]["id"]))
    other = replace(intent(), tenant=tenant, call=UUID(int=7), actor_id="other")
    await write(sink, [old, other])
    assert [row["actor_id"] for row in await rows(command, "--since", "1h")] == ["other"]
    assert [row["actor_id"] for row in await rows(command, "--until", "1h")] == ["old"]
    assert [row["actor_id"] for row in await rows(command, "--call", CALL)] == ["old"]
    assert [row["actor_id"] for row in await rows(command, "--actor", "other")] == ["other"]
    assert [row["actor_id"] for row in await rows(command, "-t", "acme")] == ["other"]
    assert len(await rows(command, "--limit", 1)) == 1
    await write(sink, [intent() for _ in range(50)])
    assert [len(await rows(command, *words)) for words in ((), ("--limit", 51))] == [50, 51]


async def test_a_table_shows_what_matters(command, sink):
    event, open_ = intent(), intent(actor_id=None, range=None)
    await write(sink, [event, open_], [outcome(event)])
    done = await asyncio.to_thread(command, "audit", "list")
    what = ["-", "native", "stream"]
    assert done.table == [
        [iso(open_.occurred_at), *what, "-", str(CALL), *"----"],
        [
            iso(event.occurred_at),
            *what,
            str(event.actor_id),
            str(CALL),
            "bytes=65536-131071",
            "206",
            "65536",
            "complete",
        ],
    ]


async def test_what_a_client_sent_steers_no_terminal(command, sink):
    await write(sink, [intent(range="bytes=0-,\x9b2J\u202e")])
    done = await asyncio.to_thread(command, "audit", "list")
    assert done.table[0][-4] == r"bytes=0-,\x9b2J\u202e"


@pytest.mark.parametrize("command_", ["list", "follow"])
def test_an_unknown_tenant_is_refused_with_the_fix(command, command_):
    done = command("audit", command_, "-t", "nobody")
    assert (done.code, done.out) == (1, "")
    assert "there is no tenant 'nobody'; `recording-gateway tenants list`" in done.err


@pytest.mark.parametrize("command_", ["list", "follow"])
@pytest.mark.parametrize("option", ["--actor", "--tenant"])
def test_what_is_not_utf8_is_nobodys_and_refused_as_such(command, command_, option):
    done = command("audit", command_, option, "s\udcff")
    assert (done.code, done.out) == (2, "")
    assert "is not UTF-8" in done.err


async def test_follow_tells_of_the_accesses_it_was_asked_for_until_interrupted(command, sink):
    made = await asyncio.to_thread(command, "tenants", "create", "acme", "--json")
    wanted = intent(tenant=UUID(str(made.rows[0]["id"])), actor_id="wanted", range="bytes=0-,\x9b2J")
    words = ("-c", command.file, "audit", "follow", "-t", "acme", "--call", CALL, "--actor", "wanted")
    following = [await asyncio.to_thread(process, *words, *form) for form in ((), ("--json",))]
    try:
        # What is written before the commands look is not told: more is written until each has heard of some.
        lines = asyncio.gather(*(asyncio.to_thread(readline, each) for each in following))
        while not lines.done():
            others = (
                replace(wanted, tenant=None),
                replace(wanted, call=UUID(int=7)),
                replace(wanted, actor_id="other"),
            )
            await write(sink, [replace(each, event_id=uuid7()) for each in (*others, wanted)])
            await asyncio.wait({lines}, timeout=0.5)
        row, told = await lines
        who = f"acme  native  stream  wanted  {CALL}"
        assert row.strip() == f"{iso(wanted.occurred_at)}  {who}  bytes=0-,\\x9b2J  -  -  -"
        told = orjson.loads(told)
        assert (told["tenant_slug"], told["call"], told["actor_id"]) == ("acme", str(CALL), "wanted")
        assert told["result"] is None
    finally:
        for each in following:
            each.send_signal(signal.SIGINT)
        ends = [await asyncio.to_thread(each.communicate, timeout=20) for each in following]
    assert [(each.returncode, err) for each, (_, err) in zip(following, ends, strict=True)] == [(130, "")] * 2


def readline(following: subprocess.Popen[str]) -> str:
    assert following.stdout is not None
    return following.stdout.readline()


def iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
