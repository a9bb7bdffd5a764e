"""What an object is, by its bytes and never by its name.

WAV, MP4 and WebM are read here; MP3, FLAC and Ogg by tinytag, on a Window's bounds like all else.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinytag import TinyTag, TinyTagException

from . import mp4, ogg, wav, webm
from .window import Handle, Need, Unreadable, Window

LONGEST_MS = 31 * 24 * 3600 * 1000
"""No recording of a call lasts longer; what says so is not believed."""
_LEAST_RATE, _GREATEST_RATE = 25, 100_000_000
"""Bytes a second between which a duration agrees with a size."""
_MOST_CHANNELS = 64
_MPEG_SYNC, _MPEG_2_5_RESERVED, _FREE, _BAD, _RATE_RESERVED = 0xE0, 1, 0, 15, 3


@dataclass(frozen=True, slots=True)
class Media:
    """An object's kind. None: the object does not say, or says what cannot be.

    ``seekable``: can a player find a moment by reading a few ranges, without all that lies before it?
    """

    media_type: str
    duration_ms: int | None = None
    channels: int | None = None
    seekable: bool | None = None


def identify(window: Window) -> Media:
    """Raises Unreadable, naming what is wrong, or Need while bytes it depends on are not there; nothing else."""
    head = window.at(0, 16)
    if not head:
        raise Unreadable("empty: an object of no bytes")
    return _sane(_read(window, head), window.size)


def _read(window: Window, head: bytes) -> Media:
    if head[:4] in {b"RIFF", b"RIFX", b"RF64", b"BW64"}:
        sound = wav.read(window)
        return Media("audio/wav", sound.duration_ms, sound.channels, sound.format is not wav.Coding.OTHER or None)
    if head[4:8] == b"ftyp":
        movie = mp4.read(window)
        kind = "video/mp4" if movie.video else "audio/mp4"
        return Media(kind, movie.duration_ms, movie.channels, movie.indexed or None)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        clip = webm.read(window)
        kind = f"{'video' if clip.video else 'audio'}/{'x-matroska' if clip.matroska else 'webm'}"
        return Media(kind, clip.duration_ms, clip.channels, clip.cues)
    if head[:4] == b"OggS":
        return _ogg(window)
    if head[:4] == b"fLaC" or head[:3] == b"ID3" or _is_mpeg(head):
        return _tagged(Handle(window))
    raise Unreadable("none of WAV, MP3, MP4, Ogg, FLAC and WebM, by its first bytes")


def _is_mpeg(head: bytes) -> bool:
    """A frame header of MPEG audio: eleven bits of sync, and no field at a reserved value."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & _MPEG_SYNC != _MPEG_SYNC:
        return False
    version, layer, rate, samples = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != _MPEG_2_5_RESERVED and layer != 0 and rate not in {_FREE, _BAD} and samples != _RATE_RESERVED


def _ogg(window: Window) -> Media:
    ends = ogg.ends(window)
    found = _tagged(Handle(Window.over(ends.data)))
    return Media(found.media_type, found.duration_ms if ends.whole else None, found.channels, seekable=True)


def _tagged(handle: Handle) -> Media:
    try:
        tag = TinyTag.get(file_obj=handle, tags=False)  # type: ignore[arg-type]  # reads, seeks, tells: all it does
    except (Need, Unreadable):
        raise
    except TinyTagException as error:
        if isinstance(error.__cause__, Need | Unreadable):
            raise error.__cause__ from None
        raise Unreadable(f"cannot be parsed ({type(error.__cause__ or error).__name__})") from error
    kind = (tag.mime_type or "").partition(";")[0]
    if kind not in {"audio/mpeg", "audio/flac", "audio/ogg"} or not tag.samplerate:
        raise Unreadable(f"begins as {kind or 'audio'} does, and holds no audio stream")
    duration = round(tag.duration * 1000) if tag.duration and 0 < tag.duration < LONGEST_MS else None
    return Media(kind, duration, tag.channels, seekable=True)


def _sane(media: Media, size: int) -> Media:
    """Drops what cannot be. A WAV's empty data chunk lasts 0 ms; elsewhere 0 means that nobody wrote it."""
    duration, channels = media.duration_ms, media.channels
    if duration is not None:
        rate = size * 1000 / duration if duration else _LEAST_RATE
        if duration < 0 or duration > LONGEST_MS or not _LEAST_RATE <= rate <= _GREATEST_RATE:
            duration = None
    if channels is not None and not 1 <= channels <= _MOST_CHANNELS:
        channels = None
    return Media(media.media_type, duration, channels, media.seekable)
