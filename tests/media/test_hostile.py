"""Bytes made to mislead: an answer or Unreadable, within bounded time and reads, and nothing else."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.media.probe import Media, identify
from gateway.media.window import Need, Unreadable, Window

MB = 1024 * 1024
FTYP = b"\0\0\0\x10ftypM4A \0\0\0\0"
EBML = b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm"
SEGMENT = b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
SEEDS = [
    *["pcm.wav", "rf64.wav", "adpcm.wav", "cbr.mp3", "cbr-without-a-header.mp3", "cbr-without-id3.mp3"],
    *["index-last.m4a", "index-first.m4a", "video.mp4", "fragmented.mp4", "opus.ogg", "vorbis.ogg", "speex.ogg"],
    *["stereo.flac", "streamed.flac", "audio.webm", "streamed.webm", "aac.mka"],
]


def run(size: int, read: Callable[[int, int], bytes]) -> Media | Unreadable:
    """Drives ``identify`` as the gateway does, without a loop. Asserts the bounds."""
    window = Window(size)
    try:
        while True:
            try:
                return identify(window)
            except Need as need:
                span = window.plan(need)
                window.put(span.start, read(span.start, span.stop))
    except Unreadable as reason:
        return reason
    finally:
        assert window.fetches <= window.reads + 1


def run_bytes(data: bytes, size: int | None = None) -> Media | Unreadable:
    size = len(data) if size is None else size
    return run(size, lambda start, stop: data[start:stop].ljust(stop - start, b"\0"))


def repeated(unit: bytes) -> Callable[[int, int], bytes]:
    def read(start: int, stop: int) -> bytes:
        shift = start % len(unit)
        return (unit * ((stop - start) // len(unit) + 2))[shift : shift + stop - start]

    return read


def after(head: bytes, unit: bytes) -> Callable[[int, int], bytes]:
    """``head``, then ``unit`` without end."""
    rest = repeated(unit)

    def read(start: int, stop: int) -> bytes:
        lead = head[start:stop]
        start = max(start, len(head)) - len(head)
        return lead + rest(start, max(stop - len(head), start))

    return read


ENDLESS = {
    "mp4: boxes of eight bytes": after(FTYP, b"\0\0\0\x08free"),
    "mp4: empty moov boxes": after(FTYP, b"\0\0\0\x08moov"),
    "mp4: a moov full of tracks": after(FTYP + b"\0\0\0\0moov", b"\0\0\0\x08trak"),
    "mp4: tracks in each other": after(FTYP + b"\0\0\0\0moov", b"\0\0\0\0trak\0\0\0\0mdia\0\0\0\0minf"),
    "mp4: a box of 2**63 bytes": after(FTYP, b"\0\0\0\1mdat\x80\0\0\0\0\0\0\0"),
    "mp4: boxes that hop": after(FTYP, b"\0\0\1\0free" + bytes(248)),
    "webm: segments in each other": after(EBML, SEGMENT),
    "webm: elements of two bytes": after(EBML + SEGMENT, b"\xec\x80"),
    "webm: seek heads in each other": after(EBML + SEGMENT, b"\x11\x4d\x9b\x74\xff"),
    "webm: tracks in each other": after(EBML + SEGMENT, b"\x16\x54\xae\x6b\xff\xae\xff\xe1\xff"),
    "wav: chunks of no bytes": after(b"RIFF\0\0\0\0WAVE", b"JUNK\0\0\0\0"),
    "wav: chunks that hop": after(b"RIFF\0\0\0\0WAVE", b"JUNK\0\1\0\0" + bytes(256)),
    "flac: blocks of no bytes": after(b"fLaC", b"\1\0\0\0"),
    "flac: comments without end": after(b"fLaC\4\xff\xff\xff" + bytes(4) + b"\xff\xff\xff\xff", bytes(4)),
    "flac: blocks that hop": after(b"fLaC", b"\1\1\0\0" + bytes(65536)),
    "mp3: a tag, then no frame": after(b"ID3\4\0\0\0\0\0\0", b"\0"),
    "mp3: almost frames": after(b"\xff\xfb\x90\x44", b"\xff\xff\xff\xf0"),
    "mp3: shortest frames": after(b"", b"\xff\xe3\x18\xc0" + bytes(20)),
    "mp3: one frame, then noise": after(b"\xff\xfb\x90\x44" + bytes(413), b"\xff\0"),
    "ogg: pages of no bytes": after(b"", b"OggS\0\2" + bytes(21)),
    "ogg: capture patterns": after(b"OggS\0\2" + bytes(21), b"OggS\0"),
    "ogg: opus heads": after(b"", b"OggS\0\0" + bytes(20) + b"\1\x13OpusHead\1\xff" + bytes(9)),
}


@pytest.mark.parametrize("size", [64 * 1024, 3 * MB, 1 << 40, (1 << 63) - 1])
@pytest.mark.parametrize("name", ENDLESS)
def test_a_trap_ends_soon(name: str, size: int):
    started = time.thread_time()
    run(size, ENDLESS[name])
    assert time.thread_time() - started < 3


def test_ogg_pages_that_do_not_reach_the_end_are_walked_once():
    empty = b"OggS\0" + bytes(22)
    started = time.thread_time()
    found = run_bytes(empty * 6000 + b"no page")
    assert time.thread_time() - started < 1
    assert isinstance(found, Unreadable)


@given(
    head=st.binary(max_size=300), magic=st.sampled_from([b"RIFF\0\0\0\0WAVE", FTYP, EBML, b"OggS\0", b"fLaC", b"ID3"])
)
def test_noise_behind_any_magic_is_an_answer_or_a_reason(head: bytes, magic: bytes):
    run_bytes(magic + head)


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[float, bytes, int]]:
    """Where (as a share of the first 4 KiB, or of all), what is put there, how many bytes it replaces."""
    patch = st.one_of(
        st.binary(min_size=1, max_size=8),
        st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\0\0\0\1", b"\x80", b"\xff\xff\xff\xff"]),
    )
    return draw(st.lists(st.tuples(st.floats(0, 2), patch, st.integers(0, 12)), min_size=1, max_size=6))


@pytest.fixture(scope="session")
def seeds(encoded: Callable[[str], Path]) -> dict[str, bytes]:
    return {name: encoded(name).read_bytes() for name in SEEDS}


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=3000)
@given(name=st.sampled_from(SEEDS), edits=changes(), keep=st.floats(0, 2))
def test_a_real_file_spoilt_anywhere_is_an_answer_or_a_reason(seeds, name, edits, keep):
    data = bytearray(seeds[name])
    for where, patch, replaced in edits:
        at = int(where * 1024) if where < 1 else int((where - 1) * len(data))
        data[at : at + replaced] = patch
    found = run_bytes(bytes(data[: int(keep * len(data))] if keep < 1 else data))
    if isinstance(found, Media):
        assert found.duration_ms is None or 0 <= found.duration_ms <= 31 * 24 * 3600 * 1000
        assert found.channels is None or 1 <= found.channels <= 64


@pytest.mark.parametrize("name", ["index-first.m4a", "fragmented.mp4", "vorbis.ogg", "stereo.flac", "streamed.webm"])
def test_a_head_cut_at_any_byte_is_an_answer_or_a_reason(seeds, name):
    for length in range(1500):
        run_bytes(seeds[name][:length])
