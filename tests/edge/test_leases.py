"""What a repeat followed from is looked at when it may have changed, and not each time."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from gateway.audit.sessions import Sessions
from gateway.edge import repeats
from gateway.edge.repeats import IDLE_S, LEASE_S, Asked, Repeat, Repeats
from gateway.model import Span


@dataclass
class Catalog:
    """Its memory, and how often it was looked into."""

    entry: object = field(default_factory=object)
    left: float = 60.0
    changes: int = 0
    looks: int = 0
    again: list[bool] = field(default_factory=list)

    def known_call(self, _tenant: object, _ref: object) -> tuple[Any, float] | None:
        self.looks += 1
        return (self.entry, self.left) if self.left > 0 else None

    def known_again(self, *, by_key: bool) -> None:
        self.again.append(by_key)


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, idle_s: float = 1800.0) -> None:
        self.now = 1000.0
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: 1e9 + self.now)
        monkeypatch.setattr(repeats, "time", clock)
        self.catalog, self.stands_for, self.counted, self.room = Catalog(), 60.0, False, True
        none = cast(Any, None)
        self.repeats = Repeats(
            cast(Any, self.catalog),
            none,
            cast(Any, SimpleNamespace(heeds_not=lambda _: not self.counted)),
            cast(Any, SimpleNamespace(has_room=lambda *_: self.room)),
            {"shelf": SimpleNamespace(prompt=lambda *_: "it", begin=lambda *_: None)},
            none,
            cast(Any, SimpleNamespace(admits=True)),
            Sessions(idle_s),
            lambda _peer: False,
        )
        monkeypatch.setattr(self.repeats, "_made", lambda *_: self.made())
        self.repeat = self.made()
        self.asked = Asked(b"name", self.repeat, Span(0, 1), b"", None, b"", b"")
        self.repeats._kept[b"name"] = self.repeat

    def made(self) -> Repeat:
        none = cast(Any, None)
        return Repeat(
            surface="native", route="/", address="", presented=none, tenant=uuid4(), by_key=True,
            standing=lambda: self.stands_for, ref=none,
            entry=cast(Any, self.catalog.entry), until=float("inf"), store=cast(Any, SimpleNamespace(prompt=lambda *_: "it")),
            object_key="", version="", of=none, size=10, like=none, head=b"", listener=("a",), session=uuid4(), session_text=b"",
        )  # fmt: skip

    def admits(self) -> bool:
        return self.repeats.admit(self.asked) is not None

    def asks(self, *players: str) -> str:
        """Each in turn: of whom took the short way."""
        took = ""
        none, object_ = cast(Any, None), SimpleNamespace(store="shelf")
        draft = SimpleNamespace(entry=SimpleNamespace(recording=SimpleNamespace(object=object_)))
        for player in players:
            data = b"GET / HTTP/1.1\r\nName: %s\r\nRange: bytes=0-1\r\n\r\n" % player.encode()
            asked = self.repeats.find(data, b"")
            if asked is not None and self.repeats.admit(asked) is not None:
                took += player
            else:
                self.repeats.learn(data, b"", none, none, "/", cast(Any, draft), {})
        return took


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_within_the_lease_it_is_not_looked_at_but_counted(at: Stage) -> None:
    assert [at.admits() for _ in range(3)] == [True] * 3
    assert (at.catalog.looks, at.catalog.again) == (1, [True] * 2)
    at.now += LEASE_S
    assert at.admits()
    assert at.catalog.looks == 2


def test_whatever_changes_it_is_looked_at_at_once(at: Stage) -> None:
    assert at.admits()
    at.catalog.changes += 1
    assert at.admits(), "it was something else"
    assert at.catalog.looks == 2
    at.catalog.changes += 1
    at.catalog.entry = object()
    assert not at.admits()
    assert not len(at.repeats), "and is forgotten"


def test_a_lease_is_no_longer_than_what_it_rests_on(at: Stage) -> None:
    at.catalog.left = 0.3
    assert at.admits()
    at.now += 0.3
    at.catalog.left = 0.0
    assert not at.admits()


def test_nor_than_the_credential_stands(at: Stage) -> None:
    at.stands_for = 0.3
    assert at.admits()
    at.now += 0.3
    at.stands_for = 0.0
    assert not at.admits()
    assert not len(at.repeats)


def test_nor_than_until_the_recording_is_over(at: Stage) -> None:
    at.repeat.until = 1e9 + at.now + 0.2
    assert at.admits()
    at.now += 0.25
    assert not at.admits()


def test_where_sessions_are_short_so_are_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    at = Stage(monkeypatch, idle_s=10)
    assert at.admits()
    at.now += 0.2
    assert at.admits()
    assert at.catalog.looks == 2


def test_where_requests_are_counted_there_is_none(at: Stage) -> None:
    at.counted = True
    assert not at.admits()


def test_without_room_it_is_the_paths_but_kept(at: Stage) -> None:
    at.room = False
    assert not at.admits()
    at.room = True
    assert at.admits()
    assert at.catalog.looks == 1


def test_a_session_that_was_idle_for_too_long_is_another(at: Stage) -> None:
    assert at.admits()
    first = at.repeat.session
    at.now += 900
    assert at.admits()
    assert at.repeat.session == first
    at.now += 1801
    assert at.admits()
    assert at.repeat.session != first
    assert at.repeat.session_text == str(at.repeat.session).encode()


@pytest.fixture
def few(at: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """With three places."""
    monkeypatch.setattr(repeats, "KEPT", 3)
    at.repeats._kept.clear()
    return at


def test_where_more_play_than_there_are_places_some_keep_theirs(few: Stage) -> None:
    few.asks(*"abcdef")
    for _ in range(20):
        few.now += 4
        assert few.asks(*"abcdef") == "abc"
    assert len(few.repeats) == 3


def test_a_place_that_is_not_used_is_anothers(few: Stage) -> None:
    few.asks(*"abc")
    few.now += IDLE_S - 1
    assert few.asks(*"ac") == "ac"
    few.now += LEASE_S + 1
    few.asks(*"dd")  # a is looked at first, and keeps its own
    assert few.asks(*"abcd") == "acd"
