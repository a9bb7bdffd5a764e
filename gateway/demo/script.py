"""What the made voice agent's calls are said to say. Pure."""

from __future__ import annotations

from ..model import Segment, Transcript

_LINES = (
    ("agent", "Good morning, this is the assistant of the Blue Heron. How can I help you?"),
    ("caller", "Hello. I'd like a table for four on Friday, if you have one."),
    ("agent", "On Friday there is one at seven and one at half past eight. Which would you like?"),
    ("caller", "Seven, please. And one of us eats no nuts."),
    ("agent", "Seven it is. I have told the kitchen about the nuts. Under which name may I keep it?"),
    ("caller", "Under Arden, please."),
    ("agent", "Thank you. A table for four on Friday at seven, for Arden. Is there anything else?"),
    ("caller", "No, that was all. Thank you, goodbye."),
)
_SPOKEN = 0.9
"""Of each line's share of the call."""


def transcript(duration_ms: int) -> Transcript:
    """A transcript laid out over a call of that length."""
    share = duration_ms // len(_LINES)
    segments = tuple(
        Segment(place * share, place * share + int(share * _SPOKEN), text, speaker)
        for place, (speaker, text) in enumerate(_LINES)
    )
    return Transcript("ready", "en", " ".join(text for _, text in _LINES), segments)
