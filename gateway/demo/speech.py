"""Something that sounds like people talking, without anybody having said it.

Syllables are glottal pulses and breath through three formant resonators; a bank of them per voice is made once and laid
out into words, phrases and pauses. Only what IEEE 754 rounds alike everywhere is used of floating point (no ``sum``: its
rounding changed in Python 3.12), and of ``Random`` only ``random``, whose sequence is guaranteed: the samples are the
same on every machine.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from random import Random

LOUDNESS = 5600.0
"""Root mean square of a syllable, of 32767."""
PEAK = 29000.0
_STEP_S = 0.005
"""Formants move once in this time."""
_VOWELS = (
    (730.0, 1090.0, 2440.0),
    (270.0, 2290.0, 3010.0),
    (530.0, 1840.0, 2480.0),
    (570.0, 840.0, 2410.0),
    (300.0, 870.0, 2240.0),
    (660.0, 1720.0, 2410.0),
    (490.0, 1350.0, 1690.0),
)
"""Formants in Hz of seven English vowels."""
_BANDWIDTHS = (80.0, 110.0, 160.0)
_GAINS = (1.0, -0.6, 0.35)


@dataclass(frozen=True, slots=True)
class Voice:
    """``pitch`` in Hz, ``tract``: formants as a multiple of a man's, ``breath``: noise beside the pulses."""

    pitch: float
    tract: float
    breath: float = 0.02


class Speaker:
    """A voice at a sample rate, with its bank of syllables and the noise of its line."""

    def __init__(self, voice: Voice, rate: int, random: Random) -> None:
        self.rate = rate
        self._random = random
        self._noise = _noise(int(3.1 * rate), random)
        # three pitches: a phrase begins high and falls
        self._bank = [[_syllable(voice, fall, rate, random) for _ in range(8)] for fall in (1.12, 1.0, 0.86)]

    def hush(self, frames: int) -> array[int]:
        """The line's noise alone."""
        start = int(self._random.random() * len(self._noise))
        return (self._noise * (2 + frames // len(self._noise)))[start : start + frames]

    def talk(self, frames: int) -> array[int]:
        """Speech of exactly that many samples."""
        spoken = array("h")
        while True:
            words = 3 + int(self._random.random() * 6)
            for word in range(words):
                for _ in range(1 + int(self._random.random() * 3)):
                    choices = self._bank[3 * word // words]
                    syllable = choices[int(self._random.random() * len(choices))]
                    if len(spoken) + len(syllable) > frames:
                        return (spoken + self.hush(max(0, frames - len(spoken))))[:frames]
                    spoken += syllable
                spoken += self._pause(0.03, 0.1)
            spoken += self._pause(0.2, 0.5)

    def _pause(self, least_s: float, most_s: float) -> array[int]:
        return self.hush(int((least_s + (most_s - least_s) * self._random.random()) * self.rate))


def _noise(frames: int, random: Random) -> array[int]:
    """About -60 dBFS, darker than white."""
    level, samples = 0.0, array("h")
    for _ in range(frames):
        level = 0.6 * level + (random.random() - 0.5) * 90
        samples.append(int(level))
    return samples


def _syllable(voice: Voice, fall: float, rate: int, random: Random) -> array[int]:
    """A consonant's breath, a vowel on its way to another, and a little silence."""
    start, end = (_VOWELS[int(random.random() * len(_VOWELS))] for _ in range(2))
    frames = int((0.13 + 0.12 * random.random()) * rate)
    onset = int((0.0, 0.02, 0.05)[int(random.random() * 3)] * rate)
    pitch = voice.pitch * fall * (0.95 + 0.1 * random.random())
    excited = _excitation(frames, onset, rate / pitch, voice.breath, random)
    wave = _resonate(excited, start, end, voice.tract, rate)
    attack, release = 0.02 * rate, 0.06 * rate
    wave = [x * min(1.0, i / attack, (frames - i) / release) for i, x in enumerate(wave)]
    loudness = math.sqrt(math.fsum(x * x for x in wave) / frames)
    gain = min(LOUDNESS / loudness, PEAK / max(map(abs, wave)))
    return array("h", [int(x * gain) for x in wave])


def _excitation(frames: int, onset: int, period: float, breath: float, random: Random) -> list[float]:
    """Noise up to ``onset``, then a pulse every ``period`` samples, a little uneven, each one dying away.

    The lips pass on the change of it rather than the pressure itself, so it has no steady part.
    """
    samples, level, due = [], 0.0, float(onset)
    for i in range(frames):
        noise = random.random() - 0.5
        if i < onset:
            samples.append(noise * 0.25)
            continue
        before, level = level, level * 0.86
        if i >= due:
            level += 1.0
            due += period * (0.985 + 0.03 * random.random()) * (1 + 0.12 * i / frames)
        samples.append(level - before + noise * breath)
    return samples


def _resonate(
    excited: list[float], start: tuple[float, ...], end: tuple[float, ...], tract: float, rate: int
) -> list[float]:
    """Three two-pole resonators side by side, whose frequencies glide from ``start`` to ``end``."""
    out = [0.0] * len(excited)
    step = int(_STEP_S * rate)
    for low, high, width, gain in zip(start, end, _BANDWIDTHS, _GAINS, strict=True):
        radius = _exp(-math.pi * width / rate)
        damped = radius * radius
        last = before = 0.0
        for at in range(0, len(excited), step):
            frequency = min((low + (high - low) * at / len(excited)) * tract, 0.46 * rate)
            turn = 2 * radius * _cos(2 * math.pi * frequency / rate)
            for i in range(at, min(at + step, len(excited))):
                last, before = excited[i] + turn * last - damped * before, last
                out[i] += gain * last
    return out


def _cos(x: float) -> float:
    """The cosine for 0 to pi. The C library's differs in the last place from one machine to the next."""
    term = total = 1.0
    for n in range(1, 16):
        term *= -x * x / ((2 * n - 1) * (2 * n))
        total += term
    return total


def _exp(x: float) -> float:
    """The exponential for -1 to 0."""
    term = total = 1.0
    for n in range(1, 16):
        term *= x / n
        total += term
    return total
