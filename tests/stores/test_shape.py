"""What is told of a head by the shape of another is what parsing it would have told."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.model import Span
from gateway.stores.answer import fault
from gateway.stores.head import Head, NotHttp
from gateway.stores.shape import Shape

SPAN, ETAG = Span(100, 164), '"4f2a"'
LINES = (
    "Server: nginx",
    "Date: Mon, 23 Nov 2026 12:00:00 GMT",
    "Content-Type: audio/wav",
    "Content-Length: 64",
    "Connection: keep-alive",
    f"ETag: {ETAG}",
    "x-amz-request-id: 4442587FB7D0A2F9",
    "Content-Range: bytes 100-163/1000",
)


def head_of(lines: tuple[str, ...], status: str = "HTTP/1.1 206 Partial Content") -> bytes:
    return "\r\n".join([status, *lines, "", ""]).encode("latin-1")


HEAD = head_of(LINES)


def end_of(head: bytes, shape: Shape, *, span: Span = SPAN, etag: str = ETAG) -> int:
    room = bytearray(head + b"x" * 64)
    return shape.end(room, len(room), span, etag)


def is_right(head: bytes) -> bool:
    """As a read judges what was parsed."""
    try:
        parsed = Head(head)
    except NotHttp:
        return False
    told = parsed.fields
    return parsed.status == 206 and parsed.keep_alive and told.get("ETag") == ETAG and fault(206, told, SPAN) is None


def changed(at: str, value: str) -> bytes:
    return head_of(tuple(f"{at}: {value}" if line.startswith(f"{at}:") else line for line in LINES))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("Date", "Mon, 23 Nov 2026 12:00:01 GMT"),
        ("x-amz-request-id", "another"),
        ("x-amz-request-id", ""),
        ("Server", "another\té"),
        ("Content-Type", "text/plain"),
        ("Content-Length", "64  "),
    ],
)
def test_a_head_that_differs_in_what_says_nothing_is_told(at: str, value: str) -> None:
    head = changed(at, value)
    told = end_of(head, Shape(HEAD, "ETag"))
    assert is_right(head)
    assert told in ({0} if value.endswith(" ") else {len(head)})


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("Content-Length", "63"),
        ("Content-Length", "064"),
        ("Content-Range", "bytes 100-162/1000"),
        ("Content-Range", "bytes 101-163/1000"),
        ("Content-Range", "bytes 100-163/163"),
        ("Content-Range", "bytes 100-163/*"),
        ("ETag", '"4f2b"'),
        ("ETag", f"W/{ETAG}"),
        ("Connection", "close"),
        ("Server", "nginx\r\nContent-Encoding: gzip"),
        ("Server", "nginx\nTransfer-Encoding: chunked"),
        ("Server", "a\0b"),
    ],
)
def test_a_head_that_differs_in_what_decides_is_not(at: str, value: str) -> None:
    assert end_of(changed(at, value), Shape(HEAD, "ETag")) == 0


def test_another_order_of_fields_or_one_more_or_less_is_another_shape() -> None:
    shape = Shape(HEAD, "ETag")
    for lines in ((*LINES[1:], LINES[0]), (*LINES, "Age: 1"), LINES[1:]):
        assert end_of(head_of(lines), shape) == 0
    assert end_of(head_of(LINES, "HTTP/1.1 200 OK"), shape) == 0


def test_a_head_that_is_not_whole_yet_is_not_told() -> None:
    shape, room = Shape(HEAD, "ETag"), bytearray(HEAD + b"x" * 64)
    assert [shape.end(room, have, SPAN, ETAG) for have in range(len(HEAD))] == [0] * len(HEAD)
    assert shape.end(room, len(HEAD), SPAN, ETAG) == len(HEAD)


@pytest.mark.parametrize(
    "lines",
    [
        (*LINES, "Content-Length: 64"),
        (*LINES, 'etag: "4f2a"'),
        (*LINES, "Content-Encoding: gzip"),
        (*LINES, "Transfer-Encoding: chunked"),
        (*LINES, " folded"),
        (*LINES, "no field"),
        (*LINES, "Odd : name"),
        LINES[:-1],
        LINES[:5] + LINES[6:],
    ],
)
def test_a_head_that_others_cannot_be_told_by_makes_no_shape(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Shape(head_of(lines), "ETag")


VALUES = st.sampled_from(
    [line.partition(": ")[2] for line in LINES]
    + ["", "0", "65", "close", "gzip", "chunked", "bytes 100-163/164", "bytes 0-63/1000", '"4f2b"', "a\r\nb: c", "é", "\t"]
) | st.text(st.characters(max_codepoint=255), max_size=6)  # fmt: skip
NAMES = st.sampled_from([line.partition(":")[0] for line in LINES] + ["Keep-Alive", "Transfer-Encoding", "Age", "etag"])


HEADS = (
    st.lists(st.sampled_from(LINES) | st.builds("{}: {}".format, NAMES, VALUES), min_size=6, max_size=10)
    | st.permutations(LINES)
    | st.tuples(st.integers(0, len(LINES) - 1), VALUES).map(
        lambda new: [f"{line.partition(':')[0]}: {new[1]}" if at == new[0] else line for at, line in enumerate(LINES)]
    )
).map(lambda lines: head_of(tuple(lines)))


@settings(max_examples=300, deadline=None)
@example(like=HEAD, head=HEAD)
@given(like=HEADS.filter(is_right) | st.just(HEAD), head=HEADS)
def test_what_is_told_is_what_parsing_tells(like: bytes, head: bytes) -> None:
    try:
        shape = Shape(like, "ETag")
    except ValueError:
        return
    if end := end_of(head, shape):
        assert head[:end] == head
        assert is_right(head)
