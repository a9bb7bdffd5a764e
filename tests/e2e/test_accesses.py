"""What the audit in Postgres says of each kind of access."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from parts.calls import DATA, MISSING, Calls
from parts.stage import ORIGIN


async def test_every_kind_of_access_is_one_event_with_all_its_fields(calls: Calls):
    stage, of = calls.stage, calls.ready["s3"]
    native, agent = f"/v1/recordings/{of.id}", f"auditor {uuid4()}"
    pending = calls.by_state["pending"]
    (recording,) = await stage.office.rows("SELECT id FROM recordings WHERE call_id = $1", of.id)
    (key,) = await stage.office.rows(
        "SELECT id FROM api_keys WHERE tenant_id = $1 ORDER BY created_at LIMIT 1", stage.tenant
    )
    play = urlsplit(calls.link(of, {"delivery": "gateway"}).json()["url"]).path
    size = len(DATA)
    whole = (200, size, "complete", None)
    # method, target, lines, credential → the audit's method, call, etag, range, (status, bytes, result, reason)
    asked: list[tuple[str, str, list[tuple[str, str]], Mapping[str, str] | None, str, bool, bool, tuple[Any, ...]]] = [
        ("GET", of.native, [], None, "stream", True, True, whole),
        ("GET", of.native, [("Range", "bytes=10-19")], None, "stream", True, True, (206, 10, "complete", None)),
        ("GET", of.native, [("Range", "bytes=0-9,20-29")], None, "stream", True, True, (206, 20, "complete", None)),
        ("HEAD", of.native, [], None, "probe", True, True, (200, 0, "complete", None)),
        ("GET", of.native, [("If-None-Match", "*")], None, "stream", True, True, (304, 0, "complete", None)),
        ("GET", of.native, [("If-Match", '"x"')], None, "stream", True, True, (412, 0, "refused", "precondition_failed")),
        ("GET", of.native, [("Range", f"bytes={size}-")], None, "stream", True, True, (416, 0, "refused", "range_unsatisfiable")),
        ("GET", of.yotel, [], None, "stream", True, True, whole),
        ("HEAD", of.yotel, [], None, "probe", True, True, (200, 0, "complete", None)),
        ("GET", of.yotel.removesuffix("/audio"), [], None, "link", True, True, (200, 0, "complete", None)),
        ("POST", f"{native}/links", [], None, "link", True, True, (201, 0, "complete", None)),
        ("GET", native, [], None, "metadata", True, True, (200, 0, "complete", None)),
        ("GET", "/v1/recordings?limit=1", [], None, "list", False, False, (200, 0, "complete", None)),
        ("GET", play, [], {}, "stream", True, True, whole),
        ("GET", of.native, [], calls.read_only, "stream", False, False, (403, 0, "refused", "forbidden")),
        ("GET", of.native, [], {}, "stream", False, False, (401, 0, "refused", "unauthenticated")),
        ("GET", f"/v1/recordings/{MISSING}", [], None, "metadata", False, False, (404, 0, "refused", "not_found")),
        ("GET", f"/v1/recordings/{pending.native}/audio", [], None, "stream", True, False, (409, 0, "refused", "recording_not_ready")),
    ]  # fmt: skip
    for number, (method, target, lines, credential, *_) in enumerate(asked):
        calls.ask(method, target, credential, [*lines, ("User-Agent", f"{agent} {number}")])
    rows = {
        row["user_agent"]: row
        for row in [
            row for number in range(len(asked)) for row in await stage.accesses("user_agent", f"{agent} {number}", 1)
        ]
    }
    for number, (_, target, lines, credential, kind, of_call, with_etag, outcome) in enumerate(asked):
        row = rows[f"{agent} {number}"]
        where = (number, target)
        assert row["event_id"].version == 7, where
        assert row["surface"] == ("yotel" if target.startswith("/yotel") else "native"), where
        assert row["method"] == kind, where
        assert (row["status"], row["bytes_sent"] or 0, row["result"], row["reason"]) == outcome, where
        assert row["range_asked"] == dict(lines).get("Range"), where
        assert (row["address"], row["peer"]) == ("127.0.0.1", "127.0.0.1"), where
        assert len(row["request_id"]) == 32, where
        assert row["occurred_at"] <= row["completed_at"], where
        assert row["etag"] == (of.etag if with_etag else None), where
        assert (row["call"] is not None) == of_call or outcome[3] == "forbidden", where
        if with_etag:
            assert (row["call"], row["recording"]) == (of.id, recording["id"]), where
        assert (row["session"] is not None) == (kind in {"stream", "probe"} and with_etag), where
        if credential is None:
            actor = (row["tenant"], row["actor_kind"], row["actor_id"], row["credential_id"], row["auth_method"])
            assert actor == (stage.tenant, "api_key", str(key["id"]), str(key["id"]), "api_key"), where
            assert row["scopes"] == ["audit:read", "calls:read", "recordings:download", "recordings:write"], where
        elif credential == {} and target == play:
            assert (row["tenant"], row["actor_kind"], row["auth_method"]) == (stage.tenant, "link", "link"), where
            assert row["actor_id"] == row["credential_id"] != "", where
        elif credential == {}:
            assert (row["tenant"], row["actor_kind"], row["actor_id"]) == (None, "anonymous", None), where
    told = json.dumps([dict(row) for row in rows.values()], default=str)
    for secret in stage.secrets:
        assert secret not in told, "a secret stands in the audit"


async def test_requests_of_one_playback_share_a_session_and_others_do_not(calls: Calls):
    of, agent = await calls.stage.file("disk", DATA), f"player {uuid4()}"
    for lines in ([], [("Range", "bytes=0-1")], [("Range", "bytes=0-")], [("Range", "bytes=50000-")]):
        calls.ask("GET", of.native, lines=[*lines, ("User-Agent", agent)])
    calls.ask("HEAD", of.native, lines=[("User-Agent", agent)])
    rows = await calls.stage.accesses("user_agent", agent, 5)
    assert len({row["session"] for row in rows}) == 1
    assert len({row["event_id"] for row in rows}) == len({row["request_id"] for row in rows}) == 5

    calls.ask("GET", of.native, lines=[("User-Agent", agent + "'s neighbour")])
    calls.ask("GET", of.native, calls.download_only, [("User-Agent", agent + "'s colleague")])
    calls.ask("GET", calls.ready["disk"].native, lines=[("User-Agent", agent + "'s next call")])
    others = [
        row["session"]
        for who in ("'s neighbour", "'s colleague", "'s next call")
        for row in await calls.stage.accesses("user_agent", agent + who, 1)
    ]
    assert len({rows[0]["session"], *others}) == 4
    (found,) = await calls.stage.office.rows("SELECT count(*) FROM accesses WHERE call = $1", of.id)
    assert found["count"] == 7


async def test_access_log_cannot_be_changed(calls: Calls):
    await calls.stage.accesses("call", calls.ready["s3"].id, 1, or_more=True)
    for change in ("UPDATE access_events SET surface = 'x'", "DELETE FROM access_outcomes", "TRUNCATE access_events"):
        with pytest.raises(Exception, match="is refused: its rows are kept"):
            await calls.stage.office.rows(change)


def test_answers_tell_web_pages_what_they_may_read(calls: Calls):
    answer = calls.ask("GET", calls.ready["s3"].native, lines=[("Origin", ORIGIN)])
    assert answer.get("Access-Control-Allow-Origin") == ORIGIN
