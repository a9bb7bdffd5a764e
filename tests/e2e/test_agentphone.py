"""AgentPhone's contract, by its own document: what it prints replayed, each of its sentences held against a real server."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from parts.aliases import WEAK
from parts.contracts import DATA, DISCREET
from parts.house import Filed
from parts.replay import Told, curl, headers, root, save
from parts.stage import Stage

from gateway.model import State

CONTENT = {"content-type": "audio/wav", "content-length": str(len(DATA))}


@dataclass(frozen=True)
class Account:
    """An account that has recording enabled, and one call of it."""

    stage: Stage
    tenant: UUID
    admin: dict[str, str]
    filed: Filed

    @property
    def id(self) -> str:
        return self.filed.aliases["agentphone"]

    @property
    def base(self) -> str:
        return root(self.stage, "agentphone")

    def call(self, id_: str | None = None) -> Told:
        return curl(f"{self.base}/v1/calls/{id_ or self.id}", *headers(self.admin))

    def audio(self, id_: str | None = None) -> Told:
        """As the document asks for it: no header at all."""
        return curl(f"{self.base}/v1/calls/{id_ or self.id}/recording")


async def opened(stage: Stage, slug: str, **settings: bool) -> Account:
    tenant = await stage.office.tenant(slug, **settings)
    told = {"direction": "inbound", "from_number": "+15550001111", "to_number": "+15550002222"}
    filed = await stage.file("s3", DATA, tenant=tenant, call=told)
    scopes = ("calls:read", "recordings:download", "tenants:admin")
    return Account(stage, tenant, await stage.key(*scopes, tenant=tenant), filed)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def account(stage: Stage) -> Account:
    return await opened(stage, "phones", recording_enabled=True, transcription_enabled=True)


def test_documented_request_needs_no_authentication_and_gets_the_wav(account: Account):
    told = account.audio()
    assert (told.status, told.body) == (200, DATA)
    expected = (
        CONTENT
        | DISCREET
        | {
            "content-disposition": f'attachment; filename="recording-{account.id}.wav"',
            "cache-control": "private, no-store",
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
        }
    )
    assert expected.items() <= told.fields.items()


def test_browser_saves_it_under_the_documented_name(account: Account, tmp_path: Path):
    saved = save(tmp_path, f"{account.base}/v1/calls/{account.id}/recording")
    assert (saved.name, saved.read_bytes()) == (f"recording-{account.id}.wav", DATA)


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [("audio/wav", "wav"), ("audio/mpeg", "mp3"), ("audio/mp4", "m4a"), ("video/webm", "webm"), ("text/html", "bin")],
)
async def test_name_and_type_follow_what_the_recording_really_is(account: Account, media_type: str, extension: str):
    of = await account.stage.file("disk", DATA, tenant=account.tenant, media_type=media_type)
    told = account.audio(of.aliases["agentphone"])
    assert told.fields["content-disposition"].endswith(f'.{extension}"')
    assert told.fields["content-type"] == ("application/octet-stream" if extension == "bin" else media_type)


def test_url_can_be_shared_and_embedded(account: Account):
    """A player seeks in it, and whatever credential stands beside is not looked at."""
    url = f"{account.base}/v1/calls/{account.id}/recording"
    part = curl(url, "-r", "1000-1999")
    assert (part.status, part.body) == (206, DATA[1000:2000])
    assert part.fields["content-range"] == f"bytes 1000-1999/{len(DATA)}"
    assert DISCREET.items() <= part.fields.items()
    assert curl(url, "-H", "Authorization: Bearer nothing-known").body == DATA
    unchanged = curl(url, "-H", f"If-None-Match: {account.filed.etag}")
    assert (unchanged.status, unchanged.fields["cache-control"]) == (304, "private, no-store")
    assert DISCREET.items() <= unchanged.fields.items()
    head = curl("-I", url)
    assert (head.status, head.body) == (200, b"")
    assert CONTENT.items() <= head.fields.items()


def test_call_response_contains_the_url_and_whether_it_can_be_fetched(account: Account):
    told = account.call().json()
    assert told == {
        "id": account.id,
        "status": "queued",
        "direction": "inbound",
        "from": "+15550001111",
        "to": "+15550002222",
        "startedAt": None,
        "endedAt": None,
        "durationSeconds": None,
        "recordingUrl": f"{account.stage.house.base_url.replace('127.0.0.1', 'agentphone.localhost')}"
        f"/v1/calls/{account.id}/recording",
        "recordingAvailable": True,
    }
    assert curl(told["recordingUrl"]).body == DATA


async def test_call_response_tells_how_far_the_call_is(stage: Stage):
    account = await opened(stage, "lasting", recording_enabled=True)
    for change, status, lasted in (
        ("started_at = '2026-02-15T14:30:00Z'", "in-progress", None),
        ("ended_at = '2026-02-15T14:32:21.6Z'", "completed", 142),
    ):
        await stage.office.rows(f"UPDATE calls SET {change} WHERE id = $1", account.filed.id)
        told = account.call().json()
        while told["status"] != status:
            told = account.call().json()  # Postgres tells the gateway in a moment
        assert told["durationSeconds"] == lasted
    assert (told["startedAt"], told["endedAt"]) == ("2026-02-15T14:30:00Z", "2026-02-15T14:32:21Z")


async def test_recording_is_available_shortly_after_the_call_and_the_call_says_when(account: Account):
    stage = account.stage
    aliases = {"agentphone": f"call_{uuid4()}"}
    await stage.office.call(account.tenant, State.PENDING, aliases=aliases)
    id_ = aliases["agentphone"]
    assert account.audio(id_).status == 404
    told = account.call(id_).json()
    assert (told["recordingAvailable"], told["recordingUrl"] is None) == (False, False)
    await stage.file("s3", DATA, tenant=account.tenant, aliases=aliases)
    while not account.call(id_).json()["recordingAvailable"]:
        pass  # Postgres tells the gateway in a moment
    assert account.audio(id_).body == DATA


@pytest.mark.parametrize("path", ["/v1/credits/recording/enable", "/credits/recording/enable"])
async def test_recording_must_be_enabled_on_the_account(stage: Stage, path: str):
    account = await opened(stage, f"switched{path.count('/')}")
    missing = account.audio(f"call_{uuid4()}")
    for refused in (account.audio(), missing):
        assert (refused.status, refused.body) == (404, missing.body)
    assert (account.call().json()["recordingUrl"], account.call().json()["recordingAvailable"]) == (None, False)
    reader = await stage.key("calls:read", tenant=account.tenant)
    url = f"{account.base}{path}"
    assert curl("-X", "POST", url).status == 401
    assert curl("-X", "POST", url, *headers(reader)).status == 403
    assert account.audio().status == 404
    for _ in range(2):
        told = curl("-X", "POST", url, *headers(account.admin))
        assert (told.status, told.json()) == (200, {"recordingEnabled": True})
        assert account.audio().body == DATA
    assert account.call().json()["recordingAvailable"] is True
    rows = await stage.accesses("tenant", account.tenant, 10)
    switched = [(row["method"], row["status"]) for row in rows if row["method"] == "settings"]
    assert switched == [("settings", 403), ("settings", 200), ("settings", 200)]


def test_call_that_does_not_exist_is_a_404(account: Account):
    told = account.audio(f"call_{uuid4()}")
    assert (told.status, list(told.json())) == (404, ["detail"])
    assert isinstance(told.json()["detail"], str)
    assert told.fields["cache-control"] == "no-store"


async def test_call_without_a_recording_is_a_404(account: Account):
    aliases = {"agentphone": f"call_{uuid4()}"}
    await account.stage.office.call(account.tenant, aliases=aliases)
    assert account.audio(aliases["agentphone"]).status == 404


@pytest.mark.parametrize("id_", ["a%20b", "a" * 129, "%2e%2e", "a.b", "%F0%9F%93%9E"])
def test_unprocessable_id_is_a_422_in_fastapis_form(account: Account, id_: str):
    told = account.audio(id_)
    assert told.status == 422
    (problem,) = told.json()["detail"]
    assert list(problem) == ["loc", "msg", "type"]
    assert problem["loc"] == ["path", "call_id"]


WEAK_IDS = {
    "short": lambda: WEAK,
    "serial": lambda: "call_000000000000000000000000000000001234",
    "v4 of nothing": lambda: "00000000-0000-4000-8000-000000000000",
    "v1": lambda: "call_2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d",
    "v7": lambda: "call_01945e0c-7bd1-7c3a-9f6e-3b1d2a4c5e6f",
}


@pytest.mark.parametrize("made", WEAK_IDS.values(), ids=WEAK_IDS)
async def test_id_that_can_be_guessed_serves_nothing_publicly(account: Account, made):
    """The account itself is told of the call, and that its recording can't be fetched so."""
    id_ = made()
    await account.stage.file("s3", DATA, tenant=account.tenant, aliases={"agentphone": id_})
    told, missing = account.audio(id_), account.audio(f"call_{uuid4()}")
    assert (told.status, told.body) == (404, missing.body)
    described = account.call(id_).json()
    assert (described["id"], described["recordingAvailable"]) == (id_, False)


async def test_transcript_is_told_where_there_is_one(account: Account):
    stage = account.stage
    url = f"{account.base}/v1/calls/{account.id}/transcript"
    assert curl(url, *headers(account.admin)).status == 404
    segments = [{"start_ms": 0, "end_ms": 1500, "text": "Hello.", "speaker": "caller"}]
    await stage.office.transcript(account.tenant, account.filed.id, "Hello.", language="en-GB", segments=segments)
    told = curl(url, *headers(account.admin)).json()
    assert told == {
        "callId": account.id,
        "status": "completed",
        "language": "en-GB",
        "text": "Hello.",
        "segments": [{"start": 0.0, "end": 1.5, "speaker": "caller", "text": "Hello."}],
    }
    assert curl(url).status == 401
    assert curl(url, *headers(await stage.key("calls:read", tenant=account.tenant))).status == 403
    await stage.office.tenant("phones", transcription_enabled=False)
    while curl(url, *headers(account.admin)).status == 200:
        pass  # Postgres tells the gateway in a moment
    assert curl(url, *headers(account.admin)).status == 404


async def test_who_listened_is_anonymous_with_his_address(account: Account):
    agent = f"listener-{uuid4()}"
    curl("-A", agent, f"{account.base}/v1/calls/{account.id}/recording")
    (row,) = await account.stage.accesses("user_agent", agent, 1)
    expected: Mapping[str, object] = {
        "surface": "agentphone",
        "method": "stream",
        "tenant": account.tenant,
        "actor_kind": "anonymous",
        "actor_id": None,
        "credential_id": None,
        "auth_method": None,
        "call": account.filed.id,
        "status": 200,
        "result": "complete",
        "bytes_sent": len(DATA),
    }
    assert {name: row[name] for name in expected} == expected
    assert str(row["address"]).startswith("127.0.0.1")


def test_id_stands_in_no_log_line(account: Account):
    account.audio()
    account.audio(f"{account.id}x")
    account.stage.secrets.add(account.id.removeprefix("call_"))  # looked for once all of the stage's logs are whole


async def test_whatever_stands_under_the_secret_id_is_discreet(stage: Stage):
    account = await opened(stage, "discreet", recording_enabled=True, transcription_enabled=True)
    await stage.office.transcript(account.tenant, account.filed.id, "Good morning.")
    for path in ("", "/transcript"):
        told = curl(f"{account.base}/v1/calls/{account.id}{path}", *headers(account.admin))
        assert told.status == 200
        assert {name: told.fields.get(name) for name in DISCREET} == DISCREET
