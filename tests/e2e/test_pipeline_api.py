"""An upload pipeline's side of the native surface: calls and recordings registered over a real server and real stores."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from parts.calls import MISSING
from parts.doors import Doors
from parts.encoded import encode
from parts.faults import Fault, Kind
from parts.stage import Stage
from parts.uploads import Uploader
from parts.wavs import silence

from gateway.surfaces.native.pipeline import CallBody, RecordingBody


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def uploader(stage: Stage) -> Uploader:
    return await Uploader.made(stage, stage.house, "uploader")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rival(stage: Stage) -> Uploader:
    return await Uploader.made(stage, stage.house, "rival")


# --- calls


def test_a_call_is_made_once_and_learns(uploader: Uploader):
    alias = f"call_{uuid4().hex[:12]}"
    first = uploader.call(f"yotel:{alias}", direction="inbound", from_number="+15550100", aliases={"callsid": alias})
    again = uploader.call(f"yotel:{alias}", started_at="2026-05-25T12:04:48+02:00", direction=None, voice_agent=True)
    assert (first.status, again.status) == (201, 200)
    told = again.json()
    by_id = uploader.call(told["id"])
    assert (by_id.status, by_id.json()) == (200, told)
    assert uploader.facts(f"callsid:{alias}") == told
    assert told["aliases"] == {"yotel": alias, "callsid": alias}
    assert (told["direction"], told["from_number"], told["to_number"]) == ("inbound", "+15550100", None)
    assert (told["started_at"], told["voice_agent"], told["state"]) == ("2026-05-25T10:04:48Z", True, "absent")


def test_a_call_may_bring_its_own_id(uploader: Uploader):
    own = str(uuid4())
    assert [uploader.call(own.upper()).status, uploader.call(own).status] == [201, 200]
    assert uploader.facts(own)["id"] == own


def test_one_id_in_the_path_and_in_the_body_is_one_in_whatever_form(uploader: Uploader):
    envoy = str(uuid4())
    forms = (f"call_{envoy}", f"call_{envoy}".upper(), envoy.upper(), envoy)
    for path in forms:
        for body in forms:
            told = uploader.call(f"envoy:{path}", aliases={"envoy": body})
            assert (told.status in {200, 201}, told.json().get("aliases")) == (True, {"envoy": envoy})
        assert uploader.recording(f"envoy:{path}", state="pending").status == 202
    other = uploader.call(f"envoy:{envoy}", aliases={"envoy": str(uuid4())})
    assert (other.status, other.json()["errors"][0]["loc"]) == (422, ["body", "aliases"])


def test_an_id_of_another_call_is_refused_alike_whosever_it_is(uploader: Uploader, rival: Uploader):
    one, two, theirs = uploader.new_call(), uploader.new_call(), rival.new_call()
    public = f"call_{uuid4()}"
    assert rival.call(theirs, aliases={"agentphone": public}).status == 200
    own_alias = one.removeprefix("yotel:")
    answers = {
        "an alias of another of its own": uploader.call(uploader.facts(two)["id"], aliases={"yotel": own_alias}),
        "a new id beside an alias of another": uploader.call(str(uuid4()), aliases={"yotel": own_alias}),
        "another tenant's id": uploader.call(rival.facts(theirs)["id"]),
        "another tenant's public alias": uploader.call(f"agentphone:{public}"),
    }
    assert {name: (answer.status, answer.json()["code"]) for name, answer in answers.items()} == dict.fromkeys(
        answers, (409, "id_taken")
    )
    assert len({answer.body for answer in answers.values()}) == 1
    # What is unique to a tenant is free for another: its other aliases are its own.
    assert uploader.call(theirs).status == 201
    assert uploader.facts(theirs)["id"] != rival.facts(theirs)["id"]


def test_departments_are_the_tenants_own(uploader: Uploader, rival: Uploader):
    own, theirs = str(uuid4()), str(uuid4())
    assert uploader.ask("PUT", f"/v1/departments/{own}", {"name": "Sales"}).status == 201
    assert rival.ask("PUT", f"/v1/departments/{theirs}", {"name": "Sales"}).status == 201
    name = uploader.new_call()
    assert uploader.call(name, department=own).json()["department"] == own
    refused = [uploader.call(name, department=each) for each in (theirs, MISSING)]
    assert [answer.status for answer in refused] == [422, 422]
    assert refused[0].body == refused[1].body
    assert uploader.facts(name)["department"] == own
    assert "must be a UUID" in uploader.call(name, department="sales").json()["errors"][0]["msg"]


CALLS = {
    "an unknown member": ({"colour": "red"}, ["body"]),
    "a direction there is not": ({"direction": "sideways"}, ["body", "direction"]),
    "an alias of no surface's form": ({"aliases": {"Yotel!": "x"}}, ["body", "aliases"]),
    "an alias of no id's form": ({"aliases": {"yotel": "../x"}}, ["body", "aliases"]),
    "another id on the path's surface": ({"aliases": {"yotel": "another"}}, ["body", "aliases"]),
    "a time without its zone": ({"started_at": "2026-05-25T10:04:48"}, ["body", "started_at"]),
    "a time out of all bounds": ({"ended_at": "9999-12-31T23:59:59-10:00"}, ["body", "ended_at"]),
    "an unset start, as Go and .NET write it": ({"started_at": "0001-01-01T00:00:00Z"}, ["body", "started_at"]),
    "the last moment there is": ({"ended_at": "9999-12-31T23:59:59.999999Z"}, ["body", "ended_at"]),
    "a start from which no days can be counted": ({"started_at": "9999-06-01T00:00:00Z"}, ["body", "started_at"]),
    "a number with a line break": ({"from_number": "+1555\r\n"}, ["body", "from_number"]),
    "a number with a NUL": ({"to_number": "\0"}, ["body", "to_number"]),
    "a department that is no UUID": ({"department": "sales"}, ["body", "department"]),
}


@pytest.mark.parametrize(("body", "loc"), CALLS.values(), ids=CALLS)
def test_a_call_that_cannot_be_is_refused_by_its_member(uploader: Uploader, body: dict[str, object], loc: list[str]):
    answer = uploader.call(f"yotel:{uuid4().hex}", **body)
    assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, loc)


# --- recordings


@pytest.mark.parametrize("member", ["started_at", "expires_at"])
@pytest.mark.parametrize(
    "unset",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00-05:00", "9999-12-31T23:59:59.9999999Z", "1970-01-01T00:00:00Z"],
)
async def test_a_time_that_stands_for_none_ends_no_recording_and_no_listing(stage: Stage, member: str, unset: str):
    """Postgres keeps the first and the last moment as infinities, and days are counted from a start."""
    planned = await Uploader.made(stage, stage.house, f"unset-{uuid4().hex[:8]}")
    await stage.office.rows("UPDATE tenants SET retention_days = 30 WHERE id = $1", planned.tenant)

    def told() -> None:
        name = planned.new_call()
        key = planned.store("a.wav", silence(1))
        refused = planned.recording(name, store="s3", key=key, **{member: unset})
        assert (refused.status, refused.json()["errors"][0]["loc"]) == (422, ["body", member])
        assert planned.recording(name, store="s3", key=key).json()["state"] == "ready"
        listed = planned.ask("GET", "/v1/recordings")
        assert (listed.status, [each["state"] for each in listed.json()["data"]]) == (200, ["ready"])

    await asyncio.to_thread(told)


def test_a_recording_may_be_kept_to_the_end_of_the_calendar(uploader: Uploader):
    name = uploader.new_call()
    kept = uploader.recording(
        name, store="s3", key=uploader.store("a.wav", silence(1)), expires_at="9999-12-31T23:59:59Z"
    )
    assert (kept.status, kept.json()["recording"]["expires_at"]) == (200, "9999-12-31T23:59:59Z")
    assert uploader.ask("GET", f"/v1/recordings/{name}/audio").body == silence(1)


async def test_a_recording_goes_from_pending_to_ready_and_is_announced_once(uploader: Uploader):
    name = uploader.new_call()
    key = uploader.store("later.wav", silence(2.5))
    missing = f"{uploader.slug}/{uuid4().hex}.wav"
    steps = [
        (uploader.recording(name), 202, "pending"),
        (uploader.recording(name, store="s3", key=missing), 202, "pending"),
        (uploader.recording(name, state="processing"), 202, "processing"),
        (uploader.recording(name), 202, "processing"),
        (uploader.recording(name, store="s3", key=key, started_at="2026-05-25T10:04:48Z"), 200, "ready"),
        (uploader.recording(name, store="s3", key=key), 200, "ready"),
        (uploader.recording(name, state="pending"), 200, "ready"),
    ]
    for answer, status, state in steps:
        assert (answer.status, answer.json()["state"]) == (status, state)
        assert answer.get("Retry-After") == ("15" if status == 202 else None)
    told = steps[-1][0].json()
    assert told == uploader.ask("GET", f"/v1/recordings/{name}").json() | {"failure": None}
    recording = told["recording"]
    assert (recording["media_type"], recording["duration_ms"], recording["channels"]) == ("audio/wav", 2500, 2)
    assert (recording["size_bytes"], recording["started_at"]) == (len(silence(2.5)), "2026-05-25T10:04:48Z")
    assert uploader.ask("GET", f"/v1/recordings/{name}/audio").body == silence(2.5)
    rows = await uploader.stage.office.rows(
        "SELECT payload FROM webhook_outbox WHERE tenant_id = $1 AND payload->'data'->>'call_id' = $2",
        uploader.tenant,
        told["id"],
    )
    assert len(rows) == 1


def test_what_is_no_audio_fails_and_recovers_once_it_is_mended(uploader: Uploader):
    name = uploader.new_call()
    key = uploader.store("a.wav", b"<html>403 Forbidden</html>")
    failed = uploader.recording(name, store="s3", key=key)
    assert (failed.status, failed.json()["state"]) == (200, "failed")
    assert failed.json()["failure"] == "none of WAV, MP3, MP4, Ogg, FLAC and WebM, by its first bytes"
    uploader.stage.shelves["s3"].put(key, silence(1))
    mended = uploader.recording(name, store="s3", key=key)
    assert (mended.status, mended.json()["state"], mended.json()["failure"]) == (200, "ready", None)
    assert uploader.recording(name, state="failed").json()["code"] == "recording_ready"


def test_a_pipeline_may_say_itself_that_it_failed(uploader: Uploader):
    name = uploader.new_call()
    failed = uploader.recording(name, state="failed", failure="the recorder ran out of disk")
    assert (failed.status, failed.json()["failure"]) == (200, "the recorder ran out of disk")
    assert uploader.recording(name, retention_days=3).json()["state"] == "failed"
    assert uploader.recording(name, state="pending").json()["state"] == "pending"


@pytest.mark.parametrize("spoilt", ["gone", "no audio"])
def test_what_is_ready_stays_so_where_another_object_is_worse(uploader: Uploader, spoilt: str):
    name = uploader.new_call()
    assert uploader.recording(name, store="s3", key=uploader.store("a.wav", silence(1))).status == 200
    before = uploader.facts(name)
    worse = f"{uploader.slug}/gone.wav" if spoilt == "gone" else uploader.store("b.wav", b"no audio at all")
    answer = uploader.recording(name, store="s3", key=worse)
    assert (answer.status, answer.json()["code"]) == (409, "object_unfit")
    assert uploader.facts(name) == before


def test_what_is_held_stays_where_it_lies(uploader: Uploader):
    name = uploader.new_call()
    key = uploader.store("a.wav", silence(1))
    assert uploader.recording(name, store="s3", key=key).status == 200
    other = uploader.store("b.wav", silence(2))
    held = uploader.stage.office.rows(
        "UPDATE recordings SET hold = true WHERE call_id = $1 RETURNING id", uploader.facts(name)["id"]
    )
    assert len(asyncio.run(held)) == 1
    refused = uploader.recording(name, store="s3", key=other)
    assert (refused.status, refused.json()["code"]) == (409, "recording_held")
    assert uploader.recording(name, store="s3", key=key).json()["recording"]["duration_ms"] == 1000


async def test_what_is_past_its_retention_does_not_come_back(uploader: Uploader):
    name = await asyncio.to_thread(uploader.new_call)
    key = uploader.store("a.wav", silence(1))
    over = {"store": "s3", "key": key, "expires_at": "2020-01-01T00:00:00Z"}
    assert (await asyncio.to_thread(uploader.recording, name, **over)).json()["state"] == "expired"
    facts = await asyncio.to_thread(uploader.facts, name)
    await uploader.stage.office.rows("UPDATE recordings SET state = 'expired' WHERE call_id = $1", facts["id"])
    for body in ({"store": "s3", "key": key}, {"state": "pending"}, {"state": "failed"}):
        answer = await asyncio.to_thread(uploader.recording, name, **body)
        assert (answer.status, answer.json()["code"]) == (409, "recording_expired")


async def test_many_who_register_the_same_at_once_register_it_once(uploader: Uploader):
    alias, key = f"yotel:call_{uuid4().hex[:12]}", uploader.store("a.wav", silence(1))
    calls = await asyncio.gather(*(asyncio.to_thread(uploader.call, alias) for _ in range(6)))
    assert sorted(answer.status for answer in calls) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in calls}) == 1
    answers = await asyncio.gather(
        *(asyncio.to_thread(uploader.recording, alias, store="s3", key=key) for _ in range(6))
    )
    assert {(answer.status, answer.json()["state"]) for answer in answers} == {(200, "ready")}
    rows = await uploader.stage.office.rows(
        "SELECT FROM webhook_outbox WHERE payload->'data'->>'call_id' = $1", calls[0].json()["id"]
    )
    assert len(rows) == 1


RECORDINGS = {
    "a store there is not": ({"store": "tape", "key": "uploader/a.wav"}, ["body", "store"], "no store of that name"),
    "another tenant's key": ({"store": "s3", "key": "rival/a.wav"}, ["body", "key"], "must begin with uploader/"),
    "a key that begins alike": ({"store": "s3", "key": "uploader-2/a.wav"}, ["body", "key"], "pipeline.key_prefix"),
    "the prefix alone": ({"store": "s3", "key": "uploader/"}, ["body", "key"], "pipeline.key_prefix"),
    "a way out of the prefix": ({"store": "disk", "key": "uploader/../rival/a.wav"}, ["body", "key"], "no .., ."),
    "another name of an object": ({"store": "s3", "key": "uploader//a.wav"}, ["body", "key"], "nothing between"),
    "a key with a line break": ({"store": "s3", "key": "uploader/a\nb"}, ["body", "key"], "pattern"),
    "a key longer than any store takes": (
        {"store": "disk", "key": "uploader/" + "".join(chr(0x20000 + 7919 * n % 40_000) for n in range(1000))},
        ["body", "key"],
        "1024 bytes at most",
    ),
    "a name that no folder can hold": (
        {"store": "disk", "key": f"uploader/{'a' * 256}"},
        ["body", "key"],
        "no object's in that store: a component of more than 255 bytes",
    ),
    "the same, taken as told": (
        {"store": "disk", "key": f"uploader/{'a' * 256}", "state": "pending"},
        ["body", "key"],
        "no object's in that store",
    ),
    "a store without a key": ({"store": "s3"}, ["body"], "store and key go together"),
    "a failure that is none": ({"failure": "x"}, ["body"], 'failure goes with the state "failed"'),
    "a failure with a place": ({"state": "failed", "store": "s3", "key": "uploader/a"}, ["body"], "failure alone"),
    "a state of ours": ({"state": "ready"}, ["body", "state"], "'pending', 'processing' or 'failed'"),
    "a type that is never served": (
        {"store": "s3", "key": "uploader/a", "media_type": "text/html"},
        ["body", "media_type"],
        "must be a media type that is served",
    ),
    "a date without its dashes": (
        {"started_at": "20260525"},
        ["body", "started_at"],
        "must be a time with its zone",
    ),
    "no day at all": ({"retention_days": 0}, ["body", "retention_days"], "greater than or equal to 1"),
}


@pytest.mark.parametrize(("body", "loc", "said"), RECORDINGS.values(), ids=RECORDINGS)
def test_a_recording_that_cannot_be_is_refused_by_its_member(
    uploader: Uploader, body: dict[str, object], loc: list[str], said: str
):
    name = uploader.new_call()
    answer = uploader.recording(name, **body)
    (error,) = answer.json()["errors"]
    assert (answer.status, error["loc"]) == (422, loc)
    assert said in error["msg"]
    assert uploader.facts(name)["state"] == "absent"


def test_a_member_that_is_null_is_one_that_was_left_out(uploader: Uploader):
    """Many a client sends null for what nobody set."""
    name = uploader.new_call()
    before = uploader.facts(name)
    again = uploader.ask("PUT", f"/v1/calls/{name}", dict.fromkeys(CallBody.model_fields))
    assert (again.status, uploader.facts(name)) == (200, before)
    failed = uploader.recording(name, **{**dict.fromkeys(RecordingBody.model_fields), "state": "failed"})
    assert (failed.status, failed.json()["state"]) == (200, "failed")


def test_registering_takes_its_scope_and_the_calls_own_tenant(uploader: Uploader, rival: Uploader):
    name = uploader.new_call()
    reader = asyncio.run(uploader.stage.key("calls:read", "recordings:download", tenant=uploader.tenant))
    for path in (f"/v1/calls/{name}", f"/v1/calls/{name}/recording"):
        answer = uploader.ask("PUT", path, {}, key=reader)
        assert (answer.status, answer.json()["needed"]) == (403, "recordings:write")
    foreign = uploader.ask("PUT", f"/v1/calls/{rival.facts(rival.new_call())['id']}/recording", {"state": "failed"})
    nobodys = uploader.ask("PUT", f"/v1/calls/{MISSING}/recording", {"state": "failed"})
    assert (foreign.status, foreign.body) == (404, nobodys.body)
    assert uploader.ask("PUT", f"/v1/calls/{name}", {}, key={}).status == 401


async def test_who_registered_what_is_on_record(uploader: Uploader):
    name = await asyncio.to_thread(uploader.new_call)
    told = await asyncio.to_thread(uploader.call, name, direction="inbound")
    key = uploader.store("a.wav", silence(1))
    registered = await asyncio.to_thread(uploader.recording, name, store="s3", key=key)
    rows = await uploader.stage.accesses("call", told.json()["id"], 2)
    assert [row["request_id"] for row in rows] == [each.get("X-Request-Id") for each in (told, registered)]
    for row in rows:
        assert (row["method"], row["surface"], row["status"]) == ("registration", "native", 200)
        assert (row["result"], row["tenant"], row["actor_kind"]) == ("complete", uploader.tenant, "api_key")


# --- what it reads of an object

KINDS = {
    "pcm.wav": ("audio/wav", 2, True),
    "audio.webm": ("audio/webm", 2, True),
    "video.mp4": ("video/mp4", 1, True),
    "index-last.m4a": ("audio/mp4", 1, True),
    "vbr-stereo.mp3": ("audio/mpeg", 2, True),
    "noise.ogg": ("audio/ogg", 2, True),
    "fragmented.mp4": ("audio/mp4", 1, None),
}


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder: Path = tmp_path_factory.mktemp("sounds")
    return {name: encode(folder, name).read_bytes() for name in KINDS}


async def test_every_kind_is_known_by_its_header_and_never_read_whole(
    stage: Stage, doors: Doors, sounds: dict[str, bytes]
):
    uploader = await Uploader.made(stage, doors.house, "uploader")
    async with doors.ajar("s3-0", stage.stores["s3"]) as proxy:
        for name, (media_type, channels, seekable) in KINDS.items():
            call = await asyncio.to_thread(uploader.new_call)
            key = uploader.store(name, sounds[name])
            before = proxy.sent
            answer = await asyncio.to_thread(uploader.recording, call, store="s3-0", key=key)
            recording = answer.json()["recording"]
            assert (recording["media_type"], recording["channels"]) == (media_type, channels)
            assert recording["seekable"] is seekable, name
            if seekable is None:  # in fragments, and without an index of them
                assert recording["duration_ms"] is None
            else:
                assert abs(recording["duration_ms"] - 31_700) < 150, name
            assert recording["size_bytes"] == len(sounds[name])
            assert 0 < proxy.sent - before < len(sounds[name]) / 2, name


async def test_an_object_is_known_while_its_header_is_being_read(stage: Stage, doors: Doors):
    uploader = await Uploader.made(stage, doors.house, "uploader")
    call = await asyncio.to_thread(uploader.new_call)
    envoy = str(uuid4())
    await asyncio.to_thread(uploader.call, call, aliases={"envoy": envoy})
    data = silence(3)
    key = uploader.store("slow.wav", data)
    async with doors.ajar("s3-1", stage.stores["s3"]) as proxy:
        proxy.plan(Fault(Kind.STALL, -1), Fault(Kind.RESET, -1), Fault(Kind.RESET, -1))
        registering = asyncio.create_task(asyncio.to_thread(uploader.recording, call, store="s3-1", key=key))
        await proxy.until(lambda proxy: bool(proxy.struck))
        link = await asyncio.to_thread(uploader.ask, "GET", f"/envoy/api/v1/calls/call_{envoy}/recording")
        facts = await asyncio.to_thread(uploader.facts, call)
        assert (await registering).status in {502, 503, 504}
        assert (link.status, facts["state"]) == (200, "processing")
        shown = link.json()
        stage.secrets.add(shown["url"].rpartition("Signature=")[2])
        assert (shown["recording_status"], shown["content_type"]) == ("processing", "audio/wav")
        assert (shown["file_size_bytes"], shown["duration_seconds"]) == (len(data), None)
        assert (await asyncio.to_thread(uploader.recording, call, store="s3-1", key=key)).json()["state"] == "ready"
        shown = (await asyncio.to_thread(uploader.ask, "GET", f"/envoy/api/v1/calls/{envoy}/recording")).json()
        stage.secrets.add(shown["url"].rpartition("Signature=")[2])
        assert (shown["recording_status"], shown["duration_seconds"]) == ("ready", 3.0)


def test_a_body_that_is_no_json_is_refused(uploader: Uploader):
    for raw in (b"{", b"[]", b"null", json.dumps("x").encode(), b'{"state": "pending"} x'):
        answer = uploader.ask("PUT", f"/v1/calls/{uploader.new_call()}/recording", raw=raw)
        assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["body"])
