"""Host and path → surface and route. Pure; built once at start, where two mounts that collide are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from urllib.parse import unquote_to_bytes

from ..config import ConfigError
from ..contract import Route, Surface
from ..model import Verb
from ..openapi import Page
from ..values import value

_PARAMETER = "{"
_READING = ("GET", "HEAD")
_REMEMBERED = 1024
_SHORT = 300
"""Characters of a host and a path."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A surface at its place. ``base`` is the public URL of its root, without a slash at the end.

    ``pages``: path → what it tells of itself there. Of several mounts at one place the first has them.
    """

    surface: Surface
    prefix: str
    host: str | None
    base: str
    pages: Mapping[str, Page] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.surface.name} at {self.host or 'any host'}{self.prefix}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of one mount, with every method that it takes: ``routes``, or a ``page``."""

    mounted: Mounted
    template: str
    parameters: tuple[str, ...]
    routes: Mapping[str, Route]
    methods: tuple[str, ...]
    page: Page | None = None

    @property
    def allow(self) -> str:
        """The Allow field: without what is never granted."""
        granted = (method for method in self.methods if not self._refused(method))
        return ", ".join(sorted({*granted, "OPTIONS"}))

    def _refused(self, method: str) -> bool:
        return method in self.routes and self.routes[method].verb is Verb.DELETE


@value
class Match:
    """``endpoint`` None: the mount has no such path. ``mounted`` None: nor has anybody."""

    mounted: Mounted | None
    endpoint: Endpoint | None = None
    path: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    mounted: Mounted | None = None
    endpoint: Endpoint | None = None

    def child(self, segment: str) -> _Node:
        if segment.startswith(_PARAMETER):
            self.parameter = self.parameter or _Node()
            return self.parameter
        return self.children.setdefault(segment, _Node())


class Router:
    """A tree of path segments per host. Raises ConfigError where two mounts claim the same path on the same host."""

    def __init__(self, mounts: Sequence[Mounted]) -> None:
        self._hosts: dict[str | None, _Node] = {}
        for host in {m.host for m in mounts}:
            here = [m for m in mounts if m.host == host]
            _refuse_collisions(here)
            root = self._hosts[host] = _Node()
            for mounted in here:
                _plant(root, mounted)
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._match)
        self.fallback = next((m.surface for m in mounts if m.surface.name == "native"), mounts[0].surface)
        """Words a refusal that no mount claims."""

    def match(self, host: str, path: str) -> Match:
        """``host`` as in the Host field, ``path`` raw, without its query. A mount that names the host goes first."""
        # A player asks for one path again and again; what is longer than any id makes it could only fill the memory.
        return (self._remembered if len(host) + len(path) <= _SHORT else self._match)(host, path)

    def _match(self, host: str, path: str) -> Match:
        root = self._hosts.get(_bare(host)) or self._hosts.get(None)
        if root is None:
            return Match(None)
        node, mounted, values = root, root.mounted, []
        for segment in _segments(path):
            following = node.children.get(segment)
            if following is None:
                following = node.parameter if segment else None
                if following is None:
                    return Match(mounted)
                values.append(_decoded(segment))
            node = following
            mounted = node.mounted or mounted
        endpoint = node.endpoint
        if endpoint is None:
            return Match(mounted)
        return Match(endpoint.mounted, endpoint, dict(zip(endpoint.parameters, values, strict=True)))


def _plant(root: _Node, mounted: Mounted) -> None:
    node = root
    for segment in _segments(mounted.prefix.rstrip("/") or "/"):
        node = node.child(segment)
    node.mounted = node.mounted or mounted
    place = mounted.prefix.rstrip("/")
    by_path: dict[str, dict[str, Route]] = {}
    for route in mounted.surface.routes:
        by_path.setdefault(route.path, {})[route.method] = route
    for template, routes in by_path.items():
        leaf = node
        names = []
        for segment in _segments(template):
            leaf = leaf.child(segment)
            if segment.startswith(_PARAMETER):
                names.append(segment[1:-1])
        if "GET" in routes:
            routes.setdefault("HEAD", routes["GET"])
        leaf.endpoint = Endpoint(mounted, place + template, tuple(names), routes, tuple(routes))
    for path, page in mounted.pages.items():
        leaf = node
        for segment in _segments(path):
            leaf = leaf.child(segment)
        leaf.endpoint = leaf.endpoint or Endpoint(mounted, place + path, (), {}, _READING, page)


def _refuse_collisions(mounts: Iterable[Mounted]) -> None:
    problems = []
    for one, other in combinations(mounts, 2):
        clash = next((a for a in _templates(one) for b in _templates(other) if _overlap(a, b)), None)
        if clash is not None:
            problems.append(
                f"mounts: {one} and {other} both claim {'/' + '/'.join(clash)}; give one of them another prefix or host"
            )
    if problems:
        raise ConfigError(problems)


def _templates(mounted: Mounted) -> list[list[str]]:
    prefix = _segments(mounted.prefix.rstrip("/") or "/")
    return [prefix + _segments(route.path) for route in mounted.surface.routes]


def _overlap(a: list[str], b: list[str]) -> bool:
    return len(a) == len(b) and all(
        x == y or x.startswith(_PARAMETER) or y.startswith(_PARAMETER) for x, y in zip(a, b, strict=True)
    )


def _segments(path: str) -> list[str]:
    return [] if path == "/" else path.split("/")[1:]


def _decoded(segment: str) -> str:
    """Percent-decoded; what is not UTF-8 becomes U+FFFD, which no id's form admits."""
    return unquote_to_bytes(segment).decode("utf-8", "replace") if "%" in segment else segment


def _bare(host: str) -> str:
    """Lower-case, without port or a dot at the end."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].rstrip(".").lower()
