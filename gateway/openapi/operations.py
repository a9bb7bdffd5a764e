"""A surface's routes as its documents tell of them: the one description that both the OpenAPI document and the prose are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..contract import UUID_FORM, Route, Schema, Surface
from ..model import Verb
from .credentials import Credentials, credentials, path_parameters
from .refusals import WITH_BODY, Worded, worded

HEADS = "HEAD is answered wherever GET is."
"""HEAD is described as an operation of its own for audio only; for JSON this sentence does."""
_WORD = {"type": "string", "minLength": 1}
_CONDITIONS = {
    "If-Match": "Entity-tags, one of which must be the recording's; else 412.",
    "If-None-Match": "Entity-tags already had; 304 where one of them is the recording's.",
    "If-Modified-Since": "An HTTP date; 304 where the recording is no newer. Ignored beside If-None-Match.",
    "If-Unmodified-Since": "An HTTP date; 412 where the recording is newer. Ignored beside If-Match.",
}
_RANGES = {
    "Range": "Bytes wanted, as `bytes=0-65535`, `bytes=65536-`, `bytes=-1000`; several with commas between.",
    "If-Range": "The ETag or Last-Modified of what is had already: where it differs, Range is ignored.",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """``place``: path, query or header."""

    name: str
    place: str
    schema: Schema
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    id: str
    route: Route
    parameters: tuple[Parameter, ...]
    credentials: Credentials
    refusals: tuple[Worded, ...]

    @property
    def summary(self) -> str:
        return self.route.doc.summary or f"{self.route.method} {self.route.path}"

    @property
    def plays(self) -> bool:
        """Whether its success is the audio."""
        return self.route.verb is Verb.PLAY

    @property
    def takes_body(self) -> bool:
        return self.route.method in WITH_BODY and self.route.doc.body is not None

    def by_status(self) -> Mapping[int, list[Worded]]:
        """Status → the refusals that have it."""
        found: dict[int, list[Worded]] = {}
        for refusal in self.refusals:
            found.setdefault(refusal.status, []).append(refusal)
        return found


def operations(surface: Surface) -> tuple[Operation, ...]:
    """In the order of the surface's routes."""
    return tuple(_operation(surface, route) for route in surface.routes)


def _operation(surface: Surface, route: Route) -> Operation:
    allowed = credentials(surface, route)
    return Operation(
        operation_id(route.method, route.path),
        route,
        tuple(_parameters(route, allowed)),
        allowed,
        tuple(worded(surface, route, allowed)),
    )


def operation_id(method: str, path: str) -> str:
    """As ``getV1RecordingsByIdAudio``."""
    words = []
    for segment in path.strip("/").split("/"):
        words += ["by", segment[1:-1]] if segment.startswith("{") else [segment]
    parts = [part for word in words for part in word.replace(".", "_").replace("-", "_").split("_") if part]
    return method.lower() + "".join(part[0].upper() + part[1:] for part in parts)


def _parameters(route: Route, allowed: Credentials) -> Iterator[Parameter]:
    doc = route.doc
    for name in path_parameters(route.path):
        yield _parameter(name, "path", doc.path.get(name, _WORD), required=True)
    for name, schema in doc.query.items():
        yield _parameter(name, "query", schema)
    named = {name.lower() for name in doc.fields}
    for name, schema in doc.fields.items():
        yield _parameter(name, "header", schema)
    if allowed.tenant is not None and allowed.tenant.lower() not in named:
        told = "Names the account; must be the credential's own."
        yield Parameter(allowed.tenant, "header", _WORD, allowed.tenant_required, told)
    if route.verb is Verb.PLAY:
        for name, told in {**_CONDITIONS, **(_RANGES if route.ranges else {})}.items():
            yield Parameter(name, "header", {"type": "string"}, required=False, description=told)


def _parameter(name: str, place: str, schema: Schema, *, required: bool = False) -> Parameter:
    """A parameter of the document; the schema's ``description`` becomes the parameter's."""
    bare = {key: value for key, value in schema.items() if key != "description"}
    if bare.get("format") == "uuid":  # which alone asserts nothing
        bare.setdefault("pattern", f"^{UUID_FORM}$")
    return Parameter(name, place, bare, required, str(schema.get("description", "")))
