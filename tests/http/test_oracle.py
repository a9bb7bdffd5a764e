"""The plan against an independent reading of RFC 9110, over a great many generated requests."""

from collections import Counter
from datetime import UTC, datetime
from email import message_from_bytes
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from parts.http_cases import Case, case
from parts.http_oracle import Verdict, verdict

from gateway.errors import BadRequest, PreconditionFailed, Refusal, Unsatisfiable
from gateway.http.preconditions import plan
from gateway.http.ranges import _select, select
from gateway.model import Plan, Stat

COUNT = 100_000
SEED = 9110
DATA = bytes(range(1, 65))
STATUS = {BadRequest: 400, PreconditionFailed: 412, Unsatisfiable: 416}
LEAST = {"200": 0.15, "206": 0.1, "206 multipart": 0.04, "304": 0.02, "400": 0.005, "412": 0.05, "416": 0.05}
"""The share that each kind of answer must have among the generated, or the run shows nothing about it."""


def asked(c: Case, *, ranges: bool = True) -> Plan | Refusal:
    stat = Stat(c.size, c.etag, "v", c.modified)
    try:
        return plan(c.method, CIMultiDict(c.lines), stat, media_type="audio/wav", ranges=ranges)
    except Refusal as refusal:
        return refusal


def body(answer: Plan) -> bytes:
    if answer.parts:
        return b"".join(p.head + DATA[p.span.start : p.span.stop] for p in answer.parts) + answer.tail
    return b"" if answer.span is None else DATA[answer.span.start : answer.span.stop]


def received(answer: Plan, size: int) -> tuple[tuple[int, int], ...]:
    """The spans that a client reads out of the answer, with a MIME parser that is not ours; checks all it states."""
    sent = body(answer)
    assert len(sent) == answer.length
    assert int(answer.headers["Content-Length"]) == len(sent)
    if not answer.parts:
        assert answer.headers["Content-Type"] == "audio/wav"
        if answer.status == 200:
            assert "Content-Range" not in answer.headers
            assert sent == DATA[:size]
            return ((0, size),) if size else ()
        return (_stated(answer.headers["Content-Range"], sent, size),)
    assert "Content-Range" not in answer.headers
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + sent)
    assert message.get_content_type() == "multipart/byteranges"
    parts = message.get_payload()
    assert {part.get_content_type() for part in parts} == {"audio/wav"}
    return tuple(_stated(part["Content-Range"], part.get_payload(decode=True), size) for part in parts)


def _stated(content_range: str, sent: bytes, size: int) -> tuple[int, int]:
    unit, _, rest = content_range.partition(" ")
    positions, _, complete = rest.partition("/")
    first, last = map(int, positions.split("-"))
    assert (unit, complete) == ("bytes", str(size))
    assert sent == DATA[first : last + 1]
    return first, last + 1


def outcome(c: Case, *, ranges: bool = True) -> Verdict:
    """What the code under test comes to, in the oracle's words; an answer's own consistency is checked on the way."""
    answer = asked(c, ranges=ranges)
    if isinstance(answer, Refusal):
        assert not isinstance(answer, Unsatisfiable) or answer.size == c.size
        return Verdict(STATUS[type(answer)])
    assert answer.headers["ETag"] == c.etag
    if answer.status == 304:
        assert answer.headers.keys() == {"ETag", "Last-Modified"}
        assert (answer.length, answer.span, answer.parts, answer.tail) == (0, None, (), b"")
        return Verdict(304)
    assert answer.headers["Accept-Ranges"] == ("bytes" if ranges else "none")
    return Verdict(answer.status, received(answer, c.size))


def agree(c: Case, *, ranges: bool = True) -> Verdict:
    expected = verdict(c.method, c.lines, c.size, c.etag, c.modified, ranges=ranges)
    assert outcome(c, ranges=ranges) == expected, c
    return expected


def test_plan_agrees_with_the_oracle_on_every_generated_request():
    r = Random(SEED)
    kinds: Counter[str] = Counter()
    for _ in range(COUNT):
        found = agree(case(r))
        kinds[f"{found.status} multipart" if found.status == 206 and len(found.spans) > 1 else str(found.status)] += 1
    assert kinds.total() >= 100_000
    assert kinds.keys() == LEAST.keys()
    short = {kind: n for kind, n in kinds.items() if n < LEAST[kind] * COUNT}
    assert not short, f"too few of these for the run to mean anything: {short} of {kinds}"


def test_without_ranges_plan_agrees_too_and_never_sends_a_part():
    r = Random(SEED + 1)
    statuses = Counter(agree(case(r), ranges=False).status for _ in range(10_000))
    assert statuses.keys() == {200, 304, 412}


def test_the_short_way_for_one_plain_range_gives_what_the_long_way_gives():
    def chosen(way, field, size):
        try:
            return way(field, size)
        except Unsatisfiable as refusal:
            return refusal.size

    r = Random(SEED + 2)
    for _ in range(20_000):
        c = case(r)
        for name, text in c.lines:
            if name.lower() == "range" and c.size:
                assert chosen(select, text, c.size) == chosen(_select, text, c.size), (text, c.size)


def test_head_is_planned_as_get_without_its_range():
    r = Random(SEED + 3)
    for _ in range(10_000):
        c = case(r)
        bare = tuple(line for line in c.lines if line[0].lower() != "range")
        head = asked(Case("HEAD", c.lines, c.size, c.etag, c.modified))
        get = asked(Case("GET", bare, c.size, c.etag, c.modified))
        assert type(head) is type(get)
        if isinstance(head, Plan):
            assert head == get


NAMES = ("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
anything = st.text(st.characters(codec=None), max_size=40)
numbers = st.one_of(st.just(""), st.integers(0, 70), st.integers(0, 10**45))
specs = st.one_of(st.builds("{}-{}".format, numbers, numbers), anything)
ranges = st.builds(
    "{}{}".format, st.sampled_from(("bytes=", "BYTES=", "x=", "")), st.lists(specs, max_size=10).map(",".join)
)
tags = st.lists(st.one_of(st.sampled_from(('"e"', 'W/"e"', "*", '"x,y"')), anything), max_size=4).map(", ".join)
times = st.integers(631_152_000, 2_840_140_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
dates = times.map("{:%a, %d %b %Y %H:%M:%S GMT}".format)
requests = st.builds(
    Case,
    st.sampled_from(("GET", "HEAD", "get", "")),
    st.lists(st.tuples(st.sampled_from(NAMES), st.one_of(ranges, tags, dates, anything)), max_size=5).map(tuple),
    st.integers(0, 64),
    st.just('"e"'),
    times,
)


@settings(max_examples=1000)
@example(Case("GET", (("Range", "bytes=" + "," * 8000),), 10, '"e"', datetime(2026, 1, 1, tzinfo=UTC)))
@example(Case("GET", (("Range", "bytes=0-" + "9" * 4000),), 10, '"e"', datetime(2026, 1, 1, tzinfo=UTC)))
@given(requests)
def test_plan_agrees_with_the_oracle_on_any_text_whatever(c):
    agree(c)
