"""What the audit in Postgres says of each kind of access."""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from parts.calls import DATA, MISSING, Calls
from parts.house import Filed

BOTH_WAYS = True

FULL, LOW, LINK, NOBODY = "full rights", "too low a scope", "a link", "nobody"
SCOPES = ["audit:read", "calls:read", "recordings:download", "recordings:write"]


@dataclass(frozen=True)
class Asked:
    """A request, and what the audit must say of it."""

    method: str
    target: str
    kind: str
    status: int
    lines: tuple[tuple[str, str], ...] = ()
    who: str = FULL
    sent: int = 0
    refused: str | None = None
    of_call: bool = True
    """The call was found."""
    of_object: bool = True
    """What was asked for is the ready recording's object, of that version."""

    @property
    def outcome(self) -> tuple[int, int, str, str | None]:
        return self.status, self.sent, "refused" if self.refused else "complete", self.refused


def requests(calls: Calls, of: Filed, link: str) -> list[Asked]:
    native, size = f"/v1/recordings/{of.id}", len(of.data)
    pending = f"/v1/recordings/{calls.by_state['pending'].native}/audio"
    past, several = ("Range", f"bytes={size}-"), ("Range", "bytes=0-9,20-29")
    return [
        Asked("GET", of.native, "stream", 200, sent=size),
        Asked("GET", of.native, "stream", 206, (("Range", "bytes=10-19"),), sent=10),
        Asked("GET", of.native, "stream", 206, (several,), sent=20),
        Asked("HEAD", of.native, "probe", 200),
        Asked("GET", of.native, "stream", 304, (("If-None-Match", "*"),)),
        Asked("GET", of.native, "stream", 412, (("If-Match", '"x"'),), refused="precondition_failed"),
        Asked("GET", of.native, "stream", 416, (past,), refused="range_unsatisfiable"),
        Asked("GET", of.yotel, "stream", 200, sent=size),
        Asked("HEAD", of.yotel, "probe", 200),
        Asked("GET", of.yotel.removesuffix("/audio"), "link", 200),
        Asked("POST", f"{native}/links", "link", 201),
        Asked("GET", native, "metadata", 200),
        Asked("GET", "/v1/recordings?limit=1", "list", 200, of_call=False, of_object=False),
        Asked("GET", link, "stream", 200, who=LINK, sent=size),
        Asked("GET", of.native, "stream", 403, who=LOW, refused="forbidden", of_object=False),
        Asked("GET", of.native, "stream", 401, who=NOBODY, refused="unauthenticated", of_call=False, of_object=False),
        Asked("GET", f"/v1/recordings/{MISSING}", "metadata", 404, refused="not_found", of_call=False, of_object=False),
        Asked("GET", pending, "stream", 409, refused="recording_not_ready", of_object=False),
    ]


async def test_every_kind_of_access_is_one_event_with_all_its_fields(calls: Calls):
    stage, of, agent = calls.stage, calls.ready["s3"], f"auditor {uuid4()}"
    (recording,) = await stage.office.rows("SELECT id FROM recordings WHERE call_id = $1", of.id)
    link = urlsplit(calls.link(of, {"delivery": "gateway"}).json()["url"]).path
    credentials = {FULL: calls.full, LOW: calls.read_only, LINK: {}, NOBODY: {}}
    asked = requests(calls, of, link)
    for number, each in enumerate(asked):
        lines = [*each.lines, ("User-Agent", f"{agent} {number}")]
        assert calls.ask(each.method, each.target, credentials[each.who], lines).status == each.status
    for number, each in enumerate(asked):
        (row,) = await stage.accesses("user_agent", f"{agent} {number}", 1)
        assert row["event_id"].version == 7
        assert row["occurred_at"] <= row["completed_at"]
        assert len(row["request_id"]) == 32
        assert (row["address"], row["peer"]) == ("127.0.0.1", "127.0.0.1")
        assert row["surface"] == ("yotel" if each.target.startswith("/yotel") else "native"), each
        assert row["method"] == each.kind, each
        assert (row["status"], row["bytes_sent"], row["result"], row["reason"]) == each.outcome, each
        assert row["range_asked"] == dict(each.lines).get("Range"), each
        assert row["etag"] == (of.etag if each.of_object else None), each
        assert (row["session"] is not None) == (each.of_object and each.kind in {"stream", "probe"}), each
        assert (row["call"] is not None, row["recording"] is not None) == (each.of_call, each.of_call), each
        if each.of_object:
            assert (row["call"], row["recording"]) == (of.id, recording["id"]), each
        await assert_actor(calls, each, row)
        told = json.dumps(dict(row), default=str)
        assert not [secret for secret in stage.secrets if secret in told], "a secret stands in the audit"


async def assert_actor(calls: Calls, each: Asked, row: asyncpg.Record) -> None:
    stage = calls.stage
    actor = (row["tenant"], row["actor_kind"], row["auth_method"], row["scopes"], row["role"])
    assert row["actor_id"] == row["credential_id"], each
    if each.who == NOBODY:
        assert actor == (None, "anonymous", None, [], None)
        assert row["actor_id"] is None
    elif each.who == LINK:
        assert actor == (stage.tenant, "link", "link", ["recordings:download"], None)
        assert UUID(row["actor_id"])
    else:
        scopes = SCOPES if each.who == FULL else ["calls:read"]
        assert actor == (stage.tenant, "api_key", "api_key", scopes, None)
        (key,) = await stage.office.rows("SELECT scopes FROM api_keys WHERE id = $1", UUID(row["actor_id"]))
        assert key["scopes"] == scopes


async def test_requests_of_one_playback_share_a_session_and_others_do_not(calls: Calls):
    of, agent = await calls.stage.file("disk", DATA), f"player {uuid4()}"
    named = ("User-Agent", agent)
    for lines in ([], [("Range", "bytes=0-1")], [("Range", "bytes=0-")], [("Range", "bytes=50000-")]):
        calls.ask("GET", of.native, lines=[*lines, named])
    calls.ask("HEAD", of.native, lines=[named])
    rows = await calls.stage.accesses("user_agent", agent, 5)
    assert len({row["session"] for row in rows}) == 1
    assert len({row["event_id"] for row in rows}) == len({row["request_id"] for row in rows}) == 5

    calls.ask("GET", of.native, calls.download_only, [named])
    calls.ask("GET", calls.ready["disk"].native, lines=[named])
    calls.ask("GET", of.native, lines=[("User-Agent", f"another {agent}")])
    another_key, another_call = (await calls.stage.accesses("user_agent", agent, 7))[5:]
    (another_player,) = await calls.stage.accesses("user_agent", f"another {agent}", 1)
    others = (another_key, another_call, another_player)
    assert len({rows[0]["session"], *(row["session"] for row in others)}) == 4
    assert len(await calls.stage.accesses("call", of.id, 7)) == 7


async def test_a_range_too_long_to_be_kept_is_told_as_what_it_came_to(calls: Calls):
    """Whoever pads the field hides nothing of what he heard."""
    of, agent, padding = calls.ready["disk"], f"padder {uuid4()}", "0" * 300
    asked = {
        f"bytes={padding}10-{padding}19": (206, "bytes=10-19"),
        f"bytes={',' * 300}-5": (206, f"bytes={len(of.data) - 5}-{len(of.data) - 1}"),
        f"bytes={padding}20-29, 0-9": (206, "bytes=20-29,0-9"),
        f"bytes={padding}10-{'9' * 20}": (206, f"bytes=10-{len(of.data) - 1}"),
        f"bytes={'0-0,' * 60}": (200, f"bytes={'0-0,' * 60}"[:200]),
        f"bytes={padding}{len(of.data)}-": (416, f"bytes={padding}"[:200]),
    }
    for number, (field, (status, _)) in enumerate(asked.items()):
        lines = [("Range", field), ("User-Agent", f"{agent} {number}")]
        assert calls.ask("GET", of.native, lines=lines).status == status
    for number, (_, told) in enumerate(asked.values()):
        (row,) = await calls.stage.accesses("user_agent", f"{agent} {number}", 1)
        assert row["range_asked"] == told


async def test_access_log_cannot_be_changed(calls: Calls):
    agent = f"heard {uuid4()}"
    calls.ask("HEAD", calls.ready["s3"].native, lines=[("User-Agent", agent)])
    await calls.stage.accesses("user_agent", agent, 1)
    for change in ("UPDATE access_events SET surface = 'x'", "DELETE FROM access_outcomes", "TRUNCATE access_events"):
        with pytest.raises(Exception, match="is refused: its rows are kept"):
            await calls.stage.office.rows(change)


async def test_an_object_gone_from_its_store_is_not_found_and_raises_an_alarm(calls: Calls):
    of = await calls.stage.file("disk", DATA, key="gone.wav")
    (Path(calls.stage.stores["disk"]["root"]) / "gone.wav").unlink()
    answer = calls.ask("GET", of.native)
    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    (row,) = await calls.stage.accesses("call", of.id, 1)
    assert (row["status"], row["result"], row["reason"], row["bytes_sent"]) == (404, "refused", "object_missing", 0)
    alarms = [line for line in calls.stage.house.logs if line["event"] == "object_missing"]
    assert (answer.get("X-Request-Id"), "error") in {(line["request_id"], line["level"]) for line in alarms}
