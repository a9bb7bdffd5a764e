"""Endpoints that are told when a recording becomes fetchable, and the log of what was delivered to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from ...asks.webhooks import (
    ChangeEndpoint,
    CreateEndpoint,
    DeleteEndpoint,
    Deliveries,
    Delivery,
    DeliveryState,
    Endpoint,
    ListDeliveries,
    ListEndpoints,
    OffReason,
    PingEndpoint,
    Redeliver,
    RotateSecret,
    Secreted,
    ShowEndpoint,
)
from ...contract import Doc, Found, Reply, Route, Schema
from ...event import Method
from ...model import Head, Verb
from .._bodies import WHOLE, Body, read_body
from .._words import NO_STORE, Timestamp, json_reply, timestamp
from .ids import nothing, uuid_in
from .parameters import CURSOR, LIMIT, next_page, one_of, read_query, schemas

_MANAGE = frozenset({"webhooks:manage"})
_OVERLAP_MAX_S = 604_800

Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$",
        description="where events are sent: https, at public addresses alone",
        json_schema_extra={"format": "uri", "examples": ["https://hooks.example.com/recordings"]},
    ),
]
Description = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1F\x7F]*$", description="for people")]
Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


class NewWebhook(Body):
    """An endpoint to be told of events."""

    url: Url
    description: Description = ""


class WebhookChange(Body):
    """What is left out stays as it is."""

    url: Url | None = None
    description: Description | None = None
    enabled: Annotated[
        bool | None, Field(description="false drops what is pending; true begins with what happens from then on")
    ] = None


class Rotation(Body):
    """How the old secret goes."""

    overlap_s: Annotated[
        int | None,
        Field(ge=0, le=_OVERLAP_MAX_S, description="seconds for which the old secret signs as well; 0: not at all"),
        WHOLE,
    ] = None


class WebhookTold(TypedDict):
    """An endpoint, without its secret."""

    id: Id
    url: str
    description: str
    enabled: bool
    disabled_reason: Annotated[OffReason | None, Field(description="gone: it answered 410; failing: for days")]
    failing_since: Annotated[Timestamp | None, Field(description="the first failure since it last took an event")]
    former_secret_until: Annotated[Timestamp | None, Field(description="until when the old secret signs as well")]
    created_at: Timestamp
    updated_at: Timestamp


class WebhooksTold(TypedDict):
    """All of the account's, oldest first."""

    data: list[WebhookTold]


class SecretTold(WebhookTold):
    """With its secret, which is shown this once."""

    secret: Annotated[str, Field(pattern=r"^whsec_[A-Za-z0-9+/]+=*$")]


class AttemptTold(TypedDict):
    """One try. A number that is missing was cut off by the end of its process."""

    number: int
    at: Timestamp
    took_ms: int
    status: Annotated[int | None, Field(description="null: there was no answer")]
    error: Annotated[str | None, Field(description="one of a few words; null: it was taken")]


class DeliveryTold(TypedDict):
    """One event on its way to one endpoint."""

    id: Id
    webhook_id: Annotated[str, Field(description="the header of that name, the same at every try")]
    type: str
    call_id: Annotated[Id | None, Field(description="the call that the event is about")]
    state: Literal["pending", "delivered", "failed", "dropped"]
    next_attempt_at: Timestamp | None
    created_at: Timestamp
    settled_at: Timestamp | None
    attempts: list[AttemptTold]


class DeliveriesTold(TypedDict):
    """A page of the log, newest first."""

    data: list[DeliveryTold]
    next_cursor: str | None
    links: Mapping[str, str]


_LOG = {
    "limit": LIMIT,
    "cursor": CURSOR,
    "state": one_of(DeliveryState, "Only deliveries in this state."),
}


def _create(head: Head) -> CreateEndpoint:
    asked = read_body(head, NewWebhook)
    return CreateEndpoint(asked.url, asked.description)


def _change(head: Head) -> ChangeEndpoint:
    asked = read_body(head, WebhookChange)
    return ChangeEndpoint(uuid_in(head, "id"), asked.url, asked.description, asked.enabled)


def _deliveries(head: Head) -> ListDeliveries:
    asked = read_query(head, _LOG)
    return ListDeliveries(
        uuid_in(head, "id"), limit=asked.get("limit", 50), cursor=asked.get("cursor"), state=asked.get("state")
    )


def _told(endpoint: Endpoint) -> WebhookTold:
    return {
        "id": str(endpoint.id),
        "url": endpoint.url,
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": timestamp(endpoint.failing_since),
        "former_secret_until": timestamp(endpoint.former_until),
        "created_at": timestamp(endpoint.created_at),
        "updated_at": timestamp(endpoint.updated_at),
    }


def _delivery_told(delivery: Delivery) -> DeliveryTold:
    return {
        "id": str(delivery.id),
        "webhook_id": str(delivery.event),
        "type": delivery.type,
        "call_id": None if delivery.call is None else str(delivery.call),
        "state": delivery.state.value,
        "next_attempt_at": timestamp(delivery.next_attempt_at),
        "created_at": timestamp(delivery.created_at),
        "settled_at": timestamp(delivery.settled_at),
        "attempts": [
            {
                "number": attempt.number,
                "at": timestamp(attempt.at),
                "took_ms": attempt.took_ms,
                "status": attempt.status,
                "error": attempt.error,
            }
            for attempt in delivery.attempts
        ],
    }


def _one(found: Found) -> Reply:
    assert isinstance(found.done, Endpoint)
    return json_reply(200, _told(found.done))


def _all(found: Found) -> Reply:
    assert isinstance(found.done, Sequence)
    told: WebhooksTold = {"data": [_told(endpoint) for endpoint in found.done]}
    return json_reply(200, told)


def _secret(found: Found, status: int = 200, **headers: str) -> Reply:
    assert isinstance(found.done, Secreted)
    told: SecretTold = {**_told(found.done.endpoint), "secret": found.done.secret}
    return json_reply(status, told, **headers)


def _created(found: Found) -> Reply:
    assert isinstance(found.done, Secreted)
    return _secret(found, 201, Location=f"{found.base}/v1/webhooks/{found.done.endpoint.id}")


def _queued(found: Found) -> Reply:
    assert isinstance(found.done, Delivery)
    return json_reply(202, _delivery_told(found.done))


def _page(found: Found) -> Reply:
    assert isinstance(found.done, Deliveries)
    cursor = found.done.cursor
    path = f"/v1/webhooks/{found.head.path['id']}/deliveries"
    told: DeliveriesTold = {
        "data": [_delivery_told(delivery) for delivery in found.done.deliveries],
        "next_cursor": cursor,
        "links": {} if cursor is None else {"next": next_page(found, path, cursor)},
    }
    return json_reply(200, told)


def _nothing(_found: Found) -> Reply:
    return Reply(204, {"Cache-Control": NO_STORE})


_UUID: Schema = {"type": "string", "format": "uuid"}
_PATH: Mapping[str, Schema] = {"id": _UUID}


def _route(method: str, path: str, render: Callable[[Found], Reply], ask: Callable[[Head], object], doc: Doc) -> Route:
    return Route(method, path, Verb.ACT, _MANAGE, nothing, render, ask=ask, audited=Method.WEBHOOKS, doc=doc)


ROUTES = (
    _route(
        "POST",
        "/v1/webhooks",
        _created,
        _create,
        Doc(
            "Make a webhook",
            "Its secret is in this answer and never shown again.",
            status=201,
            answer=SecretTold,
            body=NewWebhook,
        ),
    ),
    _route(
        "GET",
        "/v1/webhooks",
        _all,
        lambda _head: ListEndpoints(),
        Doc("List webhooks", answer=WebhooksTold),
    ),
    _route(
        "GET",
        "/v1/webhooks/{id}",
        _one,
        lambda head: ShowEndpoint(uuid_in(head, "id")),
        Doc("Get a webhook", answer=WebhookTold, path=_PATH),
    ),
    _route(
        "PATCH",
        "/v1/webhooks/{id}",
        _one,
        _change,
        Doc("Change a webhook, or switch it on or off", answer=WebhookTold, body=WebhookChange, path=_PATH),
    ),
    _route(
        "DELETE",
        "/v1/webhooks/{id}",
        _nothing,
        lambda head: DeleteEndpoint(uuid_in(head, "id")),
        Doc("Delete a webhook", "What is pending is dropped.", status=204, path=_PATH),
    ),
    _route(
        "POST",
        "/v1/webhooks/{id}/rotate",
        _secret,
        lambda head: RotateSecret(uuid_in(head, "id"), read_body(head, Rotation).overlap_s),
        Doc(
            "Rotate a webhook's secret",
            "Until the old secret's time is over, every event carries a signature by each of the two.",
            answer=SecretTold,
            body=Rotation,
            path=_PATH,
        ),
    ),
    _route(
        "POST",
        "/v1/webhooks/{id}/ping",
        _queued,
        lambda head: PingEndpoint(uuid_in(head, "id")),
        Doc(
            "Send a test event",
            "A `webhook.ping` goes the way of every event; the log tells what became of it.",
            status=202,
            answer=DeliveryTold,
            path=_PATH,
        ),
    ),
    _route(
        "GET",
        "/v1/webhooks/{id}/deliveries",
        _page,
        _deliveries,
        Doc("List a webhook's deliveries", answer=DeliveriesTold, path=_PATH, query=schemas(_LOG)),
    ),
    _route(
        "POST",
        "/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver",
        _queued,
        lambda head: Redeliver(uuid_in(head, "id"), uuid_in(head, "delivery_id")),
        Doc(
            "Deliver an event again",
            "On the schedule from its beginning, under the same `webhook-id`; whatever became of it before.",
            status=202,
            answer=DeliveryTold,
            path={**_PATH, "delivery_id": _UUID},
        ),
    ),
)
