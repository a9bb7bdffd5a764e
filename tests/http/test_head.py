"""A response's head as bytes."""

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.head import response_head
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
