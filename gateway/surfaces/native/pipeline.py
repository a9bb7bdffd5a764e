"""For the upload pipeline: a call is registered, then the object its recording lies in."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from ...aliases import kept
from ...asks.pipeline import CallPut, PutCall, PutRecording
from ...contract import RETRY_S, Doc, Found, Reply, Route
from ...errors import Malformed
from ...event import Method
from ...http.headers import NAMES
from ...model import Entry, Head, Lifetime, NewCall, State, Verb
from ...moments import DAYS_MAX, Happened, Instant
from .._bodies import LINE, WHOLE, Body, read_body
from .._words import json_reply
from .ids import EXTERNAL_ID, PATH, SURFACE_NAME, call
from .recordings import CallTold, described

_WRITE = frozenset({"recordings:write"})

Number = Annotated[str, Field(min_length=1, max_length=128, pattern=LINE)]
Surface = Annotated[str, Field(pattern=f"^{SURFACE_NAME}$")]
External = Annotated[str, Field(pattern=f"^{EXTERNAL_ID}$")]


class CallBody(Body):
    """What is left out, or null, stays as it is."""

    aliases: (
        Annotated[
            dict[Surface, External],
            Field(
                max_length=16,
                description="surface → the call's id there; ids once given stay",
                json_schema_extra={"additionalProperties": False},
            ),
        ]
        | None
    ) = None
    direction: Literal["inbound", "outbound", "internal"] | None = None
    from_number: Number | None = None
    to_number: Number | None = None
    voice_agent: Annotated[
        bool | None, Field(description="left is the caller, right the agent; false: people alone")
    ] = None
    department: Annotated[str, Field(json_schema_extra={"format": "uuid"})] | None = None
    started_at: Happened | None = None
    answered_at: Happened | None = None
    ended_at: Happened | None = None

    @field_validator("department")
    @classmethod
    def _is_uuid(cls, value: str | None) -> str | None:
        try:
            return None if value is None else str(UUID(value))
        except ValueError:
            raise ValueError("must be a UUID") from None


_NOTHING: JsonDict = {"type": "null"}
_TEXT: JsonDict = {"type": "string"}
_OF_OBJECTS = ("store", "key", "media_type", "started_at", "expires_at", "retention_days")
TOGETHER: JsonDict = {
    "if": {"properties": {"state": {"const": "failed"}}, "required": ["state"]},
    "then": {"properties": dict.fromkeys(_OF_OBJECTS, _NOTHING)},
    "else": {
        "properties": {"failure": _NOTHING},
        "if": {"properties": {"store": _TEXT}, "required": ["store"]},
        "then": {"properties": {"key": _TEXT}, "required": ["key"]},
        "else": {"properties": {"key": _NOTHING, "media_type": _NOTHING}},
    },
}
"""Which members of a RecordingBody go with which, as ``_check`` has it. Beside an anyOf clients' generators lose the members."""


class RecordingBody(Body):
    """What is left out, or null, stays as it is."""

    model_config = ConfigDict(json_schema_extra=TOGETHER)

    state: Annotated[
        Literal["pending", "processing", "failed"] | None,
        Field(description="taken as told; left out beside store and key: the object is looked at"),
    ] = None
    failure: Annotated[str, Field(min_length=1, max_length=500, pattern=LINE)] | None = None
    store: Annotated[str, Field(min_length=1, max_length=64, pattern=LINE)] | None = None
    key: Annotated[str, Field(min_length=1, max_length=1024, pattern=LINE)] | None = None
    media_type: Annotated[
        str | None,
        Field(
            description="overrules what the object's header says",
            json_schema_extra={"anyOf": [{"enum": sorted(NAMES)}, {"type": "null"}]},
        ),
    ] = None
    started_at: Happened | None = None
    expires_at: Annotated[Instant | None, Field(description="kept at least until then")] = None
    retention_days: Annotated[int, Field(ge=1, le=DAYS_MAX, description="kept at least so many days"), WHOLE] | None = (
        None
    )

    @field_validator("media_type")
    @classmethod
    def _is_served(cls, value: str | None) -> str | None:
        if value is not None and value not in NAMES:
            raise ValueError("must be a media type that is served, as audio/wav or video/mp4 are")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.store is None) != (self.key is None):
            raise ValueError("store and key go together")
        if self.failure is not None and self.state != "failed":
            raise ValueError('failure goes with the state "failed"')
        if self.state == "failed" and any(getattr(self, name) is not None for name in _OF_OBJECTS):
            raise ValueError('the state "failed" goes with failure alone')
        if self.media_type is not None and self.key is None:
            raise ValueError("media_type goes with store and key")
        return self


class RegisteredTold(CallTold):
    """The call as it is now. ``failure`` says why, where its state is failed."""

    failure: str | None


def _put_call(head: Head) -> PutCall:
    named, asked = call(head), read_body(head, CallBody)
    aliases = {surface: kept(surface, external) for surface, external in (asked.aliases or {}).items()}
    if named.surface is not None and aliases.setdefault(named.surface, named.id) != named.id:
        raise Malformed("body", "aliases", message="the path names another id on the same surface")
    return PutCall(
        NewCall(
            aliases=aliases,
            id=UUID(named.id) if named.surface is None else None,
            direction=asked.direction,
            from_number=asked.from_number,
            to_number=asked.to_number,
            voice_agent=asked.voice_agent,
            department=None if asked.department is None else UUID(asked.department),
            started_at=asked.started_at,
            answered_at=asked.answered_at,
            ended_at=asked.ended_at,
        )
    )


def _put_recording(head: Head) -> PutRecording:
    asked = read_body(head, RecordingBody)
    return PutRecording(
        state=None if asked.state is None else State(asked.state),
        failure=asked.failure,
        place=None if asked.store is None or asked.key is None else (asked.store, asked.key),
        media_type=asked.media_type,
        lifetime=Lifetime(asked.started_at, asked.expires_at, asked.retention_days),
    )


def _told(found: Found, entry: Entry) -> RegisteredTold:
    state = entry.state(found.now)
    failure = entry.recording.failure if entry.recording is not None and state is State.FAILED else None
    return {**described(entry, state, found.base, found.scopes), "failure": failure}


def _call_reply(found: Found) -> Reply:
    assert isinstance(found.done, CallPut)
    return json_reply(201 if found.done.made else 200, _told(found, found.done.entry))


def _recording_reply(found: Found) -> Reply:
    """202 with Retry-After as long as there is something to wait for."""
    assert isinstance(found.done, Entry)
    told = _told(found, found.done)
    if told["state"] in {State.PENDING, State.PROCESSING}:
        return json_reply(202, told, Retry_After=str(RETRY_S))
    return json_reply(200, told)


ROUTES = (
    Route(
        "PUT",
        "/v1/calls/{id}",
        Verb.ACT,
        _WRITE,
        call,
        _call_reply,
        makes=True,
        ask=_put_call,
        audited=Method.REGISTRATION,
        doc=Doc(
            "Register a call, or bring it up to date",
            "201 where it is new, 200 where it was there. An id that is another call's is refused with 409.",
            conflicts=("id_taken", "department_fixed", "conflict"),
            status=201,
            also=(200,),
            answer=RegisteredTold,
            body=CallBody,
            path=PATH,
        ),
    ),
    Route(
        "PUT",
        "/v1/calls/{id}/recording",
        Verb.ACT,
        _WRITE,
        call,
        _recording_reply,
        ask=_put_recording,
        audited=Method.REGISTRATION,
        doc=Doc(
            "Register where a call's recording lies",
            "With store and key alone the object is looked at: its size and version, and its header, never its whole body."
            " 200 once it is ready or has failed, 202 while it is pending or processing. Doing it again changes nothing,"
            " unless the object was replaced.",
            also=(202,),
            given={202: ("Retry-After",)},
            conflicts=("recording_ready", "recording_expired", "recording_held", "object_unfit"),
            answer=RegisteredTold,
            body=RecordingBody,
            path=PATH,
        ),
    ),
)
