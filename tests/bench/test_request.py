"""What the benchmarks' client takes for an answer."""

import pytest

from bench.client.request import Head, WrongAnswer, parse_head, request
from bench.variants import Target

TARGET = Target("it", 1, {"plain": 81}, lambda origin, key: f"/{origin}/{key}", {"Authorization": "Bearer x"})


@pytest.mark.parametrize(
    ("span", "field"), [(None, ""), ((0, 9), "Range: bytes=0-9\r\n"), ((5, None), "Range: bytes=5-\r\n")]
)
def test_a_request_asks_for_what_it_should(span, field):
    asked = request(TARGET, "plain", "a.wav", span).decode()
    assert asked == f"GET /plain/a.wav HTTP/1.1\r\nHost: 127.0.0.1:81\r\nAuthorization: Bearer x\r\n{field}\r\n"


HEAD = b"HTTP/1.1 206 Partial Content\r\ncontent-LENGTH: 12\r\nX: y\r\n\r\n"


def test_a_head_is_told_once_it_is_there():
    for end in range(len(HEAD)):
        assert parse_head(HEAD[:end]) is None
    assert parse_head(HEAD) == Head(206, 12, 0)
    assert parse_head(HEAD + b"RIFF\r\n\r\n") == Head(206, 12, 8)


@pytest.mark.parametrize(
    "received",
    [
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno.",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_nothing_is_measured_on_a_refusal_or_on_a_body_of_unknown_length(received):
    with pytest.raises(WrongAnswer):
        parse_head(received)
