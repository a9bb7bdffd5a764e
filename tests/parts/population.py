"""Who there is in a catalog with several tenants, and what each of them owns: every byte of it tells whose it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

ROLES = ("attendant", "supervisor", "manager", "admin")
"""As shipped, lowest first."""


@dataclass(frozen=True)
class Marks:
    """What stands in a tenant's data and in nobody else's."""

    word: str
    digits: str
    top: str
    """How its UUIDs begin."""
    hush: str
    """Stands in transcripts alone."""

    @property
    def needles(self) -> tuple[bytes, ...]:
        return tuple(s.encode() for s in (self.word, self.digits, self.top, self.top.replace("-", ""), self.hush))


@dataclass(frozen=True)
class Owner:
    """A tenant. ``drifts``: its own may change it. ``still``: nobody can be proven to belong to it."""

    name: str
    id: UUID
    marks: Marks
    enabled: bool
    transcribed: bool
    drifts: bool = False
    still: bool = False

    @property
    def slug(self) -> str:
        return f"{self.name}-{self.marks.word}"


@dataclass(frozen=True)
class CallFact:
    """A call as its owner knows it."""

    owner: Owner
    id: UUID
    state: str
    """A state of the contracts."""
    aliases: Mapping[str, str]
    guessable: bool
    transcript: bool
    audio: bytes = field(repr=False, default=b"")


@dataclass(frozen=True)
class LinkFact:
    """A gateway link, and the call that it plays. None: it plays nothing, or no more."""

    token: str = field(repr=False)
    call: CallFact | None


@dataclass(frozen=True)
class Shown:
    """A credential. ``owner`` None: it proves nothing."""

    label: str
    secret: str | None = field(repr=False)
    owner: Owner | None = None
    scopes: frozenset[str] = frozenset()
    role: str | None = None


@dataclass
class Population:
    """Everybody and everything. ``ids``: every other UUID that a path could name, by table."""

    owners: list[Owner]
    calls: list[CallFact]
    shown: list[Shown]
    links: list[LinkFact] = field(default_factory=list)
    ids: dict[str, list[tuple[str, Owner]]] = field(default_factory=dict)
    cursors: list[str] = field(default_factory=list)

    @property
    def needles(self) -> dict[str, tuple[bytes, ...]]:
        return {owner.name: owner.marks.needles for owner in self.owners}
