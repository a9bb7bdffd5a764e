"""The gateway's own surface: stable audio URLs, metadata, listing, links. Errors are RFC 9457 problem details.

An id is a call's internal UUID, or any alias as ``{surface}:{external id}``.
"""

from __future__ import annotations

from ...contract import Surface
from .._words import bearer, refuser
from . import audit, batch, deliveries, events, holds, links, pipeline, recordings, tenants, transcripts, webhooks
from .links import play_url
from .words import WORDS, problem

__all__ = ["SURFACE", "play_url"]

SURFACE = Surface(
    name="native",
    about=(
        "The gateway's own API: stable audio URLs, metadata, search, links, the audit, webhooks and the upload pipeline."
        " An id is a call's UUID, or any of its aliases as surface:external-id."
    ),
    present=bearer,
    refuse=refuser(WORDS, problem, media_type="application/problem+json"),
    routes=(
        *recordings.ROUTES,
        *links.ROUTES,
        *transcripts.ROUTES,
        *batch.ROUTES,
        *audit.ROUTES,
        *holds.ROUTES,
        *pipeline.ROUTES,
        *events.ROUTES,
        *tenants.ROUTES,
        *webhooks.ROUTES,
        *deliveries.ROUTES,
    ),
)
