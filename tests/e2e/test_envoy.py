"""Envoy's contract, by its own document: what it prints replayed through a real server."""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from parts.calls import about_now, plainly
from parts.contracts import DATA
from parts.house import Filed
from parts.replay import UTC, Told, as_printed, curl, headers, root
from parts.stage import Stage
from parts.wire import Wire

CALL = "00000000-0000-0000-0000-000000000000"
PRINTED = {
    "call_id": f"call_{CALL}",
    "url": "string",
    "content_type": "string",
    "expires_at": "2024-01-15T09:30:00Z",
    "recording_status": "string",
    "duration_seconds": 1.1,
    "file_size_bytes": 1,
    "recording_start_time": "2024-01-15T09:30:00Z",
}
FORM = re.compile(r"^call_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
PATHS = ("/api/v1/calls", "/calls")
"""Both are printed."""


@dataclass(frozen=True)
class Org:
    """An organisation, its key, and the call of the example."""

    stage: Stage
    tenant: UUID
    key: dict[str, str]
    filed: Filed

    def get(self, call: str = CALL, fields: dict[str, str] | None = None, path: str = PATHS[0]) -> Told:
        given = headers(self.key if fields is None else fields)
        told = curl("-g", f"{root(self.stage, 'envoy')}{path}/{call}/recording", *given)
        if told.status == 200:
            self.stage.secrets.add(told.json()["url"].rpartition("=")[2])
        return told

    async def file(self, change: str | None = None, **options: Any) -> str:
        """Another call's id."""
        of = await self.stage.file("s3", DATA, tenant=self.tenant, **options)
        if change is not None:
            await self.stage.office.rows(f"UPDATE recordings SET {change} WHERE call_id = $1", of.id)
        return of.aliases["envoy"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def org(stage: Stage) -> Org:
    tenant = await stage.office.tenant("envoys")
    of = await stage.file("s3", b"1", tenant=tenant, aliases={"envoy": CALL}, duration_ms=1100, media_type="audio/mp4")
    change = "UPDATE recordings SET started_at = '2024-01-15T09:30:00Z' WHERE call_id = $1"
    await stage.office.rows(change, of.id)
    return Org(stage, tenant, await stage.key("recordings:download", tenant=tenant), of)


@pytest.mark.parametrize("path", PATHS)
def test_documented_example_gives_every_field(org: Org, path: str):
    told = org.get("call_" + CALL, path=path)
    assert (told.status, told.fields["cache-control"]) == (200, "private, no-store")
    body = told.json()
    as_printed(body, PRINTED)
    assert body == PRINTED | {
        "url": body["url"],
        "content_type": "audio/mp4",
        "expires_at": body["expires_at"],
        "recording_status": "ready",
    }
    assert FORM.match(body["call_id"])
    assert UTC.fullmatch(body["expires_at"])
    assert about_now(body["expires_at"], timedelta(hours=1))


def test_url_plays_without_a_header_and_seeks(org: Org):
    url = org.get().json()["url"]
    assert "X-Amz-Expires=3600" in url
    status, body, fields = plainly(url)
    assert (status, body, fields["Content-Type"]) == (200, b"1", "audio/mp4")
    assert plainly(url, Range="bytes=0-0")[:2] == (206, b"1")


@pytest.mark.parametrize("named", [CALL, f"call_{CALL}"])
def test_id_comes_bare_or_with_its_prefix(org: Org, named: str):
    assert org.get(named).json()["call_id"] == f"call_{CALL}"


async def test_id_comes_in_any_case_and_goes_out_in_one(org: Org):
    id_ = await org.file()
    for named in (id_, id_.upper(), f"call_{id_.upper()}"):
        assert org.get(named).json()["call_id"] == f"call_{id_}"


@pytest.mark.parametrize("named", ["call_{}", "{}"])
async def test_id_registered_in_another_form_is_found_all_the_same(org: Org, named: str):
    given = named.format(str(uuid4()).upper())
    id_ = given.removeprefix("call_").lower()
    await org.file(aliases={"envoy": given})
    for asked in (given, id_):
        assert org.get(asked).json()["call_id"] == f"call_{id_}"
    reader = await org.stage.key("calls:read", tenant=org.tenant)
    for asked in (given, id_, f"call_{id_}"):
        described = curl(f"{org.stage.house.base_url}/v1/recordings/envoy:{asked}", *headers(reader))
        assert described.json()["aliases"]["envoy"] == id_


async def test_both_kinds_of_authentication_are_supported(org: Org):
    bare = org.key["Authorization"].removeprefix("Bearer ")
    token = org.stage.token("envoys", scope="recordings:download")
    for fields in (org.key, {"X-API-Key": bare}, token):
        assert org.get(fields=fields).status == 200
        for named in ("envoys", str(org.tenant)):
            assert org.get(fields=fields | {"X-Organization-ID": named}).status == 200
        assert org.get(fields=fields | {"X-Organization-ID": "acme"}).status == 404


async def test_who_names_another_organisation_is_told_nothing_and_the_audit_who_it_was(org: Org):
    agent = f"trespasser {uuid4()}"
    told = org.get(fields=org.key | {"X-Organization-ID": "acme", "User-Agent": agent})
    assert told.status == 404
    (row,) = await org.stage.accesses("user_agent", agent, 1)
    keys = await org.stage.office.rows("SELECT id FROM api_keys WHERE tenant_id = $1", org.tenant)
    assert (row["tenant"], row["actor_kind"]) == (org.tenant, "api_key")
    assert row["credential_id"] in {str(key["id"]) for key in keys}
    assert (row["status"], row["reason"], row["call"]) == (404, "not_found", None)


def test_two_credentials_at_once_are_ambiguous(org: Org):
    bare = org.key["Authorization"].removeprefix("Bearer ")
    for fields in (org.key | {"X-API-Key": bare}, {"Authorization": "Basic eDp5", "X-API-Key": bare}):
        assert org.get(fields=fields).status == 400
    twice = curl(f"{root(org.stage, 'envoy')}/calls/{CALL}/recording", *headers({"X-API-Key": bare}) * 2)
    assert twice.status == 400


def test_documented_errors_are_in_fastapis_form(org: Org):
    stage = org.stage
    low = stage.token("envoys", scope="calls:read")
    token = stage.token("envoys")["Authorization"].removeprefix("Bearer ")
    asked = {
        401: [org.get(fields={}), org.get(fields={"X-API-Key": "x"}), org.get(fields={"X-API-Key": token})],
        403: [org.get(fields=low)],
        404: [org.get("call_00000000-0000-4000-8000-000000000001")],
        422: [org.get(named) for named in ("1", "call_1", f"call-{CALL}", f"CALL_{CALL}", f"{{{CALL}}}", f"{CALL}0")],
    }
    for status, answers in asked.items():
        for told in answers:
            assert (told.status, list(told.json())) == (status, ["detail"])
            if status == 422:
                (problem,) = told.json()["detail"]
                assert list(problem) == ["loc", "msg", "type"]
                assert problem["loc"] == ["path", "call_id"]
            else:
                assert isinstance(told.json()["detail"], str)


@pytest.mark.parametrize("media_type", ["audio/mp4", "video/mp4", "audio/wav"])
async def test_content_type_is_what_the_recording_is(org: Org, media_type: str):
    told = org.get(await org.file(media_type=media_type)).json()
    assert told["content_type"] == media_type
    assert plainly(told["url"])[2]["Content-Type"] == media_type


async def test_what_is_not_known_is_null(org: Org):
    told = org.get(await org.file(duration_ms=None)).json()
    assert (told["duration_seconds"], told["recording_start_time"]) == (None, None)
    assert told["file_size_bytes"] == len(DATA)


@pytest.mark.parametrize("status", ["pending", "processing"])
async def test_status_says_so_where_the_object_is_known_before_it_is_ready(org: Org, status: str):
    told = org.get(await org.file(f"state = '{status}'"))
    assert (told.status, told.json()["recording_status"]) == (200, status)
    assert plainly(told.json()["url"])[:2] == (200, DATA)


async def test_each_link_is_audited(org: Org):
    id_ = await org.file()
    told = org.get(id_)
    (call,) = await org.stage.office.rows("SELECT call_id FROM call_aliases WHERE external_id = $1", id_)
    (row,) = await org.stage.accesses("call", call["call_id"], 1)
    assert (told.status, row["surface"], row["method"], row["status"]) == (200, "envoy", "link", 200)


@pytest.mark.parametrize(("given", "told"), [("audio/x-m4a", "audio/mp4"), ("audio/mp3", "audio/mpeg")])
async def test_a_link_gives_the_type_that_is_told_beside_it(stage: Stage, given: str, told: str):
    call, external, key = uuid4(), uuid4(), f"acme/{uuid4().hex}.m4a"
    stage.shelves["s3"].put(key, DATA)
    registered = {"state": "processing", "store": "s3", "key": key, "media_type": given}
    with Wire(stage.house.base_url) as wire:

        def put(path: str, body: object) -> int:
            return wire.ask("PUT", path, stage.full.items(), json.dumps(body).encode()).status

        assert put(f"/v1/calls/{call}", {"aliases": {"envoy": str(external)}}) == 201
        assert put(f"/v1/calls/{call}/recording", registered) == 202
        answer = wire.ask("GET", f"/envoy/calls/{external}/recording", stage.full.items()).json()
    stage.secrets.add(answer["url"].rpartition("Signature=")[2])
    signed = parse_qs(urlsplit(answer["url"]).query)["response-content-type"]
    assert (answer["content_type"], signed) == (told, [told])
