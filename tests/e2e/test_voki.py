"""Voki's contract, by its own document: what it prints replayed through a real server, its policies tried."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from parts.calls import about_now
from parts.contracts import DATA
from parts.house import Filed
from parts.replay import Told, as_printed, curl, headers, root, sparse
from parts.stage import Stage

CALL = "1a2b3c4d-5e6f-7890-abcd-ef1234567890"
PRINTED = {
    "data": {
        "id": "r1a2b3c4-d5e6-7890-abcd-ef1234567890",
        "call_id": CALL,
        "format": "webm",
        "duration": 345,
        "file_size": 15234567,
        "download_url": f"/api/v1/calls/{CALL}/recording/download",
        "transcription": {"status": "completed", "text": "Transcribed call text...", "language": "pt-BR"},
        "created_at": "2026-02-15T14:36:00Z",
    }
}
SIZE = 15234567
TEXT = "Transcribed call text..."


@dataclass(frozen=True)
class Company:
    """The tenant of the example, and the call it is about."""

    stage: Stage
    tenant: UUID
    filed: Filed
    fields: dict[str, str]
    """An attendant's token, and X-Tenant."""

    def ask(self, method: str, path: str, fields: dict[str, str] | None = None, *words: str) -> Told:
        given = headers(self.fields if fields is None else fields)
        return curl("-X", method, root(self.stage, "voki") + path, *given, *words)

    def get(self, call: str = CALL, tail: str = "", fields: dict[str, str] | None = None) -> Told:
        return self.ask("GET", f"/api/v1/calls/{call}/recording{tail}", fields)

    def as_(self, role: str | None) -> dict[str, str]:
        """A token of somebody with that role, which says nothing of scopes."""
        return self.stage.token("avanter", role=role, scope=None) | {"X-Tenant": "avanter"}

    async def file(self, **options: Any) -> Filed:
        return await self.stage.file("disk", DATA, **({"tenant": self.tenant, "media_type": "video/webm"} | options))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def company(stage: Stage) -> Company:
    office = stage.office
    tenant = await office.tenant("avanter", transcription_enabled=True)
    data = sparse(stage, SIZE, "avanter/call.webm")
    call, _ = await office.call(tenant, aliases={"voki": CALL})
    await office.rows(
        "INSERT INTO recordings (tenant_id, call_id, state, created_at)"
        " VALUES ($1, $2, 'pending', '2026-02-15T14:36:00Z')",
        tenant,
        call,
    )
    filed = await office.file(
        tenant, "disk", "avanter/call.webm", data, aliases={"voki": CALL}, media_type="video/webm", duration_ms=345_000
    )
    await office.transcript(tenant, filed.id, TEXT, language="pt-BR")
    return Company(stage, tenant, filed, stage.token("avanter", role="attendant", scope=None) | {"X-Tenant": "avanter"})


def test_documented_example_gives_every_field(company: Company):
    told = company.get()
    assert (told.status, told.fields["cache-control"]) == (200, "private, no-store")
    as_printed(told.json(), PRINTED)
    id_ = told.json()["data"]["id"]
    assert told.json() == {"data": PRINTED["data"] | {"id": id_}}
    assert str(UUID(id_)) == id_


def test_download_url_leads_to_the_recording_on_the_same_origin(company: Company):
    path = company.get().json()["data"]["download_url"]
    told = company.ask("GET", path)
    assert (told.status, told.fields["content-type"], told.fields["content-length"]) == (200, "video/webm", str(SIZE))
    assert told.body == company.filed.data
    ranged = company.ask("GET", path, None, "-H", "Range: bytes=100-199")
    assert (ranged.status, ranged.fields["content-type"]) == (206, "video/webm")
    assert ranged.fields["content-range"] == f"bytes 100-199/{SIZE}"


def test_download_url_carries_the_prefix_it_was_asked_under(company: Company):
    base = company.stage.house.base_url
    path = curl(f"{base}/voki/api/v1/calls/{CALL}/recording", *headers(company.fields)).json()["data"]["download_url"]
    assert path == f"/voki/api/v1/calls/{CALL}/recording/download"
    assert curl("-I", base + path, *headers(company.fields)).fields["content-length"] == str(SIZE)


ROLES = {"attendant": 200, "supervisor": 200, "manager": 200, "admin": 200, "visitor": 403, "Attendant": 403, None: 403}


@pytest.mark.parametrize(("role", "status"), ROLES.items())
async def test_minimum_role_is_attendant(company: Company, role: str | None, status: int):
    key = await company.stage.key("audit:read", tenant=company.tenant, role=role) | {"X-Tenant": "avanter"}
    for fields in (company.as_(role), key):
        assert company.get(fields=fields).status == status
        assert company.get(tail="/download", fields=fields | {"Range": "bytes=0-0"}).status in {status, 206}


def test_no_permission_is_a_403_and_not_found_a_404_as_printed(company: Company):
    told = company.get(fields=company.as_("visitor"))
    assert (told.status, list(told.json())) == (403, ["errors"])
    assert list(told.json()["errors"]) == ["detail"]
    told = company.get(str(uuid4()))
    assert (told.status, told.json()) == (404, {"errors": {"detail": "Recording not found"}})


async def test_call_without_a_recording_is_a_404(company: Company):
    id_ = str(uuid4())
    await company.stage.office.call(company.tenant, aliases={"voki": id_})
    assert company.get(id_).json() == {"errors": {"detail": "Recording not found"}}


@pytest.mark.parametrize(
    ("media_type", "format_"),
    [("video/webm", "webm"), ("audio/webm", "webm"), ("audio/wav", "wav"), ("audio/mp4", "m4a"), ("audio/mpeg", "mp3")],
)
async def test_format_is_what_the_recording_is(company: Company, media_type: str, format_: str):
    of = await company.file(media_type=media_type, duration_ms=None)
    told = company.get(of.aliases["voki"]).json()["data"]
    assert (told["format"], told["duration"], told["file_size"]) == (format_, None, len(DATA))
    download = company.get(of.aliases["voki"], "/download")
    assert (download.body, download.fields["content-type"]) == (DATA, media_type)
    assert download.fields["content-disposition"].endswith(f'.{format_}"')


async def test_new_recording_was_created_now_and_lasts_whole_seconds(company: Company):
    of = await company.file(duration_ms=1499)
    told = company.get(of.aliases["voki"]).json()["data"]
    assert about_now(told["created_at"], timedelta(0))
    assert (told["duration"], type(told["duration"])) == (1, int)


STATUSES = {"pending": "pending", "processing": "processing", "ready": "completed", "failed": "failed"}


@pytest.mark.parametrize(("status", "worded"), STATUSES.items())
async def test_transcription_says_how_far_it_is(company: Company, status: str, worded: str):
    of = await company.file()
    assert company.get(of.aliases["voki"]).json()["data"]["transcription"] is None
    await company.stage.office.transcript(company.tenant, of.id, TEXT)
    if status != "ready":
        change = "UPDATE transcripts SET status = $2, text = NULL, language = NULL WHERE call_id = $1"
        await company.stage.office.rows(change, of.id, status)
    expected = (
        {"status": worded, "text": TEXT, "language": "en"}
        if status == "ready"
        else dict.fromkeys(("text", "language")) | {"status": worded}
    )
    assert company.get(of.aliases["voki"]).json()["data"]["transcription"] == expected


async def test_transcription_appears_only_where_the_company_has_it_enabled(company: Company):
    stage = company.stage
    tenant = await stage.office.tenant("silent", transcription_enabled=False)
    of = await company.file(tenant=tenant)
    await stage.office.transcript(tenant, of.id, TEXT)
    fields = stage.token("silent", role="attendant") | {"X-Tenant": "silent"}
    told = company.get(of.aliases["voki"], fields=fields)
    assert told.json()["data"]["transcription"] is None
    assert TEXT.encode() not in told.body


def test_recordings_are_kept_on_the_servers_own_disk(company: Company):
    """«Stored locally on the server»: the example above lies in the disk store, which signs no URL."""
    assert company.stage.stores["disk"]["kind"] == "disk"
    assert company.get().json()["data"]["download_url"].startswith("/")


@pytest.mark.parametrize("role", ["attendant", "admin"])
async def test_recording_cannot_be_deleted_individually(company: Company, role: str):
    of = await company.file()
    path = f"/api/v1/calls/{of.aliases['voki']}/recording"
    told = company.ask("DELETE", path, company.as_(role))
    assert (told.status, told.fields["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert list(told.json()["errors"]) == ["detail"]
    assert company.ask("OPTIONS", path).fields["allow"] == "GET, HEAD, OPTIONS"
    assert company.ask("DELETE", path, {}).status == 401
    assert company.ask("DELETE", path, company.as_("visitor")).status == 403
    rows = [row for row in await company.stage.accesses("call", of.id, 2) if row["method"] == "deletion"]
    assert [(row["status"], row["result"], row["reason"]) for row in rows] == [
        (405, "refused", "method_not_allowed"),
        (403, "refused", "forbidden"),
    ]
    assert company.get(of.aliases["voki"], "/download").body == DATA


async def test_department_with_recordings_cannot_be_deleted(company: Company):
    stage, admin = company.stage, company.as_("admin")
    of = await company.file()
    kept = await stage.office.department(company.tenant, of.id)
    path = f"/api/v1/departments/{kept}"
    for role in ("attendant", "supervisor", "manager"):
        assert company.ask("DELETE", path, company.as_(role)).status == 403
    told = company.ask("DELETE", path, admin)
    assert (told.status, list(told.json()["errors"])) == (409, ["detail"])
    assert "recording" in told.json()["errors"]["detail"]
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await stage.office.rows("DELETE FROM departments WHERE id = $1", kept)
    assert company.get(of.aliases["voki"]).status == 200


async def test_department_without_recordings_goes(company: Company):
    stage, admin = company.stage, company.as_("admin")
    call, _ = await stage.office.call(company.tenant)
    bare = await stage.office.department(company.tenant, call)
    told = company.ask("DELETE", f"/api/v1/departments/{bare}", admin)
    assert (told.status, told.body) == (204, b"")
    assert await stage.office.rows("SELECT FROM departments WHERE id = $1", bare) == []
    assert await stage.office.rows("SELECT FROM calls WHERE id = $1 AND department_id IS NULL", call)
    foreign = await stage.office.department(await stage.office.tenant("elsewhere"))
    for named in (bare, foreign, "no-uuid", f"{{{bare}}}"):
        told = company.ask("DELETE", f"/api/v1/departments/{named}", admin, "-g")
        assert (told.status, list(told.json()["errors"])) == (404, ["detail"])
    assert await stage.office.rows("SELECT FROM departments WHERE id = $1", foreign)


@pytest.mark.parametrize("named", ["1", "not-a-uuid", CALL[:-1], f"{CALL}0", CALL.replace("-", ""), f"%7B{CALL}%7D"])
def test_malformed_id_is_a_call_that_does_not_exist(company: Company, named: str):
    assert company.get(named).json() == {"errors": {"detail": "Recording not found"}}
