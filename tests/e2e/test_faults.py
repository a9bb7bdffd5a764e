"""Origins that break, change or lie in the middle of a download: what clients get is right, or visibly not whole."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from parts.doors import IMPATIENT, LANES, Doors
from parts.drinker import Client, fetch
from parts.faults import Fault, Kind
from parts.gcs import GcsStub
from parts.house import gone, some_bytes
from parts.ledger import outcome, outcomes
from parts.liar import LIES, Liar

from gateway.model import Span

BOTH_WAYS = True

SIZE = 300_007
WHOLE = Span(0, SIZE)
RESUMES = IMPATIENT["resumes"]
KINDS = (Kind.CUT, Kind.RESET, Kind.STALL)


@dataclass
class Trial:
    """One download, its faults, and what became of it."""

    number: int
    chance: random.Random = field(repr=False)
    faults: list[Fault] = field(default_factory=list)
    asked: Span = WHOLE
    client: Client | None = field(default=None, repr=False)
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.chance.random() < 0.5:  # half of them ask for a part
            start = self.chance.randrange(SIZE - 1)
            self.asked = Span(start, self.chance.randrange(start + 1, SIZE + 1))
        left = len(self.asked)
        for _ in range(self.chance.choice([1, 1, 1, 2, RESUMES + 1])):
            at = self.chance.randrange(left)
            self.faults.append(Fault(self.chance.choice(KINDS), at=at))
            left -= at

    @property
    def fields(self) -> dict[str, str]:
        return {"Range": f"bytes={self.asked.start}-{self.asked.stop - 1}"} if len(self.asked) < SIZE else {}

    def end(self, data: bytes) -> str:
        """``exact`` or ``aborted``; anything else must never be."""
        assert self.client is not None
        assert self.client.status == (206 if self.fields else 200), self
        assert self.client.length == len(self.asked), self
        assert data.startswith(self.body, self.asked.start), f"not the object's bytes: {self}"
        return "exact" if len(self.body) == len(self.asked) else "aborted"


def marked(doors: Doors, **more: str) -> tuple[str, dict[str, str]]:
    """A User-Agent to find in the audit, and the request fields that carry it."""
    agent = uuid4().hex
    return agent, doors.stage.full | {"User-Agent": agent} | more


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["s3", "gcs"])
async def test_a_download_over_a_breaking_origin_is_byte_exact_or_visibly_aborted(
    doors: Doors, kind: str, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """``--faults=1000 -s`` for the long run; it prints how many ended which way.

    Several at once, each over a proxy of its own, so that it is known whose fault strikes. On a busy machine an origin
    may fall silent for ``progress_s`` by itself, and so use up a resume.
    """
    stage, origin, data, key = doors.stage, doors.stage.stores[kind], some_bytes(SIZE, 3), f"faults/{uuid4().hex}.wav"
    trials = [Trial(n, random.Random(f"{kind} {n}")) for n in range(request.config.getoption("--faults"))]
    stage.shelves[kind].put(key, data)
    run = uuid4().hex[:8]

    async def lane(number: int) -> None:
        store = f"{kind}-{number}"
        filed = await doors.file(store, origin, key, data)
        async with doors.ajar(store, origin) as proxy:
            for trial in trials[number::LANES]:
                proxy.plan(*trial.faults)
                fields = stage.full | trial.fields | {"User-Agent": f"{run} {trial.number}"}
                trial.client, trial.body = await fetch(doors.house.base_url, filed.native, fields)
                proxy.forget()

    await asyncio.gather(*map(lane, range(LANES)))
    told = await outcomes(stage.office, [f"{run} {trial.number}" for trial in trials])

    ends = Counter(f"{trial.faults[0].kind} first, {trial.end(data)}" for trial in trials)
    print(f"\n{kind}: {len(trials)} downloads: {dict(sorted(ends.items()))}")
    record_property("ends", dict(ends))
    unlucky = [trial for trial in trials if trial.end(data) == "aborted" and len(trial.faults) <= RESUMES]
    assert len(unlucky) <= len(trials) // 20, "given up, though there were fewer faults than resumes"
    for trial in trials:
        row = told[f"{run} {trial.number}"]
        assert len(trial.faults) <= RESUMES or trial.end(data) == "aborted", trial
        if trial.end(data) == "exact":
            assert (row["result"], row["bytes_sent"]) == ("complete", len(trial.asked)), trial
        else:
            assert (row["result"], row["reason"]) == ("origin_failed", "origin_broken"), trial
            assert len(trial.body) <= row["bytes_sent"] <= len(trial.asked), trial


@pytest.mark.parametrize(("faults", "status"), [(RESUMES, 0), (RESUMES + 1, 18)])
async def test_curl_knows_by_its_exit_status_whether_a_download_is_whole(
    doors: Doors, tmp_path: Path, faults: int, status: int
) -> None:
    origin, key, data = doors.stage.stores["s3"], f"faults/{uuid4().hex}.wav", some_bytes(SIZE)
    doors.stage.shelves["s3"].put(key, data)
    filed = await doors.file("s3-0", origin, key, data)
    async with doors.ajar("s3-0", origin) as proxy:
        proxy.plan(*[Fault(Kind.CUT, at=70_000)] * faults)
        curl = await asyncio.create_subprocess_exec(
            *["curl", "--silent", "--output", str(tmp_path / "got"), doors.house.base_url + filed.native],
            *["--header", f"Authorization: {doors.stage.full['Authorization']}"],
        )
        assert await gone(curl) == status
    got = (tmp_path / "got").read_bytes()
    assert data.startswith(got)
    assert (len(got) == SIZE) == (status == 0)


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (Fault(Kind.STALL, at=-1), 504, "origin_timeout"),
        (Fault(Kind.CUT, at=-1), 503, "unavailable"),
        (Fault(Kind.RESET, at=-1), 503, "unavailable"),
        (None, 503, "unavailable"),
    ],
    ids=["never answers", "hangs up", "resets", "refuses"],
)
async def test_an_origin_that_is_away_is_an_outage_and_no_404(
    doors: Doors, fault: Fault | None, status: int, reason: str
) -> None:
    origin, key = doors.stage.stores["s3"], f"faults/{uuid4().hex}.wav"
    doors.stage.shelves["s3"].put(key, b"bytes")
    filed = await doors.file("s3-0", origin, key, b"bytes")
    agent, fields = marked(doors)
    async with doors.ajar("s3-0", origin) as proxy:
        if fault is None:
            await proxy.refuse()
        proxy.always(fault)
        client, _ = await fetch(doors.house.base_url, filed.native, fields)
    assert (client.status, client.fields["cache-control"]) == (status, "no-store")
    assert ("retry-after" in client.fields) == (status == 503)
    row = await outcome(doors.stage.office, agent)
    assert (row["result"], row["reason"], row["bytes_sent"]) == ("refused", reason, 0)


@pytest.mark.parametrize("lie", LIES)
async def test_an_origin_that_lies_is_a_502_before_the_first_byte(doors: Doors, lie: str) -> None:
    data, agent = some_bytes(SIZE), uuid4().hex
    fields = doors.stage.full | {"Range": "bytes=10-99"}
    async with Liar(data) as liar, doors.ajar("s3-0", liar.settings()):
        filed = await doors.file("s3-0", liar.settings(), "a.wav", data)
        right, part = await fetch(doors.house.base_url, filed.native, fields)
        liar.lie = LIES[lie]
        client, body = await fetch(doors.house.base_url, filed.native, fields | {"User-Agent": agent})
        tries = 2 if lie == "another ETag" else 1  # what has changed is looked up and asked for once more
        rows = await doors.stage.accesses("user_agent", agent, tries)

    assert (right.status, part) == (206, data[10:100])
    assert client.status == 502
    assert data[10:20] not in body
    assert {(row["result"], row["bytes_sent"]) for row in rows} == {("refused", 0)}
    assert rows[-1]["reason"] == "origin_failed"
    assert any(
        line.get("request_id") == rows[-1]["request_id"] and "store s3-0" in line.get("detail", "")
        for line in doors.house.logs
    )


@pytest.mark.parametrize("lie", LIES)
async def test_an_origin_that_lies_when_a_body_is_taken_up_again_ends_it(doors: Doors, lie: str) -> None:
    data = some_bytes(SIZE)
    agent, fields = marked(doors)
    async with Liar(data) as liar, doors.ajar("s3-0", liar.settings()) as proxy:
        filed = await doors.file("s3-0", liar.settings(), "a.wav", data)
        proxy.plan(Fault(Kind.STALL, at=100_000))
        async with await Client.ask(doors.house.base_url, filed.native, fields) as client:
            assert await client.head() == 200
            await proxy.until(lambda p: len(p.struck) == 1)
            liar.lie = LIES[lie]
            body = await client.rest()
        row = await outcome(doors.stage.office, agent)
    assert body == data[:100_000]
    assert (row["result"], row["bytes_sent"]) == ("origin_failed", 100_000)


@asynccontextmanager
async def versioned(doors: Doors, kind: str) -> AsyncIterator[tuple[dict[str, Any], Callable[[str, bytes], None]]]:
    """A store that knows versions: its settings, and how an object gets into it."""
    if kind == "s3":
        yield doors.stage.stores["s3"], doors.stage.shelves["s3"].put
        return
    async with GcsStub(anonymous=True) as stub:
        yield {"kind": "gcs", "bucket": stub.bucket, "endpoint": stub.endpoint}, stub.put


@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.parametrize("broken", [True, False], ids=["and broken off", "and read on"])
async def test_an_object_overwritten_in_mid_stream_is_never_spliced(doors: Doors, kind: str, broken: bool) -> None:
    old, new = some_bytes(4_000_000, 1), some_bytes(4_000_000, 2)
    store, key = f"{kind}-0", f"faults/{uuid4().hex}.wav"
    fault = Fault(Kind.STALL, at=500_000) if broken else Fault(Kind.THROTTLE, at=500_000, rate=8_000_000)
    agent, fields = marked(doors)
    async with versioned(doors, kind) as (origin, put), doors.ajar(store, origin) as proxy:
        await asyncio.to_thread(put, key, old)
        filed = await doors.file(store, origin, key, old)
        proxy.plan(fault)
        async with await Client.ask(doors.house.base_url, filed.native, fields) as client:
            await client.head()
            await proxy.until(lambda p: len(p.struck) == 1)
            await asyncio.to_thread(put, key, new)
            body = await client.rest()
        row = await outcome(doors.stage.office, agent)
        again, anew = await fetch(doors.house.base_url, filed.native, doors.stage.full)

    assert old.startswith(body)
    if broken:
        assert len(body) == 500_000
        assert row["reason"] == "object_changed"
    assert row["result"] == ("complete" if client.whole else "origin_failed")
    assert len(body) <= row["bytes_sent"] <= len(old)
    assert (again.status, anew) == (200, new)
    assert again.fields["etag"] != client.fields["etag"]


LARGE = some_bytes(48_000_000, 4)
"""More than the kernel takes on its way to a client that does not read."""


def _truncate(file: Path) -> None:
    os.truncate(file, 1_000_000)


def _rewrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(bytes(len(LARGE)))


def _append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"more")


def _replace(file: Path) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(bytes(len(LARGE)))
    fresh.rename(file)


@pytest.mark.parametrize(
    ("change", "whole"),
    [(_truncate, False), (_rewrite, False), (_append, False), (_replace, True), (Path.unlink, True)],
    ids=["truncated", "rewritten", "appended to", "replaced", "deleted"],
)
async def test_a_file_changed_in_mid_stream_is_cut_off_unless_the_open_one_stays_what_it_was(
    doors: Doors,
    change: Callable[[Path], None],
    whole: bool,
) -> None:
    file = doors.root / f"{uuid4().hex}.wav"
    file.write_bytes(LARGE)
    filed = await doors.file("disk", {"kind": "disk", "root": str(doors.root)}, file.name, LARGE)
    agent, fields = marked(doors)
    async with await Client.ask(doors.house.base_url, filed.native, fields, receive_buffer=65_536) as client:
        await client.head()
        body = await client.exactly(1_500_000)
        await asyncio.to_thread(change, file)
        body += await client.rest()
    row = await outcome(doors.stage.office, agent)
    file.unlink(missing_ok=True)

    assert LARGE.startswith(body)
    assert (len(body) == len(LARGE)) == whole
    assert (row["result"], row["reason"]) == (("complete", None) if whole else ("origin_failed", "object_changed"))
    assert len(body) <= row["bytes_sent"] <= len(LARGE)


def _link(file: Path) -> None:
    file.symlink_to("/etc/hostname")


def _hard_link(file: Path) -> None:
    aside = file.with_suffix(".aside")
    aside.write_bytes(b"bytes")
    os.link(aside, file)


@pytest.mark.parametrize(
    "put", [_link, _hard_link, os.mkfifo, Path.mkdir], ids=["a symlink", "a hard link", "a FIFO", "a folder"]
)
async def test_what_is_no_plain_file_is_not_found_and_raises_an_alarm(
    doors: Doors, put: Callable[[Path], None]
) -> None:
    file = doors.root / f"{uuid4().hex}.wav"
    file.write_bytes(b"bytes")
    filed = await doors.file("disk", {"kind": "disk", "root": str(doors.root)}, file.name, b"bytes")
    file.unlink()
    put(file)
    agent, fields = marked(doors)

    client, body = await fetch(doors.house.base_url, filed.native, fields)
    row = await outcome(doors.stage.office, agent)
    assert client.status == 404
    assert b"bytes" not in body
    assert (row["result"], row["reason"], row["bytes_sent"]) == ("refused", "object_missing", 0)
    alarms = [line for line in doors.house.logs if line["event"] == "disk_key_refused" and line["key"] == file.name]
    assert {(line["level"], line["store"]) for line in alarms} == {("error", "disk")}
