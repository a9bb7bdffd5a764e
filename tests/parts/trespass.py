"""Random requests to every route there is: other people's ids, credentials of every kind, odd fields."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from gateway.contract import Route, Surface
from gateway.model import State, Verb

from .population import Owner, Population, Shown
from .rights import TENANT_FIELDS, Case, Target

_ODD: tuple[tuple[tuple[str, str], ...], ...] = (
    *[()] * 10,
    (("Range", "bytes=0-99"),),
    (("Range", "bytes=-40"),),
    (("Range", "bytes=0-19,100-139"),),
    (("Range", "bytes=99999999-"),),
    (("If-None-Match", "*"),),
    (("If-Match", '"x"'),),
    (("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"), ("Range", "bytes=0-9")),
    (("Range", "bytes=0-99"), ("If-Range", '"x"')),
    (("Origin", "https://app.example.com"),),
    (("X-HTTP-Method-Override", "DELETE"), ("X-Original-URL", "/v1/recordings")),
    (("X-Forwarded-For", "10.1.2.3"), ("X-Real-IP", "10.1.2.3")),
    (("Accept", "text/html"), ("Accept-Encoding", "gzip")),
)
_MISSING = "5eb1{:04x}-0000-4{:03x}-8{:03x}-{:012x}"
_MALFORMED = ("not an id", "..", "%", "é", "x" * 300, "'; --", "00000000-0000-4000-8000-00000000000!", "a:b:c")


@dataclass
class Trespasser:
    """Makes requests up. ``chance`` decides everything."""

    people: Population
    surfaces: Sequence[Surface]
    chance: random.Random
    _routes: list[tuple[Surface, Route]] = field(init=False)

    def __post_init__(self) -> None:
        self._routes = [(surface, route) for surface in self.surfaces for route in surface.routes]

    def case(self) -> Case:
        chance = self.chance
        surface, route = chance.choice(self._routes)
        method = route.method
        if chance.random() < 0.12:
            method = chance.choice(("HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "POST"))
        found = _route_for(surface, route.path, method)
        shown = self._shown()
        target, path, twin = self._path(surface, found or route, shown)
        host = None
        if surface.name != "native":
            if chance.random() < 0.2:
                host = f"{surface.name}.localhost"
            else:
                path, twin = f"/{surface.name}{path}", twin and f"/{surface.name}{twin}"
        named, beside = self._beside(surface, shown)
        lines, ambiguous = self._credential(surface, shown)
        if target is not None and target.link is not None and chance.random() < 0.85:
            lines, ambiguous = [], False
        if found is None or found.verb is Verb.ACT or found.verb is Verb.BATCH:
            twin = twin if method in {"GET", "DELETE", "PATCH"} else None
        return Case(
            surface=surface,
            route=found,
            method=method,
            path=path,
            query=self._query(found or route),
            lines=(*lines, *beside, *chance.choice(_ODD)),
            body=self._body(found or route) if method in {"POST", "PUT", "PATCH"} else b"",
            shown=shown,
            ambiguous=ambiguous,
            named=named,
            target=target,
            twin=twin,
            host=host,
        )

    def missing(self) -> str:
        chance = self.chance
        return _MISSING.format(
            chance.getrandbits(16), chance.getrandbits(12), chance.getrandbits(12), chance.getrandbits(48)
        )

    def _shown(self) -> Shown:
        proving = [shown for shown in self.people.shown if shown.owner is not None]
        return self.chance.choice(proving if self.chance.random() < 0.8 else self.people.shown)

    def _credential(self, surface: Surface, shown: Shown) -> tuple[list[tuple[str, str]], bool]:
        """Its fields, and whether they are more than one credential."""
        chance, secret = self.chance, shown.secret
        if secret is None:
            return [], False
        scheme = chance.choice(("Bearer", "Bearer", "Bearer", "bearer", "BEARER"))
        lines = [("Authorization", f"{scheme} {secret}")]
        if surface.name == "envoy" and "." not in secret and chance.random() < 0.4:
            lines = [("X-API-Key", secret)]
        if chance.random() < 0.04:
            other = chance.choice(self.people.shown).secret or "nothing"
            return [*lines, ("Authorization", f"Bearer {other}")], True
        return lines, False

    def _beside(self, surface: Surface, shown: Shown) -> tuple[Owner | None, list[tuple[str, str]]]:
        """A tenant named beside the credential, where the surface heeds that, and the field."""
        chance = self.chance
        if chance.random() > 0.3:
            return None, []
        own = shown.owner if chance.random() < 0.5 else None
        owner = own or chance.choice(self.people.owners)
        field = chance.choice(("X-Tenant", "X-Organization-Id", "x-organization-id"))
        heeded = TENANT_FIELDS.get(surface.name, "").lower() == field.lower()
        return owner if heeded else None, [(field, chance.choice((owner.slug, str(owner.id))))]

    def _path(self, surface: Surface, route: Route, shown: Shown) -> tuple[Target | None, str, str | None]:
        """What its parameter names, the path, and the same path for what is missing."""
        target: Target | None = None
        steps: list[str] = []
        others: list[str] = []
        foreign = False
        for step in route.path.split("/"):
            if not step.startswith("{"):
                steps.append(step)
                others.append(step)
                continue
            named = self._target(surface, route, steps[-1], step[1:-1], shown)
            target = target or named
            foreign = foreign or (named.owner is not None and named.owner is not shown.owner)
            steps.append(quote(named.text, safe="-_.:~"))
            others.append(quote(self._like(surface, named), safe="-_.:~"))
        twin = "/".join(others) if foreign and shown.owner is not None else None
        return target, "/".join(steps), twin

    def _like(self, surface: Surface, named: Target) -> str:
        """An id of the same form that nothing has."""
        before, colon, _ = named.text.partition(":")
        if colon:
            return f"{before}:call_{self.missing()[-12:]}"
        if surface.name in {"yotel", "callsid"}:
            return f"call_{self.missing()[-12:]}"
        return self.missing()

    def _target(self, surface: Surface, route: Route, before: str, name: str, shown: Shown) -> Target:
        chance = self.chance
        if name == "token":
            link = chance.choice(self.people.links)
            return Target(link.token, "link", link=link)
        if name == "slug":
            owner = chance.choice(self.people.owners)
            return Target(owner.slug, "other", owner=owner)
        if before not in {"calls", "recordings"}:
            return self._other(before, shown, strictly=route.method == "PUT")
        dice = chance.random()
        if dice < 0.06:
            text = chance.choice(_MALFORMED)
            return Target(text, "malformed")
        if dice < 0.16:
            text = self.missing()
            return Target(f"call_{text[-12:]}" if surface.name in {"yotel", "callsid"} else text, "missing")
        own = [call for call in self.people.calls if call.owner is shown.owner]
        call = chance.choice(own if own and chance.random() < 0.55 else self.people.calls)
        if surface.name != "native":
            text = call.aliases[surface.name]
            if surface.name == "envoy":
                text = chance.choice((text, f"call_{text}"))
        else:
            text = str(call.id)
            if not route.path.startswith("/v1/calls/") and chance.random() < 0.4:
                alias = chance.choice(list(call.aliases))
                text = f"{alias}:{call.aliases[alias]}"
        return Target(text, "call", fact=call, owner=call.owner)

    def _other(self, before: str, shown: Shown, *, strictly: bool) -> Target:
        """Something else of a tenant's: mostly from the tables that the path seems to speak of, ``strictly`` from them alone."""
        chance, ids = self.chance, self.people.ids
        fit = [table for table in ids if before.rstrip("s") in table and ids[table]]
        strictly = strictly or chance.random() < 0.85
        table = chance.choice(fit if fit and strictly else [table for table in ids if ids[table]])
        own = [named for named in ids[table] if named[1] is shown.owner]
        text, owner = chance.choice(own if own and chance.random() < 0.5 else ids[table])
        return Target(text, "other", owner=owner)

    def _query(self, route: Route) -> str:
        chance = self.chance
        known = list(route.doc.query)
        asked = chance.sample(known, k=min(len(known), chance.choice((0, 0, 1, 1, 2))))
        values = {name: self._value(name) for name in asked}
        if chance.random() < 0.06:
            owner = chance.choice(self.people.owners)
            values |= {chance.choice(("tenant", "tenant_id", "access_token", "token", "X-Tenant")): owner.slug}
        return urlencode(values)

    def _value(self, name: str) -> str:
        chance, owner = self.chance, self.chance.choice(self.people.owners)
        if name == "cursor" and self.people.cursors:
            return chance.choice(self.people.cursors)
        if name == "limit":
            return chance.choice(("1", "3", "50", "0"))
        if name == "state":
            return chance.choice([*State, "x"])
        if name in {"since", "until"}:
            return chance.choice(("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"))
        call = chance.choice(self.people.calls)
        ids = [text for table in self.people.ids.values() for text, _ in table]
        words = (
            str(call.id),
            owner.marks.word,
            owner.marks.hush,
            f"+{owner.marks.digits}",
            chance.choice(ids),
            "Hello",
        )
        return chance.choice(words)

    def _body(self, route: Route) -> bytes:
        """What such a route might take. What it stores is neutral, but for references to others' things."""
        chance = self.chance
        if chance.random() < 0.08:
            return chance.choice((b"", b"[]", b"{", b'{"x": 1}', b"\xff"))
        call, owner = chance.choice(self.people.calls), chance.choice(self.people.owners)
        departments = self.people.ids.get("departments", [])
        several = [str(chance.choice(self.people.calls).id) for _ in range(5)]
        several += [f"{name}:{alias}" for name, alias in call.aliases.items()]
        end = route.path.rsplit("/", 1)[-1]
        bodies: dict[str, dict[str, object]] = {
            "links": {"delivery": chance.choice(("gateway", "store")), "ttl_s": 60},
            "batch": {"ids": several},
            "hold": {},
            "transcript": {"status": "ready", "language": "en", "text": "neutral words"},
            "recording": chance.choice(
                (
                    {"state": "processing"},
                    {"store": "disk", "key": f"{owner.slug}/{owner.marks.word}-1.wav"},
                    {"store": "s3", "key": f"{owner.slug}/{owner.marks.word}-2.wav"},
                )
            ),
            "webhooks": {"url": "http://127.0.0.1:65530/neutral"},
            "rotate": {},
            "{slug}": {"name": "neutral"},
            "s3": _s3_event(f"{owner.slug}/{owner.marks.word}-1.wav"),
        }
        if route.path.endswith("/batch/links"):
            return json.dumps({"ids": several, **bodies["links"]}).encode()
        if route.path.startswith("/v1/departments/"):
            return b'{"name": "neutral"}'
        if route.path.startswith("/v1/webhooks/{id}") and end == "{id}":
            return b'{"description": "neutral"}'
        if route.path == "/v1/calls/{id}":
            department = chance.choice(departments)[0] if departments else None
            return json.dumps({"direction": "inbound", "department": chance.choice((None, department))}).encode()
        return json.dumps(bodies.get(end, {})).encode()


def _s3_event(key: str) -> dict[str, object]:
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "recordings"}, "object": {"key": key}}}
    return {"Records": [record]}


def _route_for(surface: Surface, path: str, method: str) -> Route | None:
    methods = {route.method: route for route in surface.routes if route.path == path}
    return methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
