"""Storage notifications: S3's (also as MinIO sends them, and by EventBridge) and Google Cloud Storage's by Pub/Sub push."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ...asks.pipeline import Fate, Noticed, StoreKind, Taken, TakeNotices
from ...contract import Doc, Found, Reply, Route
from ...errors import Malformed
from ...event import Method
from ...model import Head, Verb
from .._words import json_reply
from .ids import nothing
from .recordings import Id

RECORDS_MAX = 1000
_CREATED = "ObjectCreated:"
T = TypeVar("T")


class Sent(BaseModel):
    """A part of another vendor's message: members that are not needed are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)


class Bucket(Sent):
    """A bucket."""

    name: str


class Keyed(Sent):
    """An object."""

    key: str


class Stored(Sent):
    """Which object of which bucket."""

    bucket: Bucket
    object: Keyed


class Record(Sent):
    """``s3.object.key`` is URL-encoded, a space being a plus."""

    event: Annotated[str, Field(alias="eventName")]
    s3: Stored


class Records(Sent):
    """An S3 event notification, as S3 hands it to a queue or a function, and MinIO to a webhook."""

    records: Annotated[list[Record], Field(alias="Records", max_length=RECORDS_MAX)]


class TestEvent(Sent):
    """What S3 sends to see whether somebody listens."""

    __test__ = False
    event: Annotated[Literal["s3:TestEvent"], Field(alias="Event")]


class Bridged(Sent):
    """An event of S3's by EventBridge; its key stands as it is."""

    source: Literal["aws.s3"]
    type: Annotated[str, Field(alias="detail-type")]
    detail: Stored


class Attributes(Sent):
    """Of a Pub/Sub message by Cloud Storage; ``objectId`` stands as it is."""

    event: Annotated[str, Field(alias="eventType")]
    bucket: Annotated[str, Field(alias="bucketId")]
    object: Annotated[str, Field(alias="objectId")]


class Message(Sent):
    """A Pub/Sub message; its ``data`` says nothing that the attributes do not."""

    attributes: Attributes


class Pushed(Sent):
    """The body of a Pub/Sub push."""

    message: Message


S3Body = Records | TestEvent | Bridged
_S3: TypeAdapter[S3Body] = TypeAdapter(S3Body)
_GCS = TypeAdapter(Pushed)


class TakenTold(TypedDict):
    """What became of a record. ``reason`` says why, where it failed or was ignored."""

    outcome: Fate
    call_id: Id | None
    reason: str | None


class AllTakenTold(TypedDict):
    """One for each record, in their order."""

    data: list[TakenTold]


def _read(head: Head, form: TypeAdapter[T], what: str) -> T:
    try:
        return form.validate_json(head.body)
    except ValidationError:
        raise Malformed("body", message=f"must be {what}") from None


def _s3(head: Head) -> TakeNotices:
    body = _read(head, _S3, f"an S3 event notification of at most {RECORDS_MAX} records, or its EventBridge form")
    return TakeNotices(StoreKind.S3, _notices(body))


def _notices(body: S3Body) -> list[Noticed]:
    match body:
        case Records(records=records):
            return [
                Noticed(
                    record.s3.bucket.name,
                    unquote_plus(record.s3.object.key),
                    record.event.removeprefix("s3:").startswith(_CREATED),
                )
                for record in records
            ]
        case Bridged(type=kind, detail=detail):
            return [Noticed(detail.bucket.name, detail.object.key, kind == "Object Created")]
        case TestEvent():
            return []


def _gcs(head: Head) -> TakeNotices:
    body = _read(head, _GCS, "a Pub/Sub push of a Cloud Storage notification")
    told = body.message.attributes
    return TakeNotices(StoreKind.GCS, [Noticed(told.bucket, told.object, told.event == "OBJECT_FINALIZE")])


def _told(found: Found) -> Reply:
    assert isinstance(found.done, list)
    taken: list[Taken] = found.done
    told: AllTakenTold = {
        "data": [
            {"outcome": each.fate, "call_id": None if each.call is None else str(each.call), "reason": each.reason}
            for each in taken
        ]
    }
    return json_reply(200, told)


def _route(path: str, ask: Any, summary: str, body: object) -> Route:  # Any: Route says what it takes
    return Route(
        "POST",
        path,
        Verb.ACT,
        frozenset({"recordings:write"}),
        nothing,
        _told,
        ask=ask,
        audited=Method.REGISTRATION,
        doc=Doc(
            summary,
            "An object that a call has registered is looked at anew; else its key names the call, as pipeline.key_pattern"
            " says, which is made if need be. What is not about a new object is ignored. 503 asks to be sent it again.",
            answer=AllTakenTold,
            body=body,
        ),
    )


ROUTES = (
    _route("/v1/events/s3", _s3, "Take an S3 event notification", S3Body),
    _route("/v1/events/gcs", _gcs, "Take a Cloud Storage notification by Pub/Sub push", Pushed),
)
