"""Places of objects, and which places are the same object under different stores' names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from ..config import AnyStore, DiskStore, GcsStore, S3Store

Place = tuple[str, str]
"""(store, key)"""

Alike = Callable[[Place], Collection[Place]]
"""All places that mean the same object as the given one, which is among them."""

_VENDORS: Final = {".amazonaws.com": "s3", ".amazonaws.com.cn": "s3", ".googleapis.com": "gcs"}
_USUAL: Final = {None, 80, 443}


def alike(stores: Mapping[str, AnyStore]) -> Alike:
    """Stores with the same bucket hold the same objects; folders overlap where one is the other, or lies within it."""
    roots = {
        name: f"{store.root.resolve()}".rstrip("/") + "/"
        for name, store in stores.items()
        if isinstance(store, DiskStore)
    }
    buckets = {
        name: (_server(store), store.bucket) for name, store in stores.items() if not isinstance(store, DiskStore)
    }

    def places(place: Place) -> set[Place]:
        name, key = place
        path = roots[name] + key if name in roots else None
        found = {place}
        if path is not None:
            found |= {(other, path.removeprefix(root)) for other, root in roots.items() if path.startswith(root)}
        if name in buckets:
            found |= {(other, key) for other, bucket in buckets.items() if bucket == buckets[name]}
        return found

    return places


def _server(store: S3Store | GcsStore) -> str:
    """The same word for every spelling of one endpoint. Taken for two servers, an object that two recordings share would be deleted."""
    if store.endpoint is None:
        return store.kind
    parts = urlsplit(store.endpoint)
    host = (parts.hostname or "").rstrip(".")
    vendor = next((kind for suffix, kind in _VENDORS.items() if f".{host}".endswith(suffix)), None)
    return vendor or (host if parts.port in _USUAL else f"{host}:{parts.port}")
