"""The log of what was delivered to an endpoint: looking into it, and sending again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from ...asks.webhooks import Deliveries, Delivery, DeliveryState, ListDeliveries, PingEndpoint, Redeliver
from ...contract import Doc, Found, Reply
from ...model import Head
from .._words import Timestamp, json_reply, timestamp
from .ids import uuid_in
from .parameters import CURSOR, LIMIT, next_page, one_of, read_query, schemas
from .recordings import Id, NextPage
from .webhooks import PATH, UUID, route


class AttemptTold(TypedDict):
    """One try. Where a number is missing, the process ended during that try."""

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
    links: NextPage


_LOG = {
    "limit": LIMIT,
    "cursor": CURSOR,
    "state": one_of(DeliveryState, "Only deliveries in this state."),
}


def _deliveries(head: Head) -> ListDeliveries:
    asked = read_query(head, _LOG)
    return ListDeliveries(
        uuid_in(head, "id"), limit=asked.get("limit", 50), cursor=asked.get("cursor"), state=asked.get("state")
    )


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


ROUTES = (
    route(
        "POST",
        "/v1/webhooks/{id}/ping",
        _queued,
        lambda head: PingEndpoint(uuid_in(head, "id")),
        Doc(
            "Send a test event",
            "A `webhook.ping` goes the way of every event; the log tells what became of it.",
            conflicts=("webhook_off",),
            status=202,
            answer=DeliveryTold,
            path=PATH,
        ),
    ),
    route(
        "GET",
        "/v1/webhooks/{id}/deliveries",
        _page,
        _deliveries,
        Doc("List a webhook's deliveries", answer=DeliveriesTold, path=PATH, query=schemas(_LOG)),
    ),
    route(
        "POST",
        "/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver",
        _queued,
        lambda head: Redeliver(uuid_in(head, "id"), uuid_in(head, "delivery_id")),
        Doc(
            "Deliver an event again",
            "On the schedule from its beginning, under the same `webhook-id`; whatever became of it before.",
            conflicts=("webhook_off",),
            status=202,
            answer=DeliveryTold,
            path={**PATH, "delivery_id": UUID},
        ),
    ),
)
