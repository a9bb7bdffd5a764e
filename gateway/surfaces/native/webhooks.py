"""Endpoints that are told when a recording becomes fetchable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...asks.webhooks import (
    OVERLAP_MAX_S,
    ChangeEndpoint,
    CreateEndpoint,
    DeleteEndpoint,
    Endpoint,
    ListEndpoints,
    OffReason,
    RotateSecret,
    Secreted,
    ShowEndpoint,
)
from ...contract import Doc, Found, Reply, Route, Schema
from ...event import Method
from ...model import Head, Verb
from .._bodies import WHOLE, Body, read_body
from .._words import Timestamp, json_reply, no_content, timestamp
from .ids import nothing, uuid_in
from .recordings import Id

_MANAGE = frozenset({"webhooks:manage"})

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
        Field(ge=0, le=OVERLAP_MAX_S, description="seconds for which the old secret signs as well; 0: not at all"),
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


def _create(head: Head) -> CreateEndpoint:
    asked = read_body(head, NewWebhook)
    return CreateEndpoint(asked.url, asked.description)


def _change(head: Head) -> ChangeEndpoint:
    asked = read_body(head, WebhookChange)
    return ChangeEndpoint(uuid_in(head, "id"), asked.url, asked.description, asked.enabled)


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


UUID: Schema = {"type": "string", "format": "uuid"}
PATH: Mapping[str, Schema] = {"id": UUID}


def route(method: str, path: str, render: Callable[[Found], Reply], ask: Callable[[Head], object], doc: Doc) -> Route:
    """One of webhooks' routes: all of them ask for one scope, and are audited alike."""
    return Route(method, path, Verb.ACT, _MANAGE, nothing, render, ask=ask, audited=Method.WEBHOOKS, doc=doc)


ROUTES = (
    route(
        "POST",
        "/v1/webhooks",
        _created,
        _create,
        Doc(
            "Make a webhook",
            "Its secret is in this answer and never shown again.",
            conflicts=("too_many_webhooks",),
            status=201,
            given={201: ("Location",)},
            answer=SecretTold,
            body=NewWebhook,
        ),
    ),
    route(
        "GET",
        "/v1/webhooks",
        _all,
        lambda _head: ListEndpoints(),
        Doc("List webhooks", answer=WebhooksTold),
    ),
    route(
        "GET",
        "/v1/webhooks/{id}",
        _one,
        lambda head: ShowEndpoint(uuid_in(head, "id")),
        Doc("Get a webhook", answer=WebhookTold, path=PATH),
    ),
    route(
        "PATCH",
        "/v1/webhooks/{id}",
        _one,
        _change,
        Doc("Change a webhook, or switch it on or off", answer=WebhookTold, body=WebhookChange, path=PATH),
    ),
    route(
        "DELETE",
        "/v1/webhooks/{id}",
        no_content,
        lambda head: DeleteEndpoint(uuid_in(head, "id")),
        Doc("Delete a webhook", "What is pending is dropped.", status=204, path=PATH),
    ),
    route(
        "POST",
        "/v1/webhooks/{id}/rotate",
        _secret,
        lambda head: RotateSecret(uuid_in(head, "id"), read_body(head, Rotation).overlap_s),
        Doc(
            "Rotate a webhook's secret",
            "Until the old secret's time is over, every event carries a signature by each of the two.",
            answer=SecretTold,
            body=Rotation,
            path=PATH,
        ),
    ),
)
