"""The ends of an Ogg object (RFC 3533): what describes it stands on its first pages and its last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .window import Unreadable, Window

EDGE = 64 * 1024
"""Bytes taken at either end; a page has at most 65,307, so the last one is among them."""
_HEADER = 27
_END_OF_STREAM = 0x04
_NOTHING_ENDS_HERE = -1


@dataclass(frozen=True, slots=True)
class _Page:
    start: int
    stop: int
    granule: int
    serial: int


@dataclass(frozen=True, slots=True)
class Ends:
    """The first and last pages of an Ogg, put together into one that is as long in time and short in bytes.

    ``whole`` False: the first stream does not reach the end (chained streams), so ``data`` tells no duration.
    """

    data: bytes
    whole: bool


def ends(window: Window) -> Ends:
    """Raises Unreadable, Need."""
    head = window.at(0, EDGE)
    first = list(_pages(head, 0))
    if not first:
        raise Unreadable("Ogg: no whole page at its start")
    if window.size <= len(head):
        data, last = bytearray(head[: first[-1].stop]), first
    else:
        tail = window.at(max(window.size - EDGE, first[-1].stop), EDGE)
        data = bytearray(head[: first[-1].stop])
        last = []
        for page in _last_pages(tail):
            last.append(_Page(len(data), len(data) + page.stop - page.start, page.granule, page.serial))
            data += tail[page.start : page.stop]
    # A recording that was cut off has no page marked as its last; then the last there is counts.
    for page in {page.serial: page for page in last if page.granule != _NOTHING_ENDS_HERE}.values():
        data[page.start + 5] |= _END_OF_STREAM
    return Ends(bytes(data), whole=any(page.serial == first[0].serial for page in last))


def _pages(data: bytes, at: int) -> Iterator[_Page]:
    """The whole pages that follow one another from ``at``."""
    while data[at : at + 5] == b"OggS\0" and len(data) >= at + _HEADER:
        lacing = data[at + _HEADER : at + _HEADER + data[at + 26]]
        stop = at + _HEADER + data[at + 26] + sum(lacing)
        if stop > len(data):
            return
        yield _Page(
            at,
            stop,
            int.from_bytes(data[at + 6 : at + 14], "little", signed=True),
            int.from_bytes(data[at + 14 : at + 18], "little"),
        )
        at = stop


def _last_pages(tail: bytes) -> list[_Page]:
    """The pages from the first place on from which they run to the end, but for one that was cut short."""
    # Starts of pages that do not: thousands of short ones, walked again from each of them, would take seconds.
    astray: set[int] = set()
    at = tail.find(b"OggS\0")
    while at != -1:
        pages: list[_Page] = []
        for page in _pages(tail, at):
            if page.start in astray:
                break
            pages.append(page)
        else:
            if pages and (pages[-1].stop == len(tail) or tail.startswith(b"OggS\0", pages[-1].stop)):
                return pages
        astray.update(page.start for page in pages)
        at = tail.find(b"OggS\0", at + 1)
    return []
