"""What a running demo shows, and that its lines can be pasted."""

import asyncio
import hashlib
import json
import shlex
import subprocess
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import asyncpg
import pytest

PARTS = ("ready", "ready_stereo", "ready_disk", "ready_empty", "pending", "failed", "expired", "foreign", "missing")


def fetch(url: str, headers: dict[str, str], method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    try:
        with urlopen(Request(url, headers=headers, method=method), timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.mark.parametrize("surface", ["native", "yotel"])
def test_demo_json_tells_of_each_surface(demo, surface):
    facts = demo.facts
    described = facts["surfaces"][surface]
    assert facts[surface] == described
    assert described["mount"].startswith(facts["base_url"])
    assert described["headers"] != described["headers_limited"]
    assert set(PARTS) <= described["calls"].keys()
    assert len({described["calls"][part] for part in PARTS}) == len(PARTS)
    assert (demo.state / "demo.json").stat().st_mode & 0o777 == 0o600


NATIVE = {
    "ready": 200,
    "ready_stereo": 200,
    "ready_disk": 200,
    "ready_empty": 200,
    "pending": 409,
    "failed": 409,
    "expired": 410,
    "foreign": 404,
    "missing": 404,
    "absent": 404,
}
YOTEL = {**NATIVE, "expired": 404}


@pytest.mark.parametrize(
    ("surface", "part", "status"),
    [("native", *row) for row in NATIVE.items()] + [("yotel", *row) for row in YOTEL.items()],
)
def test_each_call_plays_its_part(demo, surface, part, status):
    described = demo.facts["surfaces"][surface]
    path = "/v1/recordings/{}/audio" if surface == "native" else "/api/v1/calls/{}/recording/audio"
    url = described["mount"] + path.format(described["calls"][part])
    got, headers, body = fetch(url, described["headers"])
    assert got == status
    if part == "ready_empty":
        assert (headers["Content-Length"], body) == ("0", b"")
    elif status == 200:
        assert body[:4] == b"RIFF"
        assert fetch(url, described["headers_limited"])[0] == 403


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
        async with asyncio.timeout(15):
            while (attributed := await connection.fetchval(query)) is None:
                await connection.execute("SELECT pg_sleep(0.05)")
        assert attributed is True
    finally:
        await connection.close()


def test_what_it_prints_can_be_pasted(demo, tmp_path):
    lines = [line for line in demo.printed.splitlines() if line.startswith("curl ")]
    assert len(lines) >= 14
    for line in lines:
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "recording.wav").read_bytes()[:4] == b"RIFF"
    assert (tmp_path / "part.bin").stat().st_size == 1000


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
