"""The journal's files as they are read: a batch at a time, up to where they are durable, nothing passed over unseen."""

import os
from pathlib import Path

import pytest

from gateway.audit import segments
from gateway.audit.frames import Kind, Record, frame
from gateway.audit.segments import Damage, filled, numbered, read_batch, segments_of

PAYLOADS = [b"%03d" % number * 30 for number in range(100)]
FRAMES = [frame(Kind.INTENT, payload) for payload in PAYLOADS]
SIZE = len(FRAMES[0])


@pytest.fixture(autouse=True)
def short_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of some ten frames each."""
    monkeypatch.setattr(segments, "CHUNK", 10 * SIZE + 7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0.seg"


def payloads(records: list[Record]) -> list[bytes]:
    return [payload for _, payload in records]


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 37, 100, 1000])
def test_a_batch_holds_as_many_as_it_may_and_the_next_goes_on_behind_it(path: Path, limit: int):
    path.write_bytes(b"".join(FRAMES))
    seen: list[bytes] = []
    offset = 0
    while (batch := read_batch(path, offset, None, limit)).offset > offset:
        assert len(batch.records) == min(limit, len(FRAMES) - len(seen))
        assert not batch.damaged
        seen += payloads(batch.records)
        offset = batch.offset
    assert seen == PAYLOADS


def test_what_stands_behind_the_end_is_left_alone(path: Path):
    path.write_bytes(b"".join(FRAMES))
    batch = read_batch(path, 0, 15 * SIZE, 1000)
    assert (payloads(batch.records), batch.offset, batch.damaged) == (PAYLOADS[:15], 15 * SIZE, [])


def test_every_damaged_place_of_a_batch_is_told(path: Path):
    damage = b"#" * 11
    path.write_bytes(b"".join([*FRAMES[:3], damage, *FRAMES[3:40], damage, *FRAMES[40:], damage]))
    batch = read_batch(path, 0, None, 1000)
    assert payloads(batch.records) == PAYLOADS
    assert batch.damaged == [
        Damage(3 * SIZE, damage, torn=False),
        Damage(40 * SIZE + 11, damage, torn=False),
        Damage(100 * SIZE + 22, damage, torn=True),
    ]


def test_of_a_file_that_was_cut_short_all_is_read_before_the_loss_is_told(path: Path):
    path.write_bytes(b"".join(FRAMES[:3]))
    first = read_batch(path, 0, 100 * SIZE, 2)
    assert (payloads(first.records), first.offset, first.damaged) == (PAYLOADS[:2], 2 * SIZE, [])
    rest = read_batch(path, first.offset, 100 * SIZE, 2)
    assert (payloads(rest.records), rest.offset) == (PAYLOADS[2:3], 100 * SIZE)
    assert rest.damaged == [Damage(3 * SIZE, b"", torn=False)]


def test_files_come_in_the_order_in_which_they_were_written(tmp_path: Path):
    made = [numbered(tmp_path, number) for number in (0, 2, 10, 100)]
    for path in reversed(made):
        path.touch()
    assert segments_of(tmp_path) == made


def test_a_file_holds_as_much_as_was_written_to_it_whatever_room_it_has(path: Path):
    path.touch()
    assert filled(path) == 0
    path.write_bytes(b"record")
    os.truncate(path, 1 << 20)
    assert 6 <= filled(path) <= 1 << 16
