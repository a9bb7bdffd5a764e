"""Gateway-signed links: a token that lets whoever holds it play one call's recording for a while.

Version 1 is 90 bytes, 120 characters of unpadded base64url: version (1), flags (1), link id (16), tenant (16), call
(16), expiry in Unix seconds (8, big-endian), then HMAC-SHA-256 over all of that. A version or flag this gateway does
not know is refused, so that a restriction added later can never be overlooked by an older replica.

A link is good by its signature alone, unless it is on record (a flag): then the catalog has a row of it, which says
whether it was taken back, and from where and how often it may be used.
"""

from __future__ import annotations

import base64
import hmac
import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from uuid import UUID, uuid4

from pydantic import SecretStr

from ..errors import LinkExpired, LinkRevoked, LinkSpent, Refusal
from ..model import Caller, Credentials, IssuedLink, Lapsed, Standing

SCOPES = frozenset({"recordings:download"})
"""What a link permits, of its one call."""

_VERSION = 1
_ATTACHMENT = 0x01
_ON_RECORD = 0x02
_KNOWN_FLAGS = _ATTACHMENT | _ON_RECORD
_PAYLOAD = struct.Struct(">BB16s16s16sQ")
_MAC = 32
_FORM = re.compile(rf"[A-Za-z0-9_-]{{{(_PAYLOAD.size + _MAC) * 4 // 3}}}")
"""90 is a multiple of three: there is no padding and no spare bit, so that a link has one spelling only."""
_DOMAIN = b"recording-gateway/link\0"
"""Set before what is signed: nothing else signed with the same secret can pass for a link."""


@dataclass(frozen=True, slots=True)
class MintedLink:
    """A new link. ``token`` is the permission itself."""

    token: str = field(repr=False)
    id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """What a genuine link says. Its reader has to check whether it is still good."""

    id: UUID
    tenant: UUID
    call: UUID
    expiry: int
    """Unix seconds"""
    attachment: bool
    """To be saved rather than played."""
    on_record: bool
    """The link's row in the catalog decides whether it is still good."""


class Links:
    """Mints and reads links. The first of ``keys`` signs, all of them verify."""

    def __init__(self, keys: tuple[SecretStr, ...], *, now: Callable[[], float] = time.time) -> None:
        if not keys:
            raise ValueError("links need a key; see identity.link_keys")
        self._keys = tuple(key.get_secret_value().encode() for key in keys)
        self._now = now

    def mint(
        self, tenant: UUID, call: UUID, ttl: timedelta, *, attachment: bool = False, on_record: bool = False
    ) -> MintedLink:
        """A link that ends after ``ttl`` (a second or more, else ValueError), at a whole second.

        One that is ``on_record`` is worth nothing until the catalog has its row.
        """
        if ttl < timedelta(seconds=1):
            raise ValueError("a link lives for a second or more")
        link, expiry = uuid4(), int(self._now() + ttl.total_seconds())
        flags = (_ATTACHMENT if attachment else 0) | (_ON_RECORD if on_record else 0)
        payload = _PAYLOAD.pack(_VERSION, flags, link.bytes, tenant.bytes, call.bytes, expiry)
        token = base64.urlsafe_b64encode(payload + _sign(self._keys[0], payload)).decode()
        return MintedLink(token, link, datetime.fromtimestamp(expiry, UTC))

    def read(self, token: str) -> Grant:
        """Raises LinkSpent (altered, of a version or with a flag not known here)."""
        payload = self._verified(token)
        version, flags, link, tenant, call, expiry = _PAYLOAD.unpack(payload)
        if version != _VERSION or flags & ~_KNOWN_FLAGS:
            raise LinkSpent("link: made by another version of the gateway")
        return Grant(
            id=UUID(bytes=link),
            tenant=UUID(bytes=tenant),
            call=UUID(bytes=call),
            expiry=expiry,
            attachment=bool(flags & _ATTACHMENT),
            on_record=bool(flags & _ON_RECORD),
        )

    def left(self, grant: Grant) -> float:
        """Seconds until its time has run out."""
        return grant.expiry - self._now()

    def _verified(self, token: str) -> bytes:
        if _FORM.fullmatch(token) is None:
            raise LinkSpent("link: not of its form")
        signed = base64.urlsafe_b64decode(token)
        payload, mac = signed[:-_MAC], signed[-_MAC:]
        if not any(hmac.compare_digest(_sign(key, payload), mac) for key in self._keys):
            raise LinkSpent("link: signed by none of identity.link_keys, or altered")
        return payload


class LinkIdentity:
    """Proves links: what the token says, and where it is on record, what its row says."""

    def __init__(self, links: Links, credentials: Credentials) -> None:
        self._links = links
        self._credentials = credentials

    async def prove(self, token: str, address: str) -> Caller:
        """The holder of the link, asking from ``address``: a Caller bound to the one call it is good for.

        Raises LinkSpent; Lapsed with LinkExpired, LinkRevoked or LinkSpent (not from that address); Unavailable.
        """
        grant = self._links.read(token)
        if self._links.left(grant) <= 0:
            raise Lapsed(_holder(grant), LinkExpired(f"link {grant.id}"))
        if not grant.on_record:
            return _holder(grant)
        issued = await self._credentials.link(grant.id)
        if issued is None:
            raise LinkSpent(f"link {grant.id}: not on record")
        if (refusal := _refusal(issued, address)) is not None:
            raise Lapsed(_holder(grant), refusal)
        return _holder(grant, issued.max_uses)

    def standing(self, token: str) -> Standing | None:
        """None: it is on record, and its row is asked for each time."""
        grant = self._links.read(token)
        return None if grant.on_record else partial(self._links.left, grant)


def _holder(grant: Grant, max_uses: int | None = None) -> Caller:
    return Caller(
        tenant=grant.tenant,
        kind="link",
        subject=str(grant.id),
        credential=str(grant.id),
        method="link",
        scopes=SCOPES,
        call=grant.call,
        max_uses=max_uses,
    )


def _refusal(issued: IssuedLink, address: str) -> Refusal | None:
    if issued.revoked_at is not None:
        return LinkRevoked(f"link {issued.id}")
    if issued.network is not None and not _lies_in(address, issued.network):
        return LinkSpent(f"link {issued.id}: not good from there")
    return None


def _lies_in(address: str, network: IPv4Network | IPv6Network) -> bool:
    """False for what is no address, as a unix socket's peer."""
    try:
        return ip_address(address) in network
    except ValueError:
        return False


def _sign(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, _DOMAIN + payload, "sha256")
