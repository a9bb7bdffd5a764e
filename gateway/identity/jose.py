"""A JWT as it arrives, parsed and not yet verified (RFC 7515, 7519; RFC 8725 for what to refuse). Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from ..errors import Unauthenticated

MAX_TOKEN = 8192
"""Bytes. What is larger is refused before any of it is read."""
MAX_TEXT = 255
"""Characters of an identifier taken from a token."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_UNWANTED = frozenset({"crit", "b64", "jwk", "jku", "x5c", "x5u"})
"""Header parameters that bring their own key (jwk, jku, x5c, x5u), or ask for extensions that are not supported (crit, b64)."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token claims of itself: good for choosing who shall verify it, and for nothing else."""

    algorithm: str
    kid: str | None
    issuer: str
    audiences: frozenset[str]


def refused(why: str) -> Unauthenticated:
    """The refusal of a token. ``why`` is for the operator's log, and holds nothing of the token."""
    return Unauthenticated(f"JWT: {why}", presented=True)


def looks_like_jwt(token: str) -> bool:
    """Three non-empty base64url parts with dots between."""
    return len(token) <= MAX_TOKEN and _COMPACT.fullmatch(token) is not None


def read(token: str) -> Unverified:
    """Raises Unauthenticated for what no honest issuer sends."""
    if len(token) > MAX_TOKEN:
        raise refused(f"larger than {MAX_TOKEN} bytes")
    if _COMPACT.fullmatch(token) is None:
        raise refused("not three base64url parts")
    first, second, _ = token.split(".")
    header, claims = _object(first, "header"), _object(second, "payload")
    if unwanted := sorted(_UNWANTED & header.keys()):
        raise refused(f"header has {', '.join(unwanted)}")
    kid = header.get("kid")
    return Unverified(
        algorithm=text(header.get("alg"), "alg"),
        kid=None if kid is None else text(kid, "kid"),
        issuer=text(claims.get("iss"), "iss"),
        audiences=_audiences(claims.get("aud")),
    )


def text(value: object, name: str) -> str:
    """An identifier fit to be kept: not empty, not long, nothing that a log, a database or a terminal chokes on."""
    if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable():
        return value
    raise refused(f"{name} is missing, or no plain text of at most {MAX_TEXT} characters")


def strict_object(text: bytes) -> Mapping[str, object]:
    """A JSON object in UTF-8, each name in it once, no NaN or Infinity. Raises ValueError."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004  the text is wrong, not the caller's type
    return value


def _object(part: str, name: str) -> Mapping[str, object]:
    try:
        return strict_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        raise refused(f"{name} is no JSON object in base64url, or names a member twice") from None


def _audiences(aud: object) -> frozenset[str]:
    if isinstance(aud, str):
        return frozenset({aud})
    if isinstance(aud, list) and all(isinstance(each, str) for each in aud):
        return frozenset(aud)
    raise refused("aud is missing, or neither text nor a list of texts")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("no JSON number")
