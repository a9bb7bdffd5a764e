"""What S3's and aiobotocore's failures mean. Pure.

Their own words stay out of the messages: S3 quotes what was signed, and aiohttp the whole URL.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import ClientConnectorCertificateError, ClientConnectorError, ClientConnectorSSLError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)

from ..errors import NotFound, OriginFailed, OriginTimeout, Refusal, Unavailable
from .dial import distrust, kind
from .origin import Refused, is_outage

CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
STALE: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired"})
"""Error codes that come as a 400 and yet are about credentials."""
UNTIMELY: Final = re.compile(
    rb"<Code>RequestTimeTooSkewed</Code>|<Message>Request (has expired|is not valid yet)</Message>"
)
"""What S3 says of a time that is not its own: what is asked with here was signed a moment before."""
UNKNOWN_KEY: Final = "InvalidAccessKeyId"
ARCHIVED: Final = "InvalidObjectState"
NOT_FOUND: Final = 404
PRECONDITION_FAILED: Final = 412
NOT_IMPLEMENTED: Final = 501
DENIED: Final = frozenset({401, 403})
DOUBTFUL: Final = DENIED | {400}
"""Statuses that refused credentials come with; the answer to a HEAD tells no more."""


def status(error: Exception) -> int:
    """The HTTP status that aiobotocore's exception stands for; 0: none came."""
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"]) if isinstance(error, ClientError) else 0


def code(refused: Refused) -> str:
    """S3's own error code, where the body is S3's; else ``""``."""
    match = CODE.search(refused.body)
    return match[1].decode() if match else ""


def about_credentials(refused: Refused) -> bool:
    """Whether a fresh signature may help."""
    return refused.status in DENIED or code(refused) in STALE


def credentials_over(refused: Refused) -> bool:
    """Whether the credentials themselves were refused: what else they sign will be, too."""
    return code(refused) in STALE | {UNKNOWN_KEY}


def read_refused(where: str, bucket: str, refused: Refused) -> Refusal:
    """What a 4xx to a read means. Only S3 itself, saying NoSuchKey, makes it a 404."""
    told = code(refused)
    answer = f"{where}: answered {refused.status} {told or 'without an S3 error code'}"
    if refused.status == NOT_FOUND and told == "NoSuchKey":
        return NotFound(f"{where}: no such object")
    if refused.status == NOT_FOUND and told == "NoSuchBucket":
        return OriginFailed(f"{where}: bucket {bucket!r} does not exist")
    if refused.status == NOT_FOUND:
        return Unavailable(f"{answer}; is its endpoint right?")
    return OriginFailed(f"{answer}; {_mending(refused, told)}")


def _mending(refused: Refused, told: str) -> str:
    """What the operator is to look at."""
    if UNTIMELY.search(refused.body):
        return "check this machine's clock"
    if told == ARCHIVED:
        return "an object is archived: restore it, and keep recordings in a class that is read at once"
    if told.startswith("KMS."):
        return "check the KMS key that an object is encrypted with"
    if refused.status in DENIED:
        return "check its credentials and their right to s3:GetObject and s3:ListBucket"
    return "check its endpoint, region and addressing"


def call_failed(where: str, bucket: str, error: Exception) -> Refusal:
    """What an exception of an aiobotocore call means; a 404 here is the bucket's."""
    match error:
        case ClientError():
            return _answered(where, bucket, status(error))
        case ConnectTimeoutError():
            refusal: Refusal = Unavailable(f"{where}: no connection within connect_s")
        case ReadTimeoutError() | TimeoutError():
            refusal = OriginTimeout(f"{where}: no answer within first_byte_s")
        case SSLError(kwargs={"error": ClientConnectorCertificateError() as failed}):
            refusal = OriginFailed(f"{where}: {distrust(failed.host, failed.port, failed.certificate_error)}")
        case (
            SSLError(kwargs={"error": ClientConnectorSSLError() as failed})
            | EndpointConnectionError(kwargs={"error": ClientConnectorError() as failed})
        ):
            refusal = Unavailable(f"{where}: cannot connect to {failed.host}:{failed.port} ({kind(failed.os_error)})")
        case NoCredentialsError():
            refusal = Unavailable(f"{where}: no credentials found; set access_key_id, or give the instance a role")
        case ParamValidationError():
            refusal = OriginFailed(f"{where}: a key or the bucket's name is not of S3's form")
        case _:
            refusal = Unavailable(f"{where}: out of reach ({type(error).__name__})")
    return refusal


def _answered(where: str, bucket: str, answer: int) -> Refusal:
    if answer == NOT_FOUND:
        return OriginFailed(f"{where}: bucket {bucket!r} does not exist")
    if answer in DENIED:
        return OriginFailed(
            f"{where}: answered {answer}; check its credentials, their right to s3:ListBucket, and this machine's clock"
        )
    if is_outage(answer):
        return Unavailable(f"{where}: answered {answer}")
    return OriginFailed(f"{where}: answered {answer}; check its endpoint, region and addressing")
