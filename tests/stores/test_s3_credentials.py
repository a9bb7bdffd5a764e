"""The instance's own credentials, by a chain that gives them when and as it is told."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials

from gateway.stores import s3_credentials
from gateway.stores.s3_credentials import InstanceCredentials


class Ending(AioRefreshableCredentials):
    """Near enough to their end to be renewed, and not so near that anybody waits for it."""

    def __init__(self) -> None:  # botocore's own would ask
        self.asked = 0

    def refresh_needed(self, refresh_in: int | None = None) -> bool:
        return refresh_in is None

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        self.asked += 1
        return ReadOnlyCredentials("key", "secret", "token")


class Chain:
    """Looked through for what it has ``found`` once it ``may`` be."""

    def __init__(self) -> None:
        self.found = Ending()
        self.looks = 0
        self.looking, self.may = asyncio.Event(), asyncio.Event()

    async def load_credentials(self) -> Ending:
        self.looks += 1
        self.looking.set()
        await self.may.wait()
        return self.found


def credentials_of(chain: Chain) -> InstanceCredentials:
    session: Any = SimpleNamespace(get_component=lambda _name: chain)
    return InstanceCredentials(cast("AioSession", session))


async def asked_for(credentials: InstanceCredentials) -> None:
    """By several, each of whom lets a renewal come to its end."""
    for _ in range(3):
        await credentials.get_frozen_credentials()
        if credentials._renewal is not None:
            await asyncio.wait([credentials._renewal])


async def test_renewals_in_the_background_and_doubts_keep_their_distance() -> None:
    chain = Chain()
    chain.may.set()
    credentials = credentials_of(chain)
    await asked_for(credentials)
    credentials.doubt()
    await asked_for(credentials)
    assert (chain.looks, chain.found.asked) == (1, 1), "the first is hardly over"
    with mock.patch.object(s3_credentials, "RETRY_S", -1.0):
        await asked_for(credentials)
        assert (chain.looks, chain.found.asked) == (1, 4)
        credentials.doubt()
        await asked_for(credentials)
    assert chain.looks == 2, "what was doubted was looked for anew, once"
    await credentials.close()


async def test_a_renewal_ends_with_its_store() -> None:
    chain = Chain()
    credentials = credentials_of(chain)
    asking = asyncio.create_task(credentials.get_frozen_credentials())
    await chain.looking.wait()
    await credentials.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
