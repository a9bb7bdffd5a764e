"""How a demo begins and ends, and what a second one finds."""

import os
import re
import shutil
import signal
import socket
import subprocess
import wave
from contextlib import AsyncExitStack

import asyncpg
import pytest
from parts.command import ended, process
from parts.demo import Demo, alive, room

from gateway import logs
from gateway.demo import postgres, runner, settings
from gateway.demo.state import DemoFailed, State

pytestmark = pytest.mark.timeout(300)


def once(state, *words, **kwargs):
    return ended(process("demo", "--once", "--port", "0", "--state", state, *words, **kwargs), within_s=120)


def test_a_second_run_gives_the_same_ids_and_keys_and_leaves_nothing_running(state):
    first = Demo(state)
    facts, children = first.facts, first.children
    assert first.stop() == 0
    assert not any(map(alive, children))

    second = Demo(state)
    again, children = second.facts, second.children
    assert again["database_url"] == facts["database_url"]
    for surface in facts["surfaces"]:
        for name in ("headers", "headers_limited", "headers_foreign", "calls", "departments"):
            assert again[surface][name] == facts[surface][name]
    assert second.stop(signal.SIGTERM) == 0
    assert not any(map(alive, children))


async def test_a_folder_that_cannot_be_brought_up_to_date_is_refused_with_the_fix(state):
    with State(state) as folder:
        server, url = await postgres.start(folder)
        database = await asyncpg.connect(url)
        await database.execute("CREATE TABLE tenants (id integer)")
        await database.close()
        await server.stop()
    (state / "demo.json").write_text("an earlier run's")
    done = once(state, "--store", "disk")
    assert (done.code, done.out) == (1, "")
    assert "Traceback" not in done.err
    assert f"the database in {state} cannot be brought up to date" in " ".join(done.err.split())
    assert "--state" in done.err
    assert not (state / "demo.json").exists()


def test_what_it_prints_is_read_by_a_shell_wherever_the_folder_lies(state):
    demo = Demo(state.with_name("it's my state"), "--store", "disk")
    try:
        (line,) = re.findall(r"as variables: `(.*)`;", demo.printed)
        assert subprocess.check_output(["sh", "-ec", f"{line}; printf %s $URL"], text=True) == demo.facts["base_url"]
    finally:
        assert demo.stop() == 0


def test_what_a_killed_run_left_behind_is_ended_by_the_next(state):
    killed = Demo(state)
    left = killed.children
    killed.stop(signal.SIGKILL)
    assert all(map(alive, left))
    done = once(state)
    assert done.code == 0, done.err
    assert not any(map(alive, left))


def test_ones_own_recordings_take_the_place_of_made_ones(state, tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    for name, channels in (("Ünser Anruf.wav", 1), ("stereo call.wav", 2), ("pending.wav", 1)):
        with wave.open(str(audio / name), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(2 * 8000 * 3 * channels))
    (audio / "readme.txt").write_text("no recording")
    (audio / "broken.mp3").write_text("no recording either")
    demo = Demo(state, "--audio", str(audio))
    try:
        calls = demo.facts["yotel"]["calls"]
        assert calls["ready_stereo"] == "call_stereocall"
        assert {calls["ready"], calls["ready_disk"]} <= {"call_nseranruf", "call_pending2", "call_stereocall"}
        assert "call_broken" not in calls.values()
    finally:
        assert demo.stop() == 0
    done = once(state, "--audio", str(audio))
    assert done.code == 0, done.err


def test_what_the_shell_says_of_other_servers_is_not_the_demos(state):
    proxies = dict.fromkeys(("HTTP_PROXY", "https_proxy"), "http://127.0.0.1:1")
    done = once(state, env=proxies | {"PGSSLMODE": "verify-full", "PGUSER": "somebody", "AWS_PROFILE": "work"})
    assert done.code == 0, done.err
    assert "FAILED" not in done.err


def test_a_folder_without_recordings_is_refused_by_name(state, tmp_path):
    done = once(state, "--audio", str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert ".wav" in done.err


def test_a_taken_port_is_said_to_be_taken(state):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ended(process("demo", "--port", port, "--state", state))
    assert (done.code, done.out) == (1, "")
    assert f"port {port} is taken; choose another with --port" in done.err.replace("\n", " ")


def test_two_demos_do_not_share_a_folder(demo):
    done = once(demo.state)
    assert done.code == 1
    assert "--state" in done.err


@pytest.fixture(scope="module")
def on_disk():
    """``--once --store disk``, below a folder closed to others, where another gateway's settings are in force."""
    environment = {
        "RECORDING_GATEWAY__DATABASE__URL": "postgresql://127.0.0.1:1/production",
        "RECORDING_GATEWAY_CONFIG": "/nowhere/production.toml",
    }
    with room(closed=True) as closed:
        yield closed, once(closed / "state", "--store", "disk", env=environment)


def test_once_checks_itself_on_disk_alone(on_disk):
    closed, done = on_disk
    assert done.code == 0, done.err
    assert "ready: whole, from disk, SHA-256 equal" in done.err
    assert done.out == ""
    said = [line for line in done.err.splitlines() if line and "is set" not in line]
    assert [line for line in said if not line.startswith("  ok   ")] == []
    assert not (closed / "state" / "seaweed.pid").exists()


def test_another_gateways_database_is_left_alone(on_disk):
    _, done = on_disk
    for name in ("RECORDING_GATEWAY__DATABASE__URL", "RECORDING_GATEWAY_CONFIG"):
        assert f"{name} is set; the demo has settings of its own" in done.err


def test_a_folder_that_its_owner_closed_to_others_stays_closed(on_disk):
    closed, _ = on_disk
    assert closed.stat().st_mode & 0o777 == 0o700


def test_nobody_else_reads_what_it_keeps(on_disk, demo):
    for state, some in ((on_disk[0] / "state", "gateway.log"), (demo.state, "seaweed.identities.json")):
        files = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir() if path.is_file()}
        files.pop("postgres.path", None)
        assert {some, "env", "demo.json", "gateway.toml", "state.json", "sounds.json", "postgres.log"} <= files.keys()
        assert {name for name, mode in files.items() if mode != 0o600} == set()
        assert state.stat().st_mode & 0o777 == 0o711
        folders = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir() if path.is_dir()}
        assert {name for name, mode in folders.items() if mode != 0o700} == set()


def test_once_names_what_fails_and_ends_with_1(on_disk):
    """Whatever goes well after it."""
    state = on_disk[0] / "state"
    (file,) = (state / "recordings").rglob("support.wav")
    was = file.stat()
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"?")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    done = once(state, "--store", "disk")
    assert (done.code, done.out) == (1, "")
    assert "FAILED ready: whole, from disk, SHA-256 equal" in done.err
    assert done.err.splitlines()[-1] == "  ok   each of these in Postgres, to the byte"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_that_is_told_to_stop_before_its_end_does_not_say_that_all_went_well(on_disk, number):
    running = process("demo", "--once", "--port", "0", "--state", on_disk[0] / "state", "--store", "disk")
    assert running.stderr is not None
    while running.stderr.readline().split()[:1] != ["ok"]:
        assert running.poll() is None
    running.send_signal(number)
    assert ended(running, within_s=60).code == 1


def test_a_database_that_was_tidied_away_is_filled_again(on_disk):
    """As /var/tmp is by many systems after a month."""
    state = on_disk[0] / "state"
    aside = state / "postgres.path"
    shutil.rmtree(aside.read_text() if aside.exists() else state / "postgres")
    done = once(state, "--store", "disk")
    assert (done.code, "FAILED" in done.err) == (0, False)


async def test_a_postgres_that_takes_nothing_ends_it_with_what_that_said(on_disk):
    state = on_disk[0] / "state"

    async def owner(*statements: str) -> None:
        with State(state) as folder:
            server, url = await postgres.start(folder)
            database = await asyncpg.connect(url)
            for statement in statements:
                await database.execute(statement)
            await database.close()
            await server.stop()

    full = "BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END"
    await owner(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $${full}$$",
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON tenants EXECUTE FUNCTION refuse()",
    )
    done = once(state, "--store", "disk")
    await owner("DROP FUNCTION refuse CASCADE")
    assert (done.code, "Traceback" in done.err) == (1, False)
    assert "the catalog could not be filled: " in done.err
    assert "no space left" in done.err


async def test_a_gateway_that_does_not_become_ready_is_told_of_by_its_log(state, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "READY_S", 0.2)
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    with State(state) as folder:
        config = settings.write(folder, port=0, database_url="postgresql://u@127.0.0.1:1/none", s3=None)
        async with AsyncExitStack() as stack:
            with pytest.raises(DemoFailed, match=r"not ready within 0\.2 s; see its log"):
                await runner._gateway(config, stack, folder, quiet=True)


@pytest.mark.parametrize("rights", [0o700, 0o1777], ids=oct)
def test_a_folder_that_was_there_keeps_its_rights(tmp_path, rights):
    tmp_path.chmod(rights)
    with State(tmp_path):
        pass
    assert tmp_path.stat().st_mode & 0o7777 == rights
