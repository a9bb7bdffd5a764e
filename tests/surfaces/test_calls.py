"""What vendors' surfaces say of a call, where it takes no gateway to see."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from multidict import CIMultiDict, MultiDict

from gateway.contract import Found, Route
from gateway.model import Call, Entry, Head, Link, Object, Recording, Stat, State, Tenant, Verb
from gateway.surfaces import SURFACES

NOW = datetime(2026, 5, 18, 10, 4, 48, 900_000, tzinfo=UTC)
ID = UUID("0b54b4f1-5d3c-4b3e-9a77-3f1d2c4b5a69")


def found(**call: Any) -> Found:
    account = Tenant(uuid4(), "acme", "Acme", recording_enabled=True)
    stored = Object("s3", "k", Stat(1, '"e"', "v", NOW), "audio/wav")
    entry = Entry(replace(Call(uuid4(), account.id, {}), **call), Recording(uuid4(), State.READY, stored), account)
    head = Head("GET", {"call_id": str(ID), "call_sid": "call_1"}, MultiDict(), CIMultiDict())
    return Found(head, "http://h", NOW, entry, State.READY, link=Link("https://s/x", NOW + timedelta(days=7)))


def route(surface: str, verb: Verb) -> Route:
    return next(route for route in SURFACES[surface].routes if route.verb is verb)


def told(of: Found) -> Any:
    body = route("agentphone", Verb.DESCRIBE).render(of).body
    assert body is not None
    return orjson.loads(body)


@pytest.mark.parametrize(
    ("started", "ended", "status", "seconds"),
    [
        (None, None, "queued", None),
        (0.0, None, "in-progress", None),
        (0.0, 61.4, "completed", 61),
        (0.0, 61.5, "completed", 62),
        (None, 5.0, "completed", None),
        (5.0, 0.0, "completed", 0),  # two clocks
    ],
)
def test_agentphone_tells_how_far_a_call_is_and_how_long_it_took(started, ended, status, seconds):
    at = {"started_at": started, "ended_at": ended}
    call = {name: None if s is None else NOW + timedelta(seconds=s) for name, s in at.items()}
    one = told(found(**call))
    assert (one["status"], one["durationSeconds"]) == (status, seconds)


def test_times_are_told_in_utc_wherever_they_were_taken():
    elsewhere = datetime.fromisoformat("2026-05-18T12:04:48.9+05:30")
    assert told(found(started_at=elsewhere))["startedAt"] == "2026-05-18T06:34:48Z"


@pytest.mark.parametrize("surface", ["yotel", "envoy"])
def test_a_signed_url_names_the_file_to_be_saved(surface: str):
    assert route(surface, Verb.LINK).disposition(found()) == f'inline; filename="recording-{ID}.wav"'


def test_a_signed_url_never_holds_the_number_that_was_called():
    assert route("callsid", Verb.LINK).disposition(found(to_number="+15550100")) is None
