"""Objects in a Google Cloud Storage bucket, by its JSON API.

gcloud-aio-storage asks for metadata, holds the token and signs; bodies come through the shared ranged reader, pinned
to their generation.
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qs, quote, urlsplit

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    DummyCookieJar,
    TCPConnector,
)
from gcloud.aio.auth import Token
from gcloud.aio.storage import Storage
from yarl import URL

from ..config import GcsStore, Origin
from ..errors import Changed, NotFound, OriginFailed, OriginTimeout, Refusal, Unavailable
from ..model import Link, Source, Span, Stat
from . import gcs_key
from .origin import UNCODED, Pin, Reader, Refused

GOOGLE: Final = "https://storage.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
LONGEST_LINK: Final = timedelta(days=7)
"""V4 signatures know no longer one."""
LONGEST_KEY: Final = 1024
"""Bytes of UTF-8."""

T = TypeVar("T")


class Gcs:
    """A Store. A version is an object's generation."""

    def __init__(self, name: str, settings: GcsStore, origin: Origin, *, google: str = GOOGLE) -> None:
        """Made inside the loop that uses it; asks nobody yet. Raises ConfigError: the key file is none."""
        self._name = name
        self._bucket = settings.bucket
        self._origin = origin
        self._emulated = settings.endpoint is not None
        self._base = settings.endpoint or google
        file = None if self._emulated else settings.service_account_file
        self._blob = gcs_key.signer(name, file) if file is not None else None
        self._session = ClientSession(connector=TCPConnector(limit=50), cookie_jar=DummyCookieJar())
        self._token = Token(
            service_file=io.StringIO("{}") if self._emulated else (None if file is None else str(file)),
            session=self._session,
            scopes=[SCOPE],
        )
        self._storage = Storage(
            token=self._token,
            session=cast("ClientSession", _AsWritten(self._session)),
            api_root=self._base,
            api_is_dev=self._emulated,
        )
        self._reader = Reader(name, origin)

    async def stat(self, key: str) -> Stat:
        if not _possible(key):
            raise NotFound(f"store {self._name}: no object can have this key")
        await self._bearer()
        try:
            told = await self._within(self._storage.download_metadata(self._bucket, key, timeout=self._patience))
        except ClientResponseError as error:
            if error.status == 404:  # noqa: PLR2004 - a status code is its own name
                await self._list()
                raise NotFound(f"store {self._name}: no such object") from None
            raise self._refusal(error) from None
        except (ClientError, OSError, ValueError) as error:
            raise self._refusal(error) from None
        if str(told.get("contentEncoding", "")).lower() not in UNCODED:
            raise OriginFailed(
                f"store {self._name}: an object is stored with Content-Encoding {told['contentEncoding']!r}, which has"
                " no byte ranges of its audio; store it without"
            )
        try:
            generation = str(int(told["generation"]))
            return Stat(
                size=int(told["size"]),
                etag=f'"{generation}"',
                version=generation,
                modified=datetime.fromisoformat(told["timeCreated"]).astimezone(UTC),
                media_type=told.get("contentType"),
            )
        except (KeyError, TypeError, ValueError):
            raise OriginFailed(f"store {self._name}: answered metadata without size, generation or time") from None

    async def open(self, key: str, span: Span, version: str) -> Source:
        if not _possible(key):
            raise NotFound(f"store {self._name}: no object can have this key")
        url = (
            f"{self._base}/storage/v1/b/{quote(self._bucket, safe='')}/o/{quote(key, safe='')}"
            f"?alt=media&generation={quote(version, safe='')}"
        )
        pin = Pin("X-Goog-Generation", version, required=not self._emulated)
        try:
            return await self._reader.get(url, await self._bearer(), span, pin)
        except Refused as error:
            refused = error
        if refused.status == 401 and not self._emulated:  # noqa: PLR2004
            self._token.access_token = None  # taken back before its time; the next one is fetched anew
            try:
                return await self._reader.get(url, await self._bearer(), span, pin)
            except Refused as error:
                refused = error
        if refused.status == 404:  # noqa: PLR2004
            raise await self._missing(key, version)
        raise self._answered(refused.status)

    async def sign(self, key: str, ttl: timedelta, *, media_type: str, disposition: str | None) -> Link | None:
        if self._blob is None:
            return None
        params = {"response-content-type": media_type}
        if disposition is not None:
            params["response-content-disposition"] = disposition
        seconds = int(min(ttl, LONGEST_LINK).total_seconds())
        if seconds < 1:
            raise Unavailable(f"store {self._name}: a link cannot live less than a second")
        blob = self._blob(self._storage.get_bucket(self._bucket), key, {"size": 0})
        url = await blob.get_signed_url(seconds, query_params=params, token=self._token)
        told = parse_qs(urlsplit(url).query)
        signed_at = datetime.strptime(told["X-Goog-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return Link(url, signed_at + timedelta(seconds=int(told["X-Goog-Expires"][0])))

    async def check(self) -> None:
        try:
            await self._list()
        except Refusal as refusal:
            raise Unavailable(refusal.detail) from None

    async def close(self) -> None:
        await self._reader.close()
        renewal = self._token.acquiring
        if renewal is not None and not renewal.done():
            renewal.cancel()
            await asyncio.wait([renewal])
        await self._session.close()

    @property
    def _patience(self) -> int:
        return math.ceil(self._origin.first_byte_s)

    async def _bearer(self) -> dict[str, str]:
        """The header that authorises; renewed ahead of its expiry beside the requests that notice."""
        if self._emulated:
            return {}
        try:
            # Shielded: the fetch is shared, and one caller's end must not cancel the others'.
            token = await self._within(asyncio.shield(self._token.get()))
        except ClientResponseError as error:
            if error.status in {400, 401, 403}:
                raise OriginFailed(
                    f"store {self._name}: Google gives no token ({error.status}); check the service account"
                ) from None
            raise Unavailable(f"store {self._name}: no token to be had ({error.status})") from None
        except (ClientError, OSError, KeyError, ValueError) as error:
            raise Unavailable(f"store {self._name}: no token to be had ({type(error).__name__})") from None
        return {"Authorization": f"Bearer {token}"}

    async def _missing(self, key: str, version: str) -> Exception:
        """What a 404 for one generation means: another one is there now, or none is."""
        try:
            stat = await self.stat(key)
        except Refusal as refusal:
            return refusal
        if stat.version != version:
            return Changed(f"store {self._name}: generation {version} is no longer there")
        return Unavailable(f"store {self._name}: answered 404 for a generation that it says is there")

    async def _list(self) -> None:
        """The least that needs the bucket and the right to it. Raises OriginFailed, OriginTimeout, Unavailable."""
        await self._bearer()
        try:
            await self._within(
                self._storage.list_objects(self._bucket, params={"maxResults": "1"}, timeout=self._patience)
            )
        except (ClientError, OSError, ValueError) as error:
            raise self._refusal(error) from None

    async def _within(self, asking: Awaitable[T]) -> T:
        async with asyncio.timeout(self._origin.first_byte_s):
            return await asking

    def _answered(self, status: int) -> Refusal:
        where = f"store {self._name}"
        if status == 404:  # noqa: PLR2004
            return OriginFailed(f"{where}: bucket {self._bucket!r} does not exist")
        if status in {401, 403}:
            return OriginFailed(f"{where}: answered {status}; give its account the role Storage Object Viewer")
        if status == 429 or status >= 500:  # noqa: PLR2004
            return Unavailable(f"{where}: answered {status}")
        return OriginFailed(f"{where}: answered {status}; check its bucket and endpoint")

    def _refusal(self, error: Exception) -> Refusal:
        where = f"store {self._name}"
        match error:
            case ClientResponseError():
                return self._answered(error.status)
            case ClientConnectorError():
                return Unavailable(f"{where}: cannot connect to {error.host}:{error.port}")
            case TimeoutError():
                return OriginTimeout(f"{where}: no answer within first_byte_s ({self._origin.first_byte_s:g} s)")
            case ValueError():
                return OriginFailed(f"{where}: answered metadata that is not JSON")
            case _:
                return Unavailable(f"{where}: connection failed ({type(error).__name__})")


class _AsWritten:
    """The part of a ClientSession that Storage reads with, sending URLs as they are written.

    Google wants ``!'()*:;=`` and the like encoded in an object's name; aiohttp, given a str, would decode them again.
    """

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def get(self, url: str, **how: Any) -> ClientResponse:  # passed on unread
        return await self._session.get(URL(url, encoded=True), **how)


def _possible(key: str) -> bool:
    """Whether Google lets an object have this name; ``.`` and ``..`` would also be another URL."""
    try:
        return 0 < len(key.encode()) <= LONGEST_KEY and key not in {".", ".."} and not set("\r\n") & set(key)
    except UnicodeEncodeError:
        return False
