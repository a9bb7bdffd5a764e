"""An S3 that says what it is told to, and the settings of a store that asks it."""

from collections.abc import Awaitable, Callable

from gateway.model import Span
from gateway.stores.s3 import S3

from .canned import answer

CANNED = {"kind": "s3", "bucket": "recordings", "access_key_id": "KEYID", "secret_access_key": "the-secret-itself"}
RIGHT = answer("206 Partial Content", b"01234", ETag='"v"', Content_Range="bytes 0-4/5")
FIVE = Span(0, 5)
HEAD = {"Content_Length": "5", "Last_Modified": "Fri, 20 Nov 2026 21:00:00 GMT", "Content_Type": "audio/wav"}

Open = Callable[..., Awaitable[S3]]


def error(status: str, code: str) -> bytes:
    return answer(status, f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>m</Message></Error>'.encode())
