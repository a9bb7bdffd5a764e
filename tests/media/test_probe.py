"""What real files are taken for, beside what ffprobe says of them."""

import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.lifecycle.probe import probe
from gateway.media.probe import Media
from gateway.media.window import Unreadable, Window
from gateway.model import Span

MB = 1024 * 1024
FTYP = b"\0\0\0\x10ftypM4A \0\0\0\0"
EBML = b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm"
SEGMENT = b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"

# name: media type, channels, seekable, bytes that may be read
KINDS = {
    "pcm.wav": ("audio/wav", 2, True, 16_384),
    "pcm24.wav": ("audio/wav", 1, True, 16_384),
    "float.wav": ("audio/wav", 1, True, 16_384),
    "mulaw.wav": ("audio/wav", 2, True, 16_384),
    "alaw.wav": ("audio/wav", 1, True, 16_384),
    "rf64.wav": ("audio/wav", 1, True, 16_384),
    "adpcm.wav": ("audio/wav", 1, None, 16_384),
    "cbr.mp3": ("audio/mpeg", 1, True, 24_576),
    "cbr-without-a-header.mp3": ("audio/mpeg", 1, True, 24_576),
    "cbr-without-id3.mp3": ("audio/mpeg", 1, True, 24_576),
    "vbr-stereo.mp3": ("audio/mpeg", 2, True, 24_576),
    "index-last.m4a": ("audio/mp4", 1, True, 32_768),
    "index-first.m4a": ("audio/mp4", 2, True, 16_384),
    "alac.m4a": ("audio/mp4", 1, True, 32_768),
    "opus.mp4": ("audio/mp4", 2, True, 49_152),
    "video.mp4": ("video/mp4", 1, True, 49_152),
    "opus.ogg": ("audio/ogg", 1, True, 147_456),
    "vorbis.ogg": ("audio/ogg", 2, True, 147_456),
    "speex.ogg": ("audio/ogg", 1, True, 147_456),
    "stereo.flac": ("audio/flac", 2, True, 16_384),
    "audio.webm": ("audio/webm", 2, True, 16_384),
    "video.webm": ("video/webm", 1, True, 16_384),
    "aac.mka": ("audio/x-matroska", 1, True, 16_384),
}
WITHOUT_DURATION = {
    "fragmented.mp4": Media("audio/mp4", None, 1, None),
    "streamed.flac": Media("audio/flac", None, 1, True),
    "streamed.webm": Media("audio/webm", None, 2, False),
}
Encoded = Callable[[str], Path]


async def probed(data: bytes, *, window: Window | None = None) -> Media:
    async def read(span: Span) -> bytes:
        assert 0 <= span.start < span.stop <= len(data)
        return data[span.start : span.stop]

    return await probe(read, len(data), window=window)


def ffprobe_ms(path: Path) -> float:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format=duration", str(path)]
    answer = subprocess.run(command, check=True, timeout=60, capture_output=True).stdout
    return float(json.loads(answer)["format"]["duration"]) * 1000


@pytest.mark.parametrize("name", KINDS)
async def test_a_real_file_is_known_from_a_few_of_its_bytes(name: str, encoded: Encoded):
    path, (media_type, channels, seekable, most) = encoded(name), KINDS[name]
    window = Window(path.stat().st_size)
    found = await probed(path.read_bytes(), window=window)
    assert (found.media_type, found.channels, found.seekable) == (media_type, channels, seekable)
    assert found.duration_ms == pytest.approx(ffprobe_ms(path), abs=50)
    assert window.fetched <= most


@pytest.mark.parametrize("name", WITHOUT_DURATION)
async def test_a_duration_that_was_never_written_is_not_made_up(name: str, encoded: Encoded):
    assert await probed(encoded(name).read_bytes()) == WITHOUT_DURATION[name]


async def test_a_streamed_wav_lasts_as_long_as_its_bytes(encoded: Encoded):
    path = encoded("streamed.wav")
    assert await probed(path.read_bytes()) == Media("audio/wav", 31700, 1, True)


@pytest.mark.parametrize("name", ["audio.webm", "streamed.webm", "index-first.m4a", "stereo.flac", "cbr.mp3"])
async def test_an_object_cut_after_its_head_is_still_described(name: str, encoded: Encoded):
    data = encoded(name).read_bytes()
    whole, cut = await probed(data), await probed(data[: len(data) // 2])
    assert (cut.media_type, cut.channels) == (whole.media_type, whole.channels)


async def test_an_ogg_cut_off_lasts_until_its_last_whole_page(encoded: Encoded, tmp_path: Path):
    data = encoded("opus.ogg").read_bytes()
    whole_pages = data.rindex(b"OggS", 0, len(data) // 2)
    cut = tmp_path / "cut.ogg"
    cut.write_bytes(data[:whole_pages])
    expected = pytest.approx(ffprobe_ms(cut), abs=50)
    assert (await probed(data[:whole_pages])).duration_ms == expected
    assert (await probed(data[: whole_pages + 1000])).duration_ms == expected


async def test_an_ogg_whose_first_stream_ends_early_has_no_duration(encoded: Encoded):
    chained = encoded("speex.ogg").read_bytes() + encoded("opus.ogg").read_bytes()
    assert (await probed(chained)).duration_ms is None


async def test_an_mp4_whose_index_was_never_written_is_unreadable(encoded: Encoded):
    data = encoded("index-last.m4a").read_bytes()
    with pytest.raises(Unreadable, match="ended before its index was written"):
        await probed(data[: len(data) // 2])


async def test_numbers_that_cannot_be_are_dropped(encoded: Encoded):
    movie = bytearray(encoded("index-first.m4a").read_bytes())
    duration = movie.index(b"mvhd") + 4 + 16
    movie[duration : duration + 4] = b"\x7f\xff\xff\xff"
    assert await probed(bytes(movie)) == Media("audio/mp4", None, 2, True)
    fmt = struct.pack("<HHIIHH", 1, 100, 8000, 800_000, 100, 8)
    many = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + fmt + b"data\0\0\0\0" + bytes(80_000)
    assert await probed(many) == Media("audio/wav", 100, None, True)


REFUSED = {
    "nothing": (b"", "no bytes"),
    "one byte": (b"R", "by its first bytes"),
    "text": (b"<html><body>403 Forbidden</body></html>", "by its first bytes"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "by its first bytes"),
    "an ebml that is no media": (b"\x1a\x45\xdf\xa3\x84\x42\x82\x81x", "neither WebM nor Matroska"),
    "an mp4 box smaller than its header": (FTYP + b"\0\0\0\x07moov" + bytes(100), "smaller than its own header"),
    "an mp4 whose movie header is cut": (FTYP + b"\0\0\0\x20moov\0\0\0\x18mvhd" + bytes(16), "mvhd box cut short"),
    "a webm that ends in an id": (EBML + SEGMENT + b"\x1a\x45", "element id"),
    "a webm that ends in a size": (EBML + SEGMENT + b"\xae\x40", "element size"),
    "a webm of subtitles": (EBML + SEGMENT + b"\x16\x54\xae\x6b\x85\xae\x83\x83\x81\x11", "neither an audio nor"),
    "an ogg of half a page": (b"OggS\0\2" + bytes(20) + b"\xff", "no whole page"),
    "an id3 tag with nothing behind it": (b"ID3\4\0\0\0\0\0\0" + bytes(2000), "no audio stream"),
    "aac without a container": (b"\xff\xf1\x50\x80" + bytes(2000), "by its first bytes"),
    "an mpeg sync and no rate": (b"\xff\xfb\x00\x44" + bytes(2000), "by its first bytes"),
    "an mpeg sync and noise": (b"\xff\xfb\x90", "by its first bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_recording_is_refused_with_its_reason(name: str):
    data, message = REFUSED[name]
    with pytest.raises(Unreadable, match=message):
        await probed(data)


async def test_a_store_that_gives_too_little_is_named():
    async def short(span: Span) -> bytes:
        return bytes(len(span) - 1)

    with pytest.raises(Unreadable, match="the store gave 4095 of the 4096 bytes from 0"):
        await probe(short, 4096)


async def test_what_the_store_raises_comes_through():
    async def gone(_span: Span) -> bytes:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await probe(gone, MB)
