"""WebM heads, built element by element: forms that ffmpeg does not write."""

import math
import struct

import pytest

from gateway.media import webm
from gateway.media.webm import Webm
from gateway.media.window import Unreadable, Window

SOUND = Webm(matroska=False, duration_ms=2500, channels=2, video=False, cues=False)
CUES = bytes.fromhex("1c53bb6b")


def element(name: str, *content: bytes) -> bytes:
    """``name``: the id in hexadecimal digits."""
    body = b"".join(content)
    return bytes.fromhex(name) + (len(body) | 0x4000).to_bytes(2) + body


def head(kind: bytes = b"webm") -> bytes:
    return element("1a45dfa3", element("4282", kind))


def info(ticks: bytes, scale: int | None = None) -> bytes:
    scaled = b"" if scale is None else element("2ad7b1", scale.to_bytes(3))
    return element("1549a966", scaled, element("4489", ticks))


def track(kind: int, *more: bytes) -> bytes:
    return element("ae", element("83", bytes([kind])), *more)


def sound(channels: int | None) -> bytes:
    return track(2, element("e1", b"" if channels is None else element("9f", bytes([channels]))))


def seek(*ids: bytes) -> bytes:
    return element("114d9b74", *(element("4dbb", element("53ab", id_), element("53ac", b"\x01")) for id_ in ids))


def clip(*content: bytes, kind: bytes = b"webm") -> bytes:
    return head(kind) + element("18538067", *content)


def tracks(*entries: bytes) -> bytes:
    return element("1654ae6b", *entries)


def lasting(duration_ms: int | None) -> Webm:
    return Webm(matroska=False, duration_ms=duration_ms, channels=2, video=False, cues=False)


def heard_as(channels: int | None, *, video: bool = False) -> Webm:
    return Webm(matroska=False, duration_ms=2500, channels=channels, video=video, cues=False)


LASTS = info(struct.pack(">d", 2500))
STEREO = tracks(sound(2))
CLUSTER = element("1f43b675", bytes(40))
INDEXED = Webm(matroska=False, duration_ms=2500, channels=2, video=False, cues=True)

READ = {
    "plain": (clip(LASTS, STEREO, CLUSTER), SOUND),
    "no cluster yet": (clip(LASTS, STEREO), SOUND),
    "a length in 32 bits": (clip(info(struct.pack(">f", 2500)), STEREO), SOUND),
    "a scale of its own": (clip(info(struct.pack(">d", 25_000), 100_000), STEREO), SOUND),
    "a length that is none": (clip(info(struct.pack(">d", math.nan)), STEREO), lasting(None)),
    "a length below nothing": (clip(info(struct.pack(">d", -1)), STEREO), lasting(None)),
    "a length of no bytes": (clip(info(b""), STEREO), lasting(None)),
    "a type with zeros behind it": (clip(LASTS, STEREO, kind=b"webm\0\0"), SOUND),
    "channels left out": (clip(LASTS, tracks(sound(None))), heard_as(1)),
    "two languages": (clip(LASTS, tracks(sound(2), sound(1))), SOUND),
    "a picture first": (clip(LASTS, tracks(track(1), sound(2))), heard_as(2, video=True)),
    "a picture alone": (clip(LASTS, tracks(track(1))), heard_as(None, video=True)),
    "subtitles beside it": (clip(LASTS, tracks(track(17), sound(2))), SOUND),
    "cues before the sound": (clip(LASTS, STEREO, element(CUES.hex(), bytes(9)), CLUSTER), INDEXED),
    "cues that are pointed to": (clip(seek(b"\x15\x49\xa9\x66", CUES), LASTS, STEREO, CLUSTER), INDEXED),
    "cues that the first of two heads points to": (clip(seek(CUES), LASTS, STEREO, seek(), CLUSTER), INDEXED),
    "a head that points to other things": (clip(seek(b"\x15\x49\xa9\x66"), LASTS, STEREO), SOUND),
    "cues behind the sound that nothing points to": (clip(LASTS, STEREO, CLUSTER, element(CUES.hex())), SOUND),
    "a segment of unknown size, in one byte": (
        head() + bytes.fromhex("18538067ff") + element("ec", bytes(300)) + LASTS + STEREO,
        SOUND,
    ),
    "padding before": (clip(element("ec", bytes(300)), LASTS, STEREO), SOUND),
}


@pytest.mark.parametrize("name", READ)
def test_a_head_is_read(name: str):
    raw, expected = READ[name]
    assert webm.read(Window.over(raw)) == expected


@pytest.mark.parametrize("raw", [head(), head(b"webm") + CLUSTER, clip(CLUSTER, STEREO)])
def test_what_tells_no_track_before_its_sound_is_unreadable(raw: bytes):
    with pytest.raises(Unreadable):
        webm.read(Window.over(raw))
