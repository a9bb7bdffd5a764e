"""The mounts as configured: which surface stands where, and what each tells of itself. What nobody could be served by is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

from .config import Config, ConfigError, Mount
from .contract import Surface
from .edge.router import Mounted, Router
from .issuing import SCOPES
from .model import Verb
from .openapi import Page, Place, pages
from .surfaces import SURFACES


def router(config: Config) -> Router:
    """The mounts as configured. Raises ConfigError where two of them collide, or a role or a scope is none there is."""
    _refuse_unknown_roles(config)
    _refuse_unknown_scopes(config)
    surfaces = [_as_mounted(mount) for mount in config.mounts]
    places = [
        Place(surface.name, surface.about, config.public_url(mount))
        for mount, surface in zip(config.mounts, surfaces, strict=True)
    ]
    return Router(
        [
            Mounted(surface, mount.prefix, mount.host, place.base, _pages(surface, place, places))
            for mount, surface, place in zip(config.mounts, surfaces, places, strict=True)
        ]
    )


def _refuse_unknown_roles(config: Config) -> None:
    """A route whose role nobody can have would refuse everybody, for ever."""
    problems = []
    for surface in sorted({mount.surface for mount in config.mounts}):
        asked = {route.role for route in SURFACES[surface].routes if route.role is not None}
        if missing := sorted(asked - set(config.identity.roles)):
            problems.append(
                f"identity.roles: {surface} asks for {', '.join(missing)}, not in the list; add what is missing, or mount no {surface}"
            )
    if problems:
        raise ConfigError(problems)


def _refuse_unknown_scopes(config: Config) -> None:
    """One that no route asks for would permit nothing."""
    if problems := [
        f"identity.issuers.{number}.scopes: no scope is called {scope!r}; there are {', '.join(SCOPES)}"
        for number, issuer in enumerate(config.identity.issuers)
        for scope in issuer.scopes
        if scope not in SCOPES
    ]:
        raise ConfigError(problems)


def _pages(surface: Surface, here: Place, places: Sequence[Place]) -> Mapping[str, Page]:
    """What ``surface`` tells of itself ``here``; the native one tells of the others too."""
    elsewhere = [place for place in places if place.name == surface.name and place != here]
    others = {place.name: place for place in reversed(places) if place.name != surface.name}
    told = [*reversed(others.values())] if surface.name == "native" else []
    return pages(surface, [here, *elsewhere], told, version=version("recording-gateway"))


def _as_mounted(mount: Mount) -> Surface:
    """The surface as this mount's settings have it."""
    surface = SURFACES[mount.surface]
    if mount.ranges is None:
        return surface
    ranges = mount.ranges
    return replace(
        surface, routes=tuple(replace(r, ranges=ranges) if r.verb is Verb.PLAY else r for r in surface.routes)
    )
