"""Where objects lie, and which names of it mean the same object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ..config import AnyStore, DiskStore

Place = tuple[str, str]
"""(store, key)"""

Alike = Callable[[Place], Collection[Place]]
"""All places that mean the same object as the given one, which is among them."""


def alike(stores: Mapping[str, AnyStore]) -> Alike:
    """Stores with the same bucket hold the same objects; folders overlap where one is the other, or lies within it."""
    roots = {
        name: f"{store.root.resolve()}".rstrip("/") + "/"
        for name, store in stores.items()
        if isinstance(store, DiskStore)
    }
    buckets = {
        name: (store.kind, store.endpoint, store.bucket)
        for name, store in stores.items()
        if not isinstance(store, DiskStore)
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
