"""Links to one call's audio, and where a gateway link plays."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import orjson

from ...contract import Found, Reply, Route
from ...errors import BadRequest, Malformed
from ...model import Head, LinkAsk, Presented, Verb
from .._words import NO_STORE, audio, json_reply, timestamp
from .ids import call, nothing
from .recordings import file_name

PLAY_PATH = "/v1/links/{token}/audio"
"""Where a gateway link plays."""

LINK_TTL = timedelta(hours=1)
LINK_TTL_MAX = timedelta(days=7)


def _link_ask(head: Head) -> LinkAsk:
    """Reads ``{"ttl_s": int, "delivery": "store" | "gateway"}``; both may be left out."""
    try:
        asked = orjson.loads(head.body) if head.body else {}
    except orjson.JSONDecodeError:
        raise Malformed("body", message="must be JSON") from None
    if not isinstance(asked, dict):
        raise Malformed("body", message="must be a JSON object")
    if not asked.keys() <= {"ttl_s", "delivery"}:
        raise Malformed("body", message="the members are ttl_s and delivery")
    ttl, delivery = asked.get("ttl_s", int(LINK_TTL.total_seconds())), asked.get("delivery", "store")
    if type(ttl) is not int or not 1 <= ttl <= LINK_TTL_MAX.total_seconds():
        raise Malformed("body", "ttl_s", message=f"must be a number from 1 to {int(LINK_TTL_MAX.total_seconds())}")
    if delivery not in {"store", "gateway"}:
        raise Malformed("body", "delivery", message='must be "store" or "gateway"')
    return LinkAsk(timedelta(seconds=ttl), delivery)


def _link(found: Found) -> Reply:
    assert found.link is not None
    return json_reply(201, {"url": found.link.url, "expires_at": timestamp(found.link.expires_at)})


def _presented_link(head: Head) -> Presented:
    """The link is the credential. Raises BadRequest where a second one stands beside it."""
    if any(field[:7].lower() == "bearer " for field in head.headers.getall("Authorization", [])):
        raise BadRequest("a link and a Bearer credential")
    return Presented(head.path["token"], link=True)


def play_url(base: str, token: str) -> str:
    """The URL under which the gateway link ``token`` plays, on a native mount at ``base``."""
    return base + PLAY_PATH.format(token=quote(token, safe=""))


ROUTES = (
    Route(
        "POST",
        "/v1/recordings/{id}/links",
        Verb.LINK,
        frozenset({"recordings:download"}),
        call,
        _link,
        link=_link_ask,
        disposition=file_name,
    ),
    Route(
        "GET",
        PLAY_PATH,
        Verb.PLAY,
        frozenset({"recordings:download"}),
        nothing,
        audio(NO_STORE, file_name),
        present=_presented_link,
    ),
)
