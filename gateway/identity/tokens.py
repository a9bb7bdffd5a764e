"""JSON Web Tokens, as each configured issuer signs them (RFC 7519, RFC 8725).

The token's own ``iss`` and ``aud`` choose which issuer's keys and algorithms it is held against; nothing else in it has
a say. A verified token is believed for a minute without verifying it again, so that the ranges of one playback cost one
signature. For that minute a key that its issuer withdrew, or the old slug of a renamed tenant, still counts.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import jwt
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from ..config import Issuer
from ..errors import Unauthenticated
from ..model import Caller, Credentials, Lapsed, Standing
from .claims import Claims, read_claims
from .issuers import Trusted
from .jose import MAX_TOKEN, Unverified, read, refused
from .keyset import PublicKey

BELIEVED_S = 60.0
"""Seconds a verified token is believed without verifying it again; never past its exp."""
REMEMBERED = 8192
"""Verified tokens held at most; about 1 KB each."""
ALWAYS_REQUIRED = frozenset({"iss", "aud", "exp", "sub"})
"""Claims that every token must carry, whatever the configuration says: they tell whose it is and until when."""


class TokenIdentity:
    """Proves JWTs."""

    def __init__(
        self,
        trusted: Sequence[Trusted],
        credentials: Credentials,
        roles: Sequence[str] = (),
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``roles`` are the configured ones, lowest first."""
        self._trusted = tuple(trusted)
        self._credentials = credentials
        self._roles = tuple(roles)
        self._now = now
        self._verified: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    async def prove(self, token: str) -> Caller:
        """Raises Unauthenticated (its detail holds nothing of the token), Lapsed (expired), Unavailable (issuer or catalog away)."""
        if len(token) > MAX_TOKEN or not token.isascii():
            raise refused(f"larger than {MAX_TOKEN} bytes, or not ASCII")
        digest = hashlib.sha256(token.encode("ascii")).digest()
        believed, left = self._believed(digest)
        if believed is not None and left > 0:
            return believed
        unverified = read(token)
        trusted = self._choose(unverified)
        key = await trusted.keys.key(unverified.kid, unverified.algorithm)
        claims, lapsed = _verify(token, unverified.algorithm, key, trusted.issuer, self._roles)
        tenant = await self._credentials.tenant(claims.tenant)
        if tenant is None:
            raise refused(f"of {trusted.issuer.issuer}: its tenant is not known here; see identity.issuers tenants")
        caller = Caller(
            tenant=tenant.id,
            tenant_slug=tenant.slug,
            kind="user",
            subject=claims.subject,
            credential=claims.id or f"{trusted.issuer.issuer}#{unverified.kid or ''}",
            method="jwt",
            scopes=claims.scopes,
            role=claims.role,
        )
        if lapsed is not None:
            raise Lapsed(caller, lapsed)
        self._remember(digest, caller, claims.expires)
        return caller

    def standing(self, token: str, caller: Caller) -> Standing | None:
        digest = hashlib.sha256(token.encode("ascii")).digest()

        def left() -> float:
            believed, left_s = self._believed(digest)
            return left_s if believed is caller else 0

        return left if left() > 0 else None

    def _believed(self, digest: bytes) -> tuple[Caller | None, float]:
        """Whom a token was verified to be of, and for how many seconds that is believed."""
        caller, until = self._verified.get(digest, (None, 0))
        left = until - self._now()
        # Within BELIEVED_S, for a clock that is set back by hours would make it believed until it has caught up.
        if caller is None or not 0 < left <= BELIEVED_S:
            return None, 0
        self._verified.move_to_end(digest)
        return caller, left

    def _choose(self, unverified: Unverified) -> Trusted:
        """The first configured issuer of that name whose audience the token names, if the algorithm is one of its own."""
        named = [each for each in self._trusted if each.issuer.issuer == unverified.issuer]
        if not named:
            raise refused("iss is none of identity.issuers")
        meant = next((each for each in named if each.issuer.audience in unverified.audiences), None)
        if meant is None:
            raise refused(f"of {named[0].issuer.issuer}: for another audience")
        if unverified.algorithm not in meant.issuer.algorithms:
            raise refused(f"of {meant.issuer.issuer}: signed with an algorithm not accepted from it")
        return meant

    def _remember(self, digest: bytes, caller: Caller, expires: float) -> None:
        now = self._now()
        if (until := min(expires, now + BELIEVED_S)) <= now:
            return
        self._verified[digest] = (caller, until)
        self._verified.move_to_end(digest)
        if len(self._verified) > REMEMBERED:
            self._verified.popitem(last=False)


def _verify(
    token: str, algorithm: str, key: PublicKey | bytes, issuer: Issuer, roles: Sequence[str]
) -> tuple[Claims, Unauthenticated | None]:
    """Its claims; and, of a token that was good until it expired, how that is refused."""

    def decode(*, in_time: bool) -> dict[str, object]:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=issuer.audience,
            issuer=issuer.issuer,
            leeway=issuer.leeway_s,
            options={
                "require": sorted(ALWAYS_REQUIRED | set(issuer.required)),
                "enforce_minimum_key_length": True,
                "verify_exp": in_time,
            },
        )

    lapsed = None
    try:
        try:
            claims = decode(in_time=True)
        except ExpiredSignatureError as error:
            lapsed = _refused(issuer, error)
            claims = decode(in_time=False)
    except PyJWTError as error:
        raise _refused(issuer, error) from None
    return read_claims(claims, issuer, roles), lapsed


def _refused(issuer: Issuer, error: PyJWTError) -> Unauthenticated:
    """Its text may quote the token; its name tells enough."""
    return refused(f"of {issuer.issuer}: {type(error).__name__}")
