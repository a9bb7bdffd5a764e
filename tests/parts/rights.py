"""What a random request may be answered: worked out from who owns what and the contracts' tables, not from the code."""

from dataclasses import dataclass

from gateway.contract import Route, Surface, Transcribed
from gateway.model import State, Verb

from .population import ROLES, CallFact, LinkFact, Owner, Shown

TENANT_FIELDS = {"voki": "X-Tenant", "callsid": "X-Organization-Id", "envoy": "X-Organization-Id"}
"""Where a surface takes a tenant's name."""
SERVED = frozenset({200, 206, 304, 412, 416})
REFUSED = {
    "native": {"absent": 404, "pending": 409, "processing": 409, "failed": 409, "expired": 410},
    "yotel": {"absent": 404, "pending": 409, "processing": 409, "failed": 409, "expired": 404},
    "agentphone": dict.fromkeys(State, 404),
    "callsid": {"absent": 404, "pending": 409, "processing": 409, "failed": 409, "expired": 404},
    "voki": dict.fromkeys(State, 404),
    "envoy": dict.fromkeys(State, 404),
}
"""The contracts' table of states, but for ready."""
MALFORMED = {"native": 422, "yotel": 404, "agentphone": 422, "callsid": 422, "voki": 404, "envoy": 422}


@dataclass(frozen=True)
class Target:
    """What a path's parameter names. ``fact``: a call; ``owner``: whose it is, None for nobody's."""

    text: str
    kind: str
    """call · missing · malformed · other · link"""
    fact: CallFact | None = None
    owner: Owner | None = None
    link: LinkFact | None = None


@dataclass(frozen=True)
class Case:
    """One request. ``twin``: the same for what is missing, where it should be answered alike."""

    surface: Surface
    route: Route | None
    """None: the path takes other methods."""
    method: str
    path: str
    query: str
    lines: tuple[tuple[str, str], ...]
    body: bytes
    shown: Shown
    ambiguous: bool
    named: Owner | None
    target: Target | None
    twin: str | None = None
    host: str | None = None

    @property
    def proven(self) -> Owner | None:
        return None if self.ambiguous else self.shown.owner

    def __str__(self) -> str:
        whose = self.target and (self.target.kind, self.target.owner and self.target.owner.name)
        named = self.named and self.named.name
        return (
            f"{self.surface.name} {self.method} {self.route and self.route.path} {whose} by {self.shown.label}"
            f" {sorted(self.shown.scopes)} {self.shown.role} beside {named} {self.lines[2:]} ?{self.query} {self.body!r}"
        )


def may(case: Case) -> frozenset[int] | None:
    """Statuses that are right. None: any but a server's own failure; it is then the owner's own affair."""
    route, target = case.route, case.target
    if route is None:
        return frozenset({204 if case.method == "OPTIONS" else 405})
    if target is not None and target.kind == "link" and route.path.endswith("{token}/audio"):
        return _of_link(case, target)
    if case.surface.name == "agentphone" and route.verb is Verb.PLAY:
        return _of_public(target)
    owner = case.shown.owner
    if case.ambiguous or owner is None:
        return frozenset({400 if case.ambiguous else 401})
    if case.named is not None and case.named is not owner:
        return frozenset({404})
    return _of_proven(case, route, owner)


def _of_proven(case: Case, route: Route, owner: Owner) -> frozenset[int] | None:
    surface, target = case.surface.name, case.target
    registers = surface == "native" and route.path.startswith("/v1/calls/{id}")
    if target is None or target.kind == "other" or registers:
        return _at_large(target, owner, permitted=_permitted(case.shown, route))
    if target.kind == "malformed":
        return frozenset({MALFORMED[surface]})
    if target.fact is None or target.owner is not owner:
        return frozenset({404})
    if not _permitted(case.shown, route):
        return frozenset({403})
    return None if owner.drifts else _own(case, surface, route, target.fact)


def _permitted(shown: Shown, route: Route) -> bool:
    if route.role is not None and (shown.role not in ROLES or ROLES.index(shown.role) < ROLES.index(route.role)):
        return False
    return bool(shown.scopes & route.scopes) or (route.role is not None and not route.scopes)


def _at_large(target: Target | None, owner: Owner, *, permitted: bool) -> frozenset[int] | None:
    """What names no call, or a call that need not be there yet."""
    if not permitted:
        return frozenset({403}) if target is None else frozenset({403, 404, 422})
    foreign = target is not None and target.owner is not None and target.owner is not owner
    return frozenset({404, 405, 409, 422}) if foreign else None


def _own(case: Case, surface: str, route: Route, fact: CallFact) -> frozenset[int] | None:
    """The caller's own call, which he may ask for."""
    odd = frozenset({422}) if case.query or case.body else frozenset()
    state = State(fact.state)
    known = state in route.states and (state is State.READY or route.verb is Verb.DESCRIBE)
    match route.verb:
        case Verb.ACT:
            return None
        case Verb.DELETE:
            return frozenset({405})
        case _ if not known:
            return odd | {REFUSED[surface][state]}
        case Verb.DESCRIBE:
            told = fact.transcript and fact.owner.transcribed
            return odd | {200 if told or route.transcript is not Transcribed.REQUIRED else 404}
        case Verb.PLAY:
            return odd | SERVED
        case _:
            # A folder signs no URLs: where the store's own link is asked for, there is none.
            return odd | (frozenset({201, 409}) if case.method == "POST" else frozenset({200}))


def _of_public(target: Target | None) -> frozenset[int]:
    assert target is not None
    if target.kind == "malformed":
        return frozenset({422})
    fact = target.fact
    if fact is None or fact.guessable:
        return frozenset({404})
    if fact.owner.drifts:
        return SERVED | {404}
    return SERVED if fact.owner.enabled and fact.state == "ready" else frozenset({404})


def _of_link(case: Case, target: Target) -> frozenset[int]:
    if any(name == "Authorization" and value[:7].lower() == "bearer " for name, value in case.lines):
        return frozenset({400})
    if target.link is None or target.link.call is None:
        return frozenset({403, 404, 410})
    return SERVED | {403, 410}  # its own may have taken it back, or used it up
