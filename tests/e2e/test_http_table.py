"""The decision table row by row, and generated requests by the thousand, through a real gateway over a real socket."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from random import Random
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from parts.faults import FaultProxy
from parts.house import Filed, some_bytes
from parts.http_cases import Case, case
from parts.http_oracle import verdict
from parts.http_table import ROWS, Fields, Row
from parts.stage import Stage
from parts.wire import Answer, Wire

BOTH_WAYS = True

STORES = ("s3", "gcs", "disk")
SURFACES = ("native", "yotel")
SIZE = 200_003
CASES = {True: 6_000, False: 2_000}
"""By server.zero_copy. What a request is answered is settled before the ways part; test_twins.py holds one against the other."""
CONNECTIONS = 4
SEED = 7233
LEAST = {"200": 0.15, "206": 0.1, "206 multipart": 0.04, "304": 0.02, "400": 0.005, "412": 0.05, "416": 0.05}
"""The share that each kind of answer must have among the generated, or the run shows nothing about it."""

ERROR_TYPE = {"native": "application/problem+json", "yotel": "application/json"}
REQUEST_ID = re.compile(r"[0-9a-f]{32}")
HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")


@dataclass(frozen=True)
class Table:
    """One recording and an empty one in each store, and a connection to ask for them."""

    wire: Wire
    full: dict[str, str]
    recordings: dict[str, Filed]
    empty: dict[str, Filed]

    def ask(self, surface: str, of: Filed, method: str, lines: Fields) -> Answer:
        target = of.native if surface == "native" else of.yotel
        return self.wire.ask(method, target, (*self.full.items(), *lines))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def table(stage: Stage) -> AsyncIterator[Table]:
    recordings = {name: await stage.file(name, some_bytes(SIZE, seed)) for seed, name in enumerate(STORES)}
    empty = {name: await stage.file(name, b"") for name in STORES}
    with Wire(stage.house.base_url) as wire:
        yield Table(wire, stage.full, recordings, empty)


def expected_fields(surface: str, of: Filed, row: Row, answer: Answer) -> dict[str, str]:
    """Every field of the answer but those that are new each time."""
    size = len(of.data)
    own = {name.lower(): text for name, text in row.answer(size, of.etag, of.modified).items() if text is not None}
    fields = {"vary": "Origin, Authorization", "server": "recording-gateway"} | own
    if row.status in {200, 206, 304}:
        fields["cache-control"] = "private, max-age=300"
        if row.status == 304:
            return fields
        name = of.id if surface == "native" else of.alias
        fields |= {
            "content-type": "audio/wav",
            "content-disposition": f'inline; filename="recording-{name}.wav"',
            "x-content-type-options": "nosniff",
        }
        if row.status == 206 and len(row.spans(size, of.etag, of.modified)) > 1:
            fields["content-type"] = f"multipart/byteranges; boundary={boundary(answer)}"
            fields["content-length"] = str(len(answer.body))
        return fields
    fields |= {
        "cache-control": "no-store",
        "content-type": ERROR_TYPE[surface],
        "x-content-type-options": "nosniff",
    }
    return fields | ({"connection": "close"} if row.status == 400 else {})


def boundary(answer: Answer) -> str:
    match = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]{32})", answer.headers["content-type"])
    assert match
    return match[1]


def stable(answer: Answer) -> dict[str, str]:
    """The fields, without those that are new each time, which are looked at here."""
    fields = answer.headers
    assert REQUEST_ID.fullmatch(fields.pop("x-request-id"))
    assert HTTP_DATE.fullmatch(fields.pop("date"))
    return fields


def spans_of(answer: Answer, data: bytes) -> tuple[tuple[int, int], ...]:
    """What a client reads out of a 200 or 206, multipart by a MIME parser; every byte is held against ``data``."""
    if answer.status == 200:
        assert answer.body == data
        return ((0, len(data)),) if data else ()
    if answer.get("Content-Range") is not None:
        return (stated(answer.headers["content-range"], answer.body, data),)
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.body)
    assert message.get_content_type() == "multipart/byteranges"
    parts = message.get_payload()
    assert {part.get_content_type() for part in parts} == {"audio/wav"}
    return tuple(stated(part["Content-Range"], part.get_payload(decode=True), data) for part in parts)


def stated(content_range: str, sent: bytes, data: bytes) -> tuple[int, int]:
    match = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", content_range)
    assert match and int(match[3]) == len(data)
    first, last = int(match[1]), int(match[2])
    assert sent == data[first : last + 1]
    assert len(sent) == last - first + 1
    return first, last + 1


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row_is_answered_as_the_table_says(table: Table, row: Row, store: str, surface: str):
    of = table.empty[store] if row.empty else table.recordings[store]
    known = len(of.data), of.etag, of.modified
    answer = table.ask(surface, of, row.method, row.request(*known))
    assert answer.status == row.status
    fields = stable(answer)
    expected = expected_fields(surface, of, row, answer)
    if row.status >= 400:
        assert int(fields.pop("content-length")) > 0
    assert fields == expected
    if row.status in {200, 206} and row.method == "GET":
        assert spans_of(answer, of.data) == row.spans(*known)
    if row.status == 304 or row.method == "HEAD":
        assert answer.body == b""


def without_range(lines: Fields) -> Fields:
    return tuple(line for line in lines if line[0].lower() not in {"range", "if-range"})


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("store", STORES)
def test_head_equals_get_field_for_field(table: Table, store: str, surface: str):
    for row in ROWS:
        of = table.empty[store] if row.empty else table.recordings[store]
        lines = row.request(len(of.data), of.etag, of.modified)
        head = table.ask(surface, of, "HEAD", lines)
        get = table.ask(surface, of, "GET", without_range(lines))
        assert (head.status, stable(head)) == (get.status, stable(get)), row


async def test_head_and_what_has_no_body_opens_nothing_at_the_store(stage: Stage):
    """And a GET asks the store for exactly its bytes, pinned, with none of the client's own conditions."""
    settings = stage.stores["s3"]
    of = await stage.file("s3", some_bytes(SIZE, 5))
    known = len(of.data), of.etag, of.modified
    async with FaultProxy(int(settings["endpoint"].rpartition(":")[2])) as proxy:
        house = await asyncio.to_thread(stage.another, {"s3": settings | {"endpoint": proxy.url}})
        with Wire(house.base_url) as wire:

            def silent() -> None:
                for row in ROWS:
                    if row.empty:
                        continue
                    lines = row.request(*known)
                    assert wire.ask("HEAD", of.native, (*stage.full.items(), *lines)).body == b""
                    if row.method == "GET" and row.status in {304, 400, 412, 416}:
                        assert wire.ask("GET", of.native, (*stage.full.items(), *lines)).status == row.status

            await asyncio.to_thread(silent)
            assert (proxy.total, proxy.heads) == (0, [])

            lines = (
                ("If-Match", f'{of.etag}, "marked"'),
                ("If-None-Match", '"marked"'),
                ("If-Modified-Since", "Tue, 01 Jan 2019 00:00:00 GMT"),
                ("If-Unmodified-Since", "Tue, 01 Jan 2069 00:00:00 GMT"),
                ("If-Range", of.etag),
                ("Range", "bytes=-100"),
            )
            answer = await asyncio.to_thread(wire.ask, "GET", of.native, (*stage.full.items(), *lines))
            assert (answer.status, answer.body) == (206, of.data[-100:])
            (head,) = proxy.heads
        await asyncio.to_thread(house.stop)
    asked = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    assert {name: value for name, value in asked.items() if name.startswith(b"if-") or name == b"range"} == {
        b"range": b"bytes=%d-%d" % (SIZE - 100, SIZE - 1),
        b"if-match": of.etag.encode(),
    }
    assert b"authorization" not in asked or not asked[b"authorization"].startswith(b"bearer")


# --- generated requests ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Generated:
    asked: Case
    id: UUID

    @property
    def target(self) -> str:
        return f"/v1/recordings/{self.id}/audio"


def generated(count: int) -> Iterator[Case]:
    """Requests that the audio route takes, for objects that the catalog admits."""
    r = Random(SEED)
    while count:
        made = case(r)
        if made.etag == '""' or any("\x7f" in value for _, value in made.lines):
            continue
        yield Case("GET" if made.method == "POST" else made.method, made.lines, made.size, made.etag, made.modified)
        count -= 1


async def register(stage: Stage, cases: list[Case]) -> list[Generated]:
    """A recording each, all of a size in one file of the folder."""
    data = {size: some_bytes(size, size) for size in {made.size for made in cases}}
    files = {size: await stage.file("disk", held, key=f"generated/{size}.wav") for size, held in data.items()}
    (row,) = await stage.office.rows("SELECT created_at FROM tenants LIMIT 1")
    versions = {
        size: (await stage.office.rows("SELECT version FROM recordings WHERE call_id = $1", filed.id))[0]["version"]
        for size, filed in files.items()
    }
    made = [Generated(c, uuid4()) for c in cases]
    connection = await asyncpg.connect(stage.database_url)
    try:
        await connection.copy_records_to_table(
            "calls", records=[(g.id, stage.tenant) for g in made], columns=["id", "tenant_id"]
        )
        columns = [
            "tenant_id",
            "call_id",
            "state",
            "store",
            "key",
            "media_type",
            "size",
            "etag",
            "version",
            "modified",
            "ready_at",
        ]
        await connection.copy_records_to_table(
            "recordings",
            columns=columns,
            records=[
                (
                    stage.tenant, g.id, "ready", "disk", f"generated/{g.asked.size}.wav", "audio/wav",
                    g.asked.size, g.asked.etag, versions[g.asked.size], g.asked.modified, row["created_at"],
                )
                for g in made
            ],
        )  # fmt: skip
    finally:
        await connection.close()
    return made


def held_against_the_oracle(stage: Stage, made: list[Generated]) -> Counter[str]:
    """Asks for each on one connection. How many answers there were of each kind."""
    kinds: Counter[str] = Counter()
    with Wire(stage.house.base_url) as wire:
        for each in made:
            c = each.asked
            expected = verdict(c.method, c.lines, c.size, c.etag, c.modified)
            answer = wire.ask(c.method, each.target, (*stage.full.items(), *c.lines))
            assert answer.status == expected.status, c
            if answer.status in {200, 206} and c.method == "GET":
                assert spans_of(answer, some_bytes(c.size, c.size)) == expected.spans, c
            multipart = answer.status == 206 and len(expected.spans) > 1
            kinds["206 multipart" if multipart else str(answer.status)] += 1
    return kinds


async def test_generated_requests_are_answered_as_the_oracle_says(stage: Stage, zero_copy: bool):
    cases = CASES[zero_copy]
    made = await register(stage, list(generated(cases)))
    at_once = [asyncio.to_thread(held_against_the_oracle, stage, made[n::CONNECTIONS]) for n in range(CONNECTIONS)]
    kinds = sum(await asyncio.gather(*at_once), Counter[str]())
    assert kinds.total() == cases
    assert kinds.keys() == LEAST.keys()
    assert not {kind: n for kind, n in kinds.items() if n < LEAST[kind] * cases}
