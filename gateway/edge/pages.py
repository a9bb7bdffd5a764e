"""What the gateway tells of itself: the same for everybody, without a credential and without an audit event."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from functools import cache

import structlog

from ..contract import Reply, Surface
from ..errors import Internal, Refusal
from ..http.preconditions import plan
from ..model import Head, Stat
from ..openapi import Page

log = structlog.get_logger("gateway.request")

_KEPT = "public, max-age=300"
_BEGUN = datetime.now(UTC)
"""What pages tell is settled at start."""


async def page_reply(page: Page, surface: Surface, head: Head) -> Reply:
    """200, 304 or 412, as the request's conditions have it; 500 where the page cannot be made."""
    try:
        body = await asyncio.to_thread(page.body)  # which may be about to make it
    except Exception:
        log.exception("defect", request_id=head.request_id, surface=surface.name)
        return surface.refuse(Internal(), head)
    etag = _etag(body)
    stat = Stat(len(body), etag, etag, _BEGUN)
    try:
        planned = plan(head.method, head.headers, stat, media_type=page.media_type, ranges=False)
    except Refusal as refusal:
        return surface.refuse(refusal, head)
    fields = {**planned.headers, "Cache-Control": _KEPT, "X-Content-Type-Options": "nosniff"}
    if planned.span is None:
        return Reply(planned.status, fields)
    return Reply(planned.status, fields | {"Content-Type": page.media_type}, body)


@cache
def _etag(body: bytes) -> str:
    """Cached without bound: there are a few pages for each mount."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
