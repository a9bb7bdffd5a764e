"""Webhooks through whole gateways: whatever the receiver does, each event comes at least once, under one id, signed."""

import asyncio
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from parts.hooks import QUICK, Hooks, hooked
from parts.postgres import Databases
from parts.receiver import Answer, receiver
from standardwebhooks import WebhookVerificationError


async def test_a_recording_that_becomes_ready_is_told_once_and_signed(hooks: Hooks):
    async with receiver() as there:
        hook = await hooks.make(there.url("/told"))
        (call,) = await hooks.happen()
        (delivery,) = await hooks.settled(hook)
        (came,) = there.came
    event = came.verified(hook["secret"])
    assert event["type"] == "call.recording_ready"
    assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None
    assert event["data"].keys() == {"call_id", "aliases"}
    assert event["data"]["call_id"] == str(call)
    assert event["data"]["aliases"].keys() == {"yotel"}
    assert b"http" not in came.body
    assert came.headers["content-type"] == "application/json"
    assert came.headers["host"] == f"127.0.0.1:{there.port}"
    assert (delivery["state"], delivery["webhook_id"], delivery["call_id"]) == ("delivered", came.id, str(call))
    assert [(a["number"], a["status"], a["error"]) for a in delivery["attempts"]] == [(1, 200, None)]
    with pytest.raises(WebhookVerificationError):
        came.verified("whsec_" + "A" * 43 + "=")


HELD = None
FAILURES = {
    "slow": (HELD, None, "timed_out"),
    "moved": (Answer(301, {"Location": "/elsewhere"}), 301, "redirected"),
    "see-other": (Answer(307, {"Location": "/elsewhere"}), 307, "redirected"),
    "refused": (Answer(400), 400, "refused"),
    "broken": (Answer(500, body=b"a secret of the endpoint's own" * 100), 500, "refused"),
    "not-http": (Answer(200, {"Content-Length": "many"}), None, "not_http"),
    "informal": (Answer(101), 101, "refused"),
}


async def test_every_failure_is_retried_on_the_schedule_under_one_id_and_then_given_up(hooks: Hooks):
    async with receiver(lambda came: FAILURES[came.path[1:]][0]) as there:
        made = {name: await hooks.make(there.url(f"/{name}")) for name in FAILURES}
        await hooks.happen()
        logs = {name: (await hooks.settled(hook))[0] for name, hook in made.items()}
        tries = len(QUICK["schedule_s"]) + 1
        for name, (_, status, error) in FAILURES.items():
            assert logs[name]["state"] == "failed", name
            attempts = [(a["number"], a["status"], a["error"]) for a in logs[name]["attempts"]]
            assert attempts == [(number + 1, status, error) for number in range(tries)], name
            assert [came.id for came in there.at(f"/{name}")] == [logs[name]["webhook_id"]] * tries
            for came in there.at(f"/{name}"):
                came.verified(made[name]["secret"])
        assert there.at("/elsewhere") == []
        assert len({came.id for came in there.came}) == 1
        assert there.overlaps == []
        for name, hook in made.items():
            assert (await hooks.show(hook))["failing_since"] is not None, name


async def test_a_receiver_that_was_down_gets_it_when_it_is_back(databases: Databases, tmp_path: Path):
    patient = hooked(await databases.create(), tmp_path, tmp_path, schedule_s=[0.1, 0.1, *[1] * 25])
    async with patient as hooks, receiver() as there:
        hook = await hooks.make(there.url())
        await there.stop()
        await hooks.happen()
        log = await hooks.logged(hook, lambda log: bool(log[0]["attempts"]))
        await there.start()
        (delivery,) = await hooks.settled(hook)
        (came,) = there.came
        assert (await hooks.show(hook))["failing_since"] is None
    assert came.verified(hook["secret"])
    assert delivery["state"] == "delivered"
    assert delivery["attempts"][0]["error"] == "not_connected"
    assert delivery["webhook_id"] == log[0]["webhook_id"] == came.id


async def test_a_receiver_that_is_restarted_in_mid_answer_gets_it_again(hooks: Hooks):
    held = count()
    async with receiver(lambda _came: None if next(held) == 0 else Answer()) as there:
        hook = await hooks.make(there.url())
        await hooks.happen()
        await there.until_came(1)
        await there.stop()
        await there.start()
        (delivery,) = await hooks.settled(hook)
        first, second = there.came
    assert first.id == second.id
    assert first.body == second.body
    assert delivery["attempts"][0]["error"] == "connection_lost"


async def test_410_switches_the_endpoint_off_and_drops_what_is_pending(hooks: Hooks):
    gone, busy = asyncio.Event(), Answer(503, {"Retry-After": "1"})
    async with receiver(lambda _came: Answer(410) if gone.is_set() else busy) as there:
        hook = await hooks.make(there.url())
        await hooks.happen(2)
        gone.set()
        log = await hooks.settled(hook, 2)
        assert {d["state"] for d in log} == {"dropped"}
        off = await hooks.show(hook)
        assert (off["enabled"], off["disabled_reason"]) == (False, "gone")
        assert [a["error"] for d in log for a in d["attempts"]].count("gone") >= 1
        await hooks.happen()
        assert len(await hooks.log(hook)) == 2
        answer = await hooks.ask("POST", f"/v1/webhooks/{hook['id']}/ping")
        assert (answer.status, answer.json()["code"]) == (409, "webhook_off")

        there.behave = lambda _came: Answer()
        on = (await hooks.ask("PATCH", f"/v1/webhooks/{hook['id']}", {"enabled": True})).json()
        assert (on["enabled"], on["disabled_reason"], on["failing_since"]) == (True, None, None)
        await hooks.happen()
        assert [d["state"] for d in await hooks.settled(hook, 3)] == ["delivered", "dropped", "dropped"]


@pytest.mark.parametrize(("asked", "least"), [("1", 1), ("86400", 0.9)], ids=["asked", "bounded"])
async def test_retry_after_puts_the_next_try_off_within_bounds(hooks: Hooks, asked: str, least: float):
    number = count()
    busy = Answer(503, {"Retry-After": asked})
    async with receiver(lambda _came: busy if next(number) == 0 else Answer()) as there:
        hook = await hooks.make(there.url())
        await hooks.happen()
        first, second = await there.until_came(2)
        await hooks.settled(hook)
    assert least <= second.at - first.at < 30


async def test_a_slow_endpoint_keeps_no_other_waiting(hooks: Hooks):
    async with receiver(lambda came: None if came.path == "/slow" else Answer()) as there:
        slow, quick = await hooks.make(there.url("/slow")), await hooks.make(there.url("/quick"))
        await hooks.happen(40)
        await there.until_came(40, "/quick")
        waited = len(there.at("/slow"))
        there.release()
        log = await hooks.settled(slow, 40)
        await hooks.settled(quick, 40)
    assert waited < 40
    assert 1 <= there.most["/slow"] <= 4
    assert {d["state"] for d in log} == {"delivered"}


async def test_a_rotated_secret_signs_beside_the_old_one_until_that_is_over(hooks: Hooks):
    async with receiver() as there:
        hook = await hooks.make(there.url())
        rotated = (await hooks.ask("POST", f"/v1/webhooks/{hook['id']}/rotate", {"overlap_s": 3600})).json()
        hooks.stage.secrets.add(rotated["secret"])
        assert rotated["secret"] != hook["secret"]
        await hooks.happen()
        await hooks.settled(hook, 1)
        (came,) = there.came
        for secret in (hook["secret"], rotated["secret"]):
            came.verified(secret)
        assert len(came.headers["webhook-signature"].split(" ")) == 2

        again = (await hooks.ask("POST", f"/v1/webhooks/{hook['id']}/rotate", {"overlap_s": 0})).json()
        hooks.stage.secrets.add(again["secret"])
        assert again["former_secret_until"] is None
        await hooks.happen()
        await hooks.settled(hook, 2)
        came = there.came[-1]
        came.verified(again["secret"])
        for secret in (hook["secret"], rotated["secret"]):
            with pytest.raises(WebhookVerificationError):
                came.verified(secret)

        await hooks.ask("POST", f"/v1/webhooks/{hook['id']}/rotate", {"overlap_s": 3600})
        overdue = (
            "UPDATE webhook_endpoints SET former_until = now() - interval '1 second' WHERE former_until IS NOT NULL"
        )
        await hooks.stage.office.rows(overdue)
        await hooks.happen()
        await hooks.settled(hook, 3)
        assert len(there.came[-1].headers["webhook-signature"].split(" ")) == 1
