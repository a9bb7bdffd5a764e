"""Credentials that end: by a chain that gives them when and as it is told, and as a store fares with them."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials
from parts.canned import CannedServer, answer
from parts.canned_s3 import FIVE, HEAD, RIGHT, Open, error
from parts.labs import QUICK, drain, signed, unused_port

from gateway.errors import OriginFailed, OriginTimeout, Unavailable
from gateway.model import Span
from gateway.stores import s3_credentials
from gateway.stores.s3 import S3
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


# --- of a store -----------------------------------------------------------------------------------------------------


class Role:
    """A container's credential service: temporary credentials, each with its end."""

    def __init__(self) -> None:
        self.life = timedelta(hours=1)
        self.given = 0
        self.fails = False
        self.gives: Any = ...
        """In place of credentials, where it is set."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()

    async def answer(self, _: web.Request) -> web.Response:
        self.asked.set()
        await self.may_answer.wait()
        if self.fails:
            return web.Response(status=500)
        if self.gives is not ...:
            return web.json_response(self.gives)
        self.given += 1
        ends = datetime.now(UTC) + self.life
        told = {"AccessKeyId": f"ASIA{self.given}", "SecretAccessKey": "s", "Token": f"token-{self.given}"}
        return web.Response(
            text=json.dumps(told | {"Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}),
            content_type="application/json",
        )


@pytest.fixture
async def role(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Role]:
    made = Role()
    app = web.Application()
    app.router.add_get("/role", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    no_other_credentials(monkeypatch)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{runner.addresses[0][1]}/role")
    yield made
    made.may_answer.set()
    await runner.cleanup()


def no_other_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def ending_in(store: S3, left: timedelta) -> None:
    """The store has credentials, the first that were given; so much of their life is left."""
    assert "token-1" in await signed(store, "first")
    assert store._credentials is not None
    store._credentials._found._expiry_time = datetime.now(UTC) + left
    store._credentials._tried = float("-inf")


OWN = {"access_key_id": None, "secret_access_key": None}


async def test_a_store_that_is_closed_waits_for_no_credentials_any_more(connect: Open, role: Role) -> None:
    store = await connect(url=f"http://127.0.0.1:{unused_port()}", **OWN)
    role.may_answer.clear()
    asking = asyncio.create_task(signed(store, "k"))
    await role.asked.wait()
    await store.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asking, 5)


async def test_a_web_identity_whose_token_is_not_there_is_an_outage_and_no_defect(
    connect: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_other_credentials(monkeypatch)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/recordings")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    store = await connect(url=f"http://127.0.0.1:{unused_port()}", **OWN)
    for asked in (store.check(), store.stat("k"), store.open("k", Span(0, 5), '"v"')):
        with pytest.raises(Unavailable, match="CredentialRetrievalError") as refused:
            await asked
        assert str(tmp_path) not in refused.value.detail


PASSED = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
GIVEN = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t"}


@pytest.mark.parametrize(
    "given",
    [GIVEN | {"Expiration": PASSED}, GIVEN | {"Expiration": "soon"}, {"Code": "Failed"}, [], None],
    ids=["over already", "no end", "none", "a list", "nothing"],
)
async def test_credentials_that_are_none_are_an_outage_and_no_defect(connect: Open, role: Role, given: Any) -> None:
    role.gives = given
    store = await connect(url=f"http://127.0.0.1:{unused_port()}", **OWN)
    for asked in (store.check(), store.stat("k"), store.open("k", FIVE, '"v"'), signed(store, "k")):
        with pytest.raises(Unavailable, match="store lab: out of reach"):
            await asked


@pytest.mark.parametrize(
    ("said", "status"), [("AccessDenied", 403), ("InvalidIdentityToken", 400), ("NotFoundException", 404)]
)
async def test_a_web_identity_that_is_refused_is_no_answer_of_the_store(
    connect: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, status: int
) -> None:
    no_other_credentials(monkeypatch)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/recordings")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    (tmp_path / "token").write_text("a-token-itself")
    no = f"<ErrorResponse><Error><Type>Sender</Type><Code>{said}</Code><Message>m</Message></Error></ErrorResponse>"
    async with CannedServer(answer(f"{status} No", no.encode())) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        store = await connect(url=f"http://127.0.0.1:{unused_port()}", **OWN)
        for asked in (store.check(), store.stat("k"), store.delete("k", '"v"'), store.open("k", FIVE, '"v"')):
            with pytest.raises(Unavailable, match="store lab: out of reach") as refused:
                await asked
            assert "s3:" not in refused.value.detail


async def test_a_link_tells_that_it_ends_with_the_credentials_behind_it(connect: Open, role: Role) -> None:
    role.life = timedelta(hours=1)
    store = await connect(url="http://127.0.0.1:9", **OWN)
    link = await store.sign("a", timedelta(days=7), media_type="audio/wav", disposition=None)
    assert link is not None
    assert "X-Amz-Security-Token=token-1&" in link.url
    assert timedelta(minutes=59) < link.expires_at - datetime.now(UTC) <= timedelta(hours=1)

    short = await store.sign("a", timedelta(minutes=5), media_type="audio/wav", disposition=None)
    assert short is not None
    assert short.expires_at - datetime.now(UTC) <= timedelta(minutes=5)
    assert role.given == 1


async def test_credentials_are_renewed_before_they_end_and_nobody_waits_for_it(connect: Open, role: Role) -> None:
    store = await connect(url="http://127.0.0.1:9", **OWN)
    await ending_in(store, timedelta(minutes=5))  # which is when a renewal is due
    role.may_answer.clear()
    role.asked.clear()
    assert "token-1" in await signed(store, "a")
    assert store._credentials is not None
    assert store._credentials._renewal is not None
    assert not store._credentials._renewal.done()
    await role.asked.wait()
    role.may_answer.set()
    await store._credentials._renewal
    assert "token-2" in await signed(store, "a")


@pytest.mark.usefixtures("role")
async def test_credentials_all_but_over_are_waited_for(connect: Open) -> None:
    store = await connect(url="http://127.0.0.1:9", **OWN)
    await ending_in(store, timedelta(seconds=30))
    assert "token-2" in await signed(store, "a")


async def test_no_read_url_is_kept_beyond_its_credentials(connect: Open, role: Role) -> None:
    role.life = timedelta(minutes=5)
    async with CannedServer(RIGHT) as server:
        store = await connect(url=server.url, origin=QUICK.model_copy(update={"sign_reuse_s": 3600}), **OWN)
        await drain(await store.open("a", FIVE, '"v"'))
        kept_s = store._kept["a", '"v"'][1] - time.monotonic()
        assert 230 < kept_s <= 240


async def test_credentials_that_cannot_be_renewed_serve_to_their_end_and_then_say_so(connect: Open, role: Role) -> None:
    store = await connect(url="http://127.0.0.1:9", **OWN)
    await ending_in(store, timedelta(minutes=5))
    role.fails = True
    assert "token-1" in await signed(store, "a")
    await ending_in(store, timedelta(seconds=90))
    assert "token-1" in await signed(store, "a")
    assert store._credentials is not None
    store._credentials._found._expiry_time = datetime.now(UTC)
    for asking in (signed(store, "a"), store.open("b", FIVE, '"v"')):
        with pytest.raises((Unavailable, OriginTimeout), match="store lab"):
            await asking


def tokens(server: CannedServer) -> list[str]:
    """That the requests were signed with, in turn."""
    return [found[1].decode() for head in server.heads if (found := re.search(rb"token-([0-9]+)", head))]


@pytest.mark.parametrize("said", [error("400 Bad", "ExpiredToken"), error("403 Forbidden", "InvalidAccessKeyId")])
async def test_credentials_taken_back_are_replaced_once(connect: Open, role: Role, said: bytes) -> None:
    async with CannedServer(said, RIGHT, said) as server:
        store = await connect(url=server.url, **OWN)
        await ending_in(store, timedelta(hours=1))
        assert await drain(await store.open("a", FIVE, '"v"')) == b"01234"
        assert tokens(server) == ["1", "2"]
        with pytest.raises(OriginFailed):
            await store.open("b", FIVE, '"v"')
    assert role.given == 2


async def test_credentials_that_are_refused_serve_until_others_came(connect: Open, role: Role) -> None:
    async with CannedServer(error("400 Bad", "ExpiredToken"), RIGHT) as server:
        store = await connect(url=server.url, **OWN)
        await ending_in(store, timedelta(hours=1))
        role.fails = True
        for _ in range(2):
            assert await drain(await store.open("a", FIVE, '"v"')) == b"01234"
        assert tokens(server) == ["1", "1", "1"]


async def test_an_answer_that_does_not_say_whether_its_credentials_were_refused_has_them_asked_for_anew(
    connect: Open, role: Role
) -> None:
    stated = answer("200 OK", ETag='"v"', **HEAD)
    async with CannedServer(answer("400 Bad Request"), stated) as server:
        store = await connect(url=server.url, **OWN)
        await ending_in(store, timedelta(hours=1))
        with pytest.raises(OriginFailed, match="400"):
            await store.stat("a")
        assert store._credentials is not None
        assert store._credentials._renewal is not None
        await store._credentials._renewal
        assert (await store.stat("a")).size == 5
        assert tokens(server) == ["1", "2"]
    assert role.given == 2


async def test_one_who_leaves_while_credentials_are_fetched_takes_nobody_along(connect: Open, role: Role) -> None:
    role.may_answer.clear()
    store = await connect(url="http://127.0.0.1:9", **OWN)
    first, second = (asyncio.create_task(signed(store, key)) for key in ("a", "b"))
    await role.asked.wait()
    first.cancel()
    role.may_answer.set()
    assert "token-1" in await second
    assert role.given == 1


async def test_no_credentials_anywhere_is_said_in_so_many_words(connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    no_other_credentials(monkeypatch)
    store = await connect(url=f"http://127.0.0.1:{unused_port()}", **OWN)
    for asking in (store.check(), store.stat("a"), store.open("a", FIVE, '"v"')):
        with pytest.raises(Unavailable, match="no credentials found"):
            await asking
