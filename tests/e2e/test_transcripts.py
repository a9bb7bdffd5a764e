"""Transcripts: put by the pipeline, read as JSON and captions, switched by account, gone with the recording."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from parts.calls import DATA, MISSING, Calls, assert_refused
from parts.house import Filed, House
from parts.patience import soon
from parts.wire import Answer

SAID = 'The quick brown fox <jumps> & "runs" — и бежит'
SEGMENTS = [
    {"start_ms": 0, "end_ms": 1500, "text": "The quick brown fox", "speaker": "Agent"},
    {"start_ms": 1500, "end_ms": 4000, "text": '<jumps> & "runs" — и бежит', "speaker": None},
]


@dataclass(frozen=True)
class Speaking:
    """An account with transcription, and its keys."""

    calls: Calls
    tenant: UUID
    write: Mapping[str, str]
    read: Mapping[str, str]
    meta: Mapping[str, str]

    async def call(self, **options: Any) -> Filed:
        return await self.calls.stage.file("disk", DATA, tenant=self.tenant, **options)

    async def switch(self, *, on: bool) -> None:
        query = "UPDATE tenants SET transcription_enabled = $2 WHERE id = $1"
        await self.calls.stage.office.rows(query, self.tenant, on)

    def put(self, call: object, body: object, key: Mapping[str, str] | None = None) -> Answer:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.calls.ask("PUT", f"/v1/recordings/{call}/transcript", key or self.write, body=sent)

    def get(self, call: object, kind: str = "", key: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        return self.calls.ask(method, f"/v1/recordings/{call}/transcript{kind}", key or self.read)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def speaking(calls: Calls) -> Speaking:
    stage = calls.stage
    stage.secrets |= {"quick brown fox", "бежит"}
    tenant = await stage.office.tenant("speaking", transcription_enabled=True)
    scopes = ("recordings:write", "recordings:download", "calls:read")
    return Speaking(calls, tenant, *[await stage.key(scope, tenant=tenant) for scope in scopes])


async def test_a_transcript_is_read_as_it_was_put(speaking: Speaking):
    of = await speaking.call()
    put = speaking.put(f"yotel:{of.alias}", {"status": "ready", "language": "en-GB", "segments": SEGMENTS})
    kept = put.json()
    text = "\n".join(segment["text"] for segment in SEGMENTS)
    assert (put.status, put.get("Cache-Control")) == (200, "private, no-store")
    times = {name: kept.pop(name) for name in ("created_at", "updated_at")}
    assert kept == {
        "id": str(of.id), "status": "ready", "language": "en-GB", "characters": len(text), "segments": 2,
    }  # fmt: skip
    told = speaking.get(of.id)
    assert (told.status, told.get("Content-Type")) == (200, "application/json")
    assert told.json() == times | {
        "id": str(of.id), "status": "ready", "language": "en-GB", "text": text, "segments": SEGMENTS,
    }  # fmt: skip
    assert speaking.put(of.id, {"status": "ready", "language": "en-GB", "segments": SEGMENTS}).json() == kept | times
    described = speaking.calls.ask("GET", f"/v1/recordings/{of.id}", speaking.meta).json()
    assert described["transcript"] == {"status": "ready"}
    assert described["links"]["transcript"] == f"{speaking.calls.base}/v1/recordings/{of.id}/transcript"
    assert speaking.put(of.id, {"status": "processing"}).json()["characters"] is None
    assert (speaking.get(of.id).json()["text"], speaking.get(of.id, ".vtt").status) == (None, 404)


async def test_captions_are_read_by_ffmpeg_over_http(speaking: Speaking):
    of = await speaking.call()
    speaking.put(of.id, {"status": "ready", "segments": SEGMENTS})
    answer = speaking.get(of.id, ".vtt")
    assert (answer.status, answer.get("Content-Type")) == (200, "text/vtt; charset=utf-8")
    assert (answer.get("Cache-Control"), answer.get("X-Content-Type-Options")) == ("private, no-store", "nosniff")
    assert answer.body.decode() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v Agent>The quick brown fox\n"
        '\n00:00:01.500 --> 00:00:04.000\n&lt;jumps&gt; &amp; "runs" — и бежит\n'
    )
    fields = "".join(f"{name}: {value}\r\n" for name, value in speaking.read.items())
    url = f"{speaking.calls.base}/v1/recordings/{of.id}/transcript.vtt"
    command = ["ffmpeg", "-v", "error", "-headers", fields, "-i", url, "-f", "srt", "-"]
    read = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert "00:00:01,500 --> 00:00:04,000" in read.stdout
    assert "The quick brown fox" in read.stdout
    assert "— и бежит" in read.stdout
    head = speaking.get(of.id, ".vtt", method="HEAD")
    assert (head.status, head.get("Content-Length"), head.body) == (200, str(len(answer.body)), b"")


async def test_a_transcript_without_times_has_no_captions(speaking: Speaking):
    of = await speaking.call()
    assert speaking.put(of.id, {"status": "ready", "text": SAID}).status == 200
    assert speaking.get(of.id).json()["segments"] == []
    assert_refused(speaking.get(of.id, ".vtt"), "native", (404, "transcript_absent", None))
    speaking.put(of.id, {"status": "failed", "segments": SEGMENTS})
    assert_refused(speaking.get(of.id, ".vtt"), "native", (404, "transcript_absent", None))


async def test_who_may_read_the_audio_reads_the_words_and_nobody_else(speaking: Speaking):
    calls, of = speaking.calls, await speaking.call()
    assert_refused(speaking.get(of.id), "native", (404, "transcript_absent", None))
    speaking.put(of.id, {"status": "ready", "segments": SEGMENTS})
    for kind in ("", ".vtt"):
        for key, status in ((speaking.read, 200), (speaking.meta, 403), (speaking.write, 403), ({"A": "b"}, 401)):
            assert speaking.get(of.id, kind, key).status == status
        foreign = speaking.get(of.id, kind, calls.full)
        missing = speaking.get(MISSING, kind, calls.full)
        assert (foreign.status, foreign.body) == (missing.status, missing.body)
        assert foreign.status == 404
    for key, status in ((speaking.read, 403), (speaking.meta, 403), (calls.full, 404)):
        assert speaking.put(of.id, {"status": "ready", "text": "mine"}, key).status == status
    assert speaking.get(of.id).json()["segments"] == SEGMENTS


async def test_a_link_to_the_audio_does_not_reach_the_words(speaking: Speaking):
    of = await speaking.call()
    speaking.put(of.id, {"status": "ready", "segments": SEGMENTS})
    asked = b'{"delivery": "gateway"}'
    link = speaking.calls.ask("POST", f"/v1/recordings/{of.id}/links", speaking.read, body=asked).json()["url"]
    token = link.rsplit("/", 2)[-2]
    speaking.calls.stage.secrets.add(token)
    assert speaking.get(of.id, key={"Authorization": f"Bearer {token}"}).status == 401


async def test_the_account_switches_it_on_and_off_on_every_replica_at_once(speaking: Speaking):
    of, stage = await speaking.call(), speaking.calls.stage
    body = {"status": "ready", "segments": SEGMENTS}
    full = await stage.key(tenant=speaking.tenant)
    replica = stage.another(stage.on_disk)

    def described(house: House) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(house.get(f"/v1/recordings/{of.id}", full)[1])
        return told

    def elsewhere(kind: str) -> int:
        return replica.get(f"/v1/recordings/{of.id}/transcript{kind}", full)[0]

    try:
        assert described(replica)["transcript"] is None
        speaking.put(of.id, body)
        assert described(stage.house)["transcript"] == {"status": "ready"}
        soon(lambda: described(replica)["transcript"] == {"status": "ready"})
        await speaking.switch(on=False)
        assert (elsewhere(""), elsewhere(".vtt")) == (404, 404)
        assert_refused(speaking.get(of.id), "native", (404, "transcript_absent", None))
        assert_refused(speaking.get(of.id, ".vtt"), "native", (404, "transcript_absent", None))
        assert_refused(speaking.put(of.id, body), "native", (409, "transcription_disabled", None), "PUT")
        search = speaking.calls.ask("GET", "/v1/recordings?text=fox", full)
        assert_refused(search, "native", (409, "transcription_disabled", None))
        soon(lambda: described(stage.house)["transcript"] is None)
        assert "transcript" not in described(stage.house)["links"]
    finally:
        await speaking.switch(on=True)
    soon(lambda: speaking.get(of.id).status == 200)
    soon(lambda: elsewhere(".vtt") == 200)
    assert speaking.get(of.id).json()["segments"] == SEGMENTS
    assert replica.stop() == 0


async def test_words_are_kept_no_longer_than_the_recording(speaking: Speaking):
    of = await speaking.call()
    speaking.put(of.id, {"status": "ready", "segments": SEGMENTS})
    office = speaking.calls.stage.office
    await office.rows("UPDATE recordings SET expires_at = now() WHERE call_id = $1", of.id)
    soon(lambda: speaking.get(of.id).status == 410)
    for state in ("over", "swept"):
        if state == "swept":
            await office.rows("UPDATE recordings SET state = 'expired' WHERE call_id = $1", of.id)
        for kind in ("", ".vtt"):
            assert_refused(speaking.get(of.id, kind), "native", (410, "recording_expired", None))
        put = speaking.put(of.id, {"status": "ready", "text": "again"})
        assert_refused(put, "native", (410, "recording_expired", None), "PUT")
    (row,) = await office.rows("SELECT text, segments FROM transcripts WHERE call_id = $1", of.id)
    assert (row["text"], row["segments"]) == (None, None)


async def test_the_words_of_a_held_recording_may_come_and_then_stay_what_they_are(speaking: Speaking):
    of = await speaking.call()
    office = speaking.calls.stage.office
    await office.rows("UPDATE recordings SET hold = true WHERE call_id = $1", of.id)
    said = {"status": "ready", "segments": SEGMENTS}
    for body in ({"status": "processing"}, said, said):
        assert speaking.put(of.id, body).status == 200
    kept = speaking.get(of.id).json()
    for body in (
        {"status": "ready", "text": "never mind"},
        {"status": "processing"},
        {"status": "failed"},
        said | {"language": "cy"},
    ):
        refused = speaking.put(of.id, body)
        assert (refused.status, refused.json()["code"]) == (409, "recording_held")
    for change in (
        "UPDATE transcripts SET text = ''",
        "UPDATE transcripts SET status = 'failed'",
        "DELETE FROM transcripts",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await office.rows(f"{change} WHERE call_id = $1", of.id)
    assert speaking.get(of.id).json() == kept
    await office.rows("UPDATE recordings SET hold = false WHERE call_id = $1", of.id)
    assert speaking.put(of.id, {"status": "ready", "text": "never mind"}).status == 200


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", ["status"]),
        (b"[]", []),
        (b"{", []),
        ({"status": "done"}, ["status"]),
        ({"status": "ready"}, []),
        ({"status": "ready", "text": None, "segments": None}, []),
        ({"status": "ready", "text": "a\0b"}, ["text"]),
        (b'{"status": "ready", "text": "\\ud800"}', []),
        ({"status": "ready", "text": 7}, ["text"]),
        ({"status": "ready", "text": "x", "words": []}, []),
        ({"status": "ready", "text": "x", "language": "en GB"}, ["language"]),
        ({"status": "ready", "text": "x", "language": "e" * 36}, ["language"]),
        ({"status": "ready", "segments": [SEGMENTS[1], SEGMENTS[0]]}, []),
        ({"status": "ready", "segments": [SEGMENTS[0] | {"end_ms": -1}]}, ["segments", "0", "end_ms"]),
        ({"status": "ready", "segments": [SEGMENTS[0] | {"start_ms": 1501}]}, ["segments", "0"]),
        ({"status": "ready", "segments": [SEGMENTS[0] | {"start_ms": 0.5}]}, ["segments", "0", "start_ms"]),
        ({"status": "ready", "segments": [SEGMENTS[0] | {"speaker": "a\nb"}]}, ["segments", "0", "speaker"]),
        ({"status": "ready", "segments": [{"start_ms": 0, "end_ms": 0, "text": "x"}] * 50_001}, ["segments"]),
    ],
    ids=lambda value: str(value)[:50] if not isinstance(value, list) else None,
)
async def test_a_transcript_not_of_its_form_is_unprocessable(speaking: Speaking, body: object, place: list[str]):
    answer = speaking.put((await _one(speaking)).id, body)
    if len(str(body)) > 1_000_000:
        assert answer.status == 413
        return
    assert (answer.status, answer.json()["code"]) == (422, "malformed")
    assert answer.json()["errors"][0]["loc"] == ["body", *place]
    assert b"fox" not in answer.body


_MADE: list[Filed] = []


async def _one(speaking: Speaking) -> Filed:
    """One call for all that comes to nothing."""
    if not _MADE:
        _MADE.append(await speaking.call())
    return _MADE[0]


async def test_every_look_at_the_words_is_in_the_audit_and_none_of_them(speaking: Speaking):
    of = await speaking.call()
    speaking.put(of.id, {"status": "ready", "segments": SEGMENTS})
    speaking.get(of.id)
    speaking.get(of.id, ".vtt")
    speaking.get(of.id, key=speaking.meta)
    speaking.get(of.id, method="HEAD")
    rows = await speaking.calls.stage.accesses("call", of.id, 5)
    assert [(row["method"], row["status"], row["reason"]) for row in rows] == [
        ("transcript", 200, None),
        ("transcript", 200, None),
        ("transcript", 200, None),
        ("transcript", 403, "forbidden"),
        ("probe", 200, None),
    ]
    told = json.dumps([dict(row) for row in rows], default=str, ensure_ascii=False)
    assert "fox" not in told
    assert "бежит" not in told


async def test_a_transcript_may_come_before_its_recording(speaking: Speaking):
    office = speaking.calls.stage.office
    call, _ = await office.call(speaking.tenant)
    assert speaking.put(call, {"status": "ready", "text": SAID}).status == 200
    assert speaking.get(call).json()["text"] == SAID
    assert datetime.fromisoformat(speaking.get(call).json()["created_at"]) <= datetime.now(UTC)
