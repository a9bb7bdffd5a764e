"""How hard an id is to guess, judged from its form alone. Pure.

Errs to the weak side: what looks made by a clock, a counter or a person counts as no secret at all.
"""

from __future__ import annotations

import re
import string
from itertools import pairwise
from math import log2

_PREFIX = re.compile(r"\A[a-z]{2,12}_")
"""As ``call_``: the same in every id."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_BY_A_CLOCK = re.compile(
    r"[0-9a-f]{12}1(?:1[d-f]|2[0-3])[0-9a-f][89ab][0-9a-f]{15}"  # UUIDs of version 1, 6 and 7 without their dashes
    r"|(?:1[d-f]|2[0-3])[0-9a-f]{10}6[0-9a-f]{3}[89ab][0-9a-f]{15}"
    r"|0[1-3][0-9a-f]{10}7[0-9a-f]{3}[89ab][0-9a-f]{15}"
    r"|0[12][0-9a-hjkmnp-tv-z]{24}"  # ULID
    r"|c[h-p][0-9a-z]{23}",  # cuid
)
"""Ids with a time of this century in them, so near to it that random ones are hardly ever meant."""
UUID_4 = 122
"""Random bits of a UUID of version 4, and of a secret; no other version promises any number of them."""
_HEX = 16
_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_STEPS = 8
"""Differences between neighbours that random text of a sufficient length has by far; ``0123…`` has one."""


def secret(text: str) -> bool:
    """Whether ``text`` is as hard to guess as a UUID of version 4."""
    return random_bits(text) >= UUID_4


def random_bits(text: str) -> float:
    """At most so many random bits does ``text`` (ASCII letters, digits, ``_`` and ``-``) hold.

    A UUID by its version; other text by length times the bits of the kinds of characters in it, 0 where it shows too
    little variety to be random. A word with an underscore at its beginning counts for nothing.
    """
    body = _PREFIX.sub("", text)
    if (uuid := _UUID.fullmatch(body)) is not None:
        random = uuid[1] == "4" and uuid[2] in "89abAB" and _varied(body.replace("-", ""), _HEX)
        return UUID_4 if random else 0
    separators = "" if _mixed(body) else "-_"
    counted = "".join(character for character in body if character not in separators)
    alphabet = _alphabet(counted)
    if _BY_A_CLOCK.fullmatch(counted if _mixed(counted) else counted.lower()) or not _varied(counted, alphabet):
        return 0
    return len(counted) * log2(alphabet)


def _mixed(text: str) -> bool:
    """Of both cases, as base64url is: there - and _ are digits like the others."""
    return any(c.islower() for c in text) and any(c.isupper() for c in text)


def _alphabet(text: str) -> int:
    """How many different characters there are of the kinds that ``text`` has; both cases stand for digits as well."""
    seen = set(text + "0") if _mixed(text) else set(text)
    if not seen - set(string.digits):
        return len(string.digits)
    if not seen - set("0123456789abcdef") or not seen - set("0123456789ABCDEF"):
        return _HEX
    return max(sum(len(kind) for kind in _CLASSES if seen & set(kind)) + 2 * bool(seen & set("-_")), 1)


def _varied(text: str, alphabet: int) -> bool:
    """Half as many different characters as there could be, and neighbours that differ in many ways."""
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    return 2 * len(set(text)) >= min(len(text), alphabet) and len(steps) >= _STEPS
