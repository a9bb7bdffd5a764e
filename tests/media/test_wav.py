"""WAV headers, built field by field."""

import contextlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media import wav
from gateway.media.probe import identify
from gateway.media.wav import Coding, Wav
from gateway.media.window import BLOCK, Need, Unreadable, Window
from gateway.model import Span

GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, body: bytes, *, size: int | None = None, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(body) if size is None else size) + body + b"\0" * (len(body) & 1)


def fmt(tag=1, channels=1, rate=8000, bits=16, *, order="<", align=None, extra=b"", byte_rate=None) -> bytes:
    align = channels * bits // 8 if align is None else align
    byte_rate = rate * align if byte_rate is None else byte_rate
    fields = struct.pack(f"{order}HHIIHH", tag, channels, rate, byte_rate, align, bits)
    return chunk(b"fmt ", fields + extra, order=order)


def extensible(tag, channels, rate, bits, *, tail=GUID_TAIL) -> bytes:
    extra = struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", tag) + tail
    return fmt(0xFFFE, channels, rate, bits, extra=extra)


def extensible_rifx(tag, channels, rate, bits) -> bytes:
    """The numbers that a GUID begins with are turned round as all others."""
    extra = struct.pack(">HHIIHH", 22, bits, 0, tag, 0, 16) + GUID_TAIL[6:]
    return fmt(0xFFFE, channels, rate, bits, order=">", extra=extra)


def riff(*chunks: bytes, magic=b"RIFF", order="<", size=None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack(f"{order}I", len(body) if size is None else size) + body


def data(length: int, **kwargs) -> bytes:
    return chunk(b"data", b"\1" * length, **kwargs)


def ds64(length: int) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", 0, length, 0, 0))


PCM = Wav(Coding.PCM, 1, 1, 8000, 16, 2, 44, 16000, 1000)

READ = {
    "pcm 16": (riff(fmt(), data(16000)), PCM),
    "pcm 8": (riff(fmt(bits=8), data(16000)), replace(PCM, bits=8, block_align=1, duration_ms=2000)),
    "pcm 24 stereo": (
        riff(fmt(channels=2, rate=48000, bits=24), data(288_000)),
        replace(PCM, channels=2, sample_rate=48000, bits=24, block_align=6, data_size=288_000),
    ),
    "pcm 32": (riff(fmt(bits=32), data(16000)), replace(PCM, bits=32, block_align=4, duration_ms=500)),
    "float": (
        riff(fmt(3, bits=32), data(16000)),
        replace(PCM, format=Coding.FLOAT, tag=3, bits=32, block_align=4, duration_ms=500),
    ),
    "a-law": (
        riff(fmt(6, bits=8, extra=b"\0\0"), chunk(b"fact", b"\0\0\0\0"), data(8000)),
        replace(PCM, format=Coding.ALAW, tag=6, bits=8, block_align=1, data_offset=58, data_size=8000),
    ),
    "a-law that gives its decoded width": (
        riff(fmt(6, bits=16, align=1), data(8000)),
        replace(PCM, format=Coding.ALAW, tag=6, bits=8, block_align=1, data_size=8000),
    ),
    "mu-law that gives its decoded width": (
        riff(fmt(7, channels=2, bits=16, align=2), data(16000)),
        replace(PCM, format=Coding.MULAW, tag=7, channels=2, bits=8),
    ),
    "blocks left at 0": (riff(fmt(align=0), data(16000)), PCM),
    "extensible": (riff(extensible(1, 1, 8000, 16), data(16000)), replace(PCM, data_offset=68)),
    "extensible mu-law": (
        riff(extensible(7, 2, 8000, 8), data(16000)),
        replace(PCM, format=Coding.MULAW, tag=7, channels=2, bits=8, data_offset=68),
    ),
    "extensible of another family": (
        riff(extensible(1, 1, 8000, 16, tail=bytes(14)), data(16000)),
        replace(PCM, format=Coding.OTHER, tag=0xFFFE, data_offset=68),
    ),
    "big-endian": (
        riff(fmt(order=">"), data(16000, order=">"), magic=b"RIFX", order=">"),
        replace(PCM, big_endian=True),
    ),
    "big-endian extensible": (
        riff(extensible_rifx(7, 2, 8000, 8), data(16000, order=">"), magic=b"RIFX", order=">"),
        replace(PCM, format=Coding.MULAW, tag=7, channels=2, bits=8, data_offset=68, big_endian=True),
    ),
    "rf64": (
        riff(ds64(16000), fmt(), data(16000, size=0xFFFFFFFF), magic=b"RF64", size=0xFFFFFFFF),
        replace(PCM, data_offset=80),
    ),
    "bw64 with a chunk after": (
        riff(ds64(16000), fmt(), data(16000, size=0xFFFFFFFF), chunk(b"axml", bytes(99)), magic=b"BW64"),
        replace(PCM, data_offset=80),
    ),
    "rf64 whose data tells its own size": (
        riff(ds64(0), fmt(), data(16000), chunk(b"axml", bytes(99)), magic=b"RF64"),
        replace(PCM, data_offset=80),
    ),
    "chunks before": (
        riff(chunk(b"JUNK", bytes(28)), chunk(b"bext", bytes(602)), fmt(), chunk(b"LIST", bytes(26)), data(16000)),
        replace(PCM, data_offset=44 + 36 + 610 + 34),
    ),
    "odd chunk is padded": (riff(fmt(), chunk(b"LIST", b"odd"), data(16000)), replace(PCM, data_offset=56)),
    "odd chunk that is not padded": (
        riff(chunk(b"LIST", b"odd")[:-1], fmt(), chunk(b"bext", bytes(5))[:-1], data(16000)),
        replace(PCM, data_offset=44 + 11 + 13),
    ),
    "chunks after": (riff(fmt(), data(16000), chunk(b"LIST", bytes(26))), PCM),
    "streamed, size 0": (riff(fmt(), data(16000, size=0), size=0), PCM),
    "streamed, and as loud as a chunk's name": (
        riff(fmt(), chunk(b"data", b"LIST" + b"\xff" * 15_996, size=0), size=0),
        PCM,
    ),
    "streamed, size all ones": (riff(fmt(), data(16000, size=0xFFFFFFFF), size=0xFFFFFFFF), PCM),
    "streamed by sox": (riff(fmt(), data(16000, size=0x7FFFFFDC), size=0x7FFFFFFF), PCM),
    "cut off": (riff(fmt(), data(16000))[: 44 + 8001], replace(PCM, data_size=8001, duration_ms=500)),
    "no samples": (riff(fmt(), data(0)), replace(PCM, data_size=0, duration_ms=0)),
    "no samples, then a chunk": (
        riff(fmt(), data(0), chunk(b"LIST", bytes(26))),
        replace(PCM, data_size=0, duration_ms=0),
    ),
    "riff size that is wrong": (riff(fmt(), data(16000), size=7), PCM),
    "gsm, by its sample count": (
        riff(
            fmt(0x31, bits=0, align=65, byte_rate=1600, extra=struct.pack("<HH", 2, 320)),
            chunk(b"fact", struct.pack("<I", 8000)),
            data(1625),
        ),
        Wav(Coding.OTHER, 0x31, 1, 8000, 0, 65, 44 + 4 + 12, 1625, 1000),
    ),
    "gsm, by its rate": (
        riff(fmt(0x31, bits=0, align=65, byte_rate=1625), data(3250)),
        Wav(Coding.OTHER, 0x31, 1, 8000, 0, 65, 44, 3250, 2000),
    ),
    "block codec that tells nothing": (
        riff(fmt(0x31, bits=0, align=65, byte_rate=0), chunk(b"fact", b"\xff\xff\xff\xff"), data(65)),
        Wav(Coding.OTHER, 0x31, 1, 8000, 0, 65, 56, 65, None),
    ),
    "fmt of 14 bytes, a block codec": (
        riff(chunk(b"fmt ", struct.pack("<HHIIH", 0x31, 1, 8000, 1625, 65)), data(1625)),
        Wav(Coding.OTHER, 0x31, 1, 8000, 0, 65, 42, 1625, 1000),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_header_is_read(name):
    raw, expected = READ[name]
    assert wav.read(Window.over(raw)) == expected


REFUSED = {
    "nothing": (b"", "not a WAV"),
    "not a RIFF": (b"OggS" + bytes(40), "not a WAV"),
    "another RIFF": (b"RIFF\0\0\0\0AVI " + bytes(40), "not a WAV"),
    "only the magic": (riff(), "ends before its data chunk"),
    "no data": (riff(fmt(), chunk(b"LIST", bytes(26))), "ends before its data chunk"),
    "data before fmt": (riff(data(10), fmt()), "without a fmt chunk"),
    "fmt cut short": (riff(chunk(b"fmt ", bytes(13)), data(10)), "less than 14 bytes"),
    "object cut inside fmt": (riff(fmt())[:30], "less than 14 bytes"),
    "extensible cut short": (riff(fmt(0xFFFE, extra=bytes(4)), data(10)), "less than 40 bytes"),
    "ds64 cut short": (riff(chunk(b"ds64", bytes(12)), fmt(), data(10)), "less than 24 bytes"),
    "no channels": (riff(fmt(channels=0, align=2), data(10)), "0 channels"),
    "channels beyond reason": (riff(fmt(channels=9999), data(10)), "9999 channels"),
    "no rate": (riff(fmt(rate=0), data(10)), "0 samples a second"),
    "rate beyond reason": (riff(fmt(rate=4_000_000_000, byte_rate=0), data(10)), "4000000000 samples"),
    "pcm of 13 bits": (riff(fmt(bits=13, align=2), data(10)), "pcm of 13 bits"),
    "float of 16 bits": (riff(fmt(3, bits=16), data(10)), "float of 16 bits"),
    "blocks that do not fit": (riff(fmt(channels=2, align=2), data(10)), "blocks of 2 bytes for 2 channels"),
    "chunk that overflows": (riff(fmt(), chunk(b"LIST", b"", size=0xFFFFFFFE)), "ends before its data chunk"),
    "chunks without end": (riff(*[chunk(b"JUNK", b"")] * 2000, fmt(), data(10)), "no data chunk among"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_named(name):
    raw, message = REFUSED[name]
    with pytest.raises(Unreadable, match=message):
        wav.read(Window.over(raw))


def test_no_samples_last_no_time():
    assert identify(Window.over(riff(fmt(), data(0)))).duration_ms == 0


def test_samples_beyond_what_a_size_can_say_count_where_it_was_never_written():
    """A recorder that could not go back, and went on past 4 GiB."""
    head = riff(fmt(), data(0, size=0xFFFFFFFF), size=0xFFFFFFFF)
    read = wav.read(Window.over(head, 44 + 16_000 * 300_000))
    assert (read.data_size, read.duration_ms) == (16_000 * 300_000, 300_000_000)


def test_a_header_beyond_the_known_bytes_says_which_it_needs():
    raw = riff(fmt(), chunk(b"LIST", bytes(100_000)), data(16000))
    window = Window.over(raw[:BLOCK], len(raw))
    with pytest.raises(Need) as caught:
        wav.read(window)
    assert caught.value.span == Span(100_044, 100_052)
    start = 100_044 // BLOCK * BLOCK
    window.put(start, raw[start : start + BLOCK])
    assert wav.read(window) == replace(PCM, data_offset=100_052)


CODINGS = st.sampled_from(
    [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64), (6, 8), (7, 8)],
)


@st.composite
def headers(draw) -> tuple[bytes, Wav]:
    tag, bits = draw(CODINGS)
    channels, rate = draw(st.integers(1, 8)), draw(st.sampled_from([8000, 11025, 16000, 44100, 48000, 192_000]))
    order = draw(st.sampled_from(["<", ">"]))
    form = fmt(tag, channels, rate, bits, order=order)
    around = st.lists(
        st.builds(
            lambda name, length: chunk(name, bytes(length), order=order),
            st.sampled_from([b"JUNK", b"LIST", b"bext", b"PAD ", b"iXML"]),
            st.integers(0, 99),
        ),
        max_size=4,
    )
    frames = draw(st.integers(1, 500))
    length = frames * channels * bits // 8
    before = b"".join([*draw(around), form, *draw(around)])
    size = draw(st.sampled_from([length, length, 0, 0xFFFFFFFF, 0x7FFFFFFF]))
    after = draw(around) if size == length and length % 2 == 0 else []
    samples = data(length, size=size, order=order)[: 8 + length]
    raw = riff(before, samples, *after, magic=b"RIFX" if order == ">" else b"RIFF", order=order)
    found = Wav(
        {1: Coding.PCM, 3: Coding.FLOAT, 6: Coding.ALAW, 7: Coding.MULAW}[tag],
        tag,
        channels,
        rate,
        bits,
        channels * bits // 8,
        12 + len(before) + 8,
        length,
        frames * 1000 // rate,
        big_endian=order == ">",
    )
    return raw, found


@given(headers())
def test_any_well_formed_header_is_read_as_it_was_written(case):
    raw, expected = case
    assert wav.read(Window.over(raw)) == expected


@given(headers(), st.data())
def test_a_header_cut_anywhere_is_read_or_unreadable(case, draw):
    raw, expected = case
    cut = raw[: draw.draw(st.integers(0, len(raw)))]
    try:
        found = wav.read(Window.over(cut))
    except Unreadable:
        assert len(cut) < expected.data_offset
    else:
        assert found.data_offset == expected.data_offset
        assert found.data_size == min(expected.data_size, len(cut) - expected.data_offset)


@given(st.binary(max_size=200), st.integers(0, 1 << 63))
def test_any_bytes_give_a_header_or_a_reason(noise, size):
    raw = b"RIFF" + noise[:4] + b"WAVE" + noise[4:]
    with contextlib.suppress(Unreadable, Need):
        wav.read(Window.over(raw, max(size, len(raw))))
