"""A place in a listing as a word for clients: opaque, and good for the tenant it was given to alone."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from struct import Struct
from uuid import UUID

from ..errors import Malformed

_PLACE = Struct(">q16s")
_CHECK = 6
_LENGTH = (_PLACE.size + _CHECK) * 8 // 6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(tenant: UUID, created_at: datetime, id_: UUID) -> str:
    """40 characters, fit for a URL as they are."""
    place = _PLACE.pack((created_at - _EPOCH) // timedelta(microseconds=1), id_.bytes)
    return urlsafe_b64encode(place + _check(tenant, place)).decode()


def decode(tenant: UUID, cursor: str) -> tuple[datetime, UUID]:
    """Raises Malformed for whatever ``encode`` did not give this tenant.

    The check keeps mistakes out; it is no secret, and none is needed: every cursor leads to the tenant's own rows alone.
    """
    if len(cursor) != _LENGTH or not cursor.isascii():
        raise _malformed()
    try:
        raw = urlsafe_b64decode(cursor)
    except ValueError:
        raise _malformed() from None
    place, check = raw[: _PLACE.size], raw[_PLACE.size :]
    if urlsafe_b64encode(raw).decode() != cursor or check != _check(tenant, place):
        raise _malformed()
    microseconds, id_ = _PLACE.unpack(place)
    try:
        return _EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_)
    except OverflowError:
        raise _malformed() from None


def _check(tenant: UUID, place: bytes) -> bytes:
    return blake2b(place, digest_size=_CHECK, key=tenant.bytes).digest()


def _malformed() -> Malformed:
    return Malformed("query", "cursor", message="not a cursor of this listing")
