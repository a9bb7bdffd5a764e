"""Objects in a Google Cloud Storage bucket, by its JSON API.

gcloud-aio-storage asks for metadata, holds the token and signs; bodies come through the shared ranged reader, pinned
to their generation.
"""

from __future__ import annotations

import asyncio
import io
import math
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qs, quote, urlsplit

from aiohttp import (
    ClientConnectorCertificateError,
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
from ..model import Link, Span, Stat
from . import gcs_key
from .answer import UNCODED, Pin
from .body import Body
from .dial import distrust, kind
from .gcs_token import Bearer
from .origin import Reader, Refused, is_outage, jittered, unfit
from .short import Short, Told
from .target import Target

GOOGLE: Final = "https://storage.googleapis.com"
LONGEST_LINK: Final = timedelta(days=7)
"""V4 signatures know no longer one."""
TARGETS_KEPT: Final = 10_000
NO_HEADER: Final[dict[str, str]] = {}
CONNECTIONS: Final = 50
"""For metadata; bodies have their own."""
ELSEWHERE: Final = 300
"""The least status of a redirect."""
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
PRECONDITION_FAILED: Final = 412
LIMITED: Final = re.compile(r'"(r|userR)ateLimitExceeded"')
"""Reasons with which Google's 403 means what a 429 does."""
VIEWER: Final = "Storage Object Viewer"
DELETER: Final = "Storage Object User"
"""Roles of Google's that have the right to read, and to delete as well."""

T = TypeVar("T")


class Gcs:
    """A Store. A version is an object's generation."""

    def __init__(self, name: str, settings: GcsStore, origin: Origin, *, google: str = GOOGLE) -> None:
        """Made inside the loop that uses it; asks nobody yet. Raises ConfigError: its credentials are none."""
        self._where = f"store {name}"
        self._bucket = settings.bucket
        self._origin = origin
        self._base = settings.endpoint or google
        emulated = settings.endpoint is not None
        file = None if emulated else settings.service_account_file
        self._account = None if file is None else gcs_key.read(name, file)
        self._blob = None if self._account is None else self._account.signer()
        self._bearer = None if emulated else Bearer(name, file, origin.first_byte_s, self._account)
        self._session = ClientSession(connector=TCPConnector(limit=CONNECTIONS), cookie_jar=DummyCookieJar())
        self._storage = Storage(
            token=_no_token() if self._bearer is None else self._bearer.token,
            # Its types name requests' Session wherever that is installed.
            session=cast("Any", _AsWritten(self._session)),
            api_root=self._base,
            api_is_dev=emulated,
        )
        self._reader = Reader(name, origin)
        self.counts = self._reader.counts
        self._kept: OrderedDict[tuple[str, str], tuple[Target, dict[str, str]]] = OrderedDict()
        """(key, generation) → how to read it, and with what authority."""

    def unfit(self, key: str) -> str | None:
        if key in {".", ".."}:  # they would also be another URL
            return "it is . or .."
        return "a line end in the key" if set("\r\n") & set(key) else unfit(key)

    async def stat(self, key: str) -> Stat:
        if self.unfit(key) is not None:
            raise NotFound(f"{self._where}: no object can have this key")
        patience = math.ceil(self._origin.first_byte_s)
        try:
            told = await self._ask(lambda: self._storage.download_metadata(self._bucket, key, timeout=patience))
        except OriginFailed as failed:
            if not isinstance(failed, _Missing):
                raise
            await self._list()
            raise NotFound(f"{self._where}: no such object") from None
        try:
            coding = str(told.get("contentEncoding", ""))
        except AttributeError:
            raise OriginFailed(f"{self._where}: answered metadata that is no object's; check its endpoint") from None
        if coding.lower() not in UNCODED:
            raise OriginFailed(
                f"{self._where}: an object is stored with Content-Encoding {coding!r}, which has"
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
        except (KeyError, TypeError, ValueError, OverflowError):
            raise OriginFailed(f"{self._where}: answered metadata without size, generation or time") from None

    async def open(self, key: str, span: Span, version: str) -> Body:
        try:
            target, header = await self._target(key, version)
            try:
                return await self._reader.get(target, span)
            except Refused as error:
                refused = error
            return await self._again(key, span, version, header, refused)
        except (Refusal, Changed) as error:
            self.counts.refused(error)
            raise

    def prompt(self, key: str, version: str) -> Target | None:
        target = self._known(key, version)
        return target if target is not None and target.pool.kept else None

    def begin(self, target: Target, span: Span, told: Told) -> Short:
        return self._reader.begin(target, span, told)

    async def _again(self, key: str, span: Span, version: str, header: dict[str, str], refused: Refused) -> Body:
        """Once more, where another token than ``header``'s may help. Raises what the refusal means."""
        if refused.status == UNAUTHORIZED and self._bearer is not None and self._bearer.drop(header):
            target, _ = await self._target(key, version)
            try:
                return await self._reader.get(target, span)
            except Refused as error:
                refused = error
        raise await self._meant(refused, key, version)

    async def sign(self, key: str, ttl: timedelta, *, media_type: str, disposition: str | None) -> Link | None:
        if self._blob is None:
            return None
        params = {"response-content-type": media_type}
        if disposition is not None:
            params["response-content-disposition"] = disposition
        seconds = int(min(ttl, LONGEST_LINK).total_seconds())
        if seconds < 1:
            raise Unavailable(f"{self._where}: a link cannot live less than a second")
        blob = self._blob(self._storage.get_bucket(self._bucket), key, {"size": 0})
        # Of a token it wants what the account says of itself.
        url = await blob.get_signed_url(seconds, query_params=params, token=cast("Any", self._account))
        told = parse_qs(urlsplit(url).query)
        signed_at = datetime.strptime(told["X-Goog-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return Link(url, signed_at + timedelta(seconds=int(told["X-Goog-Expires"][0])))

    async def delete(self, key: str, version: str) -> None:
        """As Store.delete. A bucket that keeps versions, or soft-deletes, ends this one by its own rules."""
        if self.unfit(key) is not None:
            return
        only = {"ifGenerationMatch": version}
        patience = math.ceil(self._origin.first_byte_s)
        try:
            await self._ask(lambda: self._storage.delete(self._bucket, key, params=only, timeout=patience), DELETER)
        except _Missing:
            await self._list()  # raises where it is the bucket that is missing
        except Changed:
            # Of no object at all the condition is false as well.
            try:
                await self.stat(key)
            except NotFound:
                return
            raise

    async def check(self) -> None:
        try:
            await self._list()
        except Refusal as refusal:
            raise Unavailable(refusal.detail) from None

    async def close(self) -> None:
        await self._reader.close()
        if self._bearer is not None:
            await self._bearer.close()
        await self._session.close()

    async def _header(self) -> dict[str, str]:
        if self._bearer is None:
            return NO_HEADER
        return self._bearer.fresh() or await self._bearer.header()

    def _known(self, key: str, version: str) -> Target | None:
        """How to read it now, as far as that needs no asking."""
        kept = self._kept.get((key, version))
        header = NO_HEADER if self._bearer is None else self._bearer.fresh()
        return kept[0] if kept is not None and kept[1] is header else None

    async def _target(self, key: str, version: str) -> tuple[Target, dict[str, str]]:
        """How to read it now, and with what authority."""
        header = await self._header()
        kept = self._kept.get((key, version))
        if kept is not None and kept[1] is header:
            self._kept.move_to_end((key, version))
            return kept
        if self.unfit(key) is not None:
            raise NotFound(f"{self._where}: no object can have this key")
        url = (
            f"{self._base}/storage/v1/b/{quote(self._bucket, safe='')}/o/{quote(key, safe='')}"
            f"?alt=media&generation={quote(version, safe='')}"
        )
        pin = Pin("X-Goog-Generation", version, required=self._bearer is not None)
        made = self._reader.target(url, header, pin), header
        self._kept[key, version] = made
        self._kept.move_to_end((key, version))
        if len(self._kept) > TARGETS_KEPT:
            self._kept.popitem(last=False)
        return made

    async def _meant(self, refused: Refused, key: str, version: str) -> Refusal | Changed:
        if refused.status == NOT_FOUND:
            return await self._gone(key, version)
        return self._answered(refused.status, told=refused.body.decode(errors="replace"))

    async def _gone(self, key: str, version: str) -> Refusal | Changed:
        """What a 404 for one generation means: another one is there now, or none is."""
        try:
            stat = await self.stat(key)
        except Refusal as refusal:
            return refusal
        if stat.version != version:
            return Changed(f"{self._where}: generation {version} is no longer there")
        return Unavailable(f"{self._where}: answered 404 for a generation that it says is there")

    async def _list(self) -> None:
        """Asks for one name in the bucket: fails where the bucket is missing or may not be read."""
        patience = math.ceil(self._origin.first_byte_s)
        await self._ask(lambda: self._storage.list_objects(self._bucket, params={"maxResults": "1"}, timeout=patience))

    async def _ask(self, call: Callable[[], Awaitable[T]], role: str = VIEWER) -> T:
        """What ``call`` answers, asked twice where that may help. ``role`` has the right to it. Raises a Refusal, Changed."""
        try:
            return await self._ask_once(call, role)
        except _Stale as stale:
            if self._bearer is None or not self._bearer.drop(stale.header):
                raise
        except Unavailable:
            await asyncio.sleep(jittered(1))
        return await self._ask_once(call, role)

    async def _ask_once(self, call: Callable[[], Awaitable[T]], role: str) -> T:
        header = await self._header()  # renewed here, where a cancelled caller cancels nobody else
        try:
            async with asyncio.timeout(self._origin.first_byte_s):
                return await call()
        except ClientResponseError as error:
            if error.status == PRECONDITION_FAILED:
                raise Changed(f"{self._where}: the object is another than it was") from None
            refusal = self._answered(error.status, header, role, told=error.message)
        except ClientConnectorCertificateError as error:
            refusal = OriginFailed(f"{self._where}: {distrust(error.host, error.port, error.certificate_error)}")
        except ClientConnectorError as error:
            refusal = Unavailable(
                f"{self._where}: cannot connect to {error.host}:{error.port} ({kind(error.os_error)})"
            )
        except TimeoutError:
            refusal = OriginTimeout(f"{self._where}: no answer within first_byte_s ({self._origin.first_byte_s:g} s)")
        except (ClientError, OSError) as error:
            refusal = Unavailable(f"{self._where}: connection failed ({type(error).__name__})")
        except ValueError:
            refusal = OriginFailed(f"{self._where}: answered metadata that is not JSON; check its endpoint")
        raise refusal from None

    def _answered(self, status: int, header: dict[str, str] | None = None, role: str = VIEWER, *, told: str) -> Refusal:
        """``told`` is what came with it, and stays out of the message."""
        if status == NOT_FOUND:
            return _Missing(f"{self._where}: bucket {self._bucket!r} does not exist")
        if status == UNAUTHORIZED:
            return _Stale(f"{self._where}: answered 401; check its service account", header or {})
        if status == FORBIDDEN and LIMITED.search(told):
            return Unavailable(f"{self._where}: answered 403, for it was asked too often")
        if status == FORBIDDEN:
            return OriginFailed(f"{self._where}: answered 403; give its account the role {role}")
        if is_outage(status):
            return Unavailable(f"{self._where}: answered {status}")
        return OriginFailed(f"{self._where}: answered {status}; check its bucket and endpoint")


class _Missing(OriginFailed):
    """A 404: of the bucket, unless an object was asked for."""


class _Stale(OriginFailed):
    """A 401, and the header that it is for."""

    def __init__(self, detail: str, header: dict[str, str]) -> None:
        super().__init__(detail)
        self.header = header


class _AsWritten:
    """The part of a ClientSession that Storage uses, sending URLs as they are written.

    Google wants ``!'()*:;=`` and the like encoded in an object's name; aiohttp, given a str, would decode them again.
    """

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def get(self, url: str, **how: Any) -> ClientResponse:  # passed on unread
        return _here(await self._session.get(URL(url, encoded=True), allow_redirects=False, **how))

    async def delete(self, url: str, **how: Any) -> ClientResponse:  # passed on unread
        return _here(await self._session.delete(URL(url, encoded=True), allow_redirects=False, **how))


def _here(answered: ClientResponse) -> ClientResponse:
    """What gcloud-aio takes for done although it points elsewhere is refused. Raises ClientResponseError."""
    if answered.status >= ELSEWHERE and answered.ok:
        answered.release()
        raise ClientResponseError(answered.request_info, answered.history, status=answered.status)
    return answered


def _no_token() -> Token:
    """What an emulator is asked with. Storage wants one, and left alone looks for the instance's own identity."""
    return Token(service_file=io.StringIO("{}"))
