"""What is S3's own: addressing, read URLs kept for a while, answers that need telling apart, deleting."""

import socket
import ssl
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
import pytest
from aiohttp import ClientSession
from parts.canned import CannedServer, answer, outspoken
from parts.canned_s3 import CANNED, FIVE, HEAD, RIGHT, Open, error
from parts.faults import FaultProxy
from parts.labs import QUICK, S3Lab, drain, fetch, read, signed, unused_port
from parts.s3 import DOMAIN, SeaweedS3
from yarl import URL

from gateway.config import ConfigError, S3Store
from gateway.errors import Changed, NotFound, OriginFailed, OriginTimeout, Unavailable
from gateway.stores import s3 as s3_module
from gateway.stores.s3 import S3

# --- keys and addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["/lead.wav", "a//b.wav", "a//", "  ", "\t", "e\u0301.wav", 'a"b<c>.wav'])
async def test_keys_that_only_s3_allows_are_read_and_signed(s3: SeaweedS3, connect: Open, key: str) -> None:
    store, data = await connect(s3.settings()), f"this is {key}".encode()
    s3.put(key, data)
    if not key.endswith("/"):  # the server keeps no content under a name that ends so
        assert await read(store, key) == data
        assert (await fetch(S3Lab(s3, AsyncExitStack()), await signed(store, key)))[2] == data
    assert (await store.stat(key)).version


@pytest.mark.parametrize("key", ["a/../b.wav", "../up.wav", "./a", ".."])
async def test_dots_in_a_key_reach_s3_as_they_are(s3: SeaweedS3, connect: Open, key: str) -> None:
    store = await connect(s3.settings())
    assert urlsplit(await signed(store, key)).path == f"/{s3.bucket}/{key}"
    with pytest.raises((NotFound, OriginFailed)):  # this server takes no such key; others do
        await store.stat(key)
    async with CannedServer(RIGHT) as server:
        store = await connect(url=server.url)
        assert await drain(await store.open(key, FIVE, '"v"')) == b"01234"
        assert server.heads[0].startswith(f"GET /recordings/{key}?X-Amz-".encode())


@pytest.fixture
def names_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends in DOMAIN is this machine."""
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        ours = isinstance(host, str) and host.endswith(DOMAIN)
        return real("127.0.0.1" if ours else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.usefixtures("names_resolve")
async def test_a_bucket_may_stand_in_the_host_name(s3: SeaweedS3, connect: Open) -> None:
    s3.put("virtual é+.wav", b"in the host")
    store = await connect(s3.settings(endpoint=f"http://{DOMAIN}:{s3.port}", addressing="virtual"))
    assert await read(store, "virtual é+.wav") == b"in the host"
    url = URL(await signed(store, "virtual é+.wav"), encoded=True)
    assert url.host == f"{s3.bucket}.{DOMAIN}"
    async with ClientSession() as session, session.get(url) as got:
        assert await got.read() == b"in the host"


async def test_links_name_the_public_endpoint_and_reads_the_other(s3: SeaweedS3, connect: Open) -> None:
    s3.put("public.wav", b"bytes")
    async with FaultProxy(s3.port) as public:
        store = await connect(s3.settings(public_endpoint=public.url))
        assert await read(store, "public.wav") == b"bytes"
        assert public.total == 0
        url = await signed(store, "public.wav")
        assert url.startswith(public.url + "/")
        assert (await fetch(S3Lab(s3, AsyncExitStack()), url))[0] == 200
        assert public.total == 1


@pytest.mark.parametrize(
    ("region", "bucket", "addressing", "host", "path"),
    [
        ("us-east-1", "recordings", "auto", "recordings.s3.us-east-1.amazonaws.com", "/k"),
        ("eu-central-1", "recordings", "auto", "recordings.s3.eu-central-1.amazonaws.com", "/k"),
        ("eu-central-1", "recordings", "path", "s3.eu-central-1.amazonaws.com", "/recordings/k"),
        ("eu-central-1", "with.dots", "auto", "s3.eu-central-1.amazonaws.com", "/with.dots/k"),
        ("cn-north-1", "recordings", "auto", "recordings.s3.cn-north-1.amazonaws.com.cn", "/k"),
    ],
)
async def test_aws_is_addressed_in_its_region(
    connect: Open, region: str, bucket: str, addressing: str, host: str, path: str
) -> None:
    """The global host would answer some of these with a redirect, which a signature does not survive."""
    settings = S3Store.model_validate(CANNED | {"region": region, "bucket": bucket, "addressing": addressing})
    url = urlsplit(await signed(await connect(settings), "k"))
    assert (url.scheme, url.netloc, url.path) == ("https", host, path)


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("AWS_PROFILE", "nobody", "nobody"),
        ("AWS_CONFIG_FILE", __file__, "parse config file"),
        ("AWS_DEFAULTS_MODE", "swift", "swift"),
    ],
)
async def test_a_setting_of_awss_own_that_is_none_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, word: str
) -> None:
    monkeypatch.setenv(variable, value)
    for keys in ({}, {"access_key_id": None, "secret_access_key": None}):
        settings = S3Store.model_validate(CANNED | {"endpoint": "http://127.0.0.1:9"} | keys)
        with pytest.raises(ConfigError, match=rf"stores\.lab: .*{word}.*; mend or unset"):
            await S3.connect("lab", settings, QUICK)


async def test_what_is_trusted_for_reads_is_trusted_for_all_else(connect: Open, tls: ssl.SSLContext) -> None:
    """botocore brings a bundle of its own, in which neither the system nor SSL_CERT_FILE has a say."""
    async with CannedServer(answer("200 OK", ETag='"v"', **HEAD), tls=tls) as server:
        store = await connect(url=server.url)
        await store.check()
        assert (await store.stat("a")).size == 5


async def test_a_bundle_that_awss_own_settings_name_is_kept_to(
    connect: Open, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "root.pem"))
    monkeypatch.delenv("SSL_CERT_FILE")
    async with CannedServer(answer("200 OK", ETag='"v"', **HEAD), tls=tls) as server:
        assert (await (await connect(url=server.url)).stat("a")).size == 5


async def test_a_certificate_that_is_not_trusted_is_told_of_as_reads_tell(
    connect: Open, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with CannedServer(answer("200 OK", ETag='"v"', **HEAD), tls=tls) as server:
        store = await connect(url=server.url)
        why = rf"store lab: the certificate of localhost:{server.port} cannot be verified \(unable to get local issuer"
        for asking in (store.stat("a"), store.open("a", FIVE, '"v"')):
            with pytest.raises(OriginFailed, match=why):
                await asking
        with pytest.raises(Unavailable, match=why):
            await store.check()
        assert server.heads == []


async def test_what_tls_failed_of_is_told(connect: Open) -> None:
    async with outspoken(answer("400 Bad Request")) as url:
        store = await connect(url=url)
        with pytest.raises(Unavailable, match=r"cannot connect to localhost:\d+ \(SSLError WRONG_VERSION_NUMBER\)"):
            await store.check()


# --- the URL that reads are made with -------------------------------------------------------------------------------


async def test_one_signature_serves_all_ranges_of_an_object_for_a_while(
    connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with CannedServer(RIGHT) as server:
        store = await connect(url=server.url, origin=QUICK)
        signing = mock.AsyncMock(wraps=store._client.generate_presigned_url)
        monkeypatch.setattr(store._client, "generate_presigned_url", signing)
        for _ in range(3):
            await drain(await store.open("a", FIVE, '"v"'))
        assert signing.await_count == 1
        await drain(await store.open("b", FIVE, '"v"'))
        assert signing.await_count == 2
        later = time.monotonic() + 241
        with mock.patch.object(s3_module.time, "monotonic", return_value=later):
            await drain(await store.open("a", FIVE, '"v"'))
        assert signing.await_count == 3
    for head in server.heads:
        assert b"X-Amz-SignedHeaders=host&" in head
        assert b"X-Amz-Expires=300&" in head  # callsid's document: five minutes
        assert b'\r\nIf-Match: "v"\r\n' in head


async def test_kept_signatures_are_bounded_and_those_not_used_for_longest_go(
    connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "TARGETS_KEPT", 3)
    async with CannedServer(RIGHT) as server:
        store = await connect(url=server.url)
        await drain(await store.open("steady", FIVE, '"v"'))
        first = store._kept["steady", '"v"']
        for n in range(10):
            for key in ("steady", f"key-{n}"):
                await drain(await store.open(key, FIVE, '"v"'))
        assert [key for key, _ in store._kept] == ["key-8", "steady", "key-9"]
        assert store._kept["steady", '"v"'] is first


@pytest.mark.parametrize(
    "first", [error("403 Forbidden", "AccessDenied"), error("400 Bad", "ExpiredToken"), answer("401 No")]
)
async def test_a_signature_that_is_refused_is_made_anew_once(connect: Open, first: bytes) -> None:
    async with CannedServer(first, RIGHT) as server:
        store = await connect(url=server.url)
        assert await drain(await store.open("a", FIVE, '"v"')) == b"01234"
        assert len(server.heads) == 2
    async with CannedServer(first) as server:
        store = await connect(url=server.url)
        with pytest.raises(OriginFailed, match="store lab"):
            await store.open("a", FIVE, '"v"')
        assert len(server.heads) == 2


# --- what answers mean ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read_answer", "bucket_answer", "expected", "asked"),
    [
        (error("404 Not Found", "NoSuchKey"), answer("200 OK"), NotFound, 2),
        (error("404 Not Found", "NoSuchKey"), answer("403 Forbidden"), NotFound, 2),
        (error("404 Not Found", "NoSuchKey"), answer("404 Not Found"), OriginFailed, 2),
        (error("404 Not Found", "NoSuchKey"), answer("503 Slow Down"), Unavailable, 3),
        (error("404 Not Found", "NoSuchBucket"), b"", OriginFailed, 1),
        (error("404 Not Found", "NoSuchWebsite"), b"", Unavailable, 1),
        (answer("404 Not Found", b"<html>no such page</html>"), b"", Unavailable, 1),
        (answer("404 Not Found", b'{"error": "not found"}'), b"", Unavailable, 1),
        (answer("404 Not Found"), b"", Unavailable, 1),
        (error("400 Bad Request", "AuthorizationHeaderMalformed"), b"", OriginFailed, 1),
        (error("405 No", "MethodNotAllowed"), b"", OriginFailed, 1),
    ],
)
async def test_only_s3s_own_word_makes_a_404(
    connect: Open, read_answer: bytes, bucket_answer: bytes, expected: type[Exception], asked: int
) -> None:
    async with CannedServer(read_answer, bucket_answer) as server:
        store = await connect(url=server.url)
        with pytest.raises(expected, match="store lab"):
            await store.open("a", FIVE, '"v"')
        assert len(server.heads) == asked


async def test_a_bucket_that_was_there_is_asked_for_again_after_a_while_and_no_sooner(connect: Open) -> None:
    gone = error("404 Not Found", "NoSuchKey")
    async with CannedServer(gone, answer("200 OK"), gone, gone, answer("404 Not Found")) as server:
        store = await connect(url=server.url)
        for asked in (2, 3):
            with pytest.raises(NotFound):
                await store.open("a", FIVE, '"v"')
            assert len(server.heads) == asked
        store._bucket_seen -= s3_module.BUCKET_BELIEVED_S
        with pytest.raises(OriginFailed, match="bucket 'recordings' does not exist"):
            await store.open("a", FIVE, '"v"')
        assert len(server.heads) == 5


async def test_what_answers_404_to_everything_is_no_store_that_lost_an_object(connect: Open) -> None:
    """A proxy whose store went away, say, a moment after the bucket was seen: the answer to a HEAD has nobody's word."""
    nothing, bucket = answer("404 Not Found"), answer("200 OK")
    async with CannedServer(nothing, bucket, nothing) as server:
        store = await connect(url=server.url)
        with pytest.raises(NotFound):
            await store.stat("a")
        for asked in (store.stat("a"), store.delete("a", '"v"')):
            with pytest.raises(OriginFailed, match="bucket 'recordings' does not exist"):
                await asked


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (error("403 Forbidden", "InvalidObjectState"), "is archived: restore it"),
        (error("400 Bad Request", "KMS.DisabledException"), "check the KMS key"),
        (error("403 Forbidden", "AccessDenied"), "right to s3:GetObject"),
        (error("403 Forbidden", "RequestTimeTooSkewed"), "check this machine's clock"),
        (
            answer("403 Forbidden", b"<Error><Code>AccessDenied</Code><Message>Request is not valid yet</Message>"),
            "check this machine's clock",
        ),
    ],
)
async def test_what_an_object_is_refused_for_is_what_the_operator_is_told_to_mend(
    connect: Open, said: bytes, word: str
) -> None:
    async with CannedServer(said) as server:
        with pytest.raises(OriginFailed, match=word):
            await (await connect(url=server.url)).open("a", FIVE, '"v"')


async def test_a_clock_that_is_not_the_stores_is_what_the_operator_is_told_to_mend(
    s3: SeaweedS3, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("timely.wav", b"bytes")
    store = await connect(s3.settings())
    stat = await store.stat("timely.wav")
    real = botocore.auth.get_current_datetime
    with monkeypatch.context() as slow:
        slow.setattr(botocore.auth, "get_current_datetime", lambda: real() - timedelta(hours=5))
        with pytest.raises(OriginFailed, match="answered 403 AccessDenied; check this machine's clock"):
            await store.open("timely.wav", FIVE, stat.version)
        for asking in (store.stat("timely.wav"), store.check()):
            with pytest.raises((OriginFailed, Unavailable), match="and this machine's clock"):
                await asking
    assert await drain(await store.open("timely.wav", FIVE, stat.version)) == b"bytes"


@pytest.mark.parametrize(
    ("stat_answer", "expected", "word"),
    [
        (answer("200 OK", ETag='W/"v"', **HEAD), OriginFailed, "no strong ETag"),
        (answer("200 OK", ETag="v", **HEAD), OriginFailed, "no strong ETag"),
        (answer("200 OK", ETag='""', **HEAD), OriginFailed, "no strong ETag"),
        (answer("200 OK", **HEAD), OriginFailed, "no strong ETag"),
        (answer("200 OK", ETag='"v"', Content_Encoding="gzip", **HEAD), OriginFailed, "'gzip'"),
        (answer("200 OK", ETag='"v"', Content_Length="5"), OriginFailed, "without size or time"),
        (answer("200 OK", ETag='"v"', **(HEAD | {"Content_Length": ""})), OriginFailed, "without size or time"),
        (answer("200 OK", ETag='"v"', **(HEAD | {"Last_Modified": "soon"})), OriginFailed, "cannot be read"),
        (answer("200 OK", ETag='"v"', **(HEAD | {"Last_Modified": "1e300"})), OriginFailed, "cannot be read"),
        (answer("200 OK", ETag='"v"', **(HEAD | {"Last_Modified": "0001-01-01T00:00+14"})), OriginFailed, "or time"),
        (answer("403 Forbidden"), OriginFailed, "403"),
        (answer("400 Bad Request"), OriginFailed, "400"),
        (answer("301 Moved"), OriginFailed, "301"),
        (answer("408 Request Timeout"), Unavailable, "408"),
        (answer("500 Oh"), Unavailable, "500"),
        (answer("503 Slow Down"), Unavailable, "503"),
        (b"", Unavailable, "out of reach"),
        (b"HTTP/1.1 200 OK\r\n", OriginTimeout, "no answer"),
    ],
)
async def test_a_stat_that_cannot_be_relied_on_is_refused(
    connect: Open, stat_answer: bytes, expected: type[Exception], word: str
) -> None:
    async with CannedServer(stat_answer) as server:
        patience_s = 1.5 if expected is OriginTimeout else 20  # it asks again where it got a 500
        store = await connect(url=server.url, origin=QUICK.model_copy(update={"first_byte_s": patience_s}))
        with pytest.raises(expected, match=word) as refused:
            await store.stat("a")
    assert "the-secret-itself" not in repr(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
async def test_a_server_that_cannot_be_reached_is_named(connect: Open, host: str) -> None:
    port = unused_port()
    store = await connect(url=f"http://{host}:{port}")
    for asking in (store.stat("a"), store.open("a", FIVE, '"v"'), store.check()):
        with pytest.raises(Unavailable, match=rf"store lab: .*{host}:{port}") as refused:
            await asking
        assert "bucket" not in refused.value.detail


async def test_a_coding_that_is_none_is_let_pass(connect: Open) -> None:
    async with CannedServer(answer("200 OK", ETag='"v"', Content_Encoding="aws-chunked", **HEAD)) as server:
        assert (await (await connect(url=server.url)).stat("a")).size == 5


async def test_an_object_stored_compressed_is_refused_with_a_word_that_helps(s3: SeaweedS3, connect: Open) -> None:
    s3.put("zipped.wav", b"not really", ContentEncoding="gzip")
    store = await connect(s3.settings())
    with pytest.raises(OriginFailed, match="stored with Content-Encoding 'gzip'"):
        await store.stat("zipped.wav")
    etag = s3.client.head_object(Bucket=s3.bucket, Key="zipped.wav")["ETag"]
    with pytest.raises(OriginFailed, match="content-encoded"):
        await store.open("zipped.wav", FIVE, etag)


async def test_an_object_of_many_parts_has_a_version_like_any(s3: SeaweedS3, connect: Open) -> None:
    upload = s3.client.create_multipart_upload(Bucket=s3.bucket, Key="parts.wav")["UploadId"]
    where = {"Bucket": s3.bucket, "Key": "parts.wav", "UploadId": upload}
    data = [b"a" * 5_242_880, b"b" * 1000]
    parts = [
        {"PartNumber": n, "ETag": s3.client.upload_part(**where, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(data, 1)
    ]
    s3.client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    store = await connect(s3.settings())
    assert (await store.stat("parts.wav")).etag.endswith('-2"')
    assert await read(store, "parts.wav", 5_242_870, 5_242_890) == b"a" * 10 + b"b" * 10


async def test_the_store_recovers_with_the_server(s3: SeaweedS3, connect: Open) -> None:
    s3.put("recovers.wav", b"bytes")
    async with FaultProxy(s3.port) as proxy:
        store = await connect(s3.settings(endpoint=proxy.url))
        await proxy.refuse()
        with pytest.raises(Unavailable):
            await store.check()
        await proxy.accept()
        await store.check()
        assert await read(store, "recovers.wav") == b"bytes"


# --- deleting

STATED = answer("200 OK", ETag='"v"', Content_Length="5", Last_Modified="Mon, 02 Nov 2026 03:04:05 GMT")


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ([answer("204 No Content")], [True]),
        ([error("501 Not Implemented", "NotImplemented"), answer("204 No Content")], [True, False]),
        ([error("404 Not Found", "NoSuchKey"), answer("200 OK")], [True]),
    ],
)
async def test_only_the_version_seen_is_deleted_where_the_server_knows_conditions(
    connect: Open, said: list[bytes], asked: list[bool]
) -> None:
    async with CannedServer(STATED, *said) as server:
        await (await connect(url=server.url)).delete("a", '"v"')
        deletions = [head for head in server.heads if head.startswith(b"DELETE /recordings/a ")]
        assert [b'If-Match: "v"' in head for head in deletions] == asked


async def test_a_version_replaced_since_it_was_looked_at_is_left(connect: Open) -> None:
    async with CannedServer(STATED, error("412 Precondition Failed", "PreconditionFailed")) as server:
        with pytest.raises(Changed):
            await (await connect(url=server.url)).delete("a", '"v"')


async def test_an_object_that_went_before_it_was_deleted_is_gone_and_one_whose_bucket_went_is_not(
    connect: Open,
) -> None:
    async with CannedServer(STATED, error("404 Not Found", "NoSuchKey"), answer("200 OK")) as server:
        await (await connect(url=server.url)).delete("a", '"v"')
        assert len(server.heads) == 3
    async with CannedServer(STATED, error("404 Not Found", "NoSuchBucket"), answer("404 Not Found")) as server:
        with pytest.raises(OriginFailed, match="bucket 'recordings' does not exist"):
            await (await connect(url=server.url)).delete("a", '"v"')


async def test_where_an_endpoint_redirects_to_nothing_is_found_or_deleted(connect: Open) -> None:
    elsewhere = answer("307 Temporary Redirect", Location="/elsewhere")
    done = answer("204 No Content")
    async with CannedServer(STATED, elsewhere, done, elsewhere, STATED, elsewhere, STATED) as server:
        store = await connect(url=server.url)
        with pytest.raises(OriginFailed, match="answered 307"):
            await store.delete("a", '"v"')
        with pytest.raises(OriginFailed, match="answered 307"):
            await store.stat("a")
        with pytest.raises(Unavailable, match="answered 307"):
            await store.check()


async def test_who_may_read_and_not_delete_is_told_which_right_is_missing(connect: Open) -> None:
    async with CannedServer(STATED, error("403 Forbidden", "AccessDenied")) as server:
        with pytest.raises(OriginFailed, match=r"store lab: answered 403.*s3:DeleteObject"):
            await (await connect(url=server.url)).delete("a", '"v"')
