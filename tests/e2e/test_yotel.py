"""Yotel's contract, by its own document: the examples replayed, every field looked at."""

import json
import subprocess
from datetime import UTC as ZULU
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from parts.calls import DATA, Calls, about_now, plainly
from parts.issuer import rsa_key
from parts.replay import UTC, as_printed, headers, root
from parts.replay import curl as replayed
from parts.stage import Stage
from parts.wire import Wire


def curl(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["curl", "-sS", *words], capture_output=True, timeout=30, check=False)


def as_documented(calls: Calls, path: str) -> tuple[str, ...]:
    """The document's own example, with nothing changed but the base URL and the key."""
    port = urlsplit(calls.base).port
    return (f"http://yotel.localhost:{port}{path}", "-H", f"Authorization: {calls.full['Authorization']}")


PRINTED = {
    "call_id": "call_abc123",
    "url": "https://storage.googleapis.com/yotel-dialer-audio/...",
    "expires_at": "2026-05-25T10:04:48Z",
    "duration_s": 142,
    "stereo": True,
    "format": "audio/wav",
}


async def test_documented_example_is_answered_as_printed(stage: Stage):
    tenant = await stage.office.tenant("yotels")
    named: dict[str, Any] = {"aliases": {"yotel": "call_abc123"}, "voice_agent": True, "channels": 2}
    await stage.file("s3", DATA, tenant=tenant, duration_ms=142_000, **named)
    reader, listener = [await stage.key(scope, tenant=tenant) for scope in ("calls:read", "recordings:download")]
    link = f"{root(stage, 'yotel')}/api/v1/calls/call_abc123/recording"
    told = replayed(link, *headers(reader))
    body = told.json()
    stage.secrets.add(body["url"].rpartition("=")[2])
    assert (told.status, told.fields["cache-control"]) == (200, "private, no-store")
    as_printed(body, PRINTED)
    assert body == PRINTED | {"url": body["url"], "expires_at": body["expires_at"]}
    assert UTC.fullmatch(body["expires_at"])
    assert about_now(body["expires_at"], timedelta(days=7))
    stream = replayed(f"{link}/audio", *headers(listener))
    assert (stream.status, stream.body) == (200, DATA)
    expected = {"content-type": "audio/wav", "cache-control": "private, max-age=300", "content-length": str(len(DATA))}
    assert expected.items() <= stream.fields.items()
    assert (replayed(f"{link}/audio", *headers(reader)).status, replayed(link, *headers(listener)).status) == (403, 403)


@pytest.mark.parametrize(
    ("store", "held", "ends_in"),
    [("s3", False, timedelta(hours=1)), ("s3", True, timedelta(days=7)), ("disk", False, timedelta(days=7))],
    ids=["store's own", "store's own, held", "gateway's, which looks again"],
)
async def test_a_signed_url_does_not_outlive_the_recordings_retention(
    calls: Calls, store: str, ends_in: timedelta, *, held: bool
):
    of = await calls.stage.file(store, DATA, expires_at=datetime.now(ZULU) + timedelta(hours=1))
    await calls.stage.office.rows("UPDATE recordings SET hold = $2 WHERE call_id = $1", of.id, held)
    told = json.loads(curl(*as_documented(calls, f"/api/v1/calls/{of.alias}/recording")).stdout)
    calls.stage.secrets.add(told["url"].rsplit("=", 1)[-1] if store == "s3" else told["url"].split("/")[-2])
    assert about_now(told["expires_at"], ends_in)


@pytest.mark.parametrize("store", ["s3", "gcs", "disk"])
def test_documented_link_example_gives_every_field(calls: Calls, store: str):
    of = calls.ready[store]
    done = curl(*as_documented(calls, f"/api/v1/calls/{of.alias}/recording"))
    told = json.loads(done.stdout)
    assert list(told) == ["call_id", "url", "expires_at", "duration_s", "stereo", "format"]
    assert told | {"url": "", "expires_at": ""} == {
        "call_id": of.alias, "url": "", "expires_at": "", "duration_s": 142, "stereo": True, "format": "audio/wav",
    }  # fmt: skip
    assert type(told["duration_s"]) is int
    assert about_now(told["expires_at"], timedelta(days=7))
    calls.stage.secrets.add(told["url"].rsplit("=", 1)[-1] if store == "s3" else told["url"].split("/")[-2])
    assert told["url"].startswith(calls.stage.stores["s3"]["endpoint"] if store == "s3" else calls.base)

    status, body, fields = plainly(told["url"])
    assert (status, body, fields["Content-Type"]) == (200, DATA, "audio/wav")
    status, body, fields = plainly(told["url"], Range="bytes=1000-1999")
    assert (status, body) == (206, DATA[1000:2000])
    assert fields["Content-Range"] == f"bytes 1000-1999/{len(DATA)}"
    if store == "s3":
        assert parse_qs(urlsplit(told["url"]).query)["X-Amz-Expires"] == ["604800"]
        assert fields["Content-Disposition"] == f'inline; filename="recording-{of.alias}.wav"'


@pytest.mark.parametrize("store", ["s3", "gcs", "disk"])
def test_documented_stream_example_gives_the_recording(calls: Calls, store: str, tmp_path: Path):
    of, out = calls.ready[store], tmp_path / "recording.wav"
    fields = tmp_path / "fields"
    path = f"/api/v1/calls/{of.alias}/recording/audio"
    done = curl(*as_documented(calls, path), "-o", str(out), "-D", str(fields))
    assert done.returncode == 0
    assert out.read_bytes() == DATA
    told = fields.read_text().splitlines()
    assert told[0] == "HTTP/1.1 200 OK"
    assert {"Content-Type: audio/wav", "Cache-Control: private, max-age=300", f"Content-Length: {len(DATA)}"} <= set(
        told
    )


def test_documented_errors_are_worded_as_documented(calls: Calls):
    for state, status in {"missing": 404, "foreign": 404, "pending": 409}.items():
        for tail in ("", "/audio"):
            path = f"/api/v1/calls/{calls.by_state[state].yotel}/recording{tail}"
            done = curl(*as_documented(calls, path), "-w", "%{http_code}")
            assert int(done.stdout[-3:]) == status
            if status == 409:
                assert b"call.recording_ready" in done.stdout


@pytest.mark.parametrize(
    ("voice_agent", "channels", "stereo"),
    [(True, 2, True), (True, 1, False), (False, 2, False), (False, 1, False), (True, None, False)],
)
async def test_stereo_means_a_voice_agents_two_channels(calls: Calls, voice_agent, channels, stereo):
    of = await calls.stage.file("s3", DATA[:100], voice_agent=voice_agent, channels=channels)
    assert calls.ask("GET", f"/yotel/api/v1/calls/{of.alias}/recording").json()["stereo"] is stereo


@pytest.mark.parametrize(
    ("duration_ms", "duration_s"), [(None, None), (0, 0), (499, 0), (500, 1), (141_499, 141), (141_500, 142)]
)
async def test_duration_is_rounded_to_seconds_or_unknown(calls: Calls, duration_ms, duration_s):
    of = await calls.stage.file("s3", DATA[:100], duration_ms=duration_ms)
    assert calls.ask("GET", f"/yotel/api/v1/calls/{of.alias}/recording").json()["duration_s"] == duration_s
    recording = calls.ask("GET", f"/v1/recordings/{of.id}").json()["recording"]
    assert recording["duration_ms"] == duration_ms


async def test_gcs_link_is_googles_own_and_good_for_seven_days(calls: Calls, tmp_path: Path):
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "client_email": "gateway@p.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:1/token",
        "private_key": rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    google = {"kind": "gcs", "bucket": "calls-audio", "service_account_file": str(tmp_path / "key.json")}
    of = await calls.stage.file("disk", DATA)
    await calls.stage.office.rows("UPDATE recordings SET store = 'google', key = 'a b/ü.wav' WHERE call_id = $1", of.id)
    house = calls.stage.another({"google": google})
    with Wire(house.base_url) as wire:
        told = wire.ask("GET", f"/yotel/api/v1/calls/{of.alias}/recording", calls.full.items()).json()
    house.stop()
    url = urlsplit(told["url"])
    query = parse_qs(url.query)
    calls.stage.secrets.add(query["X-Goog-Signature"][0])
    assert url.scheme + "://" + url.netloc + url.path == "https://storage.googleapis.com/calls-audio/a%20b/%C3%BC.wav"
    assert query["X-Goog-Expires"] == ["604800"]
    assert query["response-content-type"] == ["audio/wav"]
    assert about_now(told["expires_at"], timedelta(days=7))
