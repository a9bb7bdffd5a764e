"""Real players and download tools, on a real gateway over each store: they resume and seek, and what they got is right."""

import hashlib
import io
import json
import subprocess
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from parts.house import Filed, some_bytes
from parts.stage import Stage

SECONDS = 240
RATE = 8000
CHANNELS = 2
FRAME = 2 * CHANNELS
HEADER = 44
STORES = ("s3", "gcs", "disk")


@dataclass(frozen=True)
class Call:
    """A call some minutes long. ``pcm`` is noise: no two moments of it are alike."""

    stage: Stage
    filed: Filed
    pcm: bytes

    @property
    def url(self) -> str:
        return self.stage.house.base_url + self.filed.native

    @property
    def field(self) -> str:
        return f"Authorization: {self.stage.full['Authorization']}"

    def moment(self, start_s: float, length_s: float) -> bytes:
        """The samples of that time."""
        return self.pcm[round(start_s * RATE) * FRAME : round((start_s + length_s) * RATE) * FRAME]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=STORES)
async def call(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[Call]:
    pcm = some_bytes(SECONDS * RATE * FRAME)
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(CHANNELS)
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes(pcm)
    assert len(file.getvalue()) == HEADER + len(pcm)
    filed = await stage.file(request.param, file.getvalue(), voice_agent=True, channels=CHANNELS)
    yield Call(stage, filed, pcm)


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, timeout=60, check=False)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def half(call: Call, folder: Path) -> Path:
    """A download that broke off."""
    path = folder / "audio"
    path.write_bytes(call.filed.data[: len(call.filed.data) // 2 + 7])
    return path


def whole(call: Call, folder: Path) -> Path:
    path = folder / "audio"
    path.write_bytes(call.filed.data)
    return path


def agent(request: pytest.FixtureRequest) -> str:
    """A User-Agent of the test's own, by which the audit finds what it did."""
    return f"player {request.node.name}"


async def test_curl_resumes_half_a_file(call: Call, tmp_path: Path, request):
    path = half(call, tmp_path)
    begun = path.stat().st_size
    done = run(
        "curl", "-sS", "--fail", "-A", agent(request), "-H", call.field, "-C", "-", "-o", path, call.url, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert sha256(path) == call.filed.sha256
    (row,) = await call.stage.accesses("user_agent", agent(request), 1)
    assert (row["range_asked"], row["status"]) == (f"bytes={begun}-", 206)
    assert row["bytes_sent"] == len(call.filed.data) - begun


async def test_curl_leaves_a_whole_file_as_it_is(call: Call, tmp_path: Path, request):
    path = whole(call, tmp_path)
    run("curl", "-sS", "-A", agent(request), "-H", call.field, "-C", "-", "-o", path, call.url, cwd=tmp_path)
    assert sha256(path) == call.filed.sha256
    (row,) = await call.stage.accesses("user_agent", agent(request), 1)
    assert (row["range_asked"], row["status"]) == (f"bytes={len(call.filed.data)}-", 416)


def test_wget_resumes_half_a_file(call: Call, tmp_path: Path):
    path = half(call, tmp_path)
    done = run("wget", "-nv", "-c", "--header", call.field, call.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sha256(path) == call.filed.sha256


def test_wget_leaves_a_whole_file_as_it_is(call: Call, tmp_path: Path):
    path = whole(call, tmp_path)
    done = run("wget", "-nv", "-c", "--header", call.field, call.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sha256(path) == call.filed.sha256


async def test_aria2_puts_four_pieces_together(call: Call, tmp_path: Path, request):
    name = agent(request)
    words = ("-x4", "-s4", "-k1M", "--file-allocation=none", "-q", f"--user-agent={name}", f"--header={call.field}")
    done = run("aria2c", *words, "-o", "audio", call.url, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert sha256(tmp_path / "audio") == call.filed.sha256
    rows = await call.stage.accesses("user_agent", name, 4, or_more=True)
    assert len({row["range_asked"] for row in rows}) >= 4
    assert len({row["session"] for row in rows}) == 1


@pytest.mark.parametrize("start_s", [0.5, 137.25, SECONDS - 1.5])
async def test_ffmpeg_seeks_to_the_very_sample(call: Call, tmp_path: Path, request, start_s: float):
    name = agent(request)
    words = ("-v", "error", "-user_agent", name, "-headers", f"{call.field}\r\n", "-ss", start_s, "-i", call.url)
    done = run("ffmpeg", *words, "-t", "1", "-f", "s16le", "-", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == call.moment(start_s, 1)


async def test_ffmpeg_seeks_by_asking_for_what_follows_in_one_session(call: Call, tmp_path: Path, request):
    name = agent(request)
    words = ("-v", "error", "-user_agent", name, "-headers", f"{call.field}\r\n", "-ss", SECONDS - 10, "-i", call.url)
    done = run("ffmpeg", *words, "-t", "1", "-f", "null", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = await call.stage.accesses("user_agent", name, 3)  # the head, the samples' beginning, the place sought
    assert {row["status"] for row in rows} == {206}
    assert rows[-1]["bytes_sent"] <= 10 * RATE * FRAME
    assert len({row["session"] for row in rows}) == 1


def test_mpv_starts_where_it_is_told(call: Call, tmp_path: Path):
    out = tmp_path / "heard.pcm"
    words = ("--no-config", "--no-video", "--really-quiet", f"--http-header-fields={call.field}")
    sound = ("--ao=pcm", f"--ao-pcm-file={out}", "--ao-pcm-waveheader=no", "--audio-format=s16")
    done = run("mpv", *words, *sound, "--start=191.5", "--length=2", call.url, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert out.read_bytes() == call.moment(191.5, 2)


def test_ffprobe_tells_duration_and_channels(call: Call, tmp_path: Path):
    words = ("-v", "error", "-headers", f"{call.field}\r\n", "-show_format", "-show_streams", "-of", "json")
    done = run("ffprobe", *words, call.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert float(told["format"]["duration"]) == SECONDS
    assert int(told["format"]["size"]) == len(call.filed.data)
    assert (told["streams"][0]["channels"], told["streams"][0]["sample_rate"]) == (CHANNELS, str(RATE))
