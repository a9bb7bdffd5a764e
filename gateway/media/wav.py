"""The header of a WAV object: RIFF and RIFX, and the 64-bit forms RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from .window import Unreadable, Window

CHUNKS = 1000
"""Chunks walked at most on the way to the samples."""
_STREAMED = 0xFFFFFFFF
"""What RF64 puts into 32-bit sizes, and recorders that could not go back to write the true one."""
_EXTENSIBLE = 0xFFFE
_GUID_TAIL = bytes.fromhex("800000aa00389b71")
_LAST_CHUNKS = frozenset({b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"JUNK", b"_PMX", b"smpl", b"fact"})
_NAMES = _LAST_CHUNKS | {b"fmt ", b"data"}


class Coding(StrEnum):
    """How samples are written. OTHER: block codecs such as ADPCM or GSM, which cannot be cut at any sample."""

    PCM = "pcm"
    FLOAT = "float"
    ALAW = "alaw"
    MULAW = "mulaw"
    OTHER = "other"


_CODINGS = {1: Coding.PCM, 3: Coding.FLOAT, 6: Coding.ALAW, 7: Coding.MULAW}
_BITS = {Coding.PCM: (8, 16, 24, 32), Coding.FLOAT: (32, 64), Coding.ALAW: (8,), Coding.MULAW: (8,)}


@dataclass(frozen=True, slots=True)
class Wav:
    """Where the samples lie and how they are written. ``tag`` is the format's number in Microsoft's registry (RFC 2361).

    ``data_size`` is what is really there: the header's own number, unless that was never written or says more.
    ``duration_ms`` is None only for a block codec whose header gives neither samples nor a rate.
    """

    format: Coding
    tag: int
    channels: int
    sample_rate: int
    bits: int
    block_align: int
    data_offset: int
    data_size: int
    duration_ms: int | None
    big_endian: bool = False


@dataclass(frozen=True, slots=True)
class _Format:
    coding: Coding
    tag: int
    channels: int
    sample_rate: int
    byte_rate: int
    block_align: int
    bits: int


def read(window: Window) -> Wav:
    """Raises Unreadable, naming what is wrong, or Need while bytes of the header are not there."""
    magic = window.at(0, 12)
    if len(magic) < 12 or magic[8:] != b"WAVE" or magic[:4] not in {b"RIFF", b"RIFX", b"RF64", b"BW64"}:
        raise Unreadable("not a WAV: it does not begin with RIFF and WAVE")
    order: Literal["<", ">"] = ">" if magic[:4] == b"RIFX" else "<"
    sample_format: _Format | None = None
    wide: int | None = None
    samples: int | None = None
    at = 12
    for _ in range(CHUNKS):
        head = window.at(at, 8)
        if len(head) < 8:
            raise Unreadable(f"WAV: ends before its data chunk, at byte {window.size}")
        name, size = head[:4], int(struct.unpack(f"{order}I", head[4:])[0])
        body = at + 8
        match name:
            case b"data":
                if sample_format is None:
                    raise Unreadable("WAV: data chunk without a fmt chunk before it")
                length = _data_size(window, body, size, wide, order)
                return _describe(sample_format, body, length, samples, big_endian=order == ">")
            case b"fmt ":
                sample_format = _format(window.at(body, min(size, 40)), order)
            case b"ds64":
                wide = _u64(window.at(body, min(size, 28)))
            case b"fact" if size >= 4:
                field = window.at(body, 4)
                samples = int(struct.unpack(f"{order}I", field)[0]) if len(field) == 4 else None
        at = body + size
        if size & 1 and window.at(at, 4) not in _NAMES:  # some writers forget the pad byte
            at += 1
    raise Unreadable(f"WAV: no data chunk among the first {CHUNKS}")


def _format(body: bytes, order: Literal["<", ">"]) -> _Format:
    if len(body) < 14:
        raise Unreadable("WAV: fmt chunk of less than 14 bytes")
    tag, channels, rate, byte_rate, align = struct.unpack_from(f"{order}HHIIH", body)
    bits = int(struct.unpack_from(f"{order}H", body, 14)[0]) if len(body) >= 16 else 0
    if tag == _EXTENSIBLE:
        tag = _subformat(body, order)
    if not 1 <= channels <= 256:
        raise Unreadable(f"WAV: {channels} channels")
    if not 1 <= rate <= 1_000_000:
        raise Unreadable(f"WAV: {rate} samples a second")
    coding = _CODINGS.get(tag, Coding.OTHER)
    if coding in {Coding.ALAW, Coding.MULAW}:
        bits = 8  # some writers put 0 here, or the 16 bits they decode to
    if coding is not Coding.OTHER:
        align = _frame(coding, channels, bits, align)
    return _Format(coding, tag, channels, rate, byte_rate, align, bits)


def _subformat(body: bytes, order: Literal["<", ">"]) -> int:
    """WAVE_FORMAT_EXTENSIBLE: the number heads a GUID; where the GUID is not of that family, there is none."""
    if len(body) < 40:
        raise Unreadable("WAV: extensible fmt chunk of less than 40 bytes")
    number, *middle = struct.unpack_from(f"{order}IHH", body, 24)
    known = number <= 0xFFFF and middle == [0, 16] and body[32:40] == _GUID_TAIL
    return int(number) if known else _EXTENSIBLE


def _frame(coding: Coding, channels: int, bits: int, align: int) -> int:
    """The bytes of one sample of every channel; a header that leaves them 0 means what follows from the rest."""
    if bits not in _BITS[coding]:
        raise Unreadable(f"WAV: {coding} of {bits} bits")
    frame = channels * bits // 8
    if align not in {0, frame}:
        raise Unreadable(f"WAV: blocks of {align} bytes for {channels} channels of {bits} bits")
    return frame


def _u64(body: bytes) -> int:
    if len(body) < 24:
        raise Unreadable("WAV: ds64 chunk of less than 24 bytes")
    return int(struct.unpack_from("<Q", body, 8)[0])


def _data_size(window: Window, body: int, size: int, wide: int | None, order: Literal["<", ">"]) -> int:
    """A size that was never filled in (0, or all ones) is everything up to the object's end."""
    there = max(0, window.size - body)
    if size == _STREAMED:
        size = there if wide is None else wide
    if size == 0 and there:
        after = window.at(body, 8)
        trailing = len(after) == 8 and after[:4] in _LAST_CHUNKS
        if trailing and 8 + int(struct.unpack(f"{order}I", after[4:])[0]) <= there:
            return 0
        return there
    return min(size, there)


def _describe(fmt: _Format, offset: int, size: int, samples: int | None, *, big_endian: bool) -> Wav:
    duration: int | None
    if fmt.coding is not Coding.OTHER:
        duration = size // fmt.block_align * 1000 // fmt.sample_rate
    elif samples and size and samples <= size * 64:  # no codec packs more samples into a byte
        duration = samples * 1000 // fmt.sample_rate
    else:
        duration = size * 1000 // fmt.byte_rate if fmt.byte_rate else None
    return Wav(
        format=fmt.coding,
        tag=fmt.tag,
        channels=fmt.channels,
        sample_rate=fmt.sample_rate,
        bits=fmt.bits,
        block_align=fmt.block_align,
        data_offset=offset,
        data_size=size,
        duration_ms=duration,
        big_endian=big_endian,
    )
