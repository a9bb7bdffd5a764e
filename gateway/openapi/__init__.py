"""What a surface tells of itself: ``/openapi.json``, ``/llms.txt`` and ``/llms-full.txt``, made of the data its routes are. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from ..contract import Surface
from .document import document
from .operations import operations
from .prose import Place, index, whole

__all__ = ["PATHS", "Page", "Place", "pages"]

PATHS = ("/openapi.json", "/llms.txt", "/llms-full.txt")
"""Where the pages stand on every mount."""
_MARKDOWN = "text/markdown; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """A document that is the same for everybody."""

    media_type: str
    body: bytes


def pages(surface: Surface, places: Sequence[Place], others: Sequence[Place], *, version: str) -> Mapping[str, Page]:
    """Path → page. ``places``: where the surface stands, the page's own place first; ``others``: other surfaces to tell of."""
    told = operations(surface)
    described = document(surface, told, version=version)
    here = places[0].base
    complete = {
        **{key: described[key] for key in ("openapi", "info", "jsonSchemaDialect")},
        "servers": [{"url": url or "/"} for url in dict.fromkeys(place.base for place in places)],
        **described,
    }
    if others:
        complete["x-surfaces"] = [
            {"name": place.name, "url": place.base, "openapi": f"{place.base}/openapi.json", "description": place.about}
            for place in others
        ]
    return {
        "/openapi.json": Page("application/json", orjson.dumps(complete)),
        "/llms.txt": Page(_MARKDOWN, index(surface, told, here, others).encode()),
        "/llms-full.txt": Page(_MARKDOWN, whole(surface, told, described, here).encode()),
    }
