"""Managing webhooks: what is shown, to whom, once; where none may lead; the log, its cursor, and delivering again."""

import json
import signal
from itertools import count
from pathlib import Path
from uuid import uuid4

from parts.hooks import Hooks, hooked
from parts.postgres import Databases
from parts.receiver import Answer, on_one_port, receiver
from parts.targets import LOOPBACK_SPELLED, MALFORMED, SPECIAL
from parts.wire import Wire

ELSEWHERE = "https://93.184.215.14/hook"
"""Public, and never sent to: nothing happens while a test knows it."""
MEMBERS = {
    "id",
    "url",
    "description",
    "enabled",
    "disabled_reason",
    "failing_since",
    "former_secret_until",
    "created_at",
    "updated_at",
}


async def test_a_secret_is_shown_once_and_stands_nowhere_else(hooks: Hooks):
    created = await hooks.ask("POST", "/v1/webhooks", {"url": ELSEWHERE, "description": "CRM"})
    made = created.json()
    assert created.status == 201
    assert created.get("location") == f"{hooks.stage.house.base_url}/v1/webhooks/{made['id']}"
    assert made.keys() == MEMBERS | {"secret"}
    rotated = (await hooks.ask("POST", f"/v1/webhooks/{made['id']}/rotate")).json()
    assert rotated.keys() == MEMBERS | {"secret"}
    assert rotated["former_secret_until"] is not None
    hooks.stage.secrets |= {made["secret"], rotated["secret"]}  # looked for in every log line when the stage closes
    shown = [
        await hooks.ask("GET", "/v1/webhooks"),
        await hooks.ask("GET", f"/v1/webhooks/{made['id']}"),
        await hooks.ask("PATCH", f"/v1/webhooks/{made['id']}", {"description": "another"}),
        await hooks.ask("GET", f"/v1/webhooks/{made['id']}/deliveries"),
    ]
    for answer in shown:
        assert answer.status == 200
        assert b"whsec_" not in answer.body
        assert b'secret"' not in answer.body
    assert shown[1].json().keys() == MEMBERS
    accesses = await hooks.stage.accesses("method", "webhooks", 6, or_more=True)
    assert "whsec_" not in json.dumps([dict(row) for row in accesses], default=str)
    assert {row["surface"] for row in accesses} == {"native"}
    assert {row["result"] for row in accesses} <= {"complete", "refused"}


async def test_anothers_webhook_is_not_there(hooks: Hooks):
    hook = await hooks.make(ELSEWHERE)
    other = await hooks.stage.office.tenant("other")
    stranger = await hooks.stage.key("webhooks:manage", tenant=other)
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"enabled": False}),
        ("DELETE", "", None),
        ("POST", "/rotate", {}),
        ("POST", "/ping", None),
        ("GET", "/deliveries", None),
        ("POST", f"/deliveries/{uuid4()}/redeliver", None),
    ):
        foreign = await hooks.ask(method, f"/v1/webhooks/{hook['id']}{path}", body, fields=stranger)
        missing = await hooks.ask(method, f"/v1/webhooks/{uuid4()}{path}", body, fields=stranger)
        assert foreign.status == missing.status == 404, path
        assert foreign.body == missing.body
    assert (await hooks.ask("GET", "/v1/webhooks", fields=stranger)).json() == {"data": []}
    assert (await hooks.show(hook))["enabled"] is True
    ping = (await hooks.ask("POST", f"/v1/webhooks/{hook['id']}/ping")).json()
    mine = await hooks.ask("POST", f"/v1/webhooks/{uuid4()}/deliveries/{ping['id']}/redeliver")
    assert mine.status == 404


async def test_without_the_scope_nothing_is_told(hooks: Hooks):
    fields = await hooks.stage.key(
        "calls:read", "recordings:download", "recordings:write", "audit:read", "tenants:admin"
    )
    for method, path in (("GET", "/v1/webhooks"), ("POST", "/v1/webhooks"), ("DELETE", f"/v1/webhooks/{uuid4()}")):
        answer = await hooks.ask(method, path, {"url": ELSEWHERE} if method == "POST" else None, fields=fields)
        assert (answer.status, answer.json()["needed"]) == (403, "webhooks:manage")


def bodies(port: int) -> list[object]:
    """Of requests that are refused: each URL of the list, with the port of somebody who listens."""
    hosts = [*LOOPBACK_SPELLED, *SPECIAL, "localhost", "localhost.", "nobody.invalid", f"u:p@93.184.215.14:{port}"]
    urls = [f"{scheme}://{host}:{port}/hook" for host in hosts for scheme in ("http", "https")]
    others: list[object] = [{}, [], {"url": 1}, {"url": ELSEWHERE, "secret": "whsec_mine"}]
    others += [{"url": ELSEWHERE, "description": "two\nlines"}, {"url": ELSEWHERE, "description": "x" * 201}]
    return [*({"url": url} for url in [*urls, *MALFORMED]), *others]


async def test_a_webhook_to_what_is_not_public_is_refused_and_nobody_is_asked(hooks: Hooks):
    house = hooks.stage.another(webhooks={"allow_networks": [], "allow_http": False})
    async with on_one_port("127.0.0.1", "::1") as (four, six):
        hook = await hooks.make(ELSEWHERE)
        with Wire(house.base_url) as wire:
            for body in bodies(four.port):
                raw = json.dumps(body).encode()
                for method, path in (("POST", "/v1/webhooks"), ("PATCH", f"/v1/webhooks/{hook['id']}")):
                    if method == "PATCH" and body == {}:
                        continue
                    answer = wire.ask(method, path, hooks.fields.items(), raw)
                    assert answer.status == 422, body
                    (said,) = answer.json()["errors"]
                    assert said["loc"][0] == "body"
                    assert str(four.port) not in said["msg"]
                    assert "127" not in said["msg"]
        assert (four.connections, six.connections) == (0, 0)
    assert (await hooks.show(hook))["url"] == ELSEWHERE
    house.stop()
    assert [h["id"] for h in (await hooks.ask("GET", "/v1/webhooks")).json()["data"]] == [hook["id"]]


async def test_what_got_past_the_first_look_is_refused_at_each_try(hooks: Hooks):
    """A name whose address has changed, an endpoint from when more was allowed: as if its row had been written by hand."""
    async with receiver(host="127.0.0.1") as there:
        hook = await hooks.make(ELSEWHERE)
        await hooks.stage.office.rows(
            "UPDATE webhook_endpoints SET url = $1 WHERE id = $2::text::uuid",
            f"http://[::ffff:10.0.0.1]:{there.port}/",
            hook["id"],
        )
        await hooks.happen()
        (delivery,) = await hooks.settled(hook)
        assert there.connections == 0
    assert delivery["state"] == "failed"
    assert {(a["status"], a["error"]) for a in delivery["attempts"]} == {(None, "address_forbidden")}


async def test_a_ping_goes_the_way_of_every_event_to_this_endpoint_alone(hooks: Hooks):
    async with receiver() as there:
        hook, _other = await hooks.make(there.url("/this")), await hooks.make(there.url("/other"))
        answer = await hooks.ask("POST", f"/v1/webhooks/{hook['id']}/ping")
        queued = answer.json()
        assert (answer.status, queued["state"], queued["type"], queued["call_id"]) == (
            202,
            "pending",
            "webhook.ping",
            None,
        )
        (delivery,) = await hooks.settled(hook)
        (came,) = there.came
    event = came.verified(hook["secret"])
    assert (came.path, came.id) == ("/this", queued["webhook_id"])
    assert (event["type"], event["data"]) == ("webhook.ping", {"endpoint_id": hook["id"]})
    assert (delivery["id"], delivery["state"]) == (queued["id"], "delivered")


async def test_a_delivery_is_made_again_under_its_own_id_whatever_became_of_it(hooks: Hooks):
    number = count()
    async with receiver(lambda _came: Answer(500 if next(number) < 4 else 200)) as there:
        hook = await hooks.make(there.url())
        await hooks.happen()
        (failed,) = await hooks.settled(hook)
        assert (failed["state"], len(failed["attempts"])) == ("failed", 4)
        for attempts in (5, 6):
            path = f"/v1/webhooks/{hook['id']}/deliveries/{failed['id']}/redeliver"
            answer = await hooks.ask("POST", path)
            assert (answer.status, answer.json()["state"]) == (202, "pending")
            (delivered,) = await hooks.settled(hook)
            assert (delivered["state"], len(delivered["attempts"])) == ("delivered", attempts)
        assert {came.id for came in there.came} == {failed["webhook_id"]}
        assert [a["number"] for a in delivered["attempts"]] == [1, 2, 3, 4, 5, 6]


async def test_the_log_is_paged_newest_first_and_filtered(hooks: Hooks):
    async with receiver() as there:
        hook = await hooks.make(there.url())
        calls = await hooks.happen(7)
        whole = await hooks.settled(hook, 7)
        assert [d["call_id"] for d in whole] == [str(call) for call in reversed(calls)]
        path, pages = f"/v1/webhooks/{hook['id']}/deliveries?limit=3&state=delivered", []
        while path:
            page = (await hooks.ask("GET", path)).json()
            pages.append(page["data"])
            path = page["links"].get("next", "").removeprefix(hooks.stage.house.base_url)
            assert (page["next_cursor"] is None) == (not path)
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [d for page in pages for d in page] == whole
        assert await hooks.log(hook, "?state=failed") == []
        for query in ("?limit=0", "?limit=201", "?state=lost", "?cursor=abc", f"?cursor={'A' * 40}", "?page=2"):
            assert (await hooks.ask("GET", f"/v1/webhooks/{hook['id']}/deliveries{query}")).status == 422, query


async def test_what_is_switched_off_or_deleted_is_sent_nothing(databases: Databases, tmp_path: Path):
    # However long the test's own steps take, each delivery has been tried once and waits for its second try meanwhile.
    slow = hooked(await databases.create(), tmp_path, tmp_path, schedule_s=[600], connect_s=30, answer_s=30)
    async with slow as hooks, receiver(lambda _came: Answer(500)) as there:
        off, deleted = await hooks.make(there.url("/off")), await hooks.make(there.url("/deleted"))
        await hooks.happen()
        await there.until_came(2)
        changed = (await hooks.ask("PATCH", f"/v1/webhooks/{off['id']}", {"enabled": False})).json()
        assert (changed["enabled"], changed["disabled_reason"]) == (False, "asked")
        assert (await hooks.ask("DELETE", f"/v1/webhooks/{deleted['id']}")).status == 204
        assert (await hooks.ask("GET", f"/v1/webhooks/{deleted['id']}")).status == 404
        (dropped,) = await hooks.settled(off)
        assert dropped["state"] == "dropped"
        redelivery = f"/v1/webhooks/{off['id']}/deliveries/{dropped['id']}/redeliver"
        assert (await hooks.ask("POST", redelivery)).json()["code"] == "webhook_off"
        await hooks.happen(3)
        deliveries = await hooks.stage.office.rows("SELECT state FROM webhook_deliveries")
        assert [row["state"] for row in deliveries] == ["dropped"] * 2
        assert sorted(came.path for came in there.came) == ["/deleted", "/off"]
        rows = await hooks.stage.office.rows(
            "SELECT secret, former_secret, enabled FROM webhook_endpoints WHERE id = $1::text::uuid", deleted["id"]
        )
    assert [tuple(row) for row in rows] == [(None, None, False)]


async def test_a_sealed_secret_signs_as_any_other_for_whoever_has_its_key(hooks: Hooks):
    sealing = hooks.stage.another(webhooks={"secret_keys": ["k" * 32]})
    async with receiver() as there:
        made = (await hooks.ask("POST", "/v1/webhooks", {"url": there.url()}, house=sealing)).json()
        hooks.stage.secrets.add(made["secret"])
        query = "SELECT secret FROM webhook_endpoints WHERE id = $1::text::uuid"
        (row,) = await hooks.stage.office.rows(query, made["id"])
        assert row["secret"].startswith("sealed:")
        sealing.stop()
        await hooks.happen()
        log = await hooks.logged(made, lambda log: bool(log[0]["attempts"]))
        assert log[0]["attempts"][0]["error"] == "defect"  # it has no key, and sends nothing unsigned
        assert there.came == []
        reading = hooks.stage.another(webhooks={"secret_keys": ["n" * 32, "k" * 32]})
        hooks.stage.house.signal(signal.SIGSTOP)
        try:
            await hooks.happen()
            (came, *_) = await there.until_came(1)
        finally:
            hooks.stage.house.signal(signal.SIGCONT)
            reading.stop()
        came.verified(made["secret"])
