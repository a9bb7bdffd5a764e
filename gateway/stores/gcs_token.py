"""The access token that Google's API wants, shared by all requests and renewed ahead of its expiry."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import ClientResponseError
from gcloud.aio.auth import Token
from gcloud.aio.auth.token import TokenResponse

from ..config import ConfigError
from ..errors import OriginFailed, Unavailable
from .gcs_key import Account, private_key

NAMED: Final = "GOOGLE_APPLICATION_CREDENTIALS"
SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
"""Reading, and deleting what is past its retention. What the account itself may do bounds it further."""

RETRY_S: Final = 15.0
"""Seconds between fresh tokens for refused ones at least."""

_REFUSED: Final = frozenset({400, 401, 403})
"""What asking again seldom changes."""

log = structlog.get_logger(__name__)


class Bearer:
    """Tokens of the account in ``file``; None: of the instance's own identity, as Google's libraries look for it.

    gcloud-aio fetches a fresh one beside the requests once half its life is over. Raises ConfigError: no account there.
    """

    def __init__(self, store: str, file: Path | None, patience_s: float, account: Account | None = None) -> None:
        """``account``: what ``file`` was found to say."""
        self._where = f"store {store}"
        self._renewal: asyncio.Task[None] | None = None
        """The last that went on beside the requests."""
        self._patience_s = patience_s
        self._token: str | None = None
        self._header: dict[str, str] = {}
        """Of ``_token``."""
        self._dropped = float("-inf")
        try:
            self.token = _Told(service_file=None if file is None else str(file), scopes=[SCOPE])
            # What it cannot parse it takes for none at all, and goes on as the instance's own identity.
            read = bool(self.token.service_data) or not os.environ.get(NAMED)
            # Left a text, each token would parse it.
            if (pem := self.token.service_data.get("private_key")) is not None:
                self.token.service_data["private_key"] = private_key(pem) if account is None else account.key
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            read = False
        if not read:
            raise ConfigError([f"stores.{store}: the credentials that {NAMED} names cannot be read; mend or unset it"])

    def fresh(self) -> dict[str, str] | None:
        """What authorises a request, where that is known and no renewal is due; the same one for the same token."""
        if self._token is None or self._token != self.token.access_token:
            return None
        return self._header if time.time() < self.token.access_token_preempt_after else None

    async def header(self) -> dict[str, str]:
        """What authorises a request. Raises OriginFailed, Unavailable."""
        try:
            token = await self._token_or_refusal()
        except Exception as error:  # noqa: BLE001  an endpoint, or a file, may give anything: not gcloud-aio's to word
            raise self._failed(self.token.failure or _why(error)) from None
        if (renewal := self.token.acquiring) is not None and renewal is not self._renewal:
            self._renewal = renewal
            renewal.add_done_callback(self._tell)  # nobody awaits it
        if token != self._token:
            self._token, self._header = token, {"Authorization": f"Bearer {token}"}
        return self._header

    def drop(self, header: dict[str, str]) -> bool:
        """``header`` was refused before its expiry. Returns whether the next one will hold another token, so that a retry makes sense."""
        if header.get("Authorization") == f"Bearer {self.token.access_token}":
            if (now := time.monotonic()) - self._dropped < RETRY_S:
                return False
            self._dropped = now
            self.token.access_token = None
        return True

    async def close(self) -> None:
        renewal = self.token.acquiring
        if renewal is not None and not renewal.done():
            renewal.cancel()
            await asyncio.wait([renewal])
        await self.token.close()

    async def _token_or_refusal(self) -> str | None:
        """Whichever comes first: gcloud-aio asks five times over, for longer than anybody here waits. Raises what it met, TimeoutError."""
        token = self.token
        if token.acquiring is None or token.acquiring.done():
            token.refused.clear()
        # Never cancelled: the fetch is shared, and one caller's end must not be the others'.
        getting = asyncio.ensure_future(token.get())
        getting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        refused = asyncio.ensure_future(token.refused.wait())
        try:
            await asyncio.wait((getting, refused), timeout=self._patience_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            refused.cancel()
        if not getting.done():
            raise TimeoutError
        return getting.result()

    def _failed(self, why: int | str) -> OriginFailed | Unavailable:
        if why in _REFUSED:
            fix = "check the service account, and this machine's clock"
            return OriginFailed(f"{self._where}: Google gives no token ({why}); {fix}")
        return Unavailable(f"{self._where}: no token to be had ({why})")

    def _tell(self, renewal: asyncio.Task[None]) -> None:
        if not renewal.cancelled() and (error := renewal.exception()) is not None:
            what = f"answered {error.status}" if isinstance(error, ClientResponseError) else type(error).__name__
            log.warning("gcs_token_not_renewed", error=f"{self._where}: {what}")


class _Told(Token):
    """Remembers why it was given no token when it asked last (the status, or the error's class); None: it was given one."""

    failure: int | str | None = None

    def __init__(self, **given: Any) -> None:  # Any: as the library takes them
        super().__init__(**given)
        self.refused = asyncio.Event()
        """It was told what asking again seldom changes."""

    async def refresh(self, *, timeout: int) -> TokenResponse:  # noqa: ASYNC109  as the library declares it
        try:
            told = await super().refresh(timeout=timeout)
        except Exception as error:
            self.failure = _why(error)
            if self.failure in _REFUSED:
                self.refused.set()
            raise
        self.failure = None
        self.refused.clear()
        return told


def _why(error: Exception) -> int | str:
    return error.status if isinstance(error, ClientResponseError) else type(error).__name__
