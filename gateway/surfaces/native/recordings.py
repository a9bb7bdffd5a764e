"""Metadata, list and search, and the stable audio URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Literal, NotRequired, cast
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from ...aliases import PUBLIC
from ...contract import Doc, Found, Reply, Route, Schema
from ...http.headers import content_disposition, extension_for
from ...model import Entry, Head, Listing, State, Verb
from .._words import Timestamp, audio, json_reply, known, timestamp
from . import parameters
from .ids import PATH, call, nothing
from .parameters import Parameter, next_page, read_query, schemas

LISTING = "/v1/recordings"
TEXT_SCOPE = "recordings:download"
"""What was said is as good as the audio: reading it, and looking for words of it, take the audio's own scope."""

Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]

# What the tables' checks let in.
TranscriptStatus = Literal["pending", "processing", "ready", "failed"]
Direction = Literal["inbound", "outbound", "internal"]


class RecordingTold(TypedDict):
    """A call's recording. What is known of its object alone (type, size, etag) is null unless it is ready."""

    id: Id
    media_type: str | None
    size_bytes: int | None
    etag: str | None
    duration_ms: int | None
    channels: int | None
    seekable: bool | None
    created_at: Timestamp | None
    started_at: Timestamp | None
    ready_at: Timestamp | None
    expires_at: Timestamp | None
    hold: bool


class TranscriptState(TypedDict):
    """That there is a transcript."""

    status: TranscriptStatus


class LinksTold(TypedDict):
    """Where more is to be had: ``audio`` if it is ready, ``transcript`` if there is one."""

    self: Url
    audio: NotRequired[Url]
    transcript: NotRequired[Url]


class CallTold(TypedDict):
    """A call and its recording. ``aliases``: agentphone's among them only for who may download, for it is a credential."""

    id: Id
    state: State
    aliases: dict[str, str]
    direction: Direction | None
    from_number: str | None
    to_number: str | None
    department: Id | None
    voice_agent: bool
    started_at: Timestamp | None
    ended_at: Timestamp | None
    recording: RecordingTold | None
    transcript: TranscriptState | None
    links: LinksTold


class NextPage(TypedDict):
    """Where the next page is, if there is one."""

    next: NotRequired[Url]


class CallsTold(TypedDict):
    """A page of them, those registered last first. ``next_cursor`` null: it is the last."""

    data: list[CallTold]
    next_cursor: str | None
    links: NextPage


def described(entry: Entry, state: State, base: str, scopes: frozenset[str]) -> CallTold:
    """What a page says of a call, and the answer for one alone, to whoever has ``scopes``."""
    call = entry.call
    place = f"{base}/v1/recordings/{call.id}"
    links: LinksTold = {"self": place}
    if state is State.READY and entry.recording is not None and entry.recording.object is not None:
        links["audio"] = f"{place}/audio"
    # What was said goes with the recording.
    transcript: TranscriptState | None = None
    if entry.transcript is not None and state is not State.EXPIRED:
        transcript = {"status": cast("TranscriptStatus", entry.transcript)}
        links["transcript"] = f"{place}/transcript"
    return {
        "id": str(call.id),
        "state": state,
        # Whoever knows the public one may download: it is told to nobody who may not.
        "aliases": {surface: id_ for surface, id_ in call.aliases.items() if surface != PUBLIC or TEXT_SCOPE in scopes},
        "direction": cast("Direction | None", call.direction),
        "from_number": call.from_number,
        "to_number": call.to_number,
        "department": None if call.department is None else str(call.department),
        "voice_agent": call.voice_agent,
        "started_at": timestamp(call.started_at),
        "ended_at": timestamp(call.ended_at),
        "recording": _recording(entry, state),
        "transcript": transcript,
        "links": links,
    }


def _recording(entry: Entry, state: State) -> RecordingTold | None:
    recording = entry.recording
    if recording is None:
        return None
    stored = recording.object if state is State.READY else None
    return {
        "id": str(recording.id),
        "media_type": stored.media_type if stored else None,
        "size_bytes": stored.stat.size if stored else None,
        "etag": stored.stat.etag if stored else None,
        "duration_ms": recording.duration_ms,
        "channels": recording.channels,
        "seekable": recording.seekable,
        "created_at": timestamp(recording.created_at),
        "started_at": timestamp(recording.started_at),
        "ready_at": timestamp(recording.ready_at),
        "expires_at": timestamp(recording.expires_at),
        "hold": recording.hold,
    }


def _describe(found: Found) -> Reply:
    assert found.entry is not None
    return json_reply(200, described(found.entry, found.state, found.base, found.scopes))


def _list(found: Found) -> Reply:
    assert found.page is not None
    cursor = found.page.cursor
    body: CallsTold = {
        "data": [described(entry, entry.state(found.now), found.base, found.scopes) for entry in found.page.entries],
        "next_cursor": cursor,
        "links": {} if cursor is None else {"next": next_page(found, LISTING, cursor)},
    }
    return json_reply(200, body)


_PARAMETERS: dict[str, Parameter] = {
    "limit": parameters.LIMIT,
    "cursor": parameters.CURSOR,
    "state": parameters.one_of(State, "In this state.", but=frozenset({State.ABSENT})),
    "since": parameters.instant("Registered then or later."),
    "until": parameters.instant("Registered before then."),
    "started_since": parameters.instant("The call started then or later."),
    "started_until": parameters.instant("The call started before then."),
    "number": parameters.words(
        "The number of either side, whole. Compared by its digits: +15550100, 0015550100 and 1 (555) 0100 are one.",
        most=64,
    ),
    "department": parameters.uuid("Of this department."),
    "text": parameters.words(
        "Words of the transcript, whatever its language and without regard to case: all of them;"
        ' "several in this order"; one or the other; -not. Takes the scope recordings:download besides;'
        " 409 `transcription_disabled` where the account has transcription switched off."
    ),
}


def _listing(head: Head) -> Listing:
    asked = Listing(**read_query(head, _PARAMETERS))
    return asked if asked.text is None else replace(asked, scope=TEXT_SCOPE)


DOWNLOAD: Mapping[str, Schema] = {
    "download": {"type": "string", "description": "1: to be saved under a file name; anything else: to be played."}
}


def file_name(found: Found) -> str:
    """``?download=1`` makes a browser save what it would play."""
    call, _, stored = known(found)
    kind: Literal["attachment", "inline"] = "attachment" if found.head.query.get("download") == "1" else "inline"
    return _named(kind, call.id, stored.media_type)


@lru_cache(maxsize=4096)
def _named(kind: Literal["attachment", "inline"], call: UUID, media_type: str | None) -> str:
    return content_disposition(kind, f"recording-{call}{extension_for(media_type)}")


DESCRIBED = Route(
    "GET",
    "/v1/recordings/{id}",
    Verb.DESCRIBE,
    frozenset({"calls:read"}),
    call,
    _describe,
    doc=Doc("Get a call and its recording's metadata", answer=CallTold, path=PATH),
)

ROUTES = (
    Route(
        "GET",
        LISTING,
        Verb.LIST,
        frozenset({"calls:read"}),
        nothing,
        _list,
        listing=_listing,
        doc=Doc(
            "List and search recordings",
            "Those registered last first. A cursor is good with the filters it was given for.",
            conflicts=("transcription_disabled",),
            answer=CallsTold,
            query=schemas(_PARAMETERS),
        ),
    ),
    DESCRIBED,
    Route(
        "GET",
        "/v1/recordings/{id}/audio",
        Verb.PLAY,
        frozenset({"recordings:download"}),
        call,
        audio("private, max-age=300", file_name),
        doc=Doc("Play or download the recording", path=PATH, query=DOWNLOAD),
    ),
)
