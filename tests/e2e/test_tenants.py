"""Accounts and departments over the native surface, each its own admin's alone, and felt by every replica at once."""

import asyncio
import time
from collections.abc import Callable
from uuid import uuid4

import pytest
import pytest_asyncio
from parts.doors import Doors
from parts.stage import Stage
from parts.uploads import Uploader
from parts.wavs import silence

FELT_S = 2.0
"""Seconds within which every replica knows."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def admin(stage: Stage) -> Uploader:
    return await Uploader.made(stage, stage.house, "admins")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def other(stage: Stage) -> Uploader:
    return await Uploader.made(stage, stage.house, "others")


async def test_settings_are_shown_and_changed_one_by_one(stage: Stage):
    admin = await Uploader.made(stage, stage.house, "fresh")
    path = f"/v1/tenants/{admin.slug}"
    before = {
        "id": str(admin.tenant),
        "slug": admin.slug,
        "name": "Fresh",
        "recording_enabled": False,
        "transcription_enabled": False,
        "retention_days": None,
    }
    assert admin.ask("GET", path).json() == before
    told = dict(before)
    for change in (
        {"recording_enabled": True},
        {"transcription_enabled": True, "name": "Fresh & Söhne"},
        {"retention_days": 365},
        {},
        {"retention_days": None},
        {"recording_enabled": False, "transcription_enabled": False, "name": "Fresh"},
    ):
        told |= change
        answer = admin.ask("PATCH", path, change)
        assert (answer.status, answer.json()) == (200, told)
        assert admin.ask("GET", path).json() == told
    assert told == before


def test_another_accounts_slug_is_nobodys(admin: Uploader, other: Uploader):
    for method, body in (("GET", None), ("PATCH", {"recording_enabled": True})):
        answers = [admin.ask(method, f"/v1/tenants/{slug}", body) for slug in (other.slug, "nobody", "No%20slug")]
        assert [answer.status for answer in answers] == [404] * 3
        assert len({answer.body for answer in answers}) == 1
        assert len({tuple(sorted(answer.headers.keys())) for answer in answers}) == 1
    assert other.ask("GET", f"/v1/tenants/{other.slug}").json()["recording_enabled"] is False


async def test_administration_takes_its_scope_and_is_on_record(admin: Uploader):
    clerk = await admin.stage.key("calls:read", "recordings:download", "recordings:write", tenant=admin.tenant)
    department = f"/v1/departments/{uuid4()}"
    asked = [
        ("GET", f"/v1/tenants/{admin.slug}", None),
        ("PATCH", f"/v1/tenants/{admin.slug}", {"name": "Ours"}),
        ("GET", "/v1/departments", None),
        ("PUT", department, {"name": "Ours"}),
        ("GET", department, None),
        ("DELETE", department, None),
    ]
    for method, path, body in asked:
        refused = await asyncio.to_thread(admin.ask, method, path, body, clerk)
        assert (refused.status, refused.json()["needed"]) == (403, "tenants:admin")
        done = await asyncio.to_thread(admin.ask, method, path, body)
        for answer, result in ((refused, "refused"), (done, "complete")):
            (row,) = await admin.stage.accesses("request_id", answer.get("X-Request-Id"), 1)
            assert (row["method"], row["result"], row["status"]) == ("settings", result, answer.status)
            assert row["tenant"] == admin.tenant


BODIES = {
    "an unknown member": ("PATCH", {"plan": "gold"}, ["body"]),
    "no name": ("PATCH", {"name": ""}, ["body", "name"]),
    "a name with a NUL": ("PATCH", {"name": "a\0"}, ["body", "name"]),
    "no boolean": ("PATCH", {"recording_enabled": "yes"}, ["body", "recording_enabled"]),
    "no days": ("PATCH", {"retention_days": 0}, ["body", "retention_days"]),
    "half a day": ("PATCH", {"retention_days": 0.5}, ["body", "retention_days"]),
    "days without end": ("PATCH", {"retention_days": 10**9}, ["body", "retention_days"]),
    "a nameless department": ("PUT", {}, ["body", "name"]),
}


@pytest.mark.parametrize(("method", "body", "loc"), BODIES.values(), ids=BODIES)
def test_what_no_setting_can_be_is_refused_by_its_member(
    admin: Uploader, method: str, body: dict[str, object], loc: list[str]
):
    path = f"/v1/tenants/{admin.slug}" if method == "PATCH" else f"/v1/departments/{uuid4()}"
    answer = admin.ask(method, path, body)
    assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, loc)


# --- departments


def test_departments_are_made_renamed_listed_and_deleted(admin: Uploader):
    ids = [str(uuid4()) for _ in range(3)]
    made = [admin.ask("PUT", f"/v1/departments/{id_}", {"name": name}) for id_, name in zip(ids, "cab", strict=True)]
    assert [answer.status for answer in made] == [201] * 3
    renamed = admin.ask("PUT", f"/v1/departments/{ids[0].upper()}", {"name": "d"})
    assert (renamed.status, renamed.json()) == (200, made[0].json() | {"name": "d"})
    assert admin.ask("GET", f"/v1/departments/{ids[0]}").json() == renamed.json()
    listed = admin.ask("GET", "/v1/departments").json()["data"]
    assert [each["id"] for each in listed if each["id"] in ids] == [ids[1], ids[2], ids[0]]
    gone = admin.ask("DELETE", f"/v1/departments/{ids[0]}")
    assert (gone.status, gone.body) == (204, b"")
    for method in ("GET", "DELETE"):
        assert admin.ask(method, f"/v1/departments/{ids[0]}").status == 404
    assert admin.ask("GET", "/v1/departments/sales").status == 422


def test_another_accounts_department_is_nobodys(admin: Uploader, other: Uploader):
    theirs = str(uuid4())
    assert other.ask("PUT", f"/v1/departments/{theirs}", {"name": "Theirs"}).status == 201
    for method in ("GET", "DELETE"):
        foreign, nobodys = (admin.ask(method, f"/v1/departments/{id_}") for id_ in (theirs, uuid4()))
        assert (foreign.status, foreign.body) == (404, nobodys.body)
    refused = admin.ask("PUT", f"/v1/departments/{theirs}", {"name": "Ours"})
    assert (refused.status, refused.json()["code"]) == (409, "id_taken")
    assert other.ask("GET", f"/v1/departments/{theirs}").json()["name"] == "Theirs"


def test_a_department_stays_while_one_of_its_calls_has_a_recording(admin: Uploader):
    full, empty = str(uuid4()), str(uuid4())
    for id_ in (full, empty):
        assert admin.ask("PUT", f"/v1/departments/{id_}", {"name": "Sales"}).status == 201
    recorded, silent = admin.new_call(), admin.new_call()
    assert admin.call(recorded, department=full).status == 200
    assert admin.call(silent, department=empty).status == 200
    assert admin.recording(recorded, state="pending").status == 202
    kept = admin.ask("DELETE", f"/v1/departments/{full}")
    assert (kept.status, kept.json()["code"]) == (409, "department_has_recordings")
    moved = admin.call(recorded, department=empty)
    assert (moved.status, moved.json()["code"]) == (409, "department_fixed")
    assert admin.ask("DELETE", f"/v1/departments/{empty}").status == 204
    assert admin.facts(silent)["department"] is None
    assert admin.facts(recorded)["department"] == full


# --- replicas


async def felt(wanted: Callable[[], bool]) -> float:
    """Seconds until it is so, not much longer than FELT_S."""
    begun = time.monotonic()
    while not await asyncio.to_thread(wanted):
        assert time.monotonic() - begun < FELT_S * 5
        await asyncio.sleep(0.01)  # the other replica tells nobody
    return time.monotonic() - begun


async def test_a_change_made_at_one_replica_is_felt_at_the_other(admin: Uploader, stage: Stage, doors: Doors):
    """Of what both hold in memory: whether a call's id alone is enough, and whether transcripts are told."""
    second = Uploader(stage, doors.house, admin.slug, admin.tenant, admin.key)
    name, public = await asyncio.to_thread(admin.new_call), f"call_{uuid4()}"
    await asyncio.to_thread(admin.call, name, aliases={"agentphone": public})
    key = admin.store("a.wav", silence(1), store="disk")
    (doors.root / key).parent.mkdir(parents=True)
    (doors.root / key).write_bytes(silence(1))
    assert (await asyncio.to_thread(second.recording, name, store="disk", key=key)).status == 200
    path = f"/agentphone/v1/calls/{public}/recording"

    def status_at(replica: Uploader) -> int:
        return replica.ask("HEAD", path, key={}).status

    for switched, status in ((True, 200), (False, 404), (True, 200), (False, 404)):
        await felt(lambda status=status: status_at(second) == 404 + 200 - status)  # it remembers how things were
        changed = await asyncio.to_thread(
            admin.ask, "PATCH", f"/v1/tenants/{admin.slug}", {"recording_enabled": switched}
        )
        assert changed.json()["recording_enabled"] is switched
        assert status_at(admin) == status, "who changed it sees it at once"
        assert await felt(lambda status=status: status_at(second) == status) < FELT_S
