"""What was said in a call: put by the pipeline, told as JSON and as WebVTT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self, cast

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from ...asks.transcripts import PutTranscript
from ...contract import Doc, Found, Reply, Route, Transcribed
from ...errors import NoTranscript
from ...event import Method
from ...media.webvtt import webvtt
from ...model import Head, Segment, State, Transcript, Verb
from .._bodies import LINE, WHOLE, Body, read_body
from .._words import NO_STORE, Timestamp, json_reply, timestamp
from .ids import PATH, call
from .recordings import TEXT_SCOPE, Id, TranscriptStatus

_READING = frozenset({TEXT_SCOPE})
_KEPT = frozenset(State) - {State.EXPIRED}
"""A transcript may be there before the recording is, or without it. It goes when the recording does."""
_MS_MAX = 100 * 60 * 60 * 1000
_SEGMENTS_MAX = 50_000
_TEXT_MAX = 1_000_000

Said = Annotated[str, Field(max_length=_TEXT_MAX, pattern=r"^[^\x00]*$")]
Moment = Annotated[int, Field(ge=0, le=_MS_MAX, description="milliseconds from the recording's beginning"), WHOLE]
Language = Annotated[
    str, Field(max_length=35, pattern=r"^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$", description="BCP 47, as en or pt-BR")
]
Speaker = Annotated[str, Field(min_length=1, max_length=200, pattern=LINE)]


class SegmentPut(Body):
    """A timed piece; ``end_ms`` is not before ``start_ms``."""

    start_ms: Moment
    end_ms: Moment
    text: Said
    speaker: Speaker | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end_ms < self.start_ms:
            raise ValueError("end_ms must not be before start_ms")
        return self


class TranscriptPut(Body):
    """The whole transcript as it shall be. Segments come in the order of their starts; the text is theirs if left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"status": {"const": "ready"}}},
            "then": {
                "anyOf": [
                    {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                    for name in ("text", "segments")
                ]
            },
        }
    )

    status: TranscriptStatus
    language: Language | None = None
    text: Said | None = None
    segments: Annotated[list[SegmentPut], Field(max_length=_SEGMENTS_MAX, fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        starts = [segment.start_ms for segment in self.segments or ()]
        if starts != sorted(starts):
            raise ValueError("segments must be in the order of their starts")
        if self.status == "ready" and self.text is None and self.segments is None:
            raise ValueError("a transcript that is ready has a text or segments")
        return self


class SegmentTold(TypedDict):
    """A timed piece; times in milliseconds from the recording's beginning."""

    start_ms: int
    end_ms: int
    text: str
    speaker: str | None


class TranscriptTold(TypedDict):
    """What was said. ``text`` and ``segments`` may be there in part before it is ready."""

    id: Id
    status: TranscriptStatus
    language: str | None
    text: str | None
    segments: list[SegmentTold]
    created_at: Timestamp | None
    updated_at: Timestamp | None


class TranscriptKept(TypedDict):
    """What was put, by its size."""

    id: Id
    status: TranscriptStatus
    language: str | None
    characters: int | None
    segments: int
    created_at: Timestamp | None
    updated_at: Timestamp | None


def _put(head: Head) -> PutTranscript:
    asked = read_body(head, TranscriptPut)
    segments = tuple(
        Segment(start_ms=each.start_ms, end_ms=each.end_ms, text=each.text, speaker=each.speaker)
        for each in asked.segments or ()
    )
    text = asked.text
    if text is None and asked.segments is not None:
        text = "\n".join(each.text for each in segments)
    return PutTranscript(Transcript(asked.status, asked.language, text, segments))


def _kept(found: Found) -> Reply:
    transcript = found.done
    assert isinstance(transcript, Transcript) and found.entry is not None
    body: TranscriptKept = {
        "id": str(found.entry.call.id),
        "status": cast("TranscriptStatus", transcript.status),
        "language": transcript.language,
        "characters": None if transcript.text is None else len(transcript.text),
        "segments": len(transcript.segments),
        "created_at": timestamp(transcript.created_at),
        "updated_at": timestamp(transcript.updated_at),
    }
    return json_reply(200, body)


def _told(found: Found) -> Reply:
    transcript = found.transcript
    assert transcript is not None and found.entry is not None
    body: TranscriptTold = {
        "id": str(found.entry.call.id),
        "status": cast("TranscriptStatus", transcript.status),
        "language": transcript.language,
        "text": transcript.text,
        "segments": _segments(transcript.segments),
        "created_at": timestamp(transcript.created_at),
        "updated_at": timestamp(transcript.updated_at),
    }
    return json_reply(200, body)


def _segments(segments: Sequence[Segment]) -> list[SegmentTold]:
    return [
        {"start_ms": each.start_ms, "end_ms": each.end_ms, "text": each.text, "speaker": each.speaker}
        for each in segments
    ]


def _captions(found: Found) -> Reply:
    """Raises NoTranscript for one that is not ready, or knows no times: captions are nothing without."""
    transcript = found.transcript
    assert transcript is not None
    if transcript.status != "ready" or not transcript.segments:
        raise NoTranscript
    fields = {
        "Content-Type": "text/vtt; charset=utf-8",
        "Cache-Control": NO_STORE,
        "X-Content-Type-Options": "nosniff",
    }
    return Reply(200, fields, webvtt(transcript.segments).encode())


ROUTES = (
    Route(
        "PUT",
        "/v1/recordings/{id}/transcript",
        Verb.ACT,
        frozenset({"recordings:write"}),
        call,
        _kept,
        ask=_put,
        audited=Method.TRANSCRIPT,
        doc=Doc(
            "Put a call's transcript",
            "Replaces what was there. 409 `transcription_disabled` where the account has transcription switched off,"
            " `recording_held` where a legal hold keeps the transcript that is there; 410 once the recording is past its retention.",
            conflicts=("transcription_disabled", "recording_held"),
            body=TranscriptPut,
            answer=TranscriptKept,
            path=PATH,
        ),
    ),
    Route(
        "GET",
        "/v1/recordings/{id}/transcript",
        Verb.DESCRIBE,
        _READING,
        call,
        _told,
        states=_KEPT,
        transcript=Transcribed.REQUIRED,
        audited=Method.TRANSCRIPT,
        doc=Doc("Get a call's transcript", answer=TranscriptTold, path=PATH),
    ),
    Route(
        "GET",
        "/v1/recordings/{id}/transcript.vtt",
        Verb.DESCRIBE,
        _READING,
        call,
        _captions,
        states=_KEPT,
        transcript=Transcribed.REQUIRED,
        audited=Method.TRANSCRIPT,
        doc=Doc(
            "Get a call's transcript as WebVTT captions",
            "A cue for each timed segment. 404 while the transcript is not ready, or has no segments.",
            media=("text/vtt",),
            path=PATH,
        ),
    ),
)
