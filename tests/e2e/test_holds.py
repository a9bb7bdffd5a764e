"""Legal hold: what is held outlives its retention, and nothing else changes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from parts.calls import MISSING, about_now
from parts.house import Filed, some_bytes
from parts.stage import Stage
from parts.wire import Answer, Wire

from gateway.model import State

DATA = some_bytes(1000)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NONE = {"hold": False, "reason": None, "since": None}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(stage: Stage) -> dict[str, str]:
    """Who may hold, and nothing else."""
    return await stage.key("recordings:hold")


def ask(stage: Stage, method: str, call: UUID | str, key: Mapping[str, str], body: object = None) -> Answer:
    with Wire(stage.house.base_url) as wire:
        sent = b"" if body is None else json.dumps(body).encode()
        return wire.ask(method, f"/v1/recordings/{call}/hold", key.items(), sent)


def play(stage: Stage, of: Filed) -> int:
    with Wire(stage.house.base_url) as wire:
        return wire.ask("GET", of.native, stage.full.items()).status


async def test_a_hold_is_placed_once_and_lifted_once(stage: Stage, clerk: dict[str, str]):
    of = await stage.file("disk", DATA)
    assert ask(stage, "GET", of.id, clerk).json() == NONE
    first = ask(stage, "PUT", of.id, clerk, {"reason": "Case 12, Müller ./. Acme"})
    assert (first.status, first.get("Cache-Control")) == (200, "private, no-store")
    placed = first.json()
    assert about_now(placed.pop("since"), timedelta(0))
    assert placed == {"hold": True, "reason": "Case 12, Müller ./. Acme"}
    # Seconds are told: what is placed again must not do so within the same one.
    await stage.office.rows(
        "UPDATE recordings SET hold_since = hold_since - interval '1 hour' WHERE call_id = $1", of.id
    )
    first = ask(stage, "GET", of.id, clerk)
    assert about_now(first.json()["since"], timedelta(hours=-1))
    for body in (None, {}, {"reason": None}):
        assert ask(stage, "PUT", f"yotel:{of.alias}", clerk, body).json() == first.json()
    changed = ask(stage, "PUT", of.id, clerk, {"reason": "Case 13"}).json()
    assert changed == first.json() | {"reason": "Case 13"}
    assert ask(stage, "GET", of.id, clerk).json() == changed
    with Wire(stage.house.base_url) as wire:
        described = wire.ask("GET", f"/v1/recordings/{of.id}", stage.full.items()).json()
    assert described["recording"]["hold"] is True
    for _ in range(2):
        lifted = ask(stage, "DELETE", of.id, clerk)
        assert (lifted.status, lifted.json()) == (200, NONE)


async def test_a_recording_past_its_retention_is_served_while_it_is_held(stage: Stage, clerk: dict[str, str]):
    """From the very next request on, where the hold was placed."""
    of = await stage.file("disk", DATA, expires_at=LONG_AGO)
    assert play(stage, of) == 410
    for method, status in (("PUT", 200), ("DELETE", 410), ("PUT", 200)):
        assert ask(stage, method, of.id, clerk).status == 200
        assert play(stage, of) == status


async def test_what_has_expired_is_held_no_more(stage: Stage, clerk: dict[str, str]):
    of = await stage.file("disk", DATA, expires_at=LONG_AGO)
    await stage.office.rows("UPDATE recordings SET state = 'expired' WHERE call_id = $1", of.id)
    refused = ask(stage, "PUT", of.id, clerk)
    assert (refused.status, refused.json()["code"]) == (409, "recording_expired")
    assert ask(stage, "DELETE", of.id, clerk).json() == ask(stage, "GET", of.id, clerk).json() == NONE


async def test_what_is_held_expires_by_nobodys_statement(stage: Stage, clerk: dict[str, str]):
    of = await stage.file("disk", DATA, expires_at=LONG_AGO)
    assert ask(stage, "PUT", of.id, clerk).status == 200
    for change in ("state = 'expired'", "state = 'expired', hold = false"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await stage.office.rows(f"UPDATE recordings SET {change} WHERE call_id = $1", of.id)
    assert play(stage, of) == 200


async def test_a_recording_that_is_not_there_yet_can_be_held_and_one_that_never_is_can_not(
    stage: Stage, clerk: dict[str, str]
):
    pending, _ = await stage.office.call(stage.tenant, State.PENDING)
    assert ask(stage, "PUT", pending, clerk).json()["hold"] is True
    absent, _ = await stage.office.call(stage.tenant)
    for method in ("GET", "PUT", "DELETE"):
        refused = ask(stage, method, absent, clerk)
        assert (refused.status, refused.json()["code"]) == (404, "recording_absent")


async def test_who_may_not_hold_does_not(stage: Stage, clerk: dict[str, str]):
    of = await stage.file("disk", DATA)
    foreign = await stage.key("recordings:hold", tenant=await stage.office.tenant("holds-other"))
    others = await stage.key("recordings:download", "recordings:write", "calls:read", "tenants:admin")
    for method in ("GET", "PUT", "DELETE"):
        for status, call, key in (
            (404, of.id, foreign),
            (404, MISSING, clerk),
            (403, of.id, others),
            (401, of.id, {}),
            (422, "x", clerk),
        ):
            assert ask(stage, method, call, key).status == status
        assert ask(stage, method, of.id, foreign).body == ask(stage, method, MISSING, foreign).body
    assert ask(stage, "GET", of.id, clerk).json() == NONE


@pytest.mark.parametrize(
    "body", [{"reason": ""}, {"reason": "x" * 501}, {"reason": "\0"}, {"reason": 7}, {"hold": True}]
)
async def test_a_hold_asked_for_wrongly_is_refused(stage: Stage, clerk: dict[str, str], body: object):
    of = await stage.file("disk", DATA)
    assert ask(stage, "PUT", of.id, clerk, body).status == 422
    assert ask(stage, "GET", of.id, clerk).json() == NONE


async def test_each_hold_stands_in_the_audit_and_its_reason_does_not(stage: Stage, clerk: dict[str, str]):
    of = await stage.file("disk", DATA)
    for method, body in (("PUT", {"reason": "a reason for people"}), ("GET", None), ("DELETE", None)):
        ask(stage, method, of.id, clerk, body)
    rows = await stage.accesses("call", of.id, 3)
    assert [(row["method"], row["status"], row["scopes"]) for row in rows] == [
        ("hold", 200, ["recordings:hold"]),
        ("metadata", 200, ["recordings:hold"]),
        ("hold", 200, ["recordings:hold"]),
    ]
    assert all(row["recording"] is not None for row in rows)
    assert "a reason for people" not in json.dumps([dict(row) for row in rows], default=str)
