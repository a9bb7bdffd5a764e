"""What callsid says of a link's end."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, MultiDict

from gateway.contract import Found
from gateway.model import Call, Entry, Head, Link, Object, Recording, Stat, State, Tenant, Verb
from gateway.surfaces.callsid import SURFACE

NOW = datetime(2026, 5, 18, 10, 4, 48, 900_000, tzinfo=UTC)
STREAM = next(route for route in SURFACE.routes if route.verb is Verb.LINK)


def found(left: timedelta) -> Found:
    """A ready recording, and a link to it that ends after ``left``."""
    account = Tenant(uuid4(), "acme", "Acme")
    call = Call(uuid4(), account.id, {"callsid": "call_abc123"}, to_number="+15559876543")
    stored = Object("s3", "k", Stat(1, '"e"', "v", NOW), "audio/wav")
    head = Head("GET", {"call_sid": "call_abc123"}, MultiDict(), CIMultiDict())
    entry = Entry(call, Recording(uuid4(), State.READY, stored), account)
    return Found(head, "http://h", NOW, entry, State.READY, link=Link("https://s/x", NOW + left))


def expires_in(left: timedelta) -> int:
    body = STREAM.render(found(left)).body
    assert body is not None
    told = orjson.loads(body)["data"]["expires_in"]
    assert isinstance(told, int)
    return told


@pytest.mark.parametrize(
    ("left", "told"), [(3600, 3600), (3600.4, 3600), (3599.2, 3600), (3598.9, 3598), (600.9, 600), (0.5, 0)]
)
def test_expires_in_is_what_is_left(left: float, told: int):
    """Signatures count from the whole second that has begun; a link that ends with its credentials says so."""
    assert expires_in(timedelta(seconds=left)) == told


@given(st.floats(0, 3700))
def test_expires_in_never_promises_more_than_a_second_too_much(left: float):
    assert expires_in(timedelta(seconds=left)) <= min(left + 1, 3600)


def filename(number: str | None) -> str:
    one = found(timedelta(hours=1))
    assert one.entry is not None
    entry = replace(one.entry, call=replace(one.entry.call, to_number=number))
    body = STREAM.render(replace(one, entry=entry)).body
    assert body is not None
    name = orjson.loads(body)["data"]["filename"]
    assert isinstance(name, str)
    return name


@given(st.none() | st.from_regex(r"\+?[0-9*#]{1,20}", fullmatch=True))
def test_filename_is_by_the_number_that_was_called(number: str | None):
    assert filename(number) == f"recording_{number or 'call_abc123'}.wav"


@given(st.text(max_size=60))
def test_filename_is_one_that_can_be_saved_under_whatever_number_was_called(number: str):
    assert re.fullmatch(r"recording_[^/\\\x00-\x1f\x7f]*\.wav", filename(number))
