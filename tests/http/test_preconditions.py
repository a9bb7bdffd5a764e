"""What a plan carries, and what the decision table leaves to say."""

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.errors import BadRequest, PreconditionFailed, Unsatisfiable
from gateway.http.preconditions import plan
from gateway.model import Plan, Span, Stat

STAT = Stat(10, '"e"', "v1", datetime(2024, 5, 1, 0, 0, 0, 999, tzinfo=UTC), "text/html")
EMPTY = Stat(0, '"e"', "v1", STAT.modified)
DATE = "Wed, 01 May 2024 00:00:00 GMT"
TWICE = (("Range", "bytes=0-0"), ("Range", "bytes=2-2"))


def ask(*lines, method="GET", stat=STAT, media_type="audio/wav", ranges=True) -> Plan:
    headers = CIMultiDictProxy(CIMultiDict(lines))
    return plan(method, headers, stat, media_type=media_type, ranges=ranges, boundary=lambda: "B")


def test_whole_object_carries_everything():
    assert ask() == Plan(
        200,
        {
            "Accept-Ranges": "bytes",
            "ETag": '"e"',
            "Last-Modified": DATE,
            "Content-Type": "audio/wav",
            "Content-Length": "10",
        },
        10,
        Span(0, 10),
    )


def test_one_range_carries_its_place():
    answer = ask(("range", "bytes=-3"))
    assert answer.headers["Content-Range"] == "bytes 7-9/10"
    assert (answer.status, answer.length, answer.span, answer.parts) == (206, 3, Span(7, 10), ())


def test_several_ranges_carry_their_framing():
    answer = ask(("Range", "bytes=0-0,5-6"))
    assert answer.headers == {
        "Accept-Ranges": "bytes",
        "ETag": '"e"',
        "Last-Modified": DATE,
        "Content-Type": "multipart/byteranges; boundary=B",
        "Content-Length": str(answer.length),
    }
    assert [part.span for part in answer.parts] == [Span(0, 1), Span(5, 7)]
    assert answer.span is None
    assert answer.tail == b"\r\n--B--\r\n"


def test_not_modified_carries_validators_alone():
    assert ask(("If-None-Match", "*")) == Plan(304, {"ETag": '"e"', "Last-Modified": DATE}, 0)


def test_empty_object_has_length_and_no_span():
    answer = ask(("Range", "bytes=0-"), stat=EMPTY)
    assert (answer.status, answer.length, answer.span, answer.headers["Content-Length"]) == (200, 0, None, "0")


@pytest.mark.parametrize("field", ["bytes=0-0", "bytes=99-", "bytes=5-4", "bytes=0-0,2-2", "bytes=-0"])
def test_where_no_ranges_are_offered_range_is_not_read(field):
    answer = ask(("Range", field), ("If-Range", '"other"'), ranges=False)
    assert (answer.status, answer.span) == (200, Span(0, 10))
    assert answer.headers["Accept-Ranges"] == "none"
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("stored", "sent"),
    [("audio/x-wav", "audio/wav"), ("text/html", "application/octet-stream"), ("", "application/octet-stream")],
)
def test_type_of_body_and_parts_is_of_the_allow_list(stored, sent):
    assert ask(media_type=stored).headers["Content-Type"] == sent
    for part in ask(("Range", "bytes=0-0,5-5"), media_type=stored).parts:
        assert f"Content-Type: {sent}\r\n".encode() in part.head


def test_unsatisfiable_tells_the_size():
    with pytest.raises(Unsatisfiable) as refusal:
        ask(("Range", "bytes=10-"))
    assert refusal.value.size == 10


def test_two_range_lines_are_refused_where_they_would_be_read():
    for lines in (TWICE, (*TWICE, ("If-Range", '"e"')), (*TWICE, ("If-None-Match", '"other"'))):
        with pytest.raises(BadRequest):
            ask(*lines)


def test_two_range_lines_are_passed_over_where_no_range_is_read():
    assert ask(*TWICE, method="HEAD").status == 200
    assert ask(*TWICE, ranges=False).status == 200
    assert ask(*TWICE, stat=EMPTY).status == 200
    assert ask(*TWICE, ("If-Range", '"other"')).status == 200
    assert ask(*TWICE, ("If-None-Match", '"e"')).status == 304
    with pytest.raises(PreconditionFailed):
        ask(*TWICE, ("If-Match", '"other"'))


@pytest.mark.parametrize("field", ['"a", *', "*, *", '"e', 'e"', '"e" "e"', 'w/"e"', 'W/ "e"', '"e"\x0b', '"e";q=1'])
def test_a_list_with_anything_but_tags_matches_nothing(field):
    with pytest.raises(PreconditionFailed):
        ask(("If-Match", field))
    assert ask(("If-None-Match", field)).status == 200


def test_a_broken_list_still_stands_before_the_dates():
    assert ask(("If-None-Match", "garbage"), ("If-Modified-Since", DATE)).status == 200
    assert ask(("If-Match", '"e"'), ("If-Unmodified-Since", "Wed, 01 May 1996 00:00:00 GMT")).status == 200


def test_plans_headers_are_the_callers_to_add_to():
    first = ask()
    assert ask().headers is not first.headers
