"""What a surface tells of itself: ``/openapi.json``, ``/llms.txt`` and ``/llms-full.txt``, made of the data its routes are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import orjson

from ..contract import Surface
from .document import document
from .operations import operations
from .prose import Place, index, whole
from .schemas import Json

__all__ = ["PATHS", "Page", "Place", "pages"]

_MARKDOWN = "text/markdown; charset=utf-8"
_MEDIA_TYPES = {"/openapi.json": "application/json", "/llms.txt": _MARKDOWN, "/llms-full.txt": _MARKDOWN}
PATHS = tuple(_MEDIA_TYPES)
"""Where the pages stand on every mount."""


@dataclass(frozen=True, slots=True)
class Page:
    """A document that is the same for everybody. ``body`` makes it when it is first asked for, in tens of milliseconds, and keeps it."""

    media_type: str
    body: Callable[[], bytes]


def pages(surface: Surface, places: Sequence[Place], others: Sequence[Place], *, version: str) -> Mapping[str, Page]:
    """Path → page. ``places``: where the surface stands, the page's own place first; ``others``: other surfaces to tell of."""
    here = places[0].base
    told = cache(lambda: operations(surface))
    described = cache(lambda: document(surface, told(), version=version))
    makers = {
        "/openapi.json": lambda: _complete(described(), places, others),
        "/llms.txt": lambda: index(surface, told(), here, others).encode(),
        "/llms-full.txt": lambda: whole(surface, told(), described(), here).encode(),
    }
    return {path: Page(_MEDIA_TYPES[path], cache(maker)) for path, maker in makers.items()}


def _complete(described: Json, places: Sequence[Place], others: Sequence[Place]) -> bytes:
    opening = {key: described[key] for key in ("openapi", "info", "jsonSchemaDialect")}
    servers = [{"url": url or "/"} for url in dict.fromkeys(place.base for place in places)]
    beside = {"x-surfaces": [_told_of(place) for place in others]} if others else {}
    return orjson.dumps({**opening, "servers": servers, **described, **beside})


def _told_of(place: Place) -> Json:
    return {"name": place.name, "url": place.base, "openapi": f"{place.base}/openapi.json", "description": place.about}
