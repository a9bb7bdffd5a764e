"""What became durable a moment ago is taken from memory as it would be read from the files."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.frames import INTENT, OUTCOME, Record, frame, scan
from gateway.audit.fresh import Fresh


def piece(*numbers: int) -> bytes:
    return b"".join(frame(OUTCOME if number % 2 else INTENT, b"%d" % number) for number in numbers)


def test_records_come_in_their_order_up_to_the_limit_and_go_on_amid_a_piece():
    fresh = Fresh()
    data = piece(1, 2, 3), piece(4)
    fresh.add(100, data[0])
    fresh.add(100 + len(data[0]), data[1])
    size = sum(map(len, data))
    first, taken = fresh.take(100, size, 2) or ([], 0)
    rest, then = fresh.take(100 + taken, size - taken, 9) or ([], 0)
    assert [payload for _, payload in first] == [b"1", b"2"]
    assert [payload for _, payload in rest] == [b"3", b"4"]
    assert taken + then == size
    assert fresh.take(100 + size, 50, 9) is None


def test_what_is_not_there_any_more_is_not_made_up():
    fresh = Fresh(most=2 * len(piece(1)))
    for number in range(3):
        fresh.add(number * len(piece(1)), piece(number))
    assert fresh.take(0, 1000, 9) is None
    assert fresh.take(len(piece(1)), 1000, 9) == ([(OUTCOME, b"1"), (INTENT, b"2")], 2 * len(piece(1)))


def test_what_lies_in_the_next_file_is_left_for_later():
    fresh = Fresh()
    fresh.add(0, piece(1))
    fresh.add(len(piece(1)), piece(2))
    assert fresh.take(0, len(piece(1)), 9) == ([(OUTCOME, b"1")], len(piece(1)))


@given(
    pieces=st.lists(st.lists(st.integers(0, 99), max_size=4), max_size=8),
    limits=st.lists(st.integers(1, 6), min_size=1),
    most=st.integers(0, 400),
)
def test_it_is_what_a_scan_of_all_tells_for_as_long_as_it_is_kept(
    pieces: list[list[int]], limits: list[int], most: int
):
    fresh, data = Fresh(most), b""
    for numbers in pieces:
        fresh.add(len(data), piece(*numbers))
        data += piece(*numbers)
    whole, got, at = scan(data, limit=1000, final=True).records, list[Record](), 0
    while at < len(data):
        found = fresh.take(at, len(data) - at, limits[len(got) % len(limits)])
        if found is None:
            skipped = scan(data[at:], limit=1, final=True)
            got, at = got + skipped.records, at + skipped.end
        else:
            assert 0 < len(found[0]) <= limits[len(got) % len(limits)]
            got, at = got + found[0], at + found[1]
    assert got == whole
