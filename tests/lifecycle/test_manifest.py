"""Lists of recordings, well and badly written."""

import csv
import io
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.lifecycle.manifest import COLUMNS, Line, NoManifest, Row, read_csv, read_json_lines
from gateway.model import NewCall

CALL = "0195d2f0-1c3e-7c44-9d2a-5b1f2f6f9a10"
DEPARTMENT = "0195d2f0-1c3e-7c44-9d2a-000000000007"


def of_csv(text: str, **how: str) -> list[Line]:
    return list(read_csv(io.StringIO(text, newline=""), **how))


def of_json(*objects: object, **how: str) -> list[Line]:
    return list(read_json_lines([orjson.dumps(o).decode() + "\n" for o in objects], **how))


def test_every_column_is_read():
    header = (
        "call,aliases,key,store,started_at,answered_at,ended_at,expires_at,from,to,direction,voice_agent,department"
    )
    times = "2026-03-01T09:30:00+01:00,2026-03-01T08:30:05Z,2026-03-01T08:31:00Z,2030-01-01T00:00:00Z"
    line = f"{CALL},yotel:c-1 callsid:call_7,a.wav,main,{times},+491,+492,inbound,true,{DEPARTMENT},30,audio/amr"
    (found,) = of_csv(f"{header},retention_days,media_type\r\n{line}\r\n")
    row = found.content
    assert isinstance(row, Row), row
    assert found.number == 2
    assert (row.key, row.store, row.retention_days, row.media_type) == ("a.wav", "main", 30, "audio/amr")
    assert row.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert row.new_call() == NewCall(
        aliases={"yotel": "c-1", "callsid": "call_7"},
        id=UUID(CALL),
        direction="inbound",
        from_number="+491",
        to_number="+492",
        voice_agent=True,
        department=UUID(DEPARTMENT),
        started_at=datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
        answered_at=datetime(2026, 3, 1, 8, 30, 5, tzinfo=UTC),
        ended_at=datetime(2026, 3, 1, 8, 31, tzinfo=UTC),
    )
    assert set(f"{header},retention_days,media_type".split(",")) == set(COLUMNS)


@pytest.mark.parametrize(
    "aliases", ["yotel:c-1 voki:9", ["yotel:c-1", "voki:9"], {"yotel": "c-1", "voki": "9"}], ids=["text", "list", "map"]
)
def test_json_lines_say_the_same_in_three_ways(aliases: object):
    (found,) = of_json({"key": "a.wav", "store": "main", "aliases": aliases})
    assert isinstance(found.content, Row)
    assert found.content.aliases == {"yotel": "c-1", "voki": "9"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_write_is_read(delimiter: str):
    text = "\ufeff" + delimiter.join(["key", "aliases", "to"]) + "\r\n"
    text += delimiter.join(['"a\r\nb.wav"', "yotel:1", ""]) + "\r\n" + delimiter * 2 + "\r\n"
    text += delimiter.join(["c.wav", "yotel:2", ""]) + "\r\n"
    first, second = of_csv(text, store="main")
    assert (first.number, second.number) == (2, 5)
    assert isinstance(first.content, Row)
    assert isinstance(second.content, Row)
    assert (first.content.key, second.content.key) == ("a\r\nb.wav", "c.wav")
    assert first.content.to_number is None


def test_a_row_s_own_store_counts_before_that_of_all_rows():
    found = of_csv("key,aliases,store\na.wav,yotel:1,tape\nb.wav,yotel:2,\n", store="main")
    assert [row.content.store for row in found if isinstance(row.content, Row)] == ["tape", "main"]


def test_json_lines_may_begin_with_a_byte_order_mark():
    first, second = read_json_lines(
        ['\ufeff{"key": "a.wav", "aliases": "yotel:1"}\r\n', '{"key": "b.wav", "aliases": "yotel:2"}\r\n'], store="main"
    )
    assert isinstance(first.content, Row), first
    assert isinstance(second.content, Row)


@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in {"key", "call"}])
def test_null_is_as_good_as_no_column(name: str):
    (found,) = of_json({"key": "a.wav", "call": CALL, name: None}, store="main")
    assert isinstance(found.content, Row), found


REFUSED_ROWS = {
    "no key": ({"aliases": "yotel:1"}, "key: required"),
    "no name": ({"key": "a.wav"}, "give call or aliases"),
    "no uuid": ({"key": "a.wav", "call": "c-1"}, "call: Input should be a valid UUID"),
    "alias without a surface": ({"key": "a.wav", "aliases": "c-1"}, "aliases: each is surface:id"),
    "alias longer than any that is kept": (
        {"key": "a.wav", "aliases": "yotel:" + "1" * 256},
        "aliases: each is surface:id",
    ),
    "two ids of one surface": ({"key": "a.wav", "aliases": "yotel:1 yotel:2"}, "aliases: two ids for yotel"),
    "no time": ({"key": "a.wav", "aliases": "yotel:1", "started_at": "yesterday"}, "started_at: "),
    "time without a zone": (
        {"key": "a.wav", "aliases": "yotel:1", "started_at": "2026-03-01T09:30:00"},
        "started_at: Input should have timezone info",
    ),
    "unset time": (
        {"key": "a.wav", "aliases": "yotel:1", "started_at": "0001-01-01T00:00:00Z"},
        "started_at: must lie between",
    ),
    "the last time there is": (
        {"key": "a.wav", "aliases": "yotel:1", "expires_at": "9999-12-31T23:59:59.999999Z"},
        "expires_at: must lie between",
    ),
    "start from which no days can be counted": (
        {"key": "a.wav", "aliases": "yotel:1", "started_at": "9999-06-01T00:00:00Z"},
        "started_at: must lie between",
    ),
    "no days": ({"key": "a.wav", "aliases": "yotel:1", "retention_days": 0}, "retention_days: "),
    "days beyond all": ({"key": "a.wav", "aliases": "yotel:1", "retention_days": 10**12}, "retention_days: "),
    "key with a NUL": ({"key": "a\0.wav", "aliases": "yotel:1"}, "key: must hold no NUL"),
    "long key": ({"key": "é" * 513, "aliases": "yotel:1"}, "key: must have 1024 bytes at most"),
    "number with a NUL": (
        {"key": "a.wav", "aliases": "yotel:1", "from": "\0"},
        "from: must hold no control characters",
    ),
    "long number": ({"key": "a.wav", "aliases": "yotel:1", "to": "1" * 129}, "to: String should have at most 128"),
    "time before all": (
        {"key": "a.wav", "aliases": "yotel:1", "started_at": "0001-01-01T00:00:00+01:00"},
        "started_at: must lie between the years 1900 and ",
    ),
    "time after all": (
        {"key": "a.wav", "aliases": "yotel:1", "expires_at": "9999-12-31T23:59:59-01:00"},
        "expires_at: must lie between the years 1900 and ",
    ),
    "direction": ({"key": "a.wav", "aliases": "yotel:1", "direction": "sideways"}, "direction: "),
    "no such column": (
        {"key": "a.wav", "aliases": "yotel:1", "colour": "red"},
        "colour: no such column; there are key, store, call,",
    ),
}


def test_a_row_of_no_store_is_told_how_to_name_one():
    (found,) = of_json({"key": "a.wav", "call": CALL})
    assert found.content == "store: required; name one here, or one for all rows (--store)"


@pytest.mark.parametrize("name", REFUSED_ROWS)
def test_a_wrong_row_is_told_by_its_number_and_field(name: str):
    values, message = REFUSED_ROWS[name]
    good = {"key": "b.wav", "aliases": "yotel:9"}
    first, wrong, last = of_json(good, values, good | {"aliases": "yotel:10"}, store="main")
    assert isinstance(first.content, Row)
    assert isinstance(last.content, Row)
    assert wrong.number == 2
    assert isinstance(wrong.content, str)
    assert message in wrong.content


def test_a_message_never_repeats_a_phone_number():
    (line,) = of_json({"key": "a.wav", "store": "main", "aliases": "yotel:1", "from": ["+4915112345678"]})
    assert isinstance(line.content, str)
    assert "4915112345678" not in line.content


def test_two_rows_for_one_call_are_refused():
    first, second = of_csv("key,aliases\na.wav,yotel:1\nb.wav,yotel:1\n", store="main")
    assert isinstance(first.content, Row)
    assert second == Line(3, "yotel:1 stands in line 2 already")


@pytest.mark.parametrize("again", [f"envoy:{CALL}", f"envoy:{CALL.upper()}", f"envoy:call_{CALL}"])
def test_two_rows_for_one_call_are_refused_however_its_id_is_written(again: str):
    first, second = of_csv(f"key,aliases\na.wav,envoy:call_{CALL}\nb.wav,{again}\n", store="main")
    assert isinstance(first.content, Row)
    assert second == Line(3, f"envoy:{CALL} stands in line 2 already")
    (one,) = of_csv(f"key,aliases\na.wav,envoy:call_{CALL} {again}\n", store="main")
    assert isinstance(one.content, Row)
    assert one.content.aliases == {"envoy": CALL}
    _, mapped = of_json(*({"key": "a.wav", "aliases": {"envoy": id_}} for id_ in (CALL, again[6:])), store="main")
    assert mapped == Line(2, f"envoy:{CALL} stands in line 1 already")


def test_a_key_is_taken_to_the_letter():
    (found,) = of_csv("key, aliases\n a  b.wav ,yotel:1\n", store="main")
    assert isinstance(found.content, Row)
    assert found.content.key == " a  b.wav "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one of them is key"),
        ("key,colour\n", "no such column: 'colour'"),
        ("aliases\n", "one of them is key"),
        ("key,key\n", "each once"),
        ("k" * 200_000, "line 1: not CSV"),
    ],
)
def test_a_header_that_names_no_columns_is_refused(text: str, message: str):
    with pytest.raises(NoManifest, match=message):
        of_csv(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,aliases\na.wav\nb.wav,yotel:1\n", "1 fields for 2 columns"),
        ('key,aliases\n"a.wav"x,yotel:2\nb.wav,yotel:1\n', "not CSV"),
    ],
)
def test_a_broken_line_spoils_no_other(text: str, message: str):
    broken, good = of_csv(text, store="main")
    assert isinstance(broken.content, str)
    assert message in broken.content
    assert isinstance(good.content, Row)


def test_broken_json_spoils_no_other():
    lines = ['{"key"\n', "\n", "[1]\n", '{"key": "a.wav", "aliases": "yotel:1"}\n']
    first, second, third = read_json_lines(lines, store="main")
    assert [line.number for line in (first, second, third)] == [1, 3, 4]
    assert isinstance(first.content, str)
    assert first.content.startswith("not JSON")
    assert ".csv" not in first.content
    assert second.content == "not a JSON object"
    assert isinstance(third.content, Row)


def test_csv_that_is_read_as_json_is_told_how_to_be_read():
    (header,) = read_json_lines(["key,aliases\n"], store="main")
    assert isinstance(header.content, str)
    assert header.content.endswith("CSV is read from a file whose name ends in .csv")


ids = st.text(
    st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1, max_size=20
)
rows = st.lists(
    st.fixed_dictionaries(
        {"key": st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), "id": ids},
        optional={
            "to": st.from_regex(r"\+[0-9]{3,9}", fullmatch=True),
            "retention_days": st.integers(1, 9999).map(str),
        },
    ),
    max_size=8,
    unique_by=lambda row: row["id"],
)


@given(rows)
def test_what_was_written_as_csv_is_read_back(written: list[dict[str, str]]):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["key", "aliases", "to", "retention_days"])
    writer.writeheader()
    for row in written:
        writer.writerow({"aliases": f"native:{row['id']}"} | {k: v for k, v in row.items() if k != "id"})
    found = of_csv(out.getvalue(), store="main")
    assert [line.number for line in found] == list(range(2, len(written) + 2))
    for line, row in zip(found, written, strict=True):
        assert isinstance(line.content, Row), line.content
        assert (line.content.key, line.content.aliases) == (row["key"], {"native": row["id"]})
        assert line.content.to_number == row.get("to")
        assert line.content.retention_days == (int(row["retention_days"]) if "retention_days" in row else None)


@given(st.text(max_size=300))
def test_any_text_is_lines_or_no_manifest(text: str):
    list(read_json_lines(io.StringIO(text)))
    of_csv("key,aliases\n" + text)
    with suppress(NoManifest):
        of_csv(text)


def test_the_columns_are_those_the_documents_name():
    assert set(COLUMNS) >= {"call", "key", "store", "aliases", "started_at", "from", "to", "direction", "voice_agent"}
