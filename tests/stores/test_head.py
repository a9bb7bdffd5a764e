"""Heads of answers: what is kept of them, and what is none."""

import pytest

from gateway.stores.head import Head, NotHttp


def head(*fields: str, status: str = "206 Partial Content", version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} {status}", *fields, "", ""]).encode("latin-1")


def test_names_fold_case_and_what_nobody_asks_for_is_left_out():
    told = Head(
        head("content-length: 5", 'eTAG: "v"', "X-Other: 1", "CONTENT-RANGE:bytes 0-4/5  ", "x-goog-GENERATION: 7")
    )
    assert told.status == 206
    assert told.fields == {
        "Content-Length": "5",
        "ETag": '"v"',
        "Content-Range": "bytes 0-4/5",
        "X-Goog-Generation": "7",
    }
    assert told.keep_alive


def test_an_empty_field_is_no_part_of_the_next_ones_name():
    assert Head(head("X-Empty:", 'ETag: "v"', "Content-Length: 1")).fields["ETag"] == '"v"'


@pytest.mark.parametrize("second", ["ETag", "etag"])
def test_a_field_that_comes_twice_is_both(second: str):
    told = Head(head('ETag: "v"', f'{second}: "w"', "Content-Length: 1"))
    assert told.fields == {"ETag": '"v", "w"', "Content-Length": "1"}


def test_another_that_comes_twice_changes_nothing():
    told = Head(head("Set-Cookie: a", 'ETag: "v"', "Set-Cookie: b", "Content-Length: 1"))
    assert told.fields == {"ETag": '"v"', "Content-Length": "1"}


@pytest.mark.parametrize(
    ("fields", "version", "kept"),
    [
        (("Content-Length: 1",), "1.1", True),
        (("Content-Length: 1", "Connection: close"), "1.1", False),
        (("Content-Length: 1",), "1.0", False),
        (("Content-Length: 1", "Connection: keep-alive"), "1.0", True),
        ((), "1.1", False),
        (("Transfer-Encoding: chunked",), "1.1", True),
    ],
)
def test_a_connection_is_kept_where_both_sides_would(fields: tuple[str, ...], version: str, *, kept: bool):
    assert Head(head(*fields, version=version)).keep_alive is kept


@pytest.mark.parametrize(
    "raw",
    [
        head("Content-Length: 5", "Content-Length: 6"),
        head("Content-Length: 5", "Content-Length: 5"),
        head("Content-Length: 5, 6"),
        head("Content-Length: +5"),
        head("Content-Length: 5 5"),
        head("Content-Length: 99999999999999999999"),
        head("Content-Length: 5", "Transfer-Encoding: chunked"),
        head("Content-Length : 5"),
        head("Content-Length: 5", "X: a\rb"),
        head("Content-Length: 5", "X: a\0b"),
        head(" folded: first"),
        head("Content-Length: 5").replace(b"\r\n", b"\n", 1),
        head("no colon"),
        head(status="2x6 What"),
        head(status="99 Low"),
        head("Upgrade: h2c", "Connection: upgrade", status="101 Switching"),
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTP/1.1 200 OK\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    ],
)  # fmt: skip
def test_what_contradicts_itself_or_is_another_protocol_is_none(raw: bytes):
    with pytest.raises(NotHttp):
        Head(raw)


def test_the_body_of_an_error_is_read_however_it_is_framed():
    chunked = Head(head("Transfer-Encoding: chunked", status="404 Not Found"))
    for piece in (b"", b"5\r\nhel", b"lo\r\n1;x=y\r\n!\r\n0", b"\r\n\r\n"):
        assert not chunked.ended
        chunked.more(piece)
    assert (chunked.body, chunked.ended) == (b"hello!", True)

    known = Head(head("Content-Length: 2", status="404 Not Found"))
    known.more(b"ok")
    assert (known.body, known.ended) == (b"ok", True)

    to_the_end = Head(head(status="404 Not Found"))
    to_the_end.more(b"and so on")
    assert (to_the_end.body, to_the_end.ended) == (b"and so on", False)

    broken = Head(head("Transfer-Encoding: chunked", status="404 Not Found"))
    with pytest.raises(NotHttp):
        broken.more(b"what?\r\n")
