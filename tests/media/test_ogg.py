"""The ends of an Ogg, built page by page."""

import pytest

from gateway.media import ogg
from gateway.media.window import Window

NOTHING_ENDS = -1
LAST = 0x04


def page(granule: int, *, serial: int = 1, length: int = 200, flags: int = 0) -> bytes:
    """``length``: bytes of its content, 65,025 at most."""
    lacing = bytes([255] * (length // 255) + [length % 255])[:255]
    head = b"OggS\0" + bytes([flags]) + granule.to_bytes(8, "little", signed=True) + serial.to_bytes(4, "little")
    return head + bytes(8) + bytes([len(lacing)]) + lacing + bytes(length)


FIRST = page(0, flags=0x02)
MIDDLE = b"".join(page(n, length=4000) for n in range(1, 40))
GREATEST = page(99, length=65_025)


def ends(*pages: bytes) -> tuple[list[tuple[int, bool]], bool]:
    """(granule, marked as the last) of the pages that are kept, and ``whole``."""
    found = ogg.ends(Window.over(b"".join(pages)))
    kept = [(page.granule, bool(found.data[page.start + 5] & LAST)) for page in ogg._pages(found.data, 0)]
    return kept, found.whole


def test_a_page_of_the_greatest_size_is_found_at_the_end():
    assert len(GREATEST) == 65_307
    kept, whole = ends(FIRST, MIDDLE, GREATEST)
    assert (kept[0], kept[-1], whole) == ((0, False), (99, True), True)


@pytest.mark.parametrize("middle", [b"", MIDDLE])
def test_where_nothing_ends_on_the_last_page_the_one_before_tells_the_time(middle: bytes):
    kept, _ = ends(FIRST, middle, page(77), page(NOTHING_ENDS))
    assert kept[-2:] == [(77, True), (NOTHING_ENDS, False)]


def test_no_page_is_taken_twice_whatever_the_size():
    for count in range(10, 40):
        kept, whole = ends(FIRST, *(page(n, length=4000) for n in range(1, count)), page(count, length=30))
        granules = [granule for granule, _ in kept]
        assert granules == sorted(set(granules))
        assert (kept[-1], whole) == ((count, True), True)
