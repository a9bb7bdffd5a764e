"""Objects in an S3 bucket, or behind any endpoint that speaks S3.

aiobotocore signs, stats and finds credentials; it reads no body. A presigned URL covers neither Range nor If-Match, so
one of them, kept for ``sign_reuse_s``, serves every range of its object through the shared ranged reader.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import OrderedDict
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader, create_loader
from pydantic import SecretStr

from ..config import ConfigError, Origin, S3Store
from ..errors import Changed, NotFound, OriginFailed, Refusal, Unavailable
from ..model import Link, Span, Stat
from .answer import UNCODED, Pin
from .body import Body
from .dial import client_context
from .origin import Reader, Refused, unfit
from .s3_credentials import InstanceCredentials
from .s3_errors import (
    DENIED,
    DOUBTFUL,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    about_credentials,
    call_failed,
    credentials_over,
    read_refused,
    status,
)
from .short import Short, Told
from .target import Target

if TYPE_CHECKING:
    from aiobotocore.session import ClientCreatorContext
    from types_aiobotocore_s3 import S3Client

LONGEST_LINK: Final = timedelta(days=7)
"""SigV4 knows no longer one."""
TARGETS_KEPT: Final = 10_000
SLACK_S: Final = 60
"""Seconds a read URL outlives its use, for requests on their way and clocks that differ."""
BUCKET_BELIEVED_S: Final = 30.0
CONNECTIONS: Final = 50
"""For metadata; bodies have their own."""
STRONG: Final = re.compile(r'"[\x21\x23-\x7e]+"')
FAILURES: Final = (BotoCoreError, ClientError, TimeoutError)


class S3:
    """A Store. A version is an object's ETag. ``credentials`` None: they are the settings' own."""

    def __init__(
        self,
        name: str,
        settings: S3Store,
        origin: Origin,
        *,
        client: S3Client,
        signer: S3Client,
        credentials: InstanceCredentials | None,
        lifetimes: AsyncExitStack,
    ) -> None:
        self._where = f"store {name}"
        self._bucket = settings.bucket
        self._origin = origin
        self._client = client
        self._signer = signer
        self._credentials = credentials
        self._lifetimes = lifetimes
        self._reader = Reader(name, origin)
        self._kept: OrderedDict[tuple[str, str], tuple[Target, float]] = OrderedDict()
        """(key, version) → how to read it, and until when."""
        self.counts = self._reader.counts
        self._bucket_seen = float("-inf")

    @classmethod
    async def connect(cls, name: str, settings: S3Store, origin: Origin) -> S3:
        """The store, for the loop this runs in; nobody is asked yet. Raises ConfigError: of AWS's own settings."""
        session = AioSession()
        lifetimes = AsyncExitStack()
        try:
            session.register_component("data_loader", _models(session.get_config_variable("data_path")))
            credentials = InstanceCredentials.install(session) if settings.access_key_id is None else None
            client = await lifetimes.enter_async_context(_client(session, settings, origin, settings.endpoint))
            client.meta.events.register_last("before-endpoint-resolution.s3", _stay)
            signer = client
            if settings.public_endpoint is not None:
                signer = await lifetimes.enter_async_context(
                    _client(session, settings, origin, settings.public_endpoint)
                )
        except BaseException as error:
            await lifetimes.aclose()
            if isinstance(error, BotoCoreError):  # it reads them as the client is made
                problem = f"stores.{name}: {error}; mend or unset it, in AWS_* variables or in ~/.aws/config"
                raise ConfigError([problem]) from None
            raise
        if credentials is not None:
            lifetimes.push_async_callback(credentials.close)
        return cls(name, settings, origin, client=client, signer=signer, credentials=credentials, lifetimes=lifetimes)

    def unfit(self, key: str) -> str | None:
        return unfit(key)

    async def stat(self, key: str) -> Stat:
        self._refuse_impossible(key)
        try:
            async with asyncio.timeout(self._origin.first_byte_s):
                head = await self._client.head_object(Bucket=self._bucket, Key=key)
        except FAILURES as error:
            if status(error) == NOT_FOUND:
                await self._bucket_stands()
                raise NotFound(f"{self._where}: no such object") from None
            raise self._failed(error) from None
        except (ValueError, RuntimeError):  # botocore's parser, at a date or a number that is none
            raise OriginFailed(f"{self._where}: answered metadata that cannot be read; check its endpoint") from None
        if head.get("ContentEncoding", "").lower() not in UNCODED:
            raise OriginFailed(
                f"{self._where}: an object is stored with Content-Encoding {head['ContentEncoding']!r}, so it has no"
                " byte ranges of its audio; store it without"
            )
        if not STRONG.fullmatch(head.get("ETag", "")):
            raise OriginFailed(f"{self._where}: an object has no strong ETag to pin reads to")
        try:
            return Stat(
                size=head["ContentLength"],
                etag=head["ETag"],
                version=head["ETag"],
                modified=head["LastModified"].astimezone(UTC),
                media_type=head.get("ContentType"),
            )
        except (KeyError, OverflowError):
            raise OriginFailed(f"{self._where}: answered metadata without size or time") from None

    async def open(self, key: str, span: Span, version: str) -> Body:
        try:
            try:
                return await self._reader.get(self._target(key, version) or await self._new_target(key, version), span)
            except Refused as error:
                refused = error
            return await self._again(key, span, version, refused)
        except (Refusal, Changed) as error:
            self.counts.refused(error)
            raise

    def prompt(self, key: str, version: str) -> Target | None:
        target = self._target(key, version)
        return target if target is not None and target.pool.kept else None

    def begin(self, target: Target, span: Span, told: Told) -> Short:
        return self._reader.begin(target, span, told)

    async def _again(self, key: str, span: Span, version: str, refused: Refused) -> Body:
        """Once more, where other credentials may help. Raises what the refusal means."""
        if about_credentials(refused):
            self._kept.pop((key, version), None)
            if self._credentials is not None and credentials_over(refused):
                await self._credentials.replace(self._origin.first_byte_s)
            try:
                return await self._reader.get(await self._new_target(key, version), span)
            except Refused as error:
                refused = error
        raise await self._meant(refused)

    async def sign(self, key: str, ttl: timedelta, *, media_type: str, disposition: str | None) -> Link | None:
        """As Store.sign; ``expires_at`` tells of credentials that end sooner, where it is known that they do."""
        params = {"Bucket": self._bucket, "Key": key, "ResponseContentType": media_type}
        if disposition is not None:
            params["ResponseContentDisposition"] = disposition
        seconds = int(min(ttl, LONGEST_LINK, await self._credentials_left()).total_seconds())
        if seconds < 1:
            raise Unavailable(f"{self._where}: a link would end before it could be used")
        url = await self._presign(self._signer, params, seconds)
        told = parse_qs(urlsplit(url).query)
        signed_at = datetime.strptime(told["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return Link(url, signed_at + timedelta(seconds=int(told["X-Amz-Expires"][0])))

    async def delete(self, key: str, version: str) -> None:
        """As Store.delete. In a bucket that keeps versions S3 puts a marker before this one: its own rules end it."""
        try:
            stat = await self.stat(key)
        except NotFound:
            return
        if stat.version != version:
            raise Changed(f"{self._where}: the object is another than it was")
        if not await self._delete(key, version):
            # A server without conditional deletion: what it said a moment ago has to do.
            await self._delete(key, None)

    async def check(self) -> None:
        try:
            async with asyncio.timeout(self._origin.first_byte_s):
                await self._client.head_bucket(Bucket=self._bucket)
        except FAILURES as error:
            raise Unavailable(self._failed(error).detail) from None

    async def close(self) -> None:
        await self._reader.close()
        await self._lifetimes.aclose()

    async def _delete(self, key: str, version: str | None) -> bool:
        """False: the server knows no such condition, and has deleted nothing."""
        condition: dict[str, Any] = {} if version is None else {"IfMatch": version}
        try:
            async with asyncio.timeout(self._origin.first_byte_s):
                await self._client.delete_object(Bucket=self._bucket, Key=key, **condition)
        except FAILURES as error:
            answer = status(error)
            if answer == PRECONDITION_FAILED:
                raise Changed(f"{self._where}: the object is another than it was") from None
            if answer == NOT_IMPLEMENTED and condition:
                return False
            if answer in DENIED:
                raise OriginFailed(
                    f"{self._where}: answered {answer}; check its credentials and their right to s3:DeleteObject"
                ) from None
            if answer == NOT_FOUND:
                await self._bucket_stands()
                return True
            raise self._failed(error) from None
        return True

    async def _meant(self, refused: Refused) -> Refusal:
        refusal = read_refused(self._where, self._bucket, refused)
        if isinstance(refusal, NotFound) and time.monotonic() - self._bucket_seen >= BUCKET_BELIEVED_S:
            try:
                await self._bucket_stands()  # asked with If-Match, some servers say NoSuchKey of a missing bucket, too
            except Refusal as worse:
                return worse
        return refusal

    def _target(self, key: str, version: str) -> Target | None:
        """As it is kept; None: it isn't, or no more."""
        kept = self._kept.get((key, version))
        if kept is None or kept[1] <= time.monotonic():
            return None
        self._kept.move_to_end((key, version))
        return kept[0]

    async def _new_target(self, key: str, version: str) -> Target:
        now = time.monotonic()
        self._refuse_impossible(key)
        self._refuse_unpinnable(version)
        left = (await self._credentials_left()).total_seconds()
        use = int(min(self._origin.sign_reuse_s, left - SLACK_S))
        url = await self._presign(self._client, {"Bucket": self._bucket, "Key": key}, max(use, 0) + SLACK_S)
        target = self._reader.target(url, {"If-Match": version}, Pin("ETag", version))
        self._kept[key, version] = target, now + use
        self._kept.move_to_end((key, version))
        if len(self._kept) > TARGETS_KEPT:
            self._kept.popitem(last=False)
        return target

    async def _presign(self, client: S3Client, params: dict[str, str], seconds: int) -> str:
        try:
            return await client.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)
        except FAILURES as error:
            raise self._failed(error) from None

    async def _credentials_left(self) -> timedelta:
        """How long a signature made now can live. When a session token given as a setting ends, nothing tells."""
        if self._credentials is None:
            return LONGEST_LINK
        try:
            async with asyncio.timeout(self._origin.first_byte_s):
                await self._credentials.get_frozen_credentials()
        except FAILURES as error:
            raise self._failed(error) from None
        ends = self._credentials.ends()
        return LONGEST_LINK if ends is None else ends - datetime.now(UTC)

    async def _bucket_stands(self) -> None:
        """Raises OriginFailed where it is the bucket that is missing: that is no 404 of an object.

        A HEAD is answered without a word whose 404 it is, so after one the bucket is asked for each time.
        """
        try:
            async with asyncio.timeout(self._origin.first_byte_s):
                await self._client.head_bucket(Bucket=self._bucket)
        except FAILURES as error:
            if status(error) not in DENIED:  # denied: it is there, and these credentials may not list it
                raise self._failed(error) from None
        self._bucket_seen = time.monotonic()

    def _refuse_impossible(self, key: str) -> None:
        if self.unfit(key) is not None:
            raise NotFound(f"{self._where}: no object can have this key")

    def _refuse_unpinnable(self, version: str) -> None:
        if not STRONG.fullmatch(version):
            raise Changed(f"{self._where}: the version is no strong ETag")

    def _failed(self, error: Exception) -> Refusal:
        if self._credentials is not None and status(error) in DOUBTFUL:
            self._credentials.doubt()
        return call_failed(self._where, self._bucket, error)


@cache
def _models(path: str | None) -> Loader:
    """What AWS' services are like, from ``path`` beside botocore's own: megabytes of JSON, read once for all stores."""
    return create_loader(path)


def _client(
    session: AioSession, settings: S3Store, origin: Origin, endpoint: str | None
) -> ClientCreatorContext[S3Client]:
    style = settings.addressing
    if style == "auto":
        # Named outright: botocore's own "auto" signs URLs for AWS's global endpoint, which redirects other regions.
        style = "virtual" if endpoint is None else "path"
    return session.create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=endpoint,
        aws_access_key_id=_open(settings.access_key_id),
        aws_secret_access_key=_open(settings.secret_access_key),
        aws_session_token=_open(settings.session_token),
        config=AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": style, "us_east_1_regional_endpoint": "regional"},
            connect_timeout=origin.connect_s,
            read_timeout=origin.first_byte_s,
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=CONNECTIONS,
            http_session_cls=_Session,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",  # else a checksum header is signed into every read URL
        ),
    )


class _Session(AIOHTTPSession):
    """Answers as the endpoint did, and not as what it redirects to: reads don't follow, nor is anything deleted there."""

    def _build_verify_context(self) -> ssl.SSLContext:
        """As reads trust, and not by the bundle that botocore brings along; one that AWS's own settings name is kept to."""
        if self._verify is True:  # type: ignore[attr-defined]  # its stubs leave both out
            return client_context()
        return super()._build_verify_context()  # type: ignore[misc, no-any-return]

    async def send(self, request: Any) -> Any:  # botocore's own kinds, which its stubs name otherwise
        answered: Any = await super().send(request)
        if answered.raw.history:
            answered.status_code = answered.raw.history[0].status
        return answered


def _stay(context: dict[str, Any], **_: object) -> None:  # botocore's own bag of things
    """Keeps aiobotocore from following a redirect to another region: reads don't, and a bad server leads it in circles."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _open(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
