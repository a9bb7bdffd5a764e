"""A place in a listing, as an opaque token for clients: good only for the listing it was given for."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from struct import Struct
from uuid import UUID

from .errors import Malformed

_PLACE = Struct(">q16s")
_CHECK = 6
LENGTH = (_PLACE.size + _CHECK) * 8 // 6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def listing(tenant: UUID, *asked: object) -> bytes:
    """What a cursor is bound to: whose listing it is, of what, and by which filters. ``asked`` is told apart by repr."""
    return blake2b(repr(asked).encode("utf-8", "backslashreplace"), digest_size=32, key=tenant.bytes).digest()


def encode(of: bytes, at: datetime, id_: UUID) -> str:
    """40 characters, fit for a URL as they are. ``of`` is what ``listing`` gave."""
    place = _PLACE.pack((at - _EPOCH) // timedelta(microseconds=1), id_.bytes)
    return urlsafe_b64encode(place + _check(of, place)).decode()


def decode(of: bytes, cursor: str) -> tuple[datetime, UUID]:
    """Raises Malformed for whatever ``encode`` did not give for this very listing.

    The check catches mistakes; it is not a signature, and none is needed: any cursor only reaches the tenant's own rows.
    """
    if len(cursor) != LENGTH or not cursor.isascii():
        raise _malformed()
    try:
        raw = urlsafe_b64decode(cursor)
    except ValueError:
        raise _malformed() from None
    place, check = raw[: _PLACE.size], raw[_PLACE.size :]
    if urlsafe_b64encode(raw).decode() != cursor or check != _check(of, place):
        raise _malformed()
    microseconds, id_ = _PLACE.unpack(place)
    try:
        return _EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_)
    except OverflowError:
        raise _malformed() from None


def _check(of: bytes, place: bytes) -> bytes:
    return blake2b(place, digest_size=_CHECK, key=of).digest()


def _malformed() -> Malformed:
    return Malformed("query", "cursor", message="not a cursor of this listing, with these filters")
