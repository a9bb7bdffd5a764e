"""What a running demo shows, and that its lines can be pasted."""

import asyncio
import hashlib
import json
import shlex
import subprocess
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen
from uuid import UUID

import asyncpg
import pytest

from gateway.demo.cast import call_id

SURFACES = ("native", "yotel", "agentphone", "callsid", "voki", "envoy")
PARTS = (
    "ready",
    "ready_stereo",
    "ready_disk",
    "ready_empty",
    "pending",
    "processing",
    "failed",
    "expired",
    "absent",
    "foreign",
    "missing",
)


def fetch(url: str, headers: dict[str, str], method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    try:
        with urlopen(Request(url, headers=headers, method=method), timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.mark.parametrize("surface", SURFACES)
def test_demo_json_tells_of_each_surface(demo, surface):
    facts = demo.facts
    described = facts["surfaces"][surface]
    assert facts[surface] == described
    assert described["mount"].startswith(facts["base_url"])
    assert (described["host"] is None) == (surface == "native")
    assert described["headers"] != described["headers_limited"] != described["headers_foreign"]
    assert set(PARTS) <= described["calls"].keys()
    assert len({described["calls"][part] for part in PARTS}) == len(PARTS)
    assert (demo.state / "demo.json").stat().st_mode & 0o777 == 0o600


AUDIO = {
    "native": "/v1/recordings/{}/audio",
    "yotel": "/api/v1/calls/{}/recording/audio",
    "agentphone": "/v1/calls/{}/recording",
    "callsid": "/api/calls/{}/recording/download",
    "voki": "/api/v1/calls/{}/recording/download",
    "envoy": "/api/v1/calls/{}/recording",
}
STATUS = {
    **dict.fromkeys(("ready", "ready_stereo", "ready_disk", "ready_empty"), (200,) * 6),
    "pending": (409, 409, 404, 409, 404, 404),
    "processing": (409, 409, 404, 409, 404, 404),
    "failed": (409, 409, 404, 409, 404, 404),
    "expired": (410, 404, 404, 404, 404, 404),
    "absent": (404,) * 6,
    "foreign": (404,) * 6,
    "missing": (404,) * 6,
}
"""Part → the status of each surface."""
LINKS = "envoy"
PUBLIC = "agentphone"


@pytest.mark.parametrize("part", STATUS)
@pytest.mark.parametrize("surface", SURFACES)
def test_each_call_plays_its_part(demo, surface, part):
    status = STATUS[part][SURFACES.index(surface)]
    described = demo.facts["surfaces"][surface]
    url = described["mount"] + AUDIO[surface].format(described["calls"][part])
    got, headers, body = fetch(url, described["headers"])
    assert got == status
    if status != 200 or surface == LINKS:
        return
    if part == "ready_empty":
        assert (headers["Content-Length"], body) == ("0", b"")
    else:
        is_video = (surface, part) == ("voki", "ready")
        assert body[:4] == (b"\x1a\x45\xdf\xa3" if is_video else b"RIFF")
        assert headers["Content-Type"] == ("video/webm" if is_video else "audio/wav")
        assert fetch(url, described["headers_limited"])[0] == (200 if surface == PUBLIC else 403)


@pytest.mark.parametrize("surface", [surface for surface in SURFACES if surface != PUBLIC])
def test_another_tenants_credential_finds_nothing_but_its_own(demo, surface):
    described = demo.facts["surfaces"][surface]
    status = {
        part: fetch(described["mount"] + AUDIO[surface].format(described["calls"][part]), described["headers_foreign"])[
            0
        ]
        for part in ("ready", "foreign")
    }
    assert status == {"ready": 404, "foreign": 200}


def test_ids_that_are_credentials_are_the_state_folders_own(demo):
    calls = demo.facts["agentphone"]["calls"].values()
    assert {UUID(call).version for call in calls} == {4}
    assert not set(calls) & {str(call_id(name)) for name in ("support", "booking", "survey", "empty")}


@pytest.mark.parametrize("surface", [surface for surface in SURFACES if surface != "native"])
def test_each_surface_stands_at_a_host_of_its_own(demo, surface):
    described = demo.facts[surface]
    host = described["host"].removeprefix("http://")
    url = demo.facts["base_url"] + AUDIO[surface].format(described["calls"]["ready"])
    assert fetch(url, {**described["headers"], "Host": host})[0] == 200


def test_page_of_another_origin_may_try_it(demo):
    described = demo.facts["callsid"]
    url = f"{described['mount']}/api/calls/{described['calls']['ready']}/recording/stream"
    _, fields, _ = fetch(url, {**described["headers"], "Origin": "https://app.example"})
    assert fields["Access-Control-Allow-Origin"] == "*"


def test_transcripts_are_told(demo):
    agentphone, voki = demo.facts["agentphone"], demo.facts["voki"]
    url = f"{agentphone['mount']}/v1/calls/{agentphone['calls']['ready_stereo']}/transcript"
    status, _, body = fetch(url, agentphone["headers"])
    told = json.loads(body)
    assert (status, told["status"], told["language"]) == (200, "completed", "en")
    assert len(told["segments"]) > 3
    url = f"{voki['mount']}/api/v1/calls/{voki['calls']['ready_stereo']}/recording"
    assert json.loads(fetch(url, voki["headers"])[2])["data"]["transcription"]["text"] == told["text"]


def test_a_department_with_recordings_stays(demo):
    voki = demo.facts["voki"]
    url = f"{voki['mount']}/api/v1/departments/{voki['departments']['with_recordings']}"
    assert fetch(url, voki["headers"], "DELETE")[0] == 409


def test_the_stereo_call_is_a_voice_agents(demo):
    yotel = demo.facts["yotel"]
    for part, stereo in (("ready", False), ("ready_stereo", True)):
        url = f"{yotel['mount']}/api/v1/calls/{yotel['calls'][part]}/recording"
        status, _, body = fetch(url, yotel["headers_limited"])
        link = json.loads(body)
        assert (status, link["stereo"]) == (200, stereo)
        assert link["duration_s"] > 60
        with urlopen(link["url"], timeout=30) as answer:
            from_store = hashlib.sha256(answer.read()).hexdigest()
        assert from_store == hashlib.sha256(fetch(f"{url}/audio", yotel["headers"])[2]).hexdigest()


async def test_accesses_are_found_in_the_database_it_names(demo):
    native = demo.facts["native"]
    headers = {**native["headers"], "User-Agent": "found-in-postgres"}
    fetch(f"{native['mount']}/v1/recordings/{native['calls']['ready']}/audio", headers)
    connection = await asyncpg.connect(demo.facts["database_url"])
    try:
        query = "SELECT tenant IS NOT NULL FROM accesses WHERE user_agent = 'found-in-postgres'"
        async with asyncio.timeout(20):
            while (attributed := await connection.fetchval(query)) is None:
                await connection.execute("SELECT pg_sleep(0.05)")
        assert attributed is True
        for name, value in (
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("log_min_error_statement", "panic"),
        ):
            assert await connection.fetchval(f"SHOW {name}") == value
    finally:
        await connection.close()


def test_all_of_it_is_on_loopback_and_asks_who_comes(demo):
    pids = {demo.process.pid, *demo.children}
    sockets = subprocess.check_output(["ss", "-Hltnp"], text=True).splitlines()
    places = [line.split()[3] for line in sockets if any(f"pid={pid}," in line for pid in pids)]
    assert len(places) >= 3
    assert {place.rpartition(":")[0] for place in places} == {"127.0.0.1"}
    parts = urlsplit(demo.facts["database_url"])
    nobodys = parts._replace(netloc=parts.netloc.replace(parts.password, "guessed")).geturl()
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(asyncpg.connect(nobodys))


def test_what_it_prints_can_be_pasted(demo, tmp_path):
    lines = [line for line in demo.printed.splitlines() if line.startswith("curl ")]
    assert len(lines) >= 25
    for line in lines:
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "recording.wav").read_bytes()[:4] == b"RIFF"
    assert (tmp_path / "part.bin").stat().st_size == 1000


def test_above_each_line_stands_what_it_does(demo):
    lines = demo.printed.splitlines()
    assert lines[-2].startswith("The same as variables")
    above = {line: (lines[at - 2], lines[at - 1]) for at, line in enumerate(lines) if line.startswith("curl ")}
    assert all(blank == "" and what.startswith("# ") for blank, what in above.values()), above


def test_its_other_commands_work_on_it(demo, tmp_path):
    lines = [line for line in demo.printed.splitlines() if "--config" in line]
    assert len(lines) == 2
    for line in lines:
        done = subprocess.run(shlex.split(line), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout


def test_its_variables_are_read_by_a_shell(demo):
    script = f". {shlex.quote(str(demo.state / 'env'))}; recording-gateway tenants list --json; printf %s $KEY"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    *tenants, key = done.stdout.splitlines()
    assert [json.loads(tenant)["slug"] for tenant in tenants] == ["demo", "other"]
    assert demo.facts["native"]["headers"] == {"Authorization": f"Bearer {key}"}
