"""What was said in a call."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Transcript


@dataclass(frozen=True, slots=True)
class PutTranscript:
    """The call's transcript shall be this one. Gives back the Transcript; doing it again changes nothing.

    Raises Contradicts (``transcription_disabled``, ``recording_held``), Expired (its recording is past its retention).
    """

    transcript: Transcript
