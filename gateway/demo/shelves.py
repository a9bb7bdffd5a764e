"""Puts objects where the gateway will read them: an S3 bucket, a folder."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from .seaweed import S3

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


class Shelf(Protocol):
    """A store's writing side."""

    async def put(self, key: str, content: bytes | Path, media_type: str) -> None: ...


class Bucket:
    """An S3 bucket, made where there is none."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @classmethod
    @asynccontextmanager
    async def open(cls, s3: S3) -> AsyncIterator[Bucket]:
        config = AioConfig(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        async with get_session().create_client(
            "s3",
            endpoint_url=s3.endpoint,
            region_name="us-east-1",
            aws_access_key_id=s3.access_key_id,
            aws_secret_access_key=s3.secret_access_key,
            config=config,
        ) as client:
            with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                await client.create_bucket(Bucket=s3.bucket)
            yield cls(client, s3.bucket)

    async def put(self, key: str, content: bytes | Path, media_type: str) -> None:
        if isinstance(content, bytes):
            await self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=media_type)
            return
        with content.open("rb") as file:
            await self._client.put_object(Bucket=self._bucket, Key=key, Body=file, ContentType=media_type)


class Folder:
    """A folder that a disk store serves."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, content: bytes | Path, media_type: str) -> None:  # noqa: ARG002  a file has no type
        await asyncio.to_thread(_write, self._root / key, content)


def _write(path: Path, content: bytes | Path) -> None:
    """In place whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    if isinstance(content, bytes):
        fresh.write_bytes(content)
    else:
        shutil.copyfile(content, fresh)
    fresh.replace(path)
