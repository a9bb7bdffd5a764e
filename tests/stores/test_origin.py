"""The ranged reader: what it asks, and what it believes of an answer."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from parts.canned import CannedServer, answer
from parts.labs import QUICK, drain

from gateway.config import Origin
from gateway.errors import Broken, Changed, OriginFailed, OriginTimeout, Unavailable
from gateway.model import Source, Span
from gateway.stores.answer import Pin, fault
from gateway.stores.origin import ERROR_BYTES, Reader, Refused

SECRET = "X-Amz-Signature=5ec2e7"
PATH = f"/b/a%20b%2B%C3%A9+%5Bx%5D/../..//%23?{SECRET}&x=%2f"
PIN = Pin("ETag", '"v"')
SPAN = Span(10, 20)
RIGHT = {"ETag": '"v"', "Content_Range": "bytes 10-19/100"}
BODY = b"0123456789"


class LabReader(Reader):
    async def read(self, url: str, headers: dict[str, str], span: Span, pin: Pin) -> Source:
        return await self.get(self.target(url, headers, pin), span)


Make = Callable[..., LabReader]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[LabReader] = []

    def one(settings: Origin = QUICK) -> LabReader:
        made.append(LabReader("lab", settings))
        return made[-1]

    yield one
    for reader in made:
        await reader.close()


def told(error: BaseException) -> str:
    """All that a log could show of it."""
    return "".join(traceback.format_exception(error)) + repr(error)


async def test_it_asks_for_the_bytes_as_they_are_and_for_the_url_as_it_is_written(make: Make) -> None:
    async with CannedServer(answer("206 Partial Content", BODY, **RIGHT)) as server:
        source = await make().read(server.url + PATH, {"If-Match": '"v"'}, SPAN, PIN)
        assert await drain(source) == BODY
    head = server.heads[0].decode().split("\r\n")
    assert head[0] == f"GET {PATH} HTTP/1.1"
    assert {"Range: bytes=10-19", "Accept-Encoding: identity", 'If-Match: "v"'} <= set(head)


@pytest.mark.parametrize(
    ("span", "head"),
    [
        (SPAN, answer("206 Partial Content", BODY, **RIGHT)),
        (SPAN, answer("206 Partial Content", BODY, **RIGHT, Content_Encoding="identity")),
        (SPAN, answer("206 Partial Content", BODY, **RIGHT, Content_Encoding="aws-chunked")),
        (Span(0, 10), answer("200 OK", BODY, ETag='"v"')),
    ],
)
async def test_right_answers_are_believed(make: Make, span: Span, head: bytes) -> None:
    async with CannedServer(head) as server:
        assert await drain(await make().read(server.url + PATH, {}, span, PIN)) == BODY


WRONG = {
    "the whole instead of a part": (SPAN, answer("200 OK", b"x" * 100, ETag='"v"')),
    "a whole as long as the part": (SPAN, answer("200 OK", BODY, ETag='"v"')),
    "a whole longer than the span": (Span(0, 10), answer("200 OK", b"x" * 11, ETag='"v"')),
    "another part, as long": (SPAN, answer("206 P", BODY, ETag='"v"', Content_Range="bytes 11-20/100")),
    "one byte less": (SPAN, answer("206 P", BODY[:9], ETag='"v"', Content_Range="bytes 10-18/100")),
    "a total that cannot be": (SPAN, answer("206 P", BODY, ETag='"v"', Content_Range="bytes 10-19/19")),
    "an unknown total": (SPAN, answer("206 P", BODY, ETag='"v"', Content_Range="bytes 10-19/*")),
    "another unit": (SPAN, answer("206 P", BODY, ETag='"v"', Content_Range="items 10-19/100")),
    "no Content-Range": (SPAN, answer("206 P", BODY, ETag='"v"')),
    "several parts": (SPAN, answer("206 P", BODY, ETag='"v"', Content_Type="multipart/byteranges; boundary=x")),
    "a length that differs": (SPAN, answer("206 P", BODY, **RIGHT, Content_Length="11")),
    "no length": (SPAN, answer("206 P", b"a\r\n0123456789\r\n0\r\n\r\n", **RIGHT, Content_Length="", Transfer_Encoding="chunked")),
    "a compressed body": (SPAN, answer("206 P", BODY, **RIGHT, Content_Encoding="gzip")),
    "no version": (SPAN, answer("206 P", BODY, Content_Range="bytes 10-19/100")),
    "a redirect": (SPAN, answer("302 Found", Location="http://127.0.0.1:9/elsewhere")),
    "a permanent redirect": (SPAN, answer("301 Moved", b"<Code>PermanentRedirect</Code>")),
    "no content": (SPAN, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified": (SPAN, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "another protocol": (SPAN, b"220 mail.example ESMTP\r\n"),
    "a length that is none": (SPAN, answer("206 P", BODY, **RIGHT, Content_Length="+10")),
    "a head without end": (SPAN, b"HTTP/1.1 206 P\r\nX: " + b"x" * 70_000),
}  # fmt: skip


@pytest.mark.parametrize(("span", "head"), WRONG.values(), ids=WRONG)
async def test_wrong_answers_are_the_origins_failure_and_are_not_asked_for_again(
    make: Make, span: Span, head: bytes
) -> None:
    async with CannedServer(head) as server:
        with pytest.raises(OriginFailed, match="store lab") as failed:
            await make().read(server.url + PATH, {}, span, PIN)
        assert len(server.heads) == 1
    assert SECRET not in told(failed.value)


@pytest.mark.parametrize(
    "head",
    [
        answer("412 Precondition Failed", b"<Error><Code>PreconditionFailed</Code></Error>"),
        answer("416 Range Not Satisfiable", Content_Range="bytes */5"),
        answer("206 Partial Content", BODY, ETag='"w"', Content_Range="bytes 10-19/100"),
        answer("206 Partial Content", BODY, ETag='W/"v"', Content_Range="bytes 10-19/100"),
        answer("200 OK", b"x" * 50, ETag='"w"'),
    ],
)
async def test_another_version_is_changed_whether_or_not_the_server_honours_the_condition(
    make: Make, head: bytes
) -> None:
    async with CannedServer(head) as server:
        with pytest.raises(Changed):
            await make().read(server.url + PATH, {}, SPAN, PIN)


@pytest.mark.parametrize(
    "status", ["408 Timeout", "429 Too Many", "500 Internal", "502 Bad", "503 SlowDown", "504 Timeout"]
)
async def test_a_store_in_trouble_is_asked_three_times(make: Make, status: str) -> None:
    async with CannedServer(answer(status, f"<Error>{SECRET}</Error>".encode())) as server:
        with pytest.raises(Unavailable, match=status[:3]) as unavailable:
            await make().read(server.url + PATH, {}, SPAN, PIN)
        assert len(server.heads) == 3
    assert SECRET not in told(unavailable.value)


async def test_a_store_that_recovers_is_read(make: Make) -> None:
    right = answer("206 Partial Content", BODY, **RIGHT)
    async with CannedServer(answer("503 SlowDown"), b"", right) as server:
        assert await drain(await make().read(server.url + PATH, {}, SPAN, PIN)) == BODY


async def test_a_hang_up_is_unavailable(make: Make) -> None:
    async with CannedServer(b"") as server:
        with pytest.raises(Unavailable) as unavailable:
            await make().read(server.url + PATH, {}, SPAN, PIN)
    assert SECRET not in told(unavailable.value)


async def test_an_answer_that_stops_in_its_head_times_out(make: Make) -> None:
    async with CannedServer(b"HTTP/1.1 206 Partial Content\r\nContent-") as server:
        start = time.monotonic()
        with pytest.raises(OriginTimeout) as late:
            await make(QUICK.model_copy(update={"first_byte_s": 0.2})).read(server.url + PATH, {}, SPAN, PIN)
        assert time.monotonic() - start < 3.5, "QUICK's own is longer"
        assert len(server.heads) == 2
    assert SECRET not in told(late.value)


@pytest.mark.parametrize("status", ["400 Bad Request", "401 No", "403 Forbidden", "404 Not Found", "410 Gone"])
async def test_a_refusal_is_left_to_the_adapter_with_no_more_than_its_beginning(make: Make, status: str) -> None:
    endless = answer(status, b"<Code>Why</Code>" + b"x" * 1_000_000, Content_Length="1000000000")
    async with CannedServer(endless) as server, asyncio.timeout(20):
        with pytest.raises(Refused) as refused:
            await make(QUICK.model_copy(update={"progress_s": 100})).read(server.url + PATH, {}, SPAN, PIN)
        assert len(server.heads) == 1
    assert refused.value.status == int(status[:3])
    assert refused.value.body.startswith(b"<Code>Why</Code>")
    assert len(refused.value.body) <= ERROR_BYTES
    assert SECRET not in told(refused.value)


async def test_a_refusal_whose_body_never_comes_is_still_a_refusal(make: Make) -> None:
    async with CannedServer(answer("404 Not Found", b"<Co", Content_Length="5000")) as server:
        with pytest.raises(Refused):
            await make(QUICK.model_copy(update={"progress_s": 0.1})).read(server.url + PATH, {}, SPAN, PIN)


async def test_a_short_body_is_broken(make: Make) -> None:
    async with CannedServer(answer("206 P", BODY[:4], **RIGHT, Content_Length="10"), b"") as server:
        source = await make().read(server.url + PATH, {}, SPAN, PIN)
        assert await source.read() == BODY[:4]
        reading = asyncio.create_task(source.read())
        await asyncio.sleep(0)
        for writer in list(server._writers):
            writer.close()
        with pytest.raises(Broken) as broken:
            await reading
        await source.close()
    assert SECRET not in told(broken.value)


async def test_a_body_that_stalls_is_broken_after_the_progress_deadline_and_not_before(make: Make) -> None:
    async with CannedServer(answer("206 P", BODY[:4], **RIGHT, Content_Length="10")) as server:
        source = await make(QUICK.model_copy(update={"progress_s": 0.3})).read(server.url + PATH, {}, SPAN, PIN)
        await asyncio.sleep(0.5)  # it is the reader who was slow: no stall
        assert await source.read() == BODY[:4]
        start = time.monotonic()
        with pytest.raises(Broken):
            await source.read()
        assert time.monotonic() - start > 0.25
        await source.close()


async def test_a_connection_whose_body_was_read_is_used_again_and_one_left_over_is_not(make: Make) -> None:
    long = answer("206 P", b"x" * 9, ETag='"v"', Content_Range="bytes 10-1000008/2000000", Content_Length="999999")
    async with CannedServer(answer("206 P", BODY, **RIGHT), answer("206 P", BODY, **RIGHT), long) as server:
        reader = make(QUICK.model_copy(update={"connections": 1}))
        for _ in range(2):
            assert await drain(await reader.read(server.url + PATH, {}, SPAN, PIN)) == BODY
        assert len(server._writers) == 1
        for _ in range(3):
            source = await reader.read(server.url + PATH, {}, Span(10, 1_000_009), PIN)
            await source.close()


async def test_more_streams_than_connections_are_refused_in_time(make: Make) -> None:
    long = answer("206 P", b"x" * 9, ETag='"v"', Content_Range="bytes 10-1000008/2000000", Content_Length="999999")
    async with CannedServer(long) as server:
        reader = make(QUICK.model_copy(update={"connections": 1, "connect_s": 0.1}))
        first = await reader.read(server.url + PATH, {}, Span(10, 1_000_009), PIN)
        with pytest.raises(Unavailable, match="all 1 connections are in use") as unavailable:
            await reader.read(server.url + PATH, {}, Span(10, 1_000_009), PIN)
        await first.close()
    assert SECRET not in told(unavailable.value)


NUMBERS = st.integers(0, 40)


@given(NUMBERS, st.integers(1, 12), NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.sampled_from([200, 206]))
@example(0, 1, 0, 0, 1, 1, 206)
@example(5, 5, 5, 9, 10, 5, 206)
@example(0, 5, 0, 4, 5, 5, 200)
def test_only_exactly_the_span_is_believed(
    start: int, length: int, first: int, last: int, total: int, sent: int, status: int
) -> None:
    span = Span(start, start + length)
    headers = {"Content-Length": str(sent), "Content-Range": f"bytes {first}-{last}/{total}"}
    asked = set(range(start, start + length))
    if status == 200:
        right = set(range(sent)) == asked
    else:
        right = sent == length and set(range(first, last + 1)) == asked and last < total
    assert (fault(status, headers, span) is None) == right
