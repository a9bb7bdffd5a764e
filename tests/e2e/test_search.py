"""Listing and searching over the API: every parameter, what each is refused for, and pages that go on as they began."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from parts.calls import DATA, Calls
from parts.wire import Answer

NUMBER = "+15550123987"


@dataclass(frozen=True)
class Shelved:
    """An account with three recordings, told apart by everything that can be searched for."""

    calls: Calls
    key: Mapping[str, str]
    meta: Mapping[str, str]
    named: Mapping[str, UUID]
    department: UUID
    second_at: datetime
    """When it was registered."""

    def found(self, **query: object) -> list[str]:
        """Names, newest first."""
        answer = self.ask(urlencode(query))
        assert answer.status == 200, answer.body
        names = {str(id_): name for name, id_ in self.named.items()}
        return [names[each["id"]] for each in answer.json()["data"]]

    def ask(self, query: str, key: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        return self.calls.ask(method, f"/v1/recordings?{query}", key or self.key)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shelved(calls: Calls) -> Shelved:
    stage = calls.stage
    stage.secrets |= {NUMBER, "armadillo"}
    tenant = await stage.office.tenant("shelved", transcription_enabled=True)
    key, meta = await stage.key(tenant=tenant), await stage.key("calls:read", tenant=tenant)
    facts = {
        "first": {"from_number": NUMBER, "to_number": "100", "started_at": "2026-01-01T10:00:00Z"},
        "second": {"from_number": "sip:ann@example.com", "to_number": NUMBER, "started_at": "2026-01-02T10:00:00Z"},
        "third": {"from_number": "anonymous"},
    }
    named = {}
    for name, told in facts.items():
        named[name] = (await stage.file("disk", DATA, tenant=tenant)).id
        columns = ", ".join(f"{column} = ${n + 2}::text::{_type(column)}" for n, column in enumerate(told))
        await stage.office.rows(f"UPDATE calls SET {columns} WHERE id = $1", named[name], *told.values())
    department = await stage.office.department(tenant, named["second"])
    words = {"status": "ready", "segments": [{"start_ms": 0, "end_ms": 9, "text": "An Armadillo, said she"}]}
    put = calls.ask("PUT", f"/v1/recordings/{named['third']}/transcript", key, body=json.dumps(words).encode())
    assert put.status == 200
    (row,) = await stage.office.rows("SELECT created_at FROM recordings WHERE call_id = $1", named["second"])
    return Shelved(calls, key, meta, named, department, row["created_at"])


def _type(column: str) -> str:
    return "timestamptz" if column == "started_at" else "text"


def test_each_parameter_finds_its_own(shelved: Shelved):
    assert shelved.found() == ["third", "second", "first"]
    for query, wanted in (
        ({"number": NUMBER}, ["second", "first"]),
        ({"number": "1 (555) 012-3987"}, ["second", "first"]),
        ({"number": "100"}, ["first"]),
        ({"number": "sip:ann@example.com"}, ["second"]),
        ({"number": "5550123987"}, []),
        ({"department": shelved.department}, ["second"]),
        ({"department": uuid4()}, []),
        ({"started_since": "2026-01-02T00:00:00Z"}, ["second"]),
        ({"started_until": "2026-01-02T11:00:00+01:00"}, ["first"]),
        ({"until": shelved.second_at}, ["first"]),
        ({"since": shelved.second_at}, ["third", "second"]),
        ({"since": shelved.second_at, "until": shelved.second_at + timedelta(microseconds=1)}, ["second"]),
        ({"state": "ready", "number": NUMBER}, ["second", "first"]),
        ({"state": "failed"}, []),
        ({"text": "ARMADILLO"}, ["third"]),
        ({"text": '"she said"'}, []),
        ({"text": "armadillo", "number": NUMBER}, []),
        ({"text": "\u00a0!"}, []),
    ):
        assert shelved.found(**query) == wanted, query


@pytest.mark.parametrize(
    "query",
    [f"number={NUMBER}&started_since=2026-01-02T00:00:00Z", "started_since=2026-01-02T11:00:00+01:00"]
    + [
        f"started_since={text}&started_until=2026-01-03T00:00:00+0000"
        for text in ("2026-01-01t12:00:00z", "20260101T12Z")
    ],
)
def test_an_unescaped_plus_sign_still_finds_its_number_and_its_time(shelved: Shelved, query: str):
    """And letters of either case are a time (RFC 3339 section 5.6)."""
    answer = shelved.ask(query)
    assert answer.status == 200, answer.body
    assert [each["id"] for each in answer.json()["data"]] == [str(shelved.named["second"])]


def test_what_a_call_tells_of_its_numbers_department_and_transcript(shelved: Shelved):
    told = {each["id"]: each for each in shelved.ask("").json()["data"]}
    second, third = (told[str(shelved.named[name])] for name in ("second", "third"))
    assert (second["from_number"], second["to_number"]) == ("sip:ann@example.com", NUMBER)
    assert (second["department"], second["transcript"]) == (str(shelved.department), None)
    assert third["transcript"] == {"status": "ready"}
    assert third["links"]["transcript"] == f"{shelved.calls.base}/v1/recordings/{third['id']}/transcript"


def test_looking_for_words_takes_the_right_to_read_them(shelved: Shelved):
    refused = shelved.ask("text=armadillo", shelved.meta)
    assert (refused.status, refused.json()["needed"]) == (403, "recordings:download")
    assert shelved.ask("number=100", shelved.meta).status == 200


def test_pages_go_on_as_they_began_and_a_cursor_fits_no_other_question(shelved: Shelved):
    first = shelved.ask(f"limit=1&number={quote(NUMBER)}").json()
    following = first["links"]["next"].removeprefix(f"{shelved.calls.base}/v1/recordings?")
    assert [each["id"] for each in shelved.ask(following).json()["data"]] == [str(shelved.named["first"])]
    assert shelved.ask(following).json()["next_cursor"] is None
    cursor = first["next_cursor"]
    for other in ("", "&number=100", f"&number={quote(NUMBER)}&state=ready", f"&text={quote(NUMBER)}"):
        answer = shelved.ask(f"cursor={cursor}{other}")
        assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["query", "cursor"]), other
    assert shelved.ask(f"limit=2&cursor={cursor}&number={quote(NUMBER)}").status == 200


def test_head_is_get_without_its_body(shelved: Shelved):
    head, get = (shelved.ask(f"number={quote(NUMBER)}", method=method) for method in ("HEAD", "GET"))
    assert (head.status, head.get("Content-Length"), head.body) == (200, str(len(get.body)), b"")


@pytest.mark.parametrize(
    "query",
    [
        "number=",
        "number=" + "1" * 65,
        "number=%00",
        "number=1&number=1",
        "department=sales",
        "department={6f9619ff-8b86-4d01-b42d-00c04fc964ff}",
        "text=",
        "text=" + "x" * 201,
        "text=a%00b",
        "text=a&text=b",
        "started_since=2026-01-01",
        "started_until=now",
        "state=absent",
        "cursor=",
        "limit=",
        "limit=1e1",
        "Number=1",
        "alias=x",
    ],
)
def test_a_parameter_not_of_its_form_is_unprocessable(shelved: Shelved, query: str):
    answer = shelved.ask(query)
    assert (answer.status, answer.json()["code"]) == (422, "malformed")
    assert answer.json()["errors"][0]["loc"][0] == "query"


async def test_the_audit_tells_that_was_searched_and_not_for_what(shelved: Shelved):
    agent = f"searcher {uuid4()}"
    shelved.calls.ask("GET", f"/v1/recordings?text=armadillo&number={NUMBER}", shelved.key, [("User-Agent", agent)])
    (row,) = await shelved.calls.stage.accesses("user_agent", agent, 1)
    assert (row["method"], row["status"]) == ("list", 200)
    assert not [word for word in ("armadillo", NUMBER[1:]) if word in json.dumps(dict(row), default=str)]
