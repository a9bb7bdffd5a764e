"""A bounded memory of answers, each with tags: a change drops every answer that carries its tag."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Held(Generic[V]):
    """An answer, when it was asked for (by its user's clock), and tags of what it depends on; the first tag is what it is about."""

    value: V
    asked_at: float
    tags: tuple[str, ...]


class Memory(Generic[K, V]):
    """At most ``size`` answers; the least recently used goes first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[K, Held[V]] = OrderedDict()
        self._tagged: dict[str, set[K]] = {}
        self.changes = 0
        """Counts up whenever an answer comes or goes."""

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> Held[V] | None:
        """Counts as a use."""
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
        return held

    def put(self, key: K, held: Held[V]) -> None:
        """Remembers ``held``. An equal value with the same first tag is shared: a call may be asked for by each of its ids."""
        self.pop(key)
        for tag in held.tags[:1]:
            twin = next(iter(self._tagged.get(tag, ())), None)
            if twin is not None and (known := self._held[twin].value) == held.value:
                held = Held(known, held.asked_at, held.tags)
        if len(self._held) >= self._size:
            self.pop(next(iter(self._held)))
        self._held[key] = held
        self.changes += 1
        for tag in held.tags:
            self._tagged.setdefault(tag, set()).add(key)

    def pop(self, key: K) -> None:
        """Forgets ``key``, if it is held."""
        held = self._held.pop(key, None)
        if held is None:
            return
        self.changes += 1
        for tag in held.tags:
            keys = self._tagged[tag]
            keys.discard(key)
            if not keys:
                del self._tagged[tag]

    def drop(self, tag: str) -> None:
        """Forgets whatever carries ``tag``."""
        for key in tuple(self._tagged.get(tag, ())):
            self.pop(key)

    def clear(self) -> None:
        self.changes += 1
        self._held.clear()
        self._tagged.clear()
