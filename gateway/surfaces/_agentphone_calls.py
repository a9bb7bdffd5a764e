"""What agentphone tells a call's own account: the call, and what was said in it. Pure."""

from __future__ import annotations

from typing_extensions import TypedDict

from ..contract import Found, Reply
from ..model import Call, Segment, State
from ._strength import secret
from ._words import TRANSCRIPTION, json_reply, timestamp, whole_seconds

DISCREET = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
"""The call's id is the credential of its download: a URL that holds it goes to no other site, and into no index."""

CallAnswer = TypedDict(
    "CallAnswer",
    {
        "id": str,
        "status": str,
        "direction": str | None,
        "from": str | None,
        "to": str | None,
        "startedAt": str | None,
        "endedAt": str | None,
        "durationSeconds": int | None,
        "recordingUrl": str | None,
        "recordingAvailable": bool,
    },
)


def _status(call: Call) -> str:
    if call.ended_at is not None:
        return "completed"
    return "queued" if call.started_at is None else "in-progress"


def _lasted(call: Call) -> int | None:
    """Whole seconds."""
    if call.started_at is None or call.ended_at is None:
        return None
    return whole_seconds(max(int((call.ended_at - call.started_at).total_seconds() * 1000), 0))


def described(found: Found) -> Reply:
    assert found.entry is not None
    call, enabled = found.entry.call, found.entry.account.recording_enabled
    external = found.head.path["call_id"]
    fetchable = found.state is State.READY and secret(external)
    answer: CallAnswer = {
        "id": external,
        "status": _status(call),
        "direction": call.direction,
        "from": call.from_number,
        "to": call.to_number,
        "startedAt": timestamp(call.started_at),
        "endedAt": timestamp(call.ended_at),
        "durationSeconds": _lasted(call),
        "recordingUrl": f"{found.base}/v1/calls/{external}/recording" if enabled else None,
        "recordingAvailable": enabled and fetchable,
    }
    return json_reply(200, answer, **DISCREET)


class Said(TypedDict):
    """A piece of a transcript; times in seconds from the recording's beginning."""

    start: float
    end: float
    speaker: str | None
    text: str


class TranscriptAnswer(TypedDict):
    """Answer of the transcript endpoint."""

    callId: str
    status: str
    language: str | None
    text: str | None
    segments: list[Said]


def _said(segment: Segment) -> Said:
    return {
        "start": segment.start_ms / 1000,
        "end": segment.end_ms / 1000,
        "speaker": segment.speaker,
        "text": segment.text,
    }


def transcript(found: Found) -> Reply:
    assert found.transcript is not None
    answer: TranscriptAnswer = {
        "callId": found.head.path["call_id"],
        "status": TRANSCRIPTION[found.transcript.status],
        "language": found.transcript.language,
        "text": found.transcript.text,
        "segments": [_said(segment) for segment in found.transcript.segments],
    }
    return json_reply(200, answer, **DISCREET)
