"""The instance's own AWS credentials, renewed before they end and without making anybody wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import structlog
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError

MANDATORY_S: Final = 60
"""Credentials that end sooner than this are renewed before anything is signed with them."""
RETRY_S: Final = 15.0
"""Seconds between renewals in the background at least."""

log = structlog.get_logger(__name__)


class InstanceCredentials:
    """What the session's provider chain finds (environment, profile, web identity, container, instance metadata).

    botocore itself renews temporary credentials inside the request that notices, which then waits for the metadata
    service. Here that request goes on with what it has, and the renewal runs beside it; only credentials that are all
    but over are waited for. Stands where botocore expects its own credentials: see ``install``.
    """

    def __init__(self, session: AioSession) -> None:
        self._chain = session.get_component("credential_provider")
        self._found: AioCredentials | AioRefreshableCredentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._renewal: asyncio.Task[ReadOnlyCredentials] | None = None
        self._tried = float("-inf")
        self._anew = False
        """The next renewal looks through the chain again, whatever life is left in what it found."""

    @classmethod
    def install(cls, session: AioSession) -> InstanceCredentials:
        """Makes every client of ``session`` sign with these credentials."""
        credentials = cls(session)
        session.register_component("credential_provider", credentials)
        return credentials

    async def load_credentials(self) -> InstanceCredentials:
        """What a botocore credential provider is asked for."""
        return self

    async def get_account_id(self) -> str | None:
        """What botocore's endpoint rules may ask, and for S3 can do without."""
        return None

    def get_deferred_property(self, _name: str) -> Callable[[], Awaitable[str | None]]:
        """Likewise; the account's id is the only such property."""
        return self.get_account_id

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Credentials to sign with, good for MANDATORY_S at least. Raises BotoCoreError: there are none to be had."""
        if self._frozen is None:
            return await asyncio.shield(self._renewing())
        if isinstance(self._found, AioRefreshableCredentials):
            if self._found.refresh_needed(MANDATORY_S):
                return await asyncio.shield(self._renewing())
            if self._found.refresh_needed() and time.monotonic() - self._tried >= RETRY_S:
                self._renewing()
        return self._frozen

    def doubt(self) -> None:
        """The store refused these credentials: fetches others, at most once in RETRY_S; the present ones serve until then."""
        if self._renewal is not None and not self._renewal.done():
            return
        if self._frozen is not None and time.monotonic() - self._tried >= RETRY_S:
            self._anew = True
            self._renewing()

    async def replace(self, patience_s: float) -> None:
        """As ``doubt``, and waits for what comes of it."""
        self.doubt()
        if self._renewal is not None:
            await asyncio.wait([self._renewal], timeout=patience_s)

    def ends(self) -> datetime | None:
        """When what ``get_frozen_credentials`` last gave ends; None: it doesn't, or that isn't known."""
        ends = getattr(self._found, "_expiry_time", None)  # botocore tells it nowhere else
        return ends if isinstance(ends, datetime) else None

    async def close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    def _renewing(self) -> asyncio.Task[ReadOnlyCredentials]:
        if self._renewal is None or self._renewal.done():
            self._tried = time.monotonic()
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(_tell)
        return self._renewal

    async def _renew(self) -> ReadOnlyCredentials:
        try:
            return await self._ask()
        except BotoCoreError:
            raise
        except ClientError as error:  # of who gives them: the store itself has said nothing
            reason = f"{error.operation_name} answered {error.response.get('Error', {}).get('Code', 'an error')}"
        except Exception as error:  # noqa: BLE001  a file, a program or a service may give anything: not botocore's to word
            reason = getattr(error, "strerror", None) or type(error).__name__
        raise CredentialRetrievalError(provider="chain", error_msg=reason)

    async def _ask(self) -> ReadOnlyCredentials:
        found, self._anew = None if self._anew else self._found, False
        if found is None:
            found = await self._chain.load_credentials()
        if found is None:
            raise NoCredentialsError
        self._frozen, self._found = await found.get_frozen_credentials(), found
        return self._frozen


def _tell(renewal: asyncio.Task[ReadOnlyCredentials]) -> None:
    if not renewal.cancelled() and (error := renewal.exception()) is not None:
        known = isinstance(error, BotoCoreError)
        log.warning("s3_credentials_not_renewed", error=str(error) if known else type(error).__name__)
