"""A Window gives what the object holds, asks for what it lacks, and ends where its bounds are."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.window import BLOCK, Handle, Need, Unreadable, Window
from gateway.model import Span

DATA = bytes(i * 7 % 251 for i in range(5 * BLOCK + 123))


def ask(window: Window, offset: int, length: int) -> bytes:
    while True:
        try:
            return window.at(offset, length)
        except Need as need:
            span = window.plan(need)
            window.put(span.start, DATA[span.start : span.stop])


@given(
    st.integers(0, len(DATA)),
    st.lists(st.tuples(st.integers(-10, len(DATA) + 10), st.integers(0, 3 * BLOCK)), min_size=1, max_size=20),
)
def test_it_gives_what_the_object_holds(known, wanted):
    window = Window.over(DATA[:known], len(DATA))
    for offset, length in wanted:
        assert ask(window, offset, length) == (DATA[offset : offset + length] if offset >= 0 else b"")


@given(st.integers(0, len(DATA)), st.integers(0, len(DATA) - 1), st.integers(1, 2 * BLOCK))
def test_it_asks_only_for_bytes_it_lacks(known, offset, length):
    window = Window.over(DATA[:known], len(DATA))
    stop = min(offset + length, len(DATA))
    if stop <= known:
        assert window.at(offset, length) == DATA[offset:stop]
        return
    with pytest.raises(Need) as caught:
        window.at(offset, length)
    assert offset <= caught.value.span.start < caught.value.span.stop == stop


def test_a_walk_that_goes_on_is_read_further_ahead():
    window = Window(1 << 30)
    lengths = []
    at = 0
    for _ in range(8):
        with pytest.raises(Need) as caught:
            window.at(at, 1)
        span = window.plan(caught.value)
        window.put(span.start, bytes(len(span)))
        lengths.append(len(span) // 1024)
        at = span.stop
    assert lengths == [16, 32, 64, 128, 256, 512, 512, 512]
    with pytest.raises(Need) as caught:
        window.at(1 << 29, 1)
    assert window.plan(caught.value) == Span(1 << 29, (1 << 29) + 16 * 1024)


@pytest.mark.parametrize("bound", [{"budget": 100_000}, {"reads": 2}, {"steps": 5}])
def test_beyond_its_bounds_it_is_unreadable(bound):
    window = Window(1 << 30, **bound)

    def walk() -> None:
        for at in range(0, 1 << 24, 1 << 17):
            try:
                window.at(at, 1)
            except Need as need:
                span = window.plan(need)
                window.put(span.start, bytes(len(span)))

    with pytest.raises(Unreadable, match="cannot be described"):
        walk()


def test_a_read_larger_than_the_budget_is_refused_before_it_is_made():
    with pytest.raises(Unreadable, match="a header of"):
        Window(1 << 40).at(0, 1 << 30)


def test_the_handle_reads_and_seeks_as_a_file_does():
    handle, file = Handle(Window.over(DATA)), io.BytesIO(DATA)
    for offset, whence in [(10, 0), (5, 1), (-128, 2), (0, 1), (10_000, 0), (99_999, 0)]:
        assert handle.seek(offset, whence) == file.seek(offset, whence)
        assert handle.read(100) == file.read(100)
        assert handle.tell() == file.tell()
    handle.seek(3)
    assert handle.read() == DATA[3:]
    with pytest.raises(OSError, match="seek"):
        handle.seek(-1)
