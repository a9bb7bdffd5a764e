"""Calls to show the gateway with: made, not recorded, and the same bytes on every machine."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from random import Random

from .speech import Speaker, Voice

_RATE = 8000
_AGENT = Voice(pitch=185, tract=1.16, breath=0.01)
_CALLERS = (Voice(pitch=112, tract=1.0), Voice(pitch=205, tract=1.18), Voice(pitch=96, tract=0.96))
_CLERK = Voice(pitch=128, tract=1.03)


class _Format(IntEnum):
    """Format tags of WAV."""

    PCM = 1
    ALAW = 6
    MULAW = 7


@dataclass(frozen=True, slots=True)
class Sample:
    """One made call. Stereo: left is the caller, right the AI agent. ``data`` is the whole WAV."""

    name: str
    media_type: str
    channels: int
    sample_rate: int
    duration_ms: int
    voice_agent: bool
    description: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Script:
    name: str
    format: _Format
    rate: int
    seconds: int
    voice_agent: bool
    caller: int
    description: str


_SCRIPTS = (
    _Script("booking", _Format.PCM, 8000, 187, True, 0, "voice agent books a table; PCM, 8 kHz"),
    _Script("delivery", _Format.MULAW, 8000, 243, True, 1, "voice agent traces a parcel; G.711 µ-law, 8 kHz"),
    _Script("reminder", _Format.PCM, 16000, 125, True, 2, "voice agent moves an appointment; PCM, 16 kHz"),
    _Script("survey", _Format.ALAW, 8000, 152, True, 1, "voice agent asks five questions; G.711 A-law, 8 kHz"),
    _Script("support", _Format.PCM, 8000, 211, False, 0, "two people, one channel; PCM, 8 kHz"),
    _Script("complaint", _Format.ALAW, 8000, 296, False, 2, "two people, one channel; G.711 A-law, 8 kHz"),
    _Script("enquiry", _Format.MULAW, 8000, 134, False, 1, "two people, one channel; G.711 µ-law, 8 kHz"),
)


def samples(seed: int = 1876) -> Iterator[Sample]:
    """Seven calls of two to five minutes, one after the other: about three seconds' work in all."""
    speakers: dict[tuple[Voice, int], Speaker] = {}

    def speaker(voice: Voice, rate: int) -> Speaker:
        if (voice, rate) not in speakers:
            speakers[voice, rate] = Speaker(voice, rate, Random(seed * 1000 + len(speakers)))  # noqa: S311 - sound, no secret
        return speakers[voice, rate]

    for number, script in enumerate(_SCRIPTS):
        caller = speaker(_CALLERS[script.caller], script.rate)
        answerer = speaker(_AGENT if script.voice_agent else _CLERK, script.rate)
        turns = _turns(script.seconds * script.rate, script.rate, Random(seed + number))  # noqa: S311 - sound, no secret
        sound = (_stereo if script.voice_agent else _mono)(turns, caller, answerer)
        channels = 2 if script.voice_agent else 1
        yield Sample(
            name=f"{script.name}.wav",
            media_type="audio/wav",
            channels=channels,
            sample_rate=script.rate,
            duration_ms=script.seconds * 1000,
            voice_agent=script.voice_agent,
            description=script.description,
            data=_wav(sound, script.format, channels, script.rate),
        )


def quiet(*, seconds: int) -> bytes:
    """A WAV of nothing at all."""
    return _wav(array("h", bytes(2 * _RATE * seconds)), _Format.PCM, 1, _RATE)


def _turns(frames: int, rate: int, random: Random) -> list[tuple[bool | None, int]]:
    """Who speaks and for how many samples: the answerer (False) first, a pause (None) after each turn."""
    turns: list[tuple[bool | None, int]] = []
    left, caller = frames, False
    while left:
        pause = min(left, int((0.2 + 0.6 * random.random()) * rate))
        left -= pause
        length = min(left, int((1.5 + (4 if caller else 6) * random.random()) * rate))
        left -= length
        turns += [(None, pause), (caller, length)]
        caller = not caller
    return turns


def _stereo(turns: list[tuple[bool | None, int]], caller: Speaker, agent: Speaker) -> array[int]:
    left, right = array("h"), array("h")
    for who, length in turns:
        left += caller.talk(length) if who is True else caller.hush(length)
        right += agent.talk(length) if who is False else agent.hush(length)
    both = array("h", bytes(4 * len(left)))
    both[0::2], both[1::2] = left, right
    return both


def _mono(turns: list[tuple[bool | None, int]], caller: Speaker, clerk: Speaker) -> array[int]:
    line = array("h")
    for who, length in turns:
        line += clerk.hush(length) if who is None else (caller if who else clerk).talk(length)
    return line


def _wav(sound: array[int], coding: _Format, channels: int, rate: int) -> bytes:
    if coding is _Format.PCM:
        if sys.byteorder == "big":
            sound.byteswap()
        body, width, extra = sound.tobytes(), 2, b""
    else:
        table = _table(_mulaw if coding is _Format.MULAW else _alaw)
        body, width, extra = bytes(map(table.__getitem__, array("H", sound.tobytes()))), 1, b"\0\0"
    frame = channels * width
    fields = struct.pack("<HHIIHH", coding, channels, rate, rate * frame, frame, 8 * width) + extra
    head = b"WAVE" + _chunk(b"fmt ", fields)
    if coding is not _Format.PCM:
        head += _chunk(b"fact", struct.pack("<I", len(body) // frame))
    head += b"data" + struct.pack("<I", len(body))
    padding = bytes(len(body) & 1)
    return b"".join([b"RIFF", struct.pack("<I", len(head) + len(body) + len(padding)), head, body, padding])


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


def _table(encode: Callable[[int], int]) -> bytes:
    """The code of every 16-bit sample, by its bits read as unsigned. Neither law tells apart the lowest two bits."""
    codes = bytes(encode(sample) for sample in range(-0x8000, 0x8000, 4))
    signed = b"".join(bytes([code]) * 4 for code in codes)
    return signed[0x8000:] + signed[:0x8000]


def _mulaw(sample: int) -> int:
    """ITU-T G.711, table 2a and 2b, from 16 bits: sign, segment, four bits of mantissa, all inverted."""
    sign, size = (0x80, ~sample) if sample < 0 else (0, sample)
    size = min(size, 32635) + 132
    segment = size.bit_length() - 8
    return ~(sign | segment << 4 | size >> segment + 3 & 0x0F) & 0xFF


def _alaw(sample: int) -> int:
    """ITU-T G.711, table 1a and 1b, from 16 bits: the even bits inverted, the sign bit set for positive values."""
    sign, size = (0, ~sample) if sample < 0 else (0x80, sample)
    size >>= 3
    segment = max(0, size.bit_length() - 5)
    return (sign | segment << 4 | size >> max(1, segment) & 0x0F) ^ 0x55
