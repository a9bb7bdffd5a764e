"""The gateway's own surface: metadata, listing, links."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import pytest
from parts.calls import DATA, SECONDS, Calls, about_now, assert_refused, plainly
from parts.house import some_bytes
from parts.stage import Stage
from parts.wire import Wire

from gateway.model import State


def test_metadata_has_every_field(calls: Calls):
    of = calls.ready["s3"]
    answer = calls.ask("GET", f"/v1/recordings/{of.id}")
    assert (answer.get("Content-Type"), answer.get("Cache-Control")) == ("application/json", "private, no-store")
    told = answer.json()
    recording = told["recording"]
    UUID(recording.pop("id"))
    for name in ("created_at", "ready_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", recording.pop(name))
    assert recording == {
        "media_type": "audio/wav", "size_bytes": len(DATA), "etag": of.etag, "duration_ms": 141_500, "channels": 2, "seekable": None,
        "started_at": None, "expires_at": None, "hold": False,
    }  # fmt: skip
    base = f"{calls.base}/v1/recordings/{of.id}"
    assert told.pop("aliases")["yotel"] == of.alias
    assert told | {"recording": None} == {
        "id": str(of.id), "state": "ready", "direction": None, "from_number": None, "to_number": None,
        "department": None, "voice_agent": True, "started_at": None, "ended_at": None, "recording": None,
        "transcript": None, "links": {"self": base, "audio": f"{base}/audio"},
    }  # fmt: skip
    assert calls.ask("GET", urlsplit(told["links"]["audio"]).path).body == DATA


def test_recording_answers_to_its_id_and_to_its_alias(calls: Calls):
    of = calls.ready["disk"]
    for name in (str(of.id), str(of.id).upper(), f"yotel:{of.alias}", f"yotel%3A{of.alias}"):
        assert calls.ask("GET", f"/v1/recordings/{name}/audio").body == DATA
    for name in (of.alias, f"native:{of.alias}", f"yotel:{of.alias.upper()}", f"yotel:{of.id}"):
        assert calls.ask("GET", f"/v1/recordings/{name}/audio").status in {404, 422}


async def test_recording_answers_to_an_alias_on_whatever_its_surface_is_called(calls: Calls):
    for surface in ("pbx_2", "crm", "x" * 32):
        id_ = f"c-{uuid4().hex}"
        of = await calls.stage.file("disk", DATA, aliases={surface: id_})
        assert calls.ask("GET", f"/v1/recordings/{of.id}").json()["aliases"][surface] == id_
        assert calls.ask("GET", f"/v1/recordings/{surface}:{id_}/audio").body == DATA
    for surface in ("2pbx", "_pbx", "pbx-2", "x" * 33):
        assert calls.ask("GET", f"/v1/recordings/{surface}:c-1/audio").status == 422


async def test_an_id_that_is_a_credential_is_told_to_nobody_who_may_not_download(calls: Calls):
    """No scope implies another; and whoever knows agentphone's id needs none."""
    of = await calls.stage.file("disk", DATA)
    rest = {surface: id_ for surface, id_ in of.aliases.items() if surface != "agentphone"}
    asked = json.dumps({"ids": [str(of.id)]}).encode()

    def told(key: dict[str, str]) -> list[dict[str, str]]:
        alone = calls.ask("GET", f"/v1/recordings/{of.id}", key).json()
        listed = calls.ask("GET", "/v1/recordings?limit=1", key).json()["data"][0]
        batched = calls.ask("POST", "/v1/recordings/batch", key, body=asked).json()["data"][0]["recording"]
        return [each["aliases"] for each in (alone, listed, batched)]

    assert told(calls.read_only) == [rest] * 3
    uploader = await calls.stage.key("recordings:write")
    assert calls.ask("PUT", f"/v1/calls/{of.id}", uploader, body=b"{}").json()["aliases"] == rest
    assert told(calls.full) == [of.aliases] * 3


def test_download_makes_a_browser_save_it(calls: Calls):
    of = calls.ready["gcs"]
    for query, kind in {
        "": "inline",
        "?download=1": "attachment",
        "?download=0": "inline",
        "?download": "inline",
    }.items():
        for method in ("GET", "HEAD"):
            answer = calls.ask(method, f"{of.native}{query}")
            assert answer.get("Content-Disposition") == f'{kind}; filename="recording-{of.id}.wav"'
            assert answer.get("Cache-Control") == "private, max-age=300"


async def test_listing_pages_through_everything_once_newest_first(calls: Calls):
    stage = calls.stage
    tenant = await stage.office.tenant("lister")
    key = await stage.key(tenant=tenant)
    made = [str((await stage.office.call(tenant, State.PENDING))[0]) for _ in range(5)]
    made += [str((await stage.file("disk", DATA, tenant=tenant)).id) for _ in range(2)]
    seen: list[str] = []
    target: str | None = "/v1/recordings?limit=3"
    pages, cursor = 0, ""
    while target is not None:
        answer = calls.ask("GET", target, key)
        assert answer.get("Cache-Control") == "private, no-store"
        page = answer.json()
        assert page.keys() == {"data", "next_cursor", "links"}
        seen += [each["id"] for each in page["data"]]
        following = page["links"].get("next")
        assert (following is None) == (page["next_cursor"] is None)
        assert following is None or following.startswith(f"{calls.base}/v1/recordings?limit=3&cursor=")
        target = following and following.removeprefix(calls.base)
        pages += 1
        cursor = page["next_cursor"] or cursor
    assert pages == 3
    assert seen == made[::-1]

    ready = calls.ask("GET", "/v1/recordings?state=ready", key).json()["data"]
    assert {each["id"] for each in ready} == set(made[5:])
    pending = calls.ask("GET", "/v1/recordings?state=pending&limit=1", key).json()
    assert [each["state"] for each in pending["data"]] == ["pending"]
    assert "state=pending" in pending["links"]["next"]
    assert "audio" not in pending["data"][0]["links"]
    assert calls.ask("GET", "/v1/recordings?since=2999-01-01T00:00:00Z", key).json()["data"] == []
    assert calls.ask("GET", "/v1/recordings?until=2000-01-01T00:00:00%2B02:00", key).json()["data"] == []
    assert calls.ask("GET", f"/v1/recordings?cursor={cursor}").status == 422  # another tenant's
    assert not set(made) & {each["id"] for each in calls.ask("GET", "/v1/recordings?limit=200").json()["data"]}


@pytest.mark.parametrize("ask", [None, {}, {"delivery": "store"}, {"delivery": "store", "ttl_s": 3600}])
def test_store_link_is_the_stores_own(calls: Calls, ask):
    of = calls.ready["s3"]
    answer = calls.link(of, ask)
    told = answer.json()
    assert (answer.status, answer.get("Cache-Control")) == (201, "private, no-store")
    assert told.keys() == {"id", "url", "expires_at"}
    assert told["url"].startswith(calls.stage.stores["s3"]["endpoint"])
    assert about_now(told["expires_at"], timedelta(hours=1))
    status, body, fields = plainly(told["url"], Range="bytes=-10")
    assert (status, body, fields["Content-Type"]) == (206, DATA[-10:], "audio/wav")
    assert fields["Content-Disposition"] == f'inline; filename="recording-{of.id}.wav"'


@pytest.mark.parametrize("store", ["gcs", "disk"])
def test_store_that_signs_nothing_says_so(calls: Calls, store: str):
    assert_refused(calls.link(calls.ready[store], {"delivery": "store"}), "native", (409, "link_unsupported", None))


@pytest.mark.parametrize("store", ["s3", "gcs", "disk"])
def test_gateway_link_plays_without_any_header(calls: Calls, store: str):
    of = calls.ready[store]
    told = calls.link(of, {"delivery": "gateway", "ttl_s": 120}).json()
    assert told["url"].startswith(f"{calls.base}/v1/links/")
    assert about_now(told["expires_at"], timedelta(seconds=120))
    status, body, fields = plainly(told["url"])
    assert (status, body) == (200, DATA)
    assert (fields["Content-Type"], fields["Cache-Control"]) == ("audio/wav", "private, no-store")
    assert fields["Accept-Ranges"] == "bytes"
    status, body, fields = plainly(told["url"], Range="bytes=5-9", If_Range=of.etag)
    assert (status, body, fields["Content-Range"]) == (206, DATA[5:10], f"bytes 5-9/{len(DATA)}")
    assert plainly(told["url"], If_None_Match=of.etag)[0] == 304
    status, _, fields = plainly(told["url"] + "?download=1", Range=f"bytes={len(DATA)}-")
    assert (status, fields["Cache-Control"]) == (416, "no-store")
    assert plainly(told["url"] + "?download=1")[2]["Content-Disposition"].startswith("attachment; ")


def test_gateway_link_ends_when_it_said(calls: Calls):
    told = calls.link(calls.ready["disk"], {"delivery": "gateway", "ttl_s": 1}).json()
    ends = datetime.strptime(told["expires_at"], SECONDS).replace(tzinfo=UTC).timestamp()
    assert plainly(told["url"])[0] == 200 or time.time() >= ends
    time.sleep(max(ends - time.time(), 0))  # the very thing that is waited for
    status, body, _ = plainly(told["url"])
    assert (status, json.loads(body)["code"]) == (410, "link_invalid")


@pytest.mark.parametrize("external", ["a84b4c76e66710@pc33.atlanta.com", "f81d4fae-7dec.a=1~2+x@pbx", "x" * 255])
async def test_a_sip_call_id_names_a_recording(stage: Stage, external: str):
    filed = await stage.file("disk", some_bytes(10), aliases={"pbx": external})
    with Wire(stage.house.base_url) as wire:
        for id_ in (f"pbx:{external}", quote(f"pbx:{external}", safe="")):
            told = wire.ask("GET", f"/v1/recordings/{id_}", stage.full.items()).json()
            assert (told["id"], told["aliases"]["pbx"]) == (str(filed.id), external)
