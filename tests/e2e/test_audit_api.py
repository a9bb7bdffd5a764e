"""Reading the audit over the API: who may, what it tells, and that the reading is in it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from parts.calls import DATA, MISSING, Calls, assert_refused, plainly
from parts.house import Filed
from parts.patience import soon
from parts.wire import Answer

FIELDS = {
    "event_id", "occurred_at", "completed_at", "surface", "method", "tenant", "actor", "credential_id", "auth_method", "scopes",
    "role", "address", "peer", "user_agent", "request_id", "trace_id", "call", "recording", "etag", "range",
    "bytes_sent", "status", "result", "reason", "session",
}  # fmt: skip


@dataclass(frozen=True)
class Watching:
    """An account of its own, whose auditor may do nothing but audit."""

    calls: Calls
    tenant: UUID
    key: Mapping[str, str]
    auditor: Mapping[str, str]

    async def call(self, **options: Any) -> Filed:
        return await self.calls.stage.file("disk", DATA, tenant=self.tenant, **options)

    def accesses(self, call: object, query: str = "", key: Mapping[str, str] | None = None) -> Answer:
        return self.calls.ask("GET", f"/v1/recordings/{call}/accesses?{query}", key or self.auditor)

    def events(self, query: str = "", key: Mapping[str, str] | None = None) -> Answer:
        return self.calls.ask("GET", f"/v1/audit/events?{query}", key or self.auditor)

    def told(self, ask: Callable[[], Answer], count: int) -> list[dict[str, Any]]:
        """What it tells, once ``count`` are there and ended: what happens takes a moment to reach Postgres."""
        end = time.monotonic() + 10
        while True:
            answer = ask()
            assert answer.status == 200, answer.body
            data: list[dict[str, Any]] = [each for each in answer.json()["data"] if each["method"] != "audit"]
            if len(data) >= count and all(each["result"] for each in data):
                assert len(data) == count
                return data
            assert time.monotonic() < end
            time.sleep(0.02)  # Postgres tells nobody of what arrives


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def watching(calls: Calls) -> Watching:
    stage = calls.stage
    tenant = await stage.office.tenant("watching")
    return Watching(calls, tenant, await stage.key(tenant=tenant), await stage.key("audit:read", tenant=tenant))


async def test_an_access_is_told_with_every_field(watching: Watching):
    of = await watching.call()
    agent, lines = f"listener {uuid4()}", [("Range", "bytes=10-19")]
    watching.calls.ask("GET", of.native, watching.key, [*lines, ("User-Agent", agent)])
    (told,) = watching.told(lambda: watching.accesses(of.id), 1)
    (row,) = await watching.calls.stage.accesses("user_agent", agent, 1)
    assert told.keys() == FIELDS
    assert told["actor"] == {"kind": "api_key", "id": row["actor_id"]}
    ids, times = {"event_id", "tenant", "call", "recording", "session"}, {"occurred_at", "completed_at"}
    for name in ids:
        assert told[name] == str(row[name])
    for name in times:
        assert told[name] == row[name].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for name in FIELDS - ids - times - {"actor", "range"}:
        assert told[name] == row[name], name
    assert (told["range"], told["bytes_sent"], told["status"], told["result"]) == ("bytes=10-19", 10, 206, "complete")
    assert (told["method"], told["surface"], told["etag"]) == ("stream", "native", of.etag)


async def test_every_use_of_a_recording_is_found_whoever_it_was_by(watching: Watching):
    calls, of, another = watching.calls, await watching.call(), await watching.call()
    calls.ask("GET", another.native, watching.key)
    link = calls.ask("POST", f"/v1/recordings/{of.id}/links", watching.key, body=b'{"delivery": "gateway"}').json()
    calls.stage.secrets.add(link["url"].split("/")[-2])
    plainly(link["url"])
    calls.ask("GET", of.yotel, watching.key)
    calls.ask("GET", of.native, watching.auditor)
    told = watching.told(lambda: watching.accesses(f"yotel:{of.alias}"), 4)
    assert [(each["surface"], each["method"], each["actor"]["kind"], each["status"]) for each in told] == [
        ("native", "stream", "api_key", 403),
        ("yotel", "stream", "api_key", 200),
        ("native", "stream", "link", 200),
        ("native", "link", "api_key", 201),
    ]
    by_link = watching.told(lambda: watching.events(f"call={of.id}&method=stream&actor={told[2]['actor']['id']}"), 1)
    assert by_link == [told[2]]
    for query, count in (
        (f"call={of.id}", 4),
        (f"recording={told[0]['recording']}", 4),
        (f"call={of.id}&result=refused", 1),
        (f"call={of.id}&status=201", 1),
        (f"call={of.id}&surface=yotel", 1),
        (f"call={of.id}&credential={told[3]['credential_id']}", 2),
        (f"session={told[1]['session']}", 1),
        (f"call={of.id}&address=127.0.0.1", 4),
        (f"call={of.id}&address=127.0.0.9", 0),
        (f"call={of.id}&until={told[2]['occurred_at']}", 1),
        (f"call={of.id}&since={told[2]['occurred_at']}", 3),
        (f"call={of.id}&since={told[0]['occurred_at'].replace('Z', '%2B00:00')}", 1),
    ):
        assert len([each for each in watching.events(query).json()["data"] if each["method"] != "audit"]) == count, (
            query
        )


@pytest.mark.parametrize("state", ["ready", "pending", "failed", "absent", "expired", "swept", "held"])
async def test_accesses_are_told_in_every_state(calls: Calls, state: str):
    of = calls.by_state[state if state != "ready" else "disk"].native
    answer = calls.ask("GET", f"/v1/recordings/{of}/accesses?limit=1")
    assert (answer.status, answer.get("Cache-Control")) == (200, "private, no-store")


async def test_accesses_outlive_the_recording(watching: Watching):
    of = await watching.call()
    watching.calls.ask("GET", of.native, watching.key)
    await watching.calls.stage.office.rows("UPDATE recordings SET expires_at = now() WHERE call_id = $1", of.id)
    soon(lambda: watching.calls.ask("HEAD", of.native, watching.key).status == 410)
    (told,) = watching.told(lambda: watching.accesses(of.id, "status=200&method=stream"), 1)
    assert told["bytes_sent"] == len(DATA)


async def test_pages_hold_everything_once_and_cursors_fit_their_own_question(watching: Watching):
    of = await watching.call()
    for _ in range(7):
        watching.calls.ask("GET", f"/v1/recordings/{of.id}", watching.key)
    everything = watching.told(lambda: watching.accesses(of.id, "method=metadata"), 7)
    seen: list[dict[str, Any]] = []
    target: str | None = f"/v1/recordings/{of.id}/accesses?limit=3&method=metadata"
    cursor = None
    while target is not None:
        page = watching.calls.ask("GET", target, watching.auditor).json()
        assert page.keys() == {"data", "next_cursor", "links"}
        seen += page["data"]
        cursor = page["next_cursor"] or cursor
        following = page["links"].get("next")
        target = following and following.removeprefix(watching.calls.base)
    assert seen == everything
    for answer in (
        watching.accesses(of.id, f"cursor={cursor}"),
        watching.accesses((await watching.call()).id, f"cursor={cursor}&method=metadata"),
        watching.events(f"cursor={cursor}&method=metadata"),
        watching.calls.ask("GET", f"/v1/audit/events?call={of.id}&cursor={cursor}&method=metadata"),
    ):
        assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["query", "cursor"])
    assert watching.events(f"call={of.id}&cursor={cursor}&method=metadata").status == 200


async def test_reading_it_takes_its_own_scope_and_shows_ones_own_account_alone(watching: Watching):
    calls, of = watching.calls, await watching.call()
    calls.ask("GET", of.native, watching.key)
    watching.told(lambda: watching.accesses(of.id), 1)
    without = await calls.stage.key("calls:read", "recordings:download", "recordings:write", tenant=watching.tenant)
    for answer in (watching.accesses(of.id, key=without), watching.events(key=without)):
        assert (answer.status, answer.json()["needed"]) == (403, "audit:read")
    for answer in (watching.accesses(of.id, key={"A": "b"}), watching.events(key={"A": "b"})):
        assert answer.status == 401
    foreign, missing = watching.accesses(of.id, key=calls.full), watching.accesses(MISSING, key=calls.full)
    assert_refused(foreign, "native", (404, "not_found", None))
    assert foreign.body == missing.body
    for query in (f"call={of.id}", f"address=127.0.0.1&call={of.id}"):
        assert calls.ask("GET", f"/v1/audit/events?{query}").json()["data"] == []
    for each in watching.events("limit=200").json()["data"]:
        assert each["call"] not in {str(filed.id) for filed in calls.ready.values()}


async def test_the_reading_is_in_it_too(watching: Watching):
    of = await watching.call()
    watching.accesses(of.id)
    watching.accesses(of.id, "limit=0")
    watching.calls.ask("HEAD", f"/v1/recordings/{of.id}/accesses", watching.auditor)
    rows = await watching.calls.stage.accesses("call", of.id, 3)
    assert [(row["method"], row["status"], row["reason"]) for row in rows] == [
        ("audit", 200, None),
        ("audit", 422, "malformed"),
        ("probe", 200, None),
    ]
    auditor = str(rows[0]["actor_id"])
    ended = [each for each in watching.events(f"call={of.id}&actor={auditor}").json()["data"] if each["result"]]
    assert {each["method"] for each in ended} >= {"audit", "probe"}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "since=yesterday",
        "until=2026-01-01T00:00:00",
        "call=x",
        "recording=yotel:1",
        "method=peek",
        "result=fine",
        "status=600",
        "status=-1",
        "session=1",
        "actor=",
        "actor=a&actor=b",
        "address=%00",
        "tenant=acme",
        "cursor=" + "A" * 40,
    ],
)
def test_a_parameter_not_of_its_form_is_unprocessable(watching: Watching, query: str):
    answer = watching.events(query)
    assert (answer.status, answer.json()["code"]) == (422, "malformed")


def test_the_accesses_of_a_call_are_of_that_call(watching: Watching):
    assert watching.accesses(MISSING, f"call={MISSING}").status in {404, 422}
