from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.frames import HEADER_SIZE, MAGIC, MAX_PAYLOAD, Kind, Record, frame, scan

RECORDS: list[Record] = [
    (Kind.INTENT, b'{"event_id":"1"}'),
    (Kind.OUTCOME, b"{}"),
    (Kind.OPEN, b"[]"),
    (Kind.INTENT, '{"user_agent":"ÿJ\x01 müde"}'.encode() * 9),
]
BYTES = b"".join(frame(Kind(kind), payload) for kind, payload in RECORDS)
ENDS = [sum(HEADER_SIZE + len(payload) for _, payload in RECORDS[: n + 1]) for n in range(len(RECORDS))]

records = st.lists(st.tuples(st.sampled_from(Kind), st.text(min_size=1).map(str.encode)), max_size=12)


def test_what_was_framed_is_read_back():
    found = scan(BYTES, limit=100, final=True)
    assert (found.records, found.end, found.damaged) == (RECORDS, len(BYTES), [])


def test_reading_stops_at_its_limit_and_goes_on_from_there():
    first = scan(BYTES, limit=2, final=True)
    rest = scan(BYTES[first.end :], limit=100, final=True)
    assert first.records + rest.records == RECORDS


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD + 1])
def test_a_payload_without_bytes_or_with_too_many_is_no_frame(size: int):
    with pytest.raises(ValueError, match=str(size)):
        frame(Kind.INTENT, b"x" * size)


def test_the_longest_payload_is_read_back():
    assert scan(frame(Kind.OPEN, b"x" * MAX_PAYLOAD), limit=1, final=True).records == [(Kind.OPEN, b"x" * MAX_PAYLOAD)]


@pytest.mark.parametrize("final", [True, False])
def test_a_tail_torn_at_any_byte_is_cut_and_never_misread(final: bool):
    for cut in range(len(BYTES)):
        whole = sum(end <= cut for end in ENDS)
        found = scan(BYTES[:cut], limit=100, final=final)
        assert found.records == RECORDS[:whole]
        torn = cut > (ENDS[whole - 1] if whole else 0)
        start = ENDS[whole - 1] if whole else 0
        assert found.damaged == ([(start, cut)] if torn and final else [])
        assert found.end == (cut if final else start)


def test_a_tail_torn_at_any_byte_is_cut_where_zeros_follow():
    for cut in range(len(BYTES)):
        found = scan(BYTES[:cut] + bytes(5000), limit=100, final=True)
        assert found.records == [record for record, end in zip(RECORDS, ENDS, strict=True) if end <= cut]


def test_room_that_was_not_used_is_no_damage():
    found = scan(BYTES + bytes(4096), limit=100, final=True)
    assert (found.records, found.end, found.damaged) == (RECORDS, len(BYTES) + 4096, [])
    assert scan(bytes(4096), limit=100, final=True).damaged == []


def test_any_byte_changed_costs_its_frame_and_no_other():
    random = Random(1)
    for at in range(len(BYTES)):
        spoilt = bytearray(BYTES)
        spoilt[at] ^= random.randrange(1, 256)
        index = next(n for n, end in enumerate(ENDS) if at < end)
        found = scan(bytes(spoilt), limit=100, final=True)
        assert found.records == RECORDS[:index] + RECORDS[index + 1 :], at
        assert found.damaged == [(ENDS[index - 1] if index else 0, ENDS[index])]


def test_damage_is_not_judged_while_more_may_follow():
    """A length that was spoilt may claim any number of bytes: only what follows tells."""
    spoilt = bytearray(BYTES)
    spoilt[4:8] = (MAX_PAYLOAD - 1).to_bytes(4, "little")
    assert scan(bytes(spoilt), limit=100, final=False).end == 0
    assert scan(bytes(spoilt), limit=100, final=True).records == RECORDS[1:]


@given(before=records, damage=st.binary(min_size=1), after=records.filter(bool), zeros=st.integers(0, 40))
@settings(max_examples=500)
def test_every_byte_is_accounted_for(before: list[Record], damage: bytes, after: list[Record], zeros: int):
    """Frames, then bytes that may look like anything, then frames: the damage never hides a frame nor becomes one."""
    head, tail = (b"".join(frame(Kind(kind), payload) for kind, payload in part) for part in (before, after))
    found = scan(head + damage + tail + bytes(zeros), limit=1000, final=True)
    assert found.records == before + after
    assert found.damaged == [(len(head), len(head) + len(damage))]
    assert found.end == len(head + damage + tail) + zeros


@given(before=records, start=st.binary(max_size=12), length=st.integers(0, 2**32 - 1), check=st.binary(max_size=4))
def test_what_looks_like_a_header_is_damage_all_the_same(before: list[Record], start: bytes, length: int, check: bytes):
    head = b"".join(frame(Kind(kind), payload) for kind, payload in before)
    lie = MAGIC + b"\x01" + length.to_bytes(4, "little") + check + start
    found = scan(head + lie + BYTES, limit=1000, final=True)
    assert found.records == before + RECORDS
    assert found.damaged == [(len(head), len(head + lie))]
