"""API keys: ``<prefix>_<random><checksum>``.

The prefix lets a secret scanner recognise a leaked key; the checksum (CRC-32 of all that stands before it) lets it, and
us, tell a key from a typo without asking anybody. Neither is a secret: what proves is the random part, 178 bits of it.
Only the SHA-256 of the whole key is ever stored. A slow hash is for passwords; nobody guesses 178 bits.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..errors import Unauthenticated
from ..model import Caller, Credentials, Key, Lapsed, Standing

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM = 30
"""Random base62 characters: 30 × log2(62) = 178 bits."""
CHECKSUM = 6
"""Base62 characters that hold 32 bits."""
HINT = 4

_KEPT = 10_000
"""Callers remembered."""

_PREFIX = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TAIL = re.compile(rf"[0-9A-Za-z]{{{RANDOM + CHECKSUM}}}")


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key. ``secret`` is shown once and kept nowhere."""

    secret: str = field(repr=False)
    sha256: bytes
    """What is stored."""
    hint: str
    """Prefix and the last four characters, for people to tell keys apart."""


def mint(prefix: str) -> Minted:
    """A new key under ``prefix``: lower-case words with underscores between, else ValueError."""
    if _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"{prefix!r} is no key prefix; write lower-case words with underscores between")
    body = f"{prefix}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM))
    secret = body + checksum(body)
    return Minted(secret, hashlib.sha256(secret.encode()).digest(), f"{prefix}_…{secret[-HINT:]}")


def parse(token: str, prefixes: tuple[str, ...]) -> bytes | None:
    """The SHA-256 of a well-formed key under one of ``prefixes``; None: no key of ours, or a mistyped one."""
    prefix, _, tail = token.rpartition("_")
    if prefix not in prefixes or _TAIL.fullmatch(tail) is None:
        return None
    if checksum(token[:-CHECKSUM]) != token[-CHECKSUM:]:
        return None
    return hashlib.sha256(token.encode()).digest()


def checksum(body: str) -> str:
    """CRC-32 of ``body`` (ASCII), in base62 of a fixed length, so that no two spellings mean the same sum."""
    rest, digits = zlib.crc32(body.encode("ascii")), []
    for _ in range(CHECKSUM):
        rest, digit = divmod(rest, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


class KeyIdentity:
    """Proves API keys against the catalog.

    The catalog is asked by digest: how long that takes tells nothing of how near a wrong key came.
    """

    def __init__(
        self,
        prefixes: tuple[str, ...],
        credentials: Credentials,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._prefixes = prefixes
        self._beginnings = tuple(f"{prefix}_" for prefix in prefixes)
        self._credentials = credentials
        self._now = now
        self._callers: OrderedDict[bytes, tuple[Key, Caller]] = OrderedDict()

    def recognises(self, token: str) -> bool:
        """Whether ``token`` claims to be a key of ours: what follows the prefix and its underscore may be anything."""
        return token.startswith(self._beginnings)

    async def prove(self, token: str) -> Caller:
        """Expiry is judged at each use, however long the catalog has had the key in its cache.

        Raises Unauthenticated (mistyped, unknown), Lapsed (revoked, expired), Unavailable.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if digest not in self._callers and parse(token, self._prefixes) is None:
            raise Unauthenticated("API key: mistyped, or not one of ours", presented=True)
        key = await self._credentials.key(digest)
        if key is None:
            raise Unauthenticated("API key: unknown", presented=True)
        caller = self._caller(digest, key)
        if key.revoked_at is not None:
            raise _lapsed(caller, key, "revoked")
        if key.expires_at is not None and key.expires_at <= self._now():
            raise _lapsed(caller, key, "expired")
        return caller

    def standing(
        self, token: str, caller: Caller, known: Callable[[bytes], tuple[Key, float] | None]
    ) -> Standing | None:
        """``known``: a key of that digest and for how many seconds it is so, as far as the catalog knows unasked."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        key, made = self._callers.get(digest, (None, None))
        if key is None or made is not caller:
            return None
        ends = math.inf if key.expires_at is None else key.expires_at.timestamp()

        def left() -> float:
            held, for_s = known(digest) or (None, 0)
            return min(for_s, ends - self._now().timestamp()) if held is key else 0

        return left

    def _caller(self, digest: bytes, key: Key) -> Caller:
        """Who holds ``key``: made once for as long as the catalog gives the very same."""
        known = self._callers.get(digest)
        if known is not None and known[0] is key:
            return known[1]
        caller = Caller(
            tenant=key.tenant,
            tenant_slug=key.tenant_slug,
            kind="api_key",
            subject=str(key.id),
            credential=str(key.id),
            method="api_key",
            scopes=key.scopes,
            role=key.role,
        )
        self._callers[digest] = key, caller
        if len(self._callers) > _KEPT:
            self._callers.popitem(last=False)
        return caller


def _lapsed(caller: Caller, key: Key, why: str) -> Lapsed:
    return Lapsed(caller, Unauthenticated(f"API key {key.id} ({key.hint}): {why}", presented=True))
