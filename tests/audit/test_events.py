from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import pytest
from asyncpg.pgproto import pgproto
from hypothesis import given
from hypothesis import strategies as st
from parts.audit import intent, outcome

from gateway.audit.events import LONG, OpenEvents, encode, intent_frame, open_frame, outcome_frame
from gateway.audit.frames import MAX_PAYLOAD, Kind, scan
from gateway.event import Result

TEXTS = ("actor_id", "role", "user_agent", "request_id", "address", "range", "etag", "trace_id")


def test_a_record_is_its_fields_as_json():
    given = intent(user_agent='a "quoted" müde \U0001f600')
    record = orjson.loads(encode(given))
    assert list(record) == list(given.__dataclass_fields__)
    assert record["user_agent"] == 'a "quoted" müde \U0001f600'
    assert UUID(record["event_id"]) == given.event_id
    assert datetime.fromisoformat(record["occurred_at"]) == given.occurred_at
    assert record["scopes"] == ["calls:read", "recordings:download"]
    assert record["method"] == "stream"


def test_ids_as_the_database_driver_gives_them_are_taken():
    call = pgproto.UUID(str(uuid4()))
    assert type(call) is not UUID
    assert orjson.loads(encode(intent(call=call, user_agent="\0")))["call"] == str(call)
    assert orjson.loads(encode(intent(call=call)))["call"] == str(call)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\0b", "a\ufffdb"),
        ("caf\udce9", "caf?"),
        ("\\u0000", "\\u0000"),
        ("x" * 10_000, "x" * 300),
        ("\udce9" * 10_000, "?" * 300),
    ],
)
def test_what_postgres_could_not_take_is_mended(text: str, kept: str):
    assert orjson.loads(encode(intent(user_agent=text)))["user_agent"] == kept


def test_an_absurd_number_of_scopes_is_cut():
    assert len(orjson.loads(encode(intent(scopes=tuple(f"scope:{n}" for n in range(5000)))))["scopes"]) == 32


def test_the_worst_a_client_can_send_still_fits_a_frame():
    worst = intent(**dict.fromkeys(TEXTS, "\x01" * 100_000), scopes=("\x01" * 100_000,) * 100)
    assert LONG < len(intent_frame(worst)) < MAX_PAYLOAD


@given(st.text(st.characters(), max_size=6000))
def test_any_text_becomes_json_that_postgres_can_take(text: str):
    data = encode(intent(user_agent=text, range=text))
    kept = orjson.loads(data)["user_agent"]
    assert "\0" not in kept
    assert kept == text or len(text) > 300 or "\0" in text or any("\ud800" <= char <= "\udfff" for char in text)


def test_what_has_no_outcome_is_open():
    first, second, third, carried = (intent() for _ in range(4))
    seen = OpenEvents()
    frames = [
        intent_frame(first),
        intent_frame(second),
        open_frame([(carried.event_id, carried.occurred_at), (third.event_id, third.occurred_at)]),
        outcome_frame(outcome(first)),
        outcome_frame(outcome(intent())),  # begun in a file that is gone, and mentioned nowhere
        outcome_frame(outcome(third)),
    ]
    for kind, payload in scan(b"".join(frames), limit=100, final=True).records:
        seen.see(kind, payload)
    now = datetime(2025, 1, 2, tzinfo=UTC)
    closed = [orjson.loads(record) for record in seen.interrupted(now)]
    assert {UUID(record["event_id"]) for record in closed} == {second.event_id, carried.event_id}
    for record in closed:
        assert (record["result"], record["status"], record["bytes_sent"]) == (Result.INTERRUPTED, 0, None)
        assert datetime.fromisoformat(record["completed_at"]) == now
    assert [datetime.fromisoformat(record["occurred_at"]) for record in closed] == [
        second.occurred_at,
        carried.occurred_at,
    ]


def test_an_unknown_kind_of_record_opens_nothing():
    seen = OpenEvents()
    seen.see(max(Kind) + 1, b"\x00")
    assert seen.interrupted(datetime.now(UTC)) == []
