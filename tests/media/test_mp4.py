"""MP4 indexes, built box by box: forms that ffmpeg does not write."""

import struct

import pytest

from gateway.media import mp4
from gateway.media.mp4 import Mp4
from gateway.media.probe import LONGEST_MS, identify
from gateway.media.window import BLOCK, Window

LC, PARAMETRIC, USAC = 2, 29, 42
SOUND = Mp4(duration_ms=2500, channels=1, video=False, indexed=True)


def box(kind: bytes, *content: bytes, wide: bool = False) -> bytes:
    body = b"".join(content)
    return (struct.pack(">I4sQ", 1, kind, 16 + len(body)) if wide else struct.pack(">I4s", 8 + len(body), kind)) + body


def mvhd(duration: int = 2500, scale: int = 1000) -> bytes:
    return box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, scale, duration), bytes(80))


def mvhd_64(duration: int = 2500, scale: int = 1000) -> bytes:
    return box(b"mvhd", struct.pack(">B3xQQIQ", 1, 0, 0, scale, duration), bytes(80))


def config(kind: int, layout: int, *, rate: int | None = None) -> bytes:
    """An AudioSpecificConfig; ``rate`` None: one of those that have an index."""
    bits = f"{kind:05b}" if kind < 32 else f"11111{kind - 32:06b}"
    bits += ("1000" if rate is None else f"1111{rate:024b}") + f"{layout:04b}"
    return int(bits.ljust(64, "0"), 2).to_bytes(8)


def esds(asked: bytes, *, long: bool = False) -> bytes:
    """``long``: each descriptor's length in four bytes, as most writers have it, and not in one."""

    def descriptor(tag: int, *content: bytes) -> bytes:
        body = b"".join(content)
        return bytes([tag, *([0x80] * 3 if long else []), len(body)]) + body

    return box(b"esds", bytes(4), descriptor(3, bytes(3), descriptor(4, bytes(13), descriptor(5, asked))))


def entry(*inner: bytes, count: int = 2, version: int = 0, kind: bytes = b"mp4a") -> bytes:
    """An AudioSampleEntry; QuickTime's version 1 has four numbers more."""
    fixed = struct.pack(">6xHH6xHHHHI", 1, version, count, 16, 0, 0, 8000 << 16)
    return box(kind, fixed, bytes(16 if version == 1 else 36 if version == 2 else 0), *inner)


def track(handler: bytes, *described: bytes) -> bytes:
    stsd = box(b"stsd", struct.pack(">II", 0, len(described)), *described)
    return box(b"trak", box(b"mdia", box(b"hdlr", bytes(8), handler, bytes(13)), box(b"minf", box(b"stbl", stsd))))


def aac(kind: int, layout: int, *, rate: int | None = None, long: bool = False, **kwargs: int) -> bytes:
    return track(b"soun", entry(esds(config(kind, layout, rate=rate), long=long), **kwargs))


MONO = aac(LC, 1)
PICTURE = track(b"vide", box(b"avc1", bytes(78)))


def movie(*content: bytes) -> bytes:
    return box(b"ftyp", b"M4A ", bytes(4)) + box(b"moov", *content)


def lasting(duration_ms: int | None, *, indexed: bool = True) -> Mp4:
    return Mp4(duration_ms, 1, video=False, indexed=indexed)


def heard_as(channels: int | None) -> Mp4:
    return Mp4(2500, channels, video=False, indexed=True)


READ = {
    "plain": (movie(mvhd(), MONO), SOUND),
    "a header of 64 bits": (movie(mvhd_64(), MONO), SOUND),
    "longer than 32 bits count": (movie(mvhd_64(10 << 31, 1 << 31), MONO), lasting(10_000)),
    "a box of 64 bits before": (
        box(b"ftyp", bytes(8)) + box(b"mdat", bytes(9), wide=True) + movie(mvhd(), MONO),
        SOUND,
    ),
    "an index of 64 bits": (box(b"ftyp", bytes(8)) + box(b"moov", mvhd(), MONO, wide=True), SOUND),
    "an index without a size": (box(b"ftyp", bytes(8)) + b"\0\0\0\0moov" + mvhd() + MONO, SOUND),
    "a length of all ones": (movie(mvhd(0xFFFFFFFF), MONO), lasting(None)),
    "a length of all ones in 64 bits": (movie(mvhd_64(0xFFFFFFFF_FFFFFFFF), MONO), lasting(None)),
    "no scale": (movie(mvhd(scale=0), MONO), lasting(None)),
    "fragments whose length is told beside": (
        movie(mvhd(0), MONO, box(b"mvex", box(b"mehd", struct.pack(">II", 0, 7000)))),
        lasting(7000, indexed=False),
    ),
    "fragments whose length is told in 64 bits": (
        movie(mvhd(0xFFFFFFFF), MONO, box(b"mvex", box(b"mehd", struct.pack(">B3xQ", 1, 7000)))),
        lasting(7000, indexed=False),
    ),
    "fragments of which the first is told of in the index": (
        movie(mvhd(), MONO, box(b"mvex", box(b"mehd", struct.pack(">II", 0, 7000)))),
        lasting(7000, indexed=False),
    ),
    "fragments whose length is told nowhere": (movie(mvhd(), MONO, box(b"mvex")), lasting(None, indexed=False)),
    "descriptors with long lengths": (movie(mvhd(), aac(LC, 1, long=True)), SOUND),
    "a rate that has no index": (movie(mvhd(), aac(LC, 1, rate=11_000)), SOUND),
    "a kind beyond 31": (movie(mvhd(), aac(USAC, 1)), SOUND),
    "eight channels": (movie(mvhd(), aac(LC, 7)), heard_as(8)),
    "one channel that is heard as two": (movie(mvhd(), aac(PARAMETRIC, 1, count=1)), heard_as(2)),
    "a layout of its own": (movie(mvhd(), aac(LC, 0)), heard_as(None)),
    "three that are counted": (movie(mvhd(), aac(LC, 0, count=3)), heard_as(3)),
    "a codec that never counts": (movie(mvhd(), track(b"soun", entry(kind=b"samr"))), heard_as(None)),
    "a codec that always counts": (movie(mvhd(), track(b"soun", entry(kind=b"Opus"))), heard_as(2)),
    "quicktime's own count": (movie(mvhd(), track(b"soun", entry(version=1))), heard_as(2)),
    "no configuration": (movie(mvhd(), track(b"soun", entry(count=1))), SOUND),
    "quicktime's entry of version 1": (movie(mvhd(), aac(LC, 1, version=1)), SOUND),
    "quicktime's entry of version 2": (movie(mvhd(), aac(LC, 1, version=2, count=3)), heard_as(None)),
    "a picture first": (movie(mvhd(), PICTURE, MONO), Mp4(2500, 1, video=True, indexed=True)),
    "two languages": (movie(mvhd(), MONO, aac(LC, 2)), SOUND),
    "a picture alone": (movie(mvhd(), PICTURE), Mp4(2500, None, video=True, indexed=True)),
}


@pytest.mark.parametrize("name", READ)
def test_an_index_is_read(name: str):
    raw, expected = READ[name]
    assert mp4.read(Window.over(raw)) == expected


@pytest.mark.parametrize(
    ("duration_ms", "size", "told"),
    [
        (LONGEST_MS, 1 << 40, LONGEST_MS),
        (LONGEST_MS + 1, 1 << 40, None),
        (40_000, 1000, 40_000),  # 25 bytes a second
        (40_001, 1000, None),
        (10_000, 10**9, 10_000),  # 100,000,000
        (9_999, 10**9, None),
    ],
)
def test_a_length_that_cannot_be_is_not_believed(duration_ms: int, size: int, told: int | None):
    head = movie(mvhd(duration_ms), MONO).ljust(min(size, BLOCK), b"\0")
    found = identify(Window.over(head, size))
    assert found.duration_ms == told
