"""Dates, media types and Content-Disposition, over sensible and over hostile text."""

import re
from datetime import UTC, datetime, timedelta
from email.message import Message
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http.headers import (
    OPAQUE,
    content_disposition,
    extension_for,
    media_type,
    parse_date,
    safe_name,
    seconds_as_date,
    type_by_name,
    whole_seconds,
)

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
WELL_FORMED = re.compile(
    r"(attachment|inline); filename=\"([ !#$&-.0-9:-\[\]-~]+)\"(?:; filename\*=UTF-8''([A-Za-z0-9!#$&+.^_`|~%-]+))?"
)
HOSTILE_NAMES = {
    "quotes": 'a"b.wav',
    "a parameter": "x\";filename*=UTF-8''evil.exe;y=\".wav",
    "a line": "a\r\nSet-Cookie: x=1\r\n\r\n.wav",
    "a line of another kind": "a\u2028b\u2029c\x85d\x0b.wav",
    "NUL": "a\0b.wav",
    "Cyrillic": "запись звонка.wav",
    "emoji": "🎧👩‍👩‍👧.wav",
    "a lone surrogate": "a\ud800b\udc80.wav",
    "a path": "../../etc/passwd",
    "a path of Windows": "..\\..\\boot.ini",
    "an override": "annexe\u202evaw.exe",
    "percent": "100%41.wav",
    "10 KB": "я" * 10_000 + ".wav",
    "10 KB without an extension": "a" * 10_000,
    "a long extension": "a." + "b" * 10_000,
    "only dots": "...",
    "nothing": "",
    "blanks": "   ",
    "combining marks": "e\u0301" * 300 + ".mp3",
}


def read(field: str) -> tuple[str, str]:
    """The fallback and the true name, as a client reads them."""
    assert field.isascii()
    match = WELL_FORMED.fullmatch(field)
    assert match is not None, field
    true = match[2] if match[3] is None else unquote_to_bytes(match[3]).decode("utf-8")
    return match[2], true


@pytest.mark.parametrize("seconds", [0, 1, 951_868_799, 1_709_251_199, 4_102_444_799, -62_135_596_800, 253_402_300_799])
def test_date_is_written_as_a_mail_library_writes_it(seconds):
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert seconds_as_date(seconds) == f"{when:%a, %d %b} {when.year:04} {when:%H:%M:%S} GMT"
    assert parse_date(seconds_as_date(seconds)) == when


def test_date_is_cut_to_the_second_before_also_before_1970():
    assert whole_seconds(datetime(1969, 12, 31, 23, 59, 58, 999_999, tzinfo=UTC)) == -2


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun Nov  6 08:49:37 1994", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun Nov 16 08:49:37 1994", datetime(1994, 11, 16, 8, 49, 37, tzinfo=UTC)),
        ("Mon, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Thu, 29 Feb 2024 00:00:00 GMT", datetime(2024, 2, 29, tzinfo=UTC)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", datetime(2017, 1, 1, tzinfo=UTC)),
        ("Friday, 20-Nov-76 12:00:00 GMT", datetime(2076, 11, 20, 12, tzinfo=UTC)),
        ("Saturday, 20-Nov-76 12:00:01 GMT", datetime(1976, 11, 20, 12, 0, 1, tzinfo=UTC)),
        ("Tuesday, 29-Feb-00 00:00:00 GMT", datetime(2000, 2, 29, tzinfo=UTC)),
        ("Fri, 31 Dec 9999 23:59:60 GMT", None),
        ("Thu, 29 Feb 2023 00:00:00 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("sun, 06 nov 1994 08:49:37 gmt", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 94 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT\n", None),
        ("Sun, \u0660\u0666 Nov 1994 08:49:37 GMT", None),
        ("1994-11-06T08:49:37Z", None),
        ("0", None),
        ("", None),
    ],
)
def test_date_is_read_in_its_three_formats_and_no_other(text, when):
    assert parse_date(text, now=NOW) == when


@given(st.text())
def test_any_text_is_a_date_or_none(text):
    parsed = parse_date(text)
    assert parsed is None or parsed.tzinfo is UTC


@pytest.mark.parametrize(
    ("stored", "sent", "extension"),
    [
        ("audio/wav", "audio/wav", ".wav"),
        ("audio/x-wav", "audio/wav", ".wav"),
        (" Audio/WAV ; codecs=1", "audio/wav", ".wav"),
        ("audio/mpeg", "audio/mpeg", ".mp3"),
        ("audio/mp4", "audio/mp4", ".m4a"),
        ("audio/ogg; codecs=opus", "audio/ogg", ".ogg"),
        ("audio/webm", "audio/webm", ".weba"),
        ("audio/flac", "audio/flac", ".flac"),
        ("audio/aac", "audio/aac", ".aac"),
        ("audio/opus", "audio/opus", ".opus"),
        ("audio/basic", "audio/basic", ".au"),
        ("video/mp4", "video/mp4", ".mp4"),
        ("video/webm", "video/webm", ".webm"),
        ("text/html", OPAQUE, ".bin"),
        ("image/svg+xml", OPAQUE, ".bin"),
        ("application/octet-stream", OPAQUE, ".bin"),
        ("audio/wav\r\nX: 1", OPAQUE, ".bin"),
        ("audio/wav, text/html", OPAQUE, ".bin"),
        ("audio/", OPAQUE, ".bin"),
        ("", OPAQUE, ".bin"),
        (None, OPAQUE, ".bin"),
    ],
)
def test_type_is_of_the_allow_list_or_opaque(stored, sent, extension):
    assert media_type(stored) == sent
    assert extension_for(stored) == extension


@given(st.text())
def test_any_text_has_a_type_that_stays_itself(text):
    sent = media_type(text)
    assert re.fullmatch(r"(?:audio|video|application)/[a-z0-9-]+", sent)
    assert media_type(sent) == sent


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        ("attachment", "recording-call_7.wav", 'attachment; filename="recording-call_7.wav"'),
        ("inline", "recording_+15559876543.wav", 'inline; filename="recording_+15559876543.wav"'),
        ("attachment", "two words; and=more.wav", 'attachment; filename="two words; and=more.wav"'),
        ("inline", "Café.wav", "inline; filename=\"Cafe.wav\"; filename*=UTF-8''Caf%C3%A9.wav"),
        ("inline", "запись.wav", "inline; filename=\"recording.wav\"; filename*=UTF-8''%D0%B7%D0%B0%D0%BF%D0%B8%D1%81%D1%8C.wav"),
        ("inline", 'a"b.wav', "inline; filename=\"a_b.wav\"; filename*=UTF-8''a%22b.wav"),
        ("inline", "../../etc/passwd", 'inline; filename="_.._etc_passwd"'),
        ("inline", "a\r\nX: 1.wav", 'inline; filename="a__X: 1.wav"'),
        ("inline", "", 'inline; filename="recording"'),
        ("inline", " .wav", 'inline; filename="wav"'),
    ],
)  # fmt: skip
def test_disposition_is_as_plain_as_the_name_allows(kind, name, field):
    assert content_disposition(kind, name) == field


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_disposition_of_a_hostile_name_is_one_well_formed_field(name):
    field = content_disposition("attachment", name)
    _, true = read(field)
    assert len(true.encode()) <= 200
    assert not set(true) & set("/\\\0\r\n\u2028\u2029\u202e")
    assert not true.startswith(".")
    assert name.endswith(".wav") <= true.endswith(".wav")
    message = Message()
    message["Content-Disposition"] = field
    assert message.get_content_disposition() == "attachment"
    assert {parameter for parameter, _ in message.get_params(header="content-disposition")} <= {
        "attachment",
        "filename",
    }


@given(st.text(st.characters(codec=None), max_size=300))
@example("." * 200 + "a" + "." * 300)
def test_disposition_of_any_text_is_one_well_formed_field(name):
    fallback, true = read(content_disposition("inline", name))
    assert fallback
    assert 0 < len(true.encode()) <= 200


@given(st.text(st.characters(categories=("L", "N")), min_size=1, max_size=40), st.sampled_from((".wav", ".mp3", "")))
def test_name_of_letters_arrives_as_it_was(stem, extension):
    name = stem + extension
    _, true = read(content_disposition("attachment", name))
    assert len(name.encode()) > 200 or true == normalize("NFC", name)


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ("application/ogg", "audio/ogg"),
        ("audio/aacp", "audio/aac"),
        ("audio/m4a", "audio/mp4"),
        ("audio/mp3", "audio/mpeg"),
        ("audio/vnd.wave", "audio/wav"),
        ("audio/wave", "audio/wav"),
        ("audio/x-aac", "audio/aac"),
        ("audio/x-aiff", "audio/aiff"),
        ("audio/x-flac", "audio/flac"),
        ("audio/x-m4a", "audio/mp4"),
        ("audio/x-mp3", "audio/mpeg"),
        ("audio/x-mpeg", "audio/mpeg"),
        ("audio/x-pn-wav", "audio/wav"),
        ("audio/x-wav", "audio/wav"),
    ],
)
def test_a_type_under_another_name_is_given_by_its_registered_one(stored: str, given: str):
    assert media_type(stored) == given


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("call.wav", "audio/wav"),
        ("CALL.WAV", "audio/wav"),
        ("a.b.Mp3", "audio/mpeg"),
        ("call.oga", "audio/ogg"),
        ("call.wave", "audio/wav"),
        ("call.exe", OPAQUE),
        ("wav", OPAQUE),
        (".wav", OPAQUE),
        ("", OPAQUE),
    ],
)
def test_a_file_s_name_stands_for_the_type_of_its_extension(name: str, given: str):
    assert type_by_name(name) == given


@pytest.mark.parametrize("turning", "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_nothing_in_a_name_turns_what_is_read(turning: str):
    assert safe_name(f"annexe{turning}vaw.exe") == "annexe_vaw.exe"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("x" * 300 + "." + "b" * 10, "x" * 189 + "." + "b" * 10),
        ("x" * 300 + "." + "b" * 11, "x" * 200),
        ("x" * 300 + ".w-v", "x" * 200),
        ("x" * 195 + "  y.wav", "x" * 195 + ".wav"),
        ("x" * 195 + "я.wav", "x" * 195 + ".wav"),
    ],
    ids=["an extension", "no extension", "nothing like one", "cut at a blank", "cut within a letter"],
)
def test_a_name_that_is_cut_keeps_what_looks_like_its_extension(name: str, safe: str):
    assert safe_name(name) == safe
