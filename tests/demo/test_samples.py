"""The made calls: the same everywhere, well-formed, heard well."""

import hashlib
import subprocess
from array import array
from math import log10

import pytest

from gateway.demo.samples import Sample, _alaw, _Format, _mulaw, _table, samples
from gateway.media import wav
from gateway.media.window import Window

SHA256 = {
    "booking.wav": "b01d211ae3ddbb98469eea9fa155be48f7501c739f2742fff278eb8cb4b431ac",
    "delivery.wav": "6f3b59580260d388c7cfb5501664fdd702dff0bb2289b58a49293c892e6257ad",
    "reminder.wav": "cf40d25d44d66528968763f629f3b05f9b8ad8cdf2a5b6801cc10f0d3db0b97f",
    "survey.wav": "98f0695a2039b5a6efc58f953bc57faa99f47facb2341b250b6d4784ca6f5f77",
    "support.wav": "7e9d5f282373377a791f03ef468eccd487d03f0fa5eb183ac9ebe309857d3466",
    "complaint.wav": "2bef8a9cb7fde3d7dbe662a89e5649d11759b3848875d667b2be15c66765e4d7",
    "enquiry.wav": "6faaf1dd8bf9ac561925a32beda9417e0fcd099adb2a5b19faf4453c357cdc12",
}


@pytest.fixture(scope="module")
def calls() -> dict[str, Sample]:
    return {sample.name: sample for sample in samples()}


def decoded(sample: Sample) -> list[array]:
    """What a player hears: one array of 16-bit samples per channel."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", "-", "-f", "s16le", "-"]
    raw = subprocess.run(command, input=sample.data, check=True, timeout=60, capture_output=True)
    assert not raw.stderr
    sound = array("h", raw.stdout)
    return [sound[channel :: sample.channels] for channel in range(sample.channels)]


def dbfs(sound: array) -> float:
    return 10 * log10(sum(x * x for x in sound) / len(sound) / 32768**2)


@pytest.mark.parametrize("name", SHA256)
def test_a_sample_has_the_same_bytes_on_every_machine(calls: dict[str, Sample], name: str):
    assert hashlib.sha256(calls[name].data).hexdigest() == SHA256[name]


def test_another_seed_makes_other_calls(calls: dict[str, Sample]):
    assert next(samples(seed=7)).data != calls["booking.wav"].data


@pytest.mark.parametrize("name", SHA256)
def test_a_sample_says_what_its_header_says(calls: dict[str, Sample], name: str):
    sample = calls[name]
    head = wav.read(Window.over(sample.data))
    assert (head.channels, head.sample_rate, head.duration_ms) == (
        sample.channels,
        sample.sample_rate,
        sample.duration_ms,
    )
    assert head.data_offset + head.data_size == len(sample.data)
    assert 120_000 <= sample.duration_ms <= 300_000
    assert sample.voice_agent == (sample.channels == 2)


def test_no_sample_is_unlooked_at(calls: dict[str, Sample]):
    assert calls.keys() == SHA256.keys()


def test_the_samples_cover_the_formats_the_demo_shows(calls: dict[str, Sample]):
    kinds = {(wav.read(Window.over(s.data)).format, s.sample_rate, s.channels) for s in calls.values()}
    assert kinds >= {
        (wav.Coding.PCM, 8000, 2),
        (wav.Coding.PCM, 16000, 2),
        (wav.Coding.MULAW, 8000, 2),
        (wav.Coding.PCM, 8000, 1),
        (wav.Coding.ALAW, 8000, 1),
    }


@pytest.mark.parametrize("name", SHA256)
def test_a_sample_is_loud_enough_and_never_clipped(calls: dict[str, Sample], name: str):
    sample = calls[name]
    channels = decoded(sample)
    assert [len(sound) for sound in channels] == [sample.duration_ms * sample.sample_rate // 1000] * sample.channels
    for sound in channels:
        assert -26 <= dbfs(sound) <= -14
        assert max(map(abs, sound)) < 32000
        assert abs(sum(sound)) / len(sound) < 33


def test_the_two_parties_of_a_stereo_call_take_turns(calls: dict[str, Sample]):
    left, right = decoded(calls["booking.wav"])
    second = 8000
    loud = [
        (dbfs(left[at : at + second]) > -40, dbfs(right[at : at + second]) > -40) for at in range(0, len(left), second)
    ]
    alone = sum(a != b for a, b in loud) / len(loud)
    assert alone > 0.6
    assert any(a for a, _ in loud)
    assert any(b for _, b in loud)


@pytest.mark.parametrize(("law", "encode"), [("mulaw", _mulaw), ("alaw", _alaw)])
def test_g711_codes_keep_every_level_and_the_order_of_all_samples(law: str, encode):
    command = ["ffmpeg", "-v", "error", "-nostdin", "-f", law, "-ar", "8000", "-ac", "1", "-i", "-", "-f", "s16le", "-"]
    levels = array("h", subprocess.run(command, input=bytes(range(256)), check=True, capture_output=True).stdout)
    table = _table(encode)
    heard = [levels[table[sample & 0xFFFF]] for sample in range(-32768, 32768)]
    assert all(heard[level + 32768] == level for level in levels)
    assert heard == sorted(heard)


def test_formats_are_those_of_the_registry():
    assert [int(tag) for tag in _Format] == [1, 6, 7]
