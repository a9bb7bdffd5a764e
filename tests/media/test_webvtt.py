"""WebVTT, read back by a parser of the specification's own steps, and by ffmpeg."""

import html
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.webvtt import webvtt
from gateway.model import Segment

Cue = tuple[int, int, str | None, str]
"""start and end in ms, who speaks, what"""

_TIMES = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})", re.ASCII)
_TAG = re.compile(r"<([^>]*)>?")


def parsed(file: str) -> list[Cue]:
    """W3C WebVTT section 6.1: lines end at CRLF, LF or CR; blocks at an empty line; a tag at the next ``>``."""
    lines = re.split(r"\r\n|\n|\r", file.replace("\0", "\ufffd"))
    assert lines[0] == "WEBVTT"
    assert lines[1] == ""
    blocks = re.split(r"\n{2,}", "\n".join(lines[2:]).strip("\n"))
    return [cue(block) for block in blocks if block]


def cue(block: str) -> Cue:
    first, _, payload = block.partition("\n")
    times = _TIMES.fullmatch(first)
    assert times, first
    assert "-->" not in payload
    h, m, s, ms, *end = map(int, times.groups())
    voices = [html.unescape(tag) for tag in _TAG.findall(payload)]
    assert len(voices) < 2
    speaker = voices[0].removeprefix("v ") if voices else None
    return to_ms(h, m, s, ms), to_ms(*end), speaker, html.unescape(_TAG.sub("", payload))


def to_ms(hours: int, minutes: int, seconds: int, ms: int) -> int:
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms


TABLE: list[tuple[Segment, Cue]] = [
    (Segment(0, 1500, "Hello"), (0, 1500, None, "Hello")),
    (Segment(3_599_999, 3_600_000, "an hour", "Ann"), (3_599_999, 3_600_000, "Ann", "an hour")),
    (Segment(359_999_999, 360_000_000, "late"), (359_999_999, 360_000_000, None, "late")),
    (Segment(5, 5, "at once"), (5, 6, None, "at once")),
    (Segment(0, 9, "a < b && c > d --> e"), (0, 9, None, "a < b && c > d --> e")),
    (Segment(0, 9, "&lt;b&gt; <v Eve>I am Eve</v>"), (0, 9, None, "&lt;b&gt; <v Eve>I am Eve</v>")),
    (Segment(0, 9, "one\n\ntwo\r\n \r\nthree"), (0, 9, None, "one\ntwo\nthree")),
    (Segment(0, 9, "x\n\n00:00.000 --> 00:01.000\nforged"), (0, 9, None, "x\n00:00.000 --> 00:01.000\nforged")),
    (Segment(0, 9, "hi", "A>B & <C>"), (0, 9, "A>B & <C>", "hi")),
    (Segment(0, 9, "hi", "--"), (0, 9, "--", "hi")),
    (Segment(0, 9, "hi", "Ann ---"), (0, 9, "Ann ---", "hi")),
    (Segment(0, 9, "hi", "two\nlines"), (0, 9, "two lines", "hi")),
    (Segment(0, 9, "Привет 👋 你好", "Йо"), (0, 9, "Йо", "Привет 👋 你好")),
]


@pytest.mark.parametrize(("segment", "wanted"), TABLE, ids=lambda each: getattr(each, "text", None))
def test_a_segment_is_a_cue(segment: Segment, wanted: Cue):
    assert parsed(webvtt([segment])) == [wanted]


def test_segments_without_words_are_no_cues():
    assert webvtt([Segment(0, 1, ""), Segment(1, 2, " \n ")]) == webvtt([]) == "WEBVTT\n"


pieces = st.sampled_from(["&lt;", "&amp;", "&#60;", "<v Eve>", "-->", "\r\n", *"<>&;-\n\r\t v/"]) | st.characters(
    codec="utf-8"
)
texts = st.lists(pieces, max_size=20).map("".join)


@given(
    st.lists(
        st.builds(
            Segment,
            st.integers(0, 400_000_000),
            st.integers(0, 400_000_000),
            texts,
            st.none() | texts.filter(lambda text: text.strip() != ""),
        ),
        max_size=5,
    )
)
def test_whatever_is_said_neither_breaks_out_of_its_cue_nor_is_changed(segments: list[Segment]):
    """But for line ends, blank lines and NUL, which WebVTT has no way to say."""

    def plain(text: str) -> str:
        return "\n".join(line for line in re.split(r"[\r\n]+", text.replace("\0", "\ufffd")) if line.strip())

    assert parsed(webvtt(segments)) == [
        (
            each.start_ms,
            max(each.end_ms, each.start_ms + 1),
            re.sub(r"[\r\n]+", " ", each.speaker.replace("\0", "\ufffd")).strip() if each.speaker else None,
            plain(each.text),
        )
        for each in segments
        if each.text.strip()
    ]


def test_ffmpeg_reads_every_cue_with_its_times_and_words(tmp_path: Path):
    segments = [
        Segment(0, 1200, "Fish & chips <today>?", "Agent"),
        Segment(1200, 61_003, "5 > 3 --> yes\n\nand so on", "Caller (2)"),
        Segment(3_600_000, 3_600_000, "Grüße 👋"),
    ]
    (tmp_path / "x.vtt").write_text(webvtt(segments), encoding="utf-8")
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "x.vtt"), "-f", "srt", "-"]
    read = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert read.stderr == ""
    blocks = [block.split("\n", 2)[1:] for block in read.stdout.strip().split("\n\n")]
    assert [block[0] for block in blocks] == [
        "00:00:00,000 --> 00:00:01,200",
        "00:00:01,200 --> 00:01:01,003",
        "01:00:00,000 --> 01:00:00,001",
    ]
    assert [html.unescape(block[1]) for block in blocks] == [
        "Fish & chips <today>?",
        "5 > 3 --> yes\nand so on",
        "Grüße 👋",
    ]
