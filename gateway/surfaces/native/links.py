"""Links to one call's audio: handed out, played, listed, taken back."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from ...asks.links import LinkInUse, ListLinks, RevokeLink
from ...contract import MEDIA, Doc, Found, Reply, Route
from ...errors import BadRequest, LinkSpent
from ...event import Method
from ...model import BY_LINK, CallRef, Head, LinkAsk, Presented, Verb
from .._bodies import WHOLE, Body, read_body
from .._words import NO_STORE, Timestamp, audio, json_reply, no_content, timestamp
from .ids import PATH, call, nothing, uuid_in
from .recordings import DOWNLOAD, Id, Url, file_name

PLAY_PATH = "/v1/links/{token}/audio"
"""Where a gateway link plays."""

LINK_TTL = timedelta(hours=1)
LINK_TTL_MAX = timedelta(days=7)
USES_MAX = 10_000
"""A bound, because each new playback counts those before it in the table."""
LISTED = 200
"""Links that a listing has at most."""
_DOWNLOAD = frozenset({"recordings:download"})

_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP = r"[0-9a-fA-F]{1,4}"
_IPV6 = "|".join(
    [rf"({_GROUP}:){{7}}{_GROUP}", rf"({_GROUP}:){{1,7}}:", rf":(:{_GROUP}){{1,7}}", "::"]
    + [rf"({_GROUP}:){{1,{before}}}(:{_GROUP}){{1,{7 - before}}}" for before in range(1, 7)]
)
NETWORK = rf"{_BYTE}(\.{_BYTE}){{3}}(/(3[0-2]|[12]?[0-9]))?|({_IPV6})(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?"
"""An address or a network of either family, as RFC 4632 and RFC 4291 write them; no embedded IPv4, no zone."""
_NETWORK = re.compile(NETWORK)


class LinkWanted(Body):
    """``max_uses`` and ``ip_cidr`` are a gateway link's alone: a store's can't be held to them."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"delivery": {"const": "store"}}},
            "then": {"properties": {"max_uses": {"type": "null"}, "ip_cidr": {"type": "null"}}},
        }
    )

    ttl_s: Annotated[
        int,
        Field(ge=1, le=int(LINK_TTL_MAX.total_seconds()), description="seconds that the link is good for"),
        WHOLE,
    ] = int(LINK_TTL.total_seconds())
    delivery: Annotated[
        Literal["store", "gateway"],
        Field(description="store: the store's own signed URL. gateway: audited at each use, and can be revoked"),
    ] = "store"
    max_uses: (
        Annotated[int, Field(ge=1, le=USES_MAX, description="playbacks that the link is good for"), WHOLE] | None
    ) = None
    ip_cidr: (
        Annotated[
            str,
            Field(
                description="address or network that the link is good from",
                json_schema_extra={"pattern": f"^({NETWORK})$"},  # looked at below, and worded for people there
            ),
        ]
        | None
    ) = None

    @field_validator("max_uses", "ip_cidr")
    @classmethod
    def _of_a_gateway_link(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("delivery") == "store":
            raise ValueError('goes with "delivery": "gateway" alone')
        return value

    @field_validator("ip_cidr")
    @classmethod
    def _is_network(cls, value: str | None) -> str | None:
        if value is not None and _NETWORK.fullmatch(value) is None:
            raise ValueError("must be an address or a network, as 192.0.2.7 or 2001:db8::/32")
        return value


class LinkMade(TypedDict):
    """``id``: by which it can be revoked; null: it can't."""

    id: Id | None
    url: Url
    expires_at: Timestamp


class LinkListed(TypedDict):
    """A gateway link without its token. ``uses``: playbacks counted, where ``max_uses`` limits them."""

    id: Id
    created_at: Timestamp
    created_by: str | None
    expires_at: Timestamp
    max_uses: int | None
    uses: int | None
    ip_cidr: str | None


class LinksListed(TypedDict):
    """Newest first."""

    data: list[LinkListed]


def _link_ask(head: Head) -> LinkAsk:
    wanted = read_body(head, LinkWanted)
    return LinkAsk(timedelta(seconds=wanted.ttl_s), wanted.delivery, wanted.max_uses, wanted.ip_cidr)


def _made(found: Found) -> Reply:
    link = found.link
    assert link is not None
    made: LinkMade = {
        "id": None if link.id is None else str(link.id),
        "url": link.url,
        "expires_at": timestamp(link.expires_at),
    }
    return json_reply(201, made)


def _listed(found: Found) -> Reply:
    assert isinstance(found.done, list)
    body: LinksListed = {"data": [_tell(each) for each in found.done]}
    return json_reply(200, body)


def _tell(each: LinkInUse) -> LinkListed:
    link = each.link
    return {
        "id": str(link.id),
        "created_at": timestamp(link.created_at),
        "created_by": link.created_by,
        "expires_at": timestamp(link.expires_at),
        "max_uses": link.max_uses,
        "uses": None if link.max_uses is None else each.uses,
        "ip_cidr": None if link.network is None else str(link.network),
    }


def _presented_link(head: Head) -> Presented:
    """The link is the credential. Raises BadRequest where a second one stands beside it, LinkSpent for a link altered.

    The only parameter is ``download``, once at most.
    """
    if any(field[:7].lower() == "bearer " for field in head.headers.getall("Authorization", [])):
        raise BadRequest("a link and a Bearer credential")
    if len(head.query) > ("download" in head.query):
        raise LinkSpent("link: a parameter twice, or one it does not have")
    return Presented(head.path["token"], link=True)


def play_url(base: str, token: str) -> str:
    """The URL under which the gateway link ``token`` plays, on a native mount at ``base``."""
    return base + PLAY_PATH.format(token=quote(token, safe=""))


ROUTES = (
    Route(
        "POST",
        "/v1/recordings/{id}/links",
        Verb.LINK,
        _DOWNLOAD,
        call,
        _made,
        link=_link_ask,
        disposition=file_name,
        doc=Doc(
            "Make a link to a recording's audio",
            "It plays without any header, as in an audio element. Whoever has it can play it.",
            status=201,
            answer=LinkMade,
            body=LinkWanted,
            path=PATH,
        ),
    ),
    Route(
        "GET",
        "/v1/recordings/{id}/links",
        Verb.ACT,
        _DOWNLOAD,
        call,
        _listed,
        ask=lambda _head: ListLinks(LISTED),
        audited=Method.LIST,
        doc=Doc(
            "List a recording's gateway links",
            f"Those neither over nor revoked, newest first, {LISTED} at most; never their URLs, which are kept nowhere.",
            answer=LinksListed,
            path=PATH,
        ),
    ),
    Route(
        "DELETE",
        "/v1/links/{link_id}",
        Verb.ACT,
        _DOWNLOAD,
        lambda head: CallRef(BY_LINK, str(uuid_in(head, "link_id"))),
        no_content,
        ask=lambda head: RevokeLink(uuid_in(head, "link_id")),
        audited=Method.REVOCATION,
        doc=Doc(
            "Revoke a gateway link",
            "From the next request on it is refused with 410, on every replica. A body under way goes on to its end.",
            status=204,
            path={"link_id": {"type": "string", "format": "uuid"}},
        ),
    ),
    Route(
        "GET",
        PLAY_PATH,
        Verb.PLAY,
        _DOWNLOAD,
        nothing,
        audio(NO_STORE, file_name),
        present=_presented_link,
        doc=Doc(
            "Play a gateway link",
            "Full Range and conditionals. Altered, used up or from elsewhere: 403; over or revoked: 410.",
            media=MEDIA,
            path={"token": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}},
            query=DOWNLOAD,
        ),
    ),
)
