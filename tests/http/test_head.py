"""A response's head as bytes."""

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.head import head_pattern, last_lines, response_head
from gateway.http.headers import parse_date


def read(head):
    """Status, reason and fields as another's parser reads them."""

    class Socket:
        def makefile(self, _mode):
            return io.BytesIO(head)

    response = http.client.HTTPResponse(Socket(), method="HEAD")
    response.begin()
    return response


@pytest.mark.parametrize(
    ("minor", "keep_alive", "connection"),
    [(1, True, None), (1, False, "close"), (0, True, "keep-alive"), (0, False, None)],
)
def test_connection_says_what_its_version_does_not_imply(minor, keep_alive, connection):
    response = read(response_head(206, {"ETag": '"a"'}, keep_alive=keep_alive, minor=minor))
    assert (response.version, response.status, response.reason) == (10 + minor, 206, "Partial Content")
    assert response.headers["ETag"] == '"a"'
    assert response.headers["Connection"] == connection
    assert parse_date(response.headers["Date"]) is not None


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "a\0b", "\r\n\r\n<html>"])
@pytest.mark.parametrize("where", ["name", "value"])
def test_a_field_that_would_break_out_of_its_line_is_refused(value, where):
    fields = {value: "x"} if where == "name" else {"X": value}
    with pytest.raises(ValueError, match="line break"):
        response_head(200, fields, keep_alive=True)


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True), st.text(max_size=60), max_size=8))
def test_whatever_the_fields_hold_there_is_one_head_or_none(fields):
    try:
        head = response_head(200, fields, keep_alive=True)
    except ValueError:
        return
    assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == len(fields) + 3
    assert head.endswith(b"\r\n\r\n")


VARYING = ("Content-Range", "Content-Length", "X-Request-Id")
_value = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60) | st.sampled_from(["100 %", "%b%s%%", ""])


def with_varying(fields, *texts):
    """Behind a field that has their place already, as in an answer."""
    return {"Content-Range": "", **fields, **dict(zip(VARYING, texts, strict=True)), "Server": "s"}


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Za-z0-9%-]{0,20}", fullmatch=True), _value, max_size=6), _value)
def test_a_head_that_is_filled_in_is_the_one_that_would_have_been_made(fields, request_id):
    texts = ("bytes 5-104/300007", "100", request_id)
    pattern = head_pattern(206, lambda *holes: with_varying(fields, *holes), 3)
    made, before, after = b"", last_lines(), b""
    while before != after:  # the second in which both were made
        before = last_lines()
        made = response_head(206, with_varying(fields, *texts), keep_alive=True)
        after = last_lines()
    assert pattern % tuple(map(str.encode, texts)) + after == made


@pytest.mark.parametrize(
    "fields",
    [
        lambda first, _second: {"A": first, "B": "b"},
        lambda first, second: {"B": second, "A": first},
        lambda first, second: {"A": first, "B": second, "C": "a\r\nb"},
    ],
    ids=["one is missing", "in another order", "a line break"],
)
def test_a_head_that_could_not_be_filled_in_is_none(fields):
    with pytest.raises(ValueError, match=r"does not stand there|line break"):
        head_pattern(206, fields, 2)
