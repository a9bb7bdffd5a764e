"""Registering over the API: how what the catalog refuses is told to whoever asked."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from gateway.asks.pipeline import PutRecording
from gateway.errors import Conflict, NotFound
from gateway.lifecycle.registration import Registration, contradiction, unfit_key
from gateway.model import Lifetime, Stat, State


@pytest.mark.parametrize(
    "code", ["id_taken", "department_fixed", "recording_ready", "recording_expired", "recording_held"]
)
def test_each_conflict_that_has_a_code_is_told_by_it_without_what_was_sent(code: str) -> None:
    told = contradiction(Conflict("yotel:+15550100 is another call's", code))
    assert told.code == code
    assert "15550100" not in told.message


def test_a_conflict_without_a_code_is_told_as_one() -> None:
    assert contradiction(Conflict("refused by calls_number_check")).code == "conflict"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("acme/a.wav", None),
        ("acme/2026/..a/.b/c...wav", None),
        ("acme/" + "x" * 1019, None),
        ("acme/" + "x" * 1020, "must have 1024 bytes"),
        ("acme/" + "é" * 510, "must have 1024 bytes"),
        ("acme/", "must begin with acme/ and go on"),
        ("acme", "must begin with acme/ and go on"),
        ("acme2/a.wav", "must begin with acme/"),
        ("ACME/a.wav", "must begin with acme/"),
        ("/acme/a.wav", "must begin with acme/"),
        ("acme/../other/a.wav", "must hold no .."),
        ("acme/./a.wav", "must hold no .."),
        ("acme/..", "must hold no .."),
        ("acme//a.wav", "must hold no .."),
        ("acme/a/", "must hold no .."),
        ("acme/..\\other\\a.wav", "must hold no .."),
        ("acme/b\\a.wav", "must hold no .."),
    ],
)
def test_a_key_stays_beneath_its_tenants_prefix_and_is_no_other_name_of_one(key: str, reason: str | None) -> None:
    told = unfit_key(key, "acme/")
    assert told is None if reason is None else str(told).startswith(reason)


class Noted:
    """A pipeline, its registry and its store in one, that notes what is put."""

    def __init__(self, stat: Stat | None) -> None:
        self.registry = self
        self.known = stat
        self.put: dict[str, Any] = {}

    def holder(self, _name: str, _key: str) -> Any:
        return self

    async def stat(self, key: str) -> Stat:
        if self.known is None:
            raise NotFound(key)
        return self.known

    async def put_recording(self, *_whose: object, **told: Any) -> None:
        self.put = told


@pytest.mark.parametrize(
    ("media_type", "expected"), [("audio/amr", "audio/amr"), (None, "audio/mpeg")], ids=["told", "the store's"]
)
async def test_what_is_told_of_an_object_that_is_not_ready_is_kept(media_type: str | None, expected: str) -> None:
    noted: Any = Noted(Stat(9, '"e"', "v", datetime(2026, 3, 1, tzinfo=UTC), "audio/mpeg"))
    ask = PutRecording(
        state=State.PROCESSING, place=("main", "acme/a"), media_type=media_type, lifetime=Lifetime(retention_days=7)
    )
    await Registration(noted, noted, lambda _tag: None)._put(uuid4(), uuid4(), ask)
    assert (noted.put["state"], noted.put["place"], noted.put["lifetime"]) == (
        State.PROCESSING,
        ask.place,
        ask.lifetime,
    )
    assert noted.put["object_"].media_type == expected


async def test_an_object_that_is_not_there_yet_is_awaited_where_it_will_lie() -> None:
    noted: Any = Noted(None)
    ask = PutRecording(state=State.PENDING, place=("main", "acme/a"))
    await Registration(noted, noted, lambda _tag: None)._put(uuid4(), uuid4(), ask)
    assert (noted.put["state"], noted.put["place"], noted.put["object_"]) == (State.PENDING, ask.place, None)
