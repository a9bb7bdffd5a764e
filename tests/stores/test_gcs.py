"""What is GCS's own: tokens, key files, generations, objects that Google would unpack."""

import asyncio
import gc
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
from gcloud.aio.auth import Token
from parts.canned import CannedServer, answer, outspoken
from parts.gcs import GcsStub
from parts.labs import QUICK, drain, read
from structlog.testing import capture_logs
from tenacity import wait_fixed, wait_none

from gateway.config import ConfigError, GcsStore, Origin
from gateway.errors import NotFound, OriginFailed, OriginTimeout, Unavailable
from gateway.model import Span, Store
from gateway.stores import gcs, gcs_token, open_store
from gateway.stores.gcs import Gcs

Emulated = Callable[..., Awaitable[Store]]


@pytest.fixture
async def emulated() -> AsyncIterator[Emulated]:
    """Stores of a canned server, closed afterwards."""
    async with AsyncExitStack() as lifetimes:

        async def one(url: str, origin: Origin = QUICK) -> Store:
            store = await open_store("lab", GcsStore(kind="gcs", bucket="recordings", endpoint=url), origin)
            lifetimes.push_async_callback(store.close)
            return store

        yield one


@pytest.fixture
async def store(stub: GcsStub) -> AsyncIterator[Gcs]:
    made = Gcs("lab", stub.settings(), QUICK, google=stub.endpoint)
    yield made
    await made.close()


async def test_one_token_serves_everybody(stub: GcsStub, store: Gcs) -> None:
    stub.put("a", b"bytes")
    assert await asyncio.gather(*(read(store, "a") for _ in range(50))) == [b"bytes"] * 50
    assert stub.tokens_given == 1


async def test_kept_requests_are_bounded_and_those_not_used_for_longest_go(
    stub: GcsStub, store: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "TARGETS_KEPT", 3)
    stub.put("steady", b"bytes")
    await read(store, "steady")
    ((steady, first),) = store._kept.items()
    for n in range(10):
        stub.put(f"key-{n}", b"bytes")
        for key in ("steady", f"key-{n}"):
            assert await read(store, key) == b"bytes"
    assert [key for key, _ in store._kept] == ["key-8", "steady", "key-9"]
    assert store._kept[steady] is first


async def test_a_token_taken_back_is_replaced_once(stub: GcsStub, store: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs_token, "RETRY_S", 0)  # as if there were time between the three
    stub.put("a", b"bytes")
    stat = await store.stat("a")
    stub.revoke_tokens()
    assert await drain(await store.open("a", Span(0, 5), stat.version)) == b"bytes"
    stub.revoke_tokens()
    assert await store.stat("a") == stat
    stub.revoke_tokens()
    await store.check()
    assert stub.tokens_given == 4


async def test_where_no_token_is_good_not_every_request_fetches_one(stub: GcsStub, store: Gcs) -> None:
    stub.put("a", b"bytes")
    stat = await store.stat("a")
    stub.tokens_disowned = True
    for _ in range(10):
        with pytest.raises(OriginFailed, match="answered 401; check its service account"):
            await store.open("a", Span(0, 5), stat.version)
        with pytest.raises(OriginFailed, match="answered 401; check its service account"):
            await store.stat("a")
    assert stub.tokens_given == 2
    stub.tokens_disowned = False
    assert await store.stat("a") == stat


async def test_a_token_is_renewed_ahead_of_its_end_and_nobody_waits_for_it(stub: GcsStub, store: Gcs) -> None:
    stub.put("a", b"bytes")
    await store.stat("a")
    assert store._bearer is not None
    store._bearer.token.access_token_preempt_after = 0  # half its life is over
    stub.may_give.clear()
    assert await read(store, "a") == b"bytes"
    renewal = store._bearer.token.acquiring
    assert renewal is not None
    assert not renewal.done()
    stub.may_give.set()
    await renewal
    assert stub.tokens_given == 2


@pytest.mark.parametrize("named", ["by the settings", "by the environment"])
async def test_no_token_parses_the_account_s_key_once_more(
    stub: GcsStub, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Which takes 28 ms of the loop, the key's check included; to sign takes 1."""
    stub.put("a", b"bytes")
    settings = stub.settings()
    if named == "by the environment":
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(stub.key_file))
        settings = stub.settings(service_account_file=None)
    store = Gcs("lab", settings, QUICK, google=stub.endpoint)
    monkeypatch.setattr("jwt.algorithms.load_pem_private_key", Mock(side_effect=AssertionError))
    await store.stat("a")
    await store.close()
    assert stub.tokens_given == 1


async def test_a_renewal_under_way_as_the_store_closes_is_called_off(stub: GcsStub, untold: list[Any]) -> None:
    stub.put("a", b"bytes")
    store = Gcs("lab", stub.settings(), QUICK, google=stub.endpoint)
    await store.stat("a")
    assert store._bearer is not None
    store._bearer.token.access_token_preempt_after = 0  # half its life is over
    stub.may_give.clear()
    stub.asked_for_token.clear()
    await store.stat("a")
    await stub.asked_for_token.wait()
    renewal = store._bearer.token.acquiring
    await store.close()
    stub.may_give.set()
    assert renewal is not None
    assert renewal.cancelled()
    assert untold == []


async def test_one_who_leaves_while_a_token_is_fetched_takes_nobody_along(stub: GcsStub, store: Gcs) -> None:
    stub.put("a", b"bytes")
    stub.may_give.clear()
    first, second = (asyncio.create_task(store.stat("a")) for _ in range(2))
    await stub.asked_for_token.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    stub.may_give.set()
    assert (await second).size == 5
    assert stub.tokens_given == 1


async def test_no_token_is_no_404_and_why_there_is_none_is_told_at_once(
    stub: GcsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cast("Any", Token.acquire_access_token).retry, "wait", wait_fixed(60))
    stub.tokens_refused = True
    store = Gcs("lab", stub.settings(), QUICK.model_copy(update={"first_byte_s": 60}), google=stub.endpoint)
    why = r"no token \(400\); check the service account, and this machine's clock"
    async with asyncio.timeout(20):
        for asking in (store.stat("a"), store.open("a", Span(0, 1), "1")):
            with pytest.raises(OriginFailed, match=why):
                await asking
        with pytest.raises(Unavailable, match=why):
            await store.check()
    await store.close()


async def test_a_refused_token_is_asked_for_again_and_nobody_needs_to_wait_for_it(
    stub: GcsStub, store: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cast("Any", Token.acquire_access_token).retry, "wait", wait_none())
    stub.put("a", b"bytes")
    stub.tokens_refused = True
    with pytest.raises(OriginFailed):
        await store.stat("a")
    assert store._bearer is not None
    stub.tokens_refused = False
    if (asking := store._bearer.token.acquiring) is not None:
        await asyncio.wait([asking])
    assert await read(store, "a") == b"bytes"


async def test_where_tokens_fail_for_now_they_are_asked_for_again(
    stub: GcsStub, store: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cast("Any", Token.acquire_access_token).retry, "wait", wait_none())
    stub.put("a", b"bytes")
    stub.tokens_failing = 2
    assert await read(store, "a") == b"bytes"


async def test_a_token_that_is_refused_once_nobody_waits_for_it_is_left_to_nobody(
    stub: GcsStub, untold: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cast("Any", Token.acquire_access_token).retry, "wait", wait_none())
    store = Gcs("lab", stub.settings(), QUICK.model_copy(update={"first_byte_s": 0.2}), google=stub.endpoint)
    stub.tokens_refused = True
    stub.may_give.clear()
    with pytest.raises(Unavailable):
        await store.check()
    assert store._bearer is not None
    assert store._bearer.token.acquiring is not None
    stub.may_give.set()
    await asyncio.wait([store._bearer.token.acquiring])
    await store.close()
    gc.collect()
    assert untold == []


def token_told(**fields: Any) -> bytes:
    return answer("200 OK", json.dumps(fields).encode(), Content_Type="application/json")


@pytest.mark.parametrize(
    "said",
    [
        token_told(),
        token_told(access_token="t", expires_in="soon"),
        token_told(access_token="t", expires_in=None),
        token_told(access_token="t", expires_in=[]),
        answer("200 OK", b'{"access_token": "t", "expires_in": 1e999}', Content_Type="application/json"),
        answer("200 OK", b"[]", Content_Type="application/json"),
        answer("200 OK", b"", Content_Type="application/json"),
        answer("200 OK", b"[" * 100_000, Content_Type="application/json"),
        answer("200 OK", b"<html>", Content_Type="application/json"),
        answer("200 OK", b"<html>", Content_Type="text/html"),
        answer("302 Found", Location="ftp://nowhere"),
    ],
)
async def test_what_is_no_token_is_an_outage(
    stub: GcsStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(cast("Any", Token.acquire_access_token).retry, "wait", wait_none())
    async with CannedServer(said) as google:
        (file := tmp_path / "key.json").write_text(json.dumps(stub.account() | {"token_uri": google.url}))
        store = Gcs("lab", stub.settings(service_account_file=file), QUICK, google=stub.endpoint)
        try:
            with pytest.raises(Unavailable, match="store lab: no token to be had"):
                await store.stat("a")
        finally:
            await store.close()


async def test_a_renewal_that_fails_behind_the_requests_is_told_of(
    stub: GcsStub, store: Gcs, untold: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cast("Any", Token.acquire_access_token).retry, "wait", wait_none())
    stub.put("a", b"bytes")
    await store.stat("a")
    assert store._bearer is not None
    store._bearer.token.access_token_preempt_after = 0  # half its life is over
    stub.tokens_refused = True
    with capture_logs() as logs:
        assert await read(store, "a") == b"bytes"
        renewal = store._bearer.token.acquiring
        assert renewal is not None
        await asyncio.wait([renewal])
        del renewal
        store._bearer.token.acquiring = None
    assert untold == []
    assert [(line["log_level"], line["event"], line["error"]) for line in logs] == [
        ("warning", "gcs_token_not_renewed", "store lab: answered 400")
    ]


async def test_a_generation_is_pinned_by_what_the_answer_says_too(emulated: Emulated) -> None:
    """A server that honours no ``generation``, as the emulator, but tells which one it serves."""
    right = answer("206 P", b"01234", X_Goog_Generation="7", Content_Range="bytes 0-4/5")
    async with CannedServer(right) as server:
        store = await emulated(server.url)
        assert await drain(await store.open("a/b", Span(0, 5), "7")) == b"01234"
        with pytest.raises(Exception, match="X-Goog-Generation is another"):
            await store.open("a/b", Span(0, 5), "6")
        assert b"/o/a%2Fb?alt=media&generation=7 HTTP/1.1\r\n" in server.heads[0]
        assert b"Authorization" not in server.heads[0]


async def test_only_an_emulator_may_answer_without_a_generation(store: Gcs, emulated: Emulated) -> None:
    lenient = cast("Gcs", await emulated("http://127.0.0.1:9"))
    assert [(await each._target("a", "7"))[0].pin.required for each in (store, lenient)] == [True, False]


async def test_nobody_is_followed_elsewhere_to_delete_there(emulated: Emulated) -> None:
    async with CannedServer(answer("302 Found", Location="/elsewhere"), answer("204 No Content")) as server:
        with pytest.raises(OriginFailed, match="answered 302"):
            await (await emulated(server.url)).delete("a", "7")
        assert len(server.heads) == 1


async def test_a_certificate_that_is_not_trusted_is_told_of_as_reads_tell(
    emulated: Emulated, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with CannedServer(answer("200 OK", b"{}"), tls=tls) as server:
        store = await emulated(server.url)
        why = rf"store lab: the certificate of localhost:{server.port} cannot be verified \("
        for asking in (store.stat("a"), store.open("a", Span(0, 5), "7")):
            with pytest.raises(OriginFailed, match=why):
                await asking
        with pytest.raises(Unavailable, match=why):
            await store.check()


async def test_what_tls_failed_of_is_told(emulated: Emulated) -> None:
    async with outspoken(answer("400 Bad Request")) as url:
        store = await emulated(url)
        with pytest.raises(Unavailable, match=r"cannot connect to localhost:\d+ \(SSLError WRONG_VERSION_NUMBER\)"):
            await store.check()


async def test_an_object_that_google_would_unpack_is_refused(stub: GcsStub, store: Gcs) -> None:
    stub.put("zipped", b"not really", encoding="gzip")
    with pytest.raises(OriginFailed, match="stored with Content-Encoding 'gzip'"):
        await store.stat("zipped")
    with pytest.raises(OriginFailed, match="lab: answered"):
        await store.open("zipped", Span(2, 5), str(stub.objects["zipped"].generation))


@pytest.mark.parametrize("key", [".", "..", "a\nb", "a\rb", "é" * 513])
async def test_names_that_google_forbids_are_asked_of_nobody(emulated: Emulated, key: str) -> None:
    store = await emulated("http://127.0.0.1:9")
    assert store.unfit(key)
    with pytest.raises(NotFound):
        await store.stat(key)
    with pytest.raises(NotFound):
        await store.open(key, Span(0, 1), "1")


METADATA = {"size": "5", "generation": "7", "timeCreated": "2026-11-20T21:00:00Z"}


@pytest.mark.parametrize(
    ("said", "expected", "asked"),
    [
        (answer("200 OK", b"<html>"), OriginFailed, 1),
        (answer("200 OK", b"{}"), OriginFailed, 1),
        (answer("200 OK", b"[]"), OriginFailed, 1),
        (answer("200 OK", b"null"), OriginFailed, 1),
        (answer("200 OK", json.dumps(METADATA | {"size": "x"}).encode()), OriginFailed, 1),
        (answer("200 OK", json.dumps(METADATA | {"timeCreated": 5}).encode()), OriginFailed, 1),
        (
            answer("200 OK", json.dumps(METADATA | {"timeCreated": "0001-01-01T00:00:00+14:00"}).encode()),
            OriginFailed,
            1,
        ),
        (answer("302 Found", Location="http://127.0.0.1:9/"), OriginFailed, 1),
        (answer("403 Forbidden"), OriginFailed, 1),
        (answer("401 Unauthorized"), OriginFailed, 1),
        (answer("408 Request Timeout"), Unavailable, 2),
        (answer("429 Too Many"), Unavailable, 2),
        (answer("503 Unavailable"), Unavailable, 2),
        (b"HTTP/1.1 200 OK\r\n", OriginTimeout, 1),
    ],
)
async def test_metadata_that_cannot_be_relied_on_is_refused(
    emulated: Emulated, said: bytes, expected: type[Exception], asked: int
) -> None:
    async with CannedServer(said) as server:
        store = await emulated(server.url, QUICK.model_copy(update={"first_byte_s": 0.5}))
        with pytest.raises(expected, match="store lab"):
            await store.stat("a")
        assert len(server.heads) == asked


def broken(**changes: Any) -> Any:
    def change(account: dict[str, Any]) -> str:
        return json.dumps({k: v for k, v in (account | changes).items() if v is not None})

    return change


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (lambda _: "", "not JSON"),
        (lambda _: "[]", "no service account key"),
        (broken(type="authorized_user"), "no service account key"),
        (broken(client_email=None), "no service account key"),
        (broken(private_key=None), "no service account key"),
        (broken(private_key="-----BEGIN PRIVATE KEY-----\nnope\n-----END PRIVATE KEY-----"), "private_key cannot"),
    ],
)
async def test_a_key_file_that_is_none_is_refused_at_start(
    stub: GcsStub, tmp_path: Path, content: Any, word: str
) -> None:
    file = tmp_path / "key.json"
    file.write_text(content(stub.account()))
    with pytest.raises(ConfigError, match=rf"stores\.lab\.service_account_file: .*{word}") as refused:
        await open_store("lab", GcsStore(kind="gcs", bucket="recordings", service_account_file=file), QUICK)
    assert "BEGIN" not in str(refused.value)


async def test_a_key_file_that_is_not_there_is_refused_at_start(tmp_path: Path) -> None:
    settings = GcsStore(kind="gcs", bucket="recordings", service_account_file=tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        await open_store("lab", settings, QUICK)


async def test_an_identity_that_is_named_and_not_there_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        await open_store("lab", GcsStore(kind="gcs", bucket="recordings"), QUICK)


@pytest.mark.parametrize(
    "content",
    [
        *("", "nothing", "{}", "[]", "[1]", '"x"', '{"type": 1}', '{"type": "none known"}'),
        '{"type": "service_account", "private_key": "none"}',
    ],
)
async def test_an_identity_that_is_named_and_none_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """And is not passed over for the instance's own."""
    (file := tmp_path / "identity.json").write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        await open_store("lab", GcsStore(kind="gcs", bucket="recordings"), QUICK)


async def test_without_a_key_file_there_are_no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    store = await open_store("lab", GcsStore(kind="gcs", bucket="recordings"), QUICK)
    assert await store.sign("a", timedelta(hours=1), media_type="audio/wav", disposition=None) is None
    await store.close()


async def test_an_account_that_may_read_and_not_delete_is_told_which_role_may(stub: GcsStub, store: Gcs) -> None:
    stub.put("a", b"bytes")
    stub.undeletable = True
    with pytest.raises(OriginFailed, match=r"store lab: answered 403; give its account the role Storage Object User"):
        await store.delete("a", (await store.stat("a")).version)
    assert await read(store, "a") == b"bytes"


async def test_an_object_that_went_before_its_condition_was_looked_at_is_gone(emulated: Emulated) -> None:
    """No live generation matches the one that was to be deleted: 412, as for another one."""
    said = answer("412 Precondition Failed"), answer("404 Not Found"), answer("200 OK", b"{}")
    async with CannedServer(*said) as server:
        store = await emulated(server.url)
        await store.delete("a", "7")
        assert [head.split(b" ", 1)[0] for head in server.heads] == [b"DELETE", b"GET", b"GET"]


LIMITED = {"error": {"code": 403, "errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}]}}


@pytest.mark.parametrize("reason", ["rateLimitExceeded", "userRateLimitExceeded"])
async def test_a_403_for_asking_too_often_is_an_outage_and_no_missing_role(emulated: Emulated, reason: str) -> None:
    said = answer("403 Forbidden", json.dumps(LIMITED).replace("rateLimitExceeded", reason).encode())
    async with CannedServer(said) as server:
        store = await emulated(server.url)
        for asking in (store.stat("a"), store.open("a", Span(0, 1), "7"), store.delete("a", "7")):
            with pytest.raises(Unavailable, match="store lab: answered 403, for it was asked too often"):
                await asking
