"""What voki tells of a recording, and where it is. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from typing_extensions import TypedDict

from ..contract import Found, Reply
from ..http.headers import extension_for
from ..model import Transcript
from ._words import TRANSCRIPTION, json_reply, known, timestamp, whole_seconds

RECORDING = "/api/v1/calls/{call_id}/recording"
DOWNLOAD = RECORDING + "/download"


class Transcription(TypedDict):
    """What was said."""

    status: str
    """pending · processing · completed · failed"""
    text: str | None
    language: str | None


class Recorded(TypedDict):
    """A call's recording."""

    id: str
    call_id: str
    format: str
    duration: int | None
    file_size: int
    download_url: str
    transcription: Transcription | None
    created_at: str | None


class RecordedAnswer(TypedDict):
    """Answer of the metadata endpoint."""

    data: Recorded


def extension(stored: str) -> str:
    """``.webm`` also where there is sound alone, as the document has it."""
    return ".webm" if (named := extension_for(stored)) == ".weba" else named


def _transcription(transcript: Transcript | None) -> Transcription | None:
    if transcript is None:
        return None
    return {
        "status": TRANSCRIPTION[transcript.status],
        "text": transcript.text,
        "language": transcript.language,
    }


def metadata(found: Found) -> Reply:
    _, recording, stored = known(found)
    call_id = found.head.path["call_id"]
    answer: RecordedAnswer = {
        "data": {
            "id": str(recording.id),
            "call_id": call_id,
            "format": extension(stored.media_type)[1:],
            "duration": whole_seconds(recording.duration_ms),
            "file_size": stored.stat.size,
            "download_url": urlsplit(found.base).path + DOWNLOAD.format(call_id=call_id),
            "transcription": _transcription(found.transcript),
            "created_at": timestamp(recording.created_at),
        }
    }
    return json_reply(200, answer)
