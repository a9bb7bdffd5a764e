"""What a Range field is parsed to, and that hostile ones cost no more than their length."""

from contextlib import suppress
from time import process_time

import pytest

from gateway.errors import Unsatisfiable
from gateway.http.ranges import Bounded, From, Last, coalesce, content_range, parse, resolve, select
from gateway.model import Span

BEYOND = 10**18
HOSTILE = {
    "commas": "bytes=" + "," * 8186,
    "specs": "bytes=" + "0-," * 2728,
    "digits": "bytes=0-" + "9" * 8184,
    "falling digits": f"bytes={'9' * 4092}-{'8' * 4092}",
    "zeros": f"bytes={'0' * 4092}-{'0' * 4092}",
    "blanks": "bytes=" + " \t" * 4093,
    "hyphens": "bytes=" + "-" * 8186,
    "a bad one at the end": "bytes=" + "0-0," * 2046 + "x",
}


@pytest.mark.parametrize(
    ("field", "specs"),
    [
        ("bytes=0-0", (Bounded(0, 0),)),
        ("bytes=5-", (From(5),)),
        ("bytes=-5", (Last(5),)),
        ("bYtEs=1-2 ,\t-3,,4-", (Bounded(1, 2), Last(3), From(4))),
        (f"bytes={10**40}-", (From(BEYOND),)),
        (f"bytes=-{10**40}", (Last(BEYOND),)),
        (f"bytes={10**17}-{10**18 - 1}", (Bounded(10**17, 10**18 - 1),)),
        (f"bytes={10**40}-{10**40 - 1}", ()),
        (f"bytes={10**40}-{10**40}", (Bounded(BEYOND, BEYOND),)),
        ("bytes=", ()),
        ("bytes=1-2,x", ()),
        ("lines=1-2", None),
        ("byte\u017f=1-2", None),
        ("bytes", None),
        ("", None),
    ],
)
def test_field_parses_to_its_specs(field, specs):
    assert parse(field) == specs


@pytest.mark.parametrize(
    ("spec", "span"),
    [
        (Bounded(0, 0), Span(0, 1)),
        (Bounded(9, 9), Span(9, 10)),
        (Bounded(8, 10), Span(8, 10)),
        (Bounded(10, 10), None),
        (From(9), Span(9, 10)),
        (From(10), None),
        (Last(1), Span(9, 10)),
        (Last(10), Span(0, 10)),
        (Last(11), Span(0, 10)),
        (Last(0), None),
    ],
)
def test_spec_resolves_within_ten_bytes(spec, span):
    assert resolve(spec, 10) == span


@pytest.mark.parametrize(
    ("asked", "joined"),
    [
        (((0, 2), (4, 6)), ((0, 2), (4, 6))),
        (((4, 6), (0, 2)), ((4, 6), (0, 2))),
        (((4, 6), (0, 2), (2, 4)), ((0, 6),)),
        (((4, 6), (0, 1), (5, 9)), ((4, 9), (0, 1))),
        (((0, 1), (4, 6), (8, 9), (1, 4)), ((0, 6), (8, 9))),
        (((0, 9), (2, 3), (4, 5)), ((0, 9),)),
    ],
)
def test_spans_are_joined_where_the_first_of_them_was_asked(asked, joined):
    assert coalesce([Span(*span) for span in asked]) == tuple(Span(*span) for span in joined)


@pytest.mark.parametrize("field", HOSTILE.values(), ids=HOSTILE)
def test_hostile_field_of_8_kb_costs_milliseconds(field):
    assert len(field) <= 8192
    took = []
    for _ in range(10):
        before = process_time()
        with suppress(Unsatisfiable):
            select(field, 1000)
        took.append(process_time() - before)
    assert min(took) < 0.05


def test_content_range_names_the_last_byte_inclusively():
    assert content_range(Span(0, 1), 10) == "bytes 0-0/10"
