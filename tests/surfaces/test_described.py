"""What the native surface tells of a recording, by its state and by who asks."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from gateway.model import Call, Entry, Object, Recording, Stat, State, Tenant
from gateway.surfaces.native.recordings import CallTold, described

NOW = datetime(2026, 5, 18, 10, 4, 48, tzinfo=UTC)
ACCOUNT = Tenant(uuid4(), "acme", "Acme")
STORED = Object("s3", "k", Stat(1000, '"e"', "v", NOW), "audio/wav")
READY = Recording(uuid4(), State.READY, STORED, duration_ms=2500)
CALL = Call(uuid4(), ACCOUNT.id, {"agentphone": "secret", "yotel": "c-1"})


def told(state: State, *scopes: str) -> CallTold:
    entry = Entry(CALL, replace(READY, state=state), ACCOUNT, transcript="ready")
    return described(entry, state, "http://h", frozenset(scopes))


@pytest.mark.parametrize("state", [state for state in State if state is not State.ABSENT])
def test_an_object_is_told_of_only_while_it_can_be_fetched(state: State):
    one, ready = told(state), state is State.READY
    assert one["recording"] is not None
    of_object = [one["recording"][name] for name in ("media_type", "size_bytes", "etag")]
    assert of_object == (["audio/wav", 1000, '"e"'] if ready else [None] * 3)
    assert ("audio" in one["links"]) is ready


@pytest.mark.parametrize("state", list(State))
def test_what_was_said_is_told_of_until_the_recording_is_over(state: State):
    one, over = told(state), state is State.EXPIRED
    assert one["transcript"] == (None if over else {"status": "ready"})
    assert ("transcript" in one["links"]) is not over


def test_an_id_that_is_a_credential_is_told_to_who_may_download():
    assert told(State.READY, "recordings:download")["aliases"] == {"agentphone": "secret", "yotel": "c-1"}
    assert told(State.READY, "calls:read", "recordings:write")["aliases"] == {"yotel": "c-1"}
