"""``recording-gateway retention``: what would end, and ending it."""

import asyncio
import threading
from pathlib import Path

import pytest
from parts.command import Command, fetch
from parts.wavs import silence

from gateway.catalog.retention import leased
from gateway.cli.retention import WORDS
from gateway.config import Database
from gateway.lifecycle.retention import Fate

NAMES = ("a1", "a2", "a3", "held", "fresh")
TABLES = ("tenants", "calls", "recordings", "transcripts", "access_events", "access_outcomes")


@pytest.fixture
def acme(command: Command) -> Command:
    """Three recordings past their end and one that is held, of 8044 bytes each; one that is not over; another tenant's,
    and a tenant without any.
    """
    for tenant, names in (("zeta", ()), ("other", ("o1",)), ("acme", NAMES)):
        assert command("tenants", "add", tenant, tenant).code == 0
        for name in names:
            file(command, name).write_bytes(silence(0.5, channels=1))
            ends = () if name == "fresh" else ("--expires-at", "2020-01-01")
            words = ("-t", tenant, "--store", "calls", "--key", f"{name}.wav", "--alias", f"yotel:{name}", *ends)
            assert command("recordings", "add", *words).code == 0
    fetch(command, "UPDATE recordings SET hold = true WHERE key = 'held.wav'")
    return command


def file(command: Command, name: str) -> Path:
    return command.folder / "calls" / f"{name}.wav"


def left(command: Command) -> list[str]:
    return sorted(path.stem for path in (command.folder / "calls").iterdir())


def test_a_dry_run_shows_what_would_end_and_changes_nothing(acme):
    before = {table: fetch(acme, f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}
    done = acme("retention", "--dry-run")
    assert done.code == 0
    assert done.err.splitlines()[-1] == "dry run: 4 would end, 32.2 kB; 1 held; nothing was changed"
    assert [line.split() for line in done.out.splitlines()[1:]] == [
        ["acme", "3", "1", "24132"],
        ["other", "1", "0", "8044"],
    ]
    rows = acme("retention", "--dry-run", "-t", "acme", "--json").rows
    assert {(row["key"], row["fate"], row["bytes"]) for row in rows} == {(f"a{n}.wav", "due", 8044) for n in (1, 2, 3)}
    assert {row["kept_until"] for row in rows} == {"2020-01-01T00:00:00Z"}
    assert len(acme("retention", "--dry-run", "--limit", "2", "--json").rows) == 2
    assert {table: fetch(acme, f"SELECT * FROM {table} ORDER BY 1") for table in TABLES} == before
    assert left(acme) == ["a1", "a2", "a3", "fresh", "held", "o1"]


def test_a_run_ends_what_is_over_and_the_audit_has_it_when_it_returns(acme):
    fetch(acme, "UPDATE recordings SET hold = true WHERE key = 'o1.wav'")
    done = acme("retention", "-t", "acme")
    assert (done.code, done.err.splitlines()[-1]) == (0, "3 deleted; 24.1 kB freed; 1 held")
    assert done.table == [["acme", "3", "1", "24132"]]
    assert left(acme) == ["fresh", "held", "o1"]
    rows = fetch(acme, "SELECT key, state, object_deleted_at IS NOT NULL FROM recordings ORDER BY key")
    assert [tuple(row) for row in rows] == [
        *((f"a{n}.wav", "expired", True) for n in (1, 2, 3)),
        ("fresh.wav", "ready", False),
        ("held.wav", "ready", False),
        ("o1.wav", "ready", False),
    ]
    events = acme("audit", "list", "--json").rows
    told = {(e["surface"], e["method"], e["actor_kind"], e["actor_id"], e["result"]) for e in events}
    assert told == {("retention", "deletion", "system", "retention", "complete")}
    assert len({e["recording"] for e in events}) == len(events) == 3
    again = acme("retention", "-t", "acme", "--json")
    assert (again.code, again.out) == (0, "")
    assert again.err.splitlines()[-1] == "nothing was due; 0 bytes freed; 1 held"
    assert acme("retention", "--dry-run").table == [["acme", "0", "1", "0"], ["other", "0", "1", "0"]]
    dry = acme("retention", "--dry-run", "-t", "acme")
    assert dry.table == [["acme", "0", "1", "0"]]
    assert dry.err.splitlines() == ["dry run: 0 would end, 0 bytes; 1 held; nothing was changed"]


def test_no_more_are_taken_up_than_was_said(acme):
    done = acme("retention", "--limit", "3", "--json")
    assert (done.code, [row["fate"] for row in done.rows]) == (0, ["deleted"] * 3)
    assert len(left(acme)) == 3


def test_what_cannot_be_deleted_is_told_and_tried_again(acme):
    other_name = acme.folder / "a2-again"
    other_name.hardlink_to(file(acme, "a2"))
    done = acme("retention", "-t", "acme")
    assert done.code == 1
    assert done.err.splitlines()[-2] == "2 deleted, 1 failed; 16.1 kB freed; 1 held"
    assert done.err.splitlines()[-1].startswith("  1 × store calls: a file with several hard links")
    assert left(acme) == ["a2", "fresh", "held", "o1"]
    (row,) = acme("retention", "-t", "acme", "--dry-run", "--json").rows
    assert (row["key"], row["expired_before"]) == ("a2.wav", True)
    other_name.unlink()
    assert acme("retention", "-t", "acme").code == 0
    assert left(acme) == ["fresh", "held", "o1"]


def test_what_is_logged_meanwhile_stands_not_among_the_rows(acme):
    (acme.folder / "a2-again").hardlink_to(file(acme, "a2"))
    done = acme("retention", "-t", "acme", "--json")
    told = sorted((row["key"], row["fate"], str(row["reason"])[:37]) for row in done.rows)
    wrong = "store calls: a file with several hard"
    assert told == [("a1.wav", "deleted", "None"), ("a2.wav", "failed", wrong), ("a3.wav", "deleted", "None")]
    assert "retention_not_deleted" in done.err


def test_why_some_failed_is_told_by_how_often(acme):
    for name in ("a1", "a2"):
        (acme.folder / f"{name}-again").hardlink_to(file(acme, name))
    fetch(acme, "UPDATE recordings SET store = 'nowhere' WHERE key = 'a3.wav'")
    done = acme("retention", "-t", "acme")
    assert (done.code, done.table) == (1, [["acme", "3", "1", "0"]])
    said, often, once = done.err.splitlines()[-3:]
    assert said == "3 failed; 0 bytes freed; 1 held"
    assert often.startswith("  2 × store calls: a file with several hard links")
    assert once.startswith("  1 × ")
    assert "nowhere" in once


def test_an_object_that_another_store_s_recording_needs_stays(acme):
    acme.settings["stores"]["again"] = acme.settings["stores"]["calls"]
    words = ("-t", "acme", "--store", "again", "--key", "a1.wav", "--alias", "yotel:again")
    assert acme("recordings", "add", *words).code == 0
    done = acme("retention", "-t", "acme")
    assert (done.code, done.err.splitlines()[-1]) == (0, "2 deleted, 1 ended, object in use; 16.1 kB freed; 1 held")
    assert left(acme) == ["a1", "fresh", "held", "o1"]


def test_every_fate_has_its_words():
    assert [*WORDS] == [*Fate]


def test_it_waits_for_another_process_that_is_at_it(acme):
    has, waited = threading.Event(), threading.Event()
    place = Database.model_validate(acme.settings["database"])

    async def be_at_it() -> None:
        async with leased(place) as book:
            has.set()
            async with asyncio.timeout(20):
                while not await book._connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await book._connection.execute("SELECT pg_sleep(0.02)")
            assert left(acme) == ["a1", "a2", "a3", "fresh", "held", "o1"]
            waited.set()

    other = threading.Thread(target=asyncio.run, args=(be_at_it(),))
    other.start()
    try:
        assert has.wait(20)
        done = acme("retention")
        assert (done.code, waited.is_set()) == (0, True)
        assert left(acme) == ["fresh", "held"]
    finally:
        other.join()


def test_what_cannot_be_done_is_refused_with_the_fix(acme, offline):
    unknown = acme("retention", "-t", "nobody")
    assert (unknown.code, unknown.out) == (1, "")
    assert "there is no tenant 'nobody'; `recording-gateway tenants list`" in unknown.err
    away = offline("retention", "--dry-run")
    assert (away.code, "hunter2" in away.err) == (69, False)
    (acme.folder / "no-folder").symlink_to(acme.folder / "nowhere" / "yet")
    acme.settings["audit"]["journal_dir"] = str(acme.folder / "no-folder" / "journal")
    closed = acme("retention")
    assert closed.code == 69
    assert "see audit.journal_dir" in closed.err
    assert "a1" in left(acme)


def test_a_tenant_that_is_not_utf8_is_nobody(command):
    done = command("retention", "--dry-run", "-t", "s\udcff")
    assert (done.code, done.out) == (2, "")
    assert "is not UTF-8" in done.err
