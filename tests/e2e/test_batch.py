"""Up to 100 calls at once: each answered, refused and audited as if it had been asked for alone."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from parts.calls import DATA, MISSING, Calls, plainly
from parts.wire import Answer

STATES = ("s3", "pending", "failed", "absent", "expired", "missing", "foreign", "malformed", "nameless")


def batch(
    calls: Calls, body: object, kind: str = "", key: Mapping[str, str] | None = None, agent: str = "batcher"
) -> Answer:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return calls.ask("POST", f"/v1/recordings/batch{kind}", key, [("User-Agent", agent)], sent)


def bare(problem: dict[str, Any], id_: str) -> str:
    return json.dumps(problem).replace(id_, "*")


def test_each_is_answered_as_if_it_were_alone_and_in_order(calls: Calls):
    ids = [calls.by_state[state].native for state in STATES] + [f"yotel:{calls.by_state['gcs'].yotel}"]
    answer = batch(calls, {"ids": ids})
    assert (answer.status, answer.get("Cache-Control")) == (200, "private, no-store")
    items = answer.json()["data"]
    assert [item["id"] for item in items] == ids
    for id_, item in zip(ids, items, strict=True):
        alone = calls.ask("GET", f"/v1/recordings/{id_}")
        assert item["status"] == alone.status, id_
        assert item["recording" if alone.status == 200 else "error"] == alone.json()
        retry_after = alone.get("Retry-After")
        assert item.get("retry_after_s") == (None if retry_after is None else int(retry_after))
        assert item.keys() <= {"id", "status", "recording", "error", "retry_after_s"}
    assert [item["status"] for item in items] == [200, 409, 409, 404, 410, 404, 404, 422, 404, 200]


def test_a_foreign_call_and_a_missing_one_differ_by_their_ids_alone(calls: Calls):
    ids = [calls.by_state["foreign"].native, MISSING]
    for kind in ("", "/links"):
        foreign, missing = batch(calls, {"ids": ids}, kind).json()["data"]
        assert bare(foreign, ids[0]) == bare(missing, ids[1])
        assert foreign["status"] == 404


def test_links_are_made_to_those_that_are_ready(calls: Calls):
    ids = [calls.by_state[state].native for state in ("s3", "disk", "gcs", "pending", "missing")]
    items = batch(calls, {"ids": ids, "ttl_s": 60, "delivery": "gateway"}, "/links").json()["data"]
    assert [item["status"] for item in items] == [201, 201, 201, 409, 404]
    assert items[3]["retry_after_s"] == 15
    for item in items[:3]:
        assert item.keys() == {"id", "status", "link"}
        calls.stage.secrets.add(urlsplit(item["link"]["url"]).path.split("/")[-2])
        assert plainly(item["link"]["url"])[:2] == (200, DATA)
    stored, unsigned = batch(calls, {"ids": ids[:2]}, "/links").json()["data"]
    calls.stage.secrets.add(stored["link"]["url"].rsplit("=", 1)[-1])
    assert stored["link"]["url"].startswith(calls.stage.stores["s3"]["endpoint"])
    assert (unsigned["status"], unsigned["error"]["code"]) == (409, "link_unsupported")


def test_one_named_twice_is_answered_twice(calls: Calls):
    of = calls.ready["disk"]
    one, alias, again = batch(calls, {"ids": [str(of.id), f"yotel:{of.alias}", str(of.id)]}).json()["data"]
    assert one == again
    assert one["recording"]["id"] == alias["recording"]["id"]


def test_a_hundred_are_answered_and_one_more_is_too_many(calls: Calls):
    ids = [str(calls.ready["disk"].id)] * 100
    items = batch(calls, {"ids": ids}).json()["data"]
    assert (len(items), {item["status"] for item in items}) == (100, {200})
    for kind in ("", "/links"):
        answer = batch(calls, {"ids": [*ids, MISSING]}, kind)
        assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["body", "ids"])


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", {}, {"ids": []}, {"ids": MISSING}, {"ids": [7]}, {"ids": ["x" * 301]}, {"ids": [MISSING], "x": 1}],
    ids=repr,
)
def test_a_batch_not_of_its_form_is_unprocessable(calls: Calls, body: object):
    for kind in ("", "/links"):
        answer = batch(calls, body, kind)
        assert (answer.status, answer.json()["code"]) == (422, "malformed")


@pytest.mark.parametrize("more", [{"ttl_s": 0}, {"delivery": "post"}, {"max_uses": 1}, {"ttl_s": 604_801}], ids=repr)
def test_a_wrong_link_is_asked_of_none(calls: Calls, more: dict[str, object]):
    answer = batch(calls, {"ids": [str(calls.ready["s3"].id)], **more}, "/links")
    assert (answer.status, answer.json()["code"]) == (422, "malformed")


def test_metadata_and_links_take_their_own_scopes(calls: Calls):
    ids = {"ids": [str(calls.ready["disk"].id)]}
    for kind, key, status in (
        ("", calls.read_only, 200),
        ("", calls.download_only, 403),
        ("/links", calls.download_only, 200),
        ("/links", calls.read_only, 403),
        ("", {"A": "b"}, 401),
    ):
        assert batch(calls, ids, kind, key).status == status


async def test_each_has_an_event_of_its_own_under_the_one_request(calls: Calls):
    agent, ids = f"batcher {uuid4()}", [calls.by_state[state].native for state in ("disk", "pending", "missing")]
    batch(calls, {"ids": ids}, agent=agent)
    batch(calls, {"ids": [ids[0]]}, "/links", agent=agent)
    rows = await calls.stage.accesses("user_agent", agent, 6)
    told = sorted((row["method"], row["status"], str(row["call"]), row["reason"]) for row in rows)
    assert told == sorted([
        ("batch", 200, "None", None),
        ("metadata", 200, ids[0], None),
        ("metadata", 409, ids[1], "recording_not_ready"),
        ("metadata", 404, "None", "not_found"),
        ("batch", 200, "None", None),
        ("link", 409, ids[0], "link_unsupported"),
    ], key=lambda row: (row[0], row[1], row[2]))  # fmt: skip
    assert len({row["request_id"] for row in rows}) == 2
    assert len({row["actor_id"] for row in rows}) == 1
