"""The decision table, row by row, at several sizes, tags and dates."""

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict
from parts.http_table import ROWS, Row

from gateway.errors import BadRequest, PreconditionFailed, Refusal, Unsatisfiable
from gateway.http.preconditions import plan
from gateway.model import Plan, Stat

STATUS = {BadRequest: 400, PreconditionFailed: 412, Unsatisfiable: 416}
OBJECTS = (
    (1000, '"e"', datetime(2026, 5, 3, 4, 5, 6, 999_999, tzinfo=UTC)),
    (1001, '"d41d8cd98f00b204e9800998ecf8427e-12"', datetime(2000, 2, 29, 23, 59, 59, tzinfo=UTC)),
    (5_000_000_000_000, '"a,b"', datetime(2025, 12, 31, 23, 59, 59, 1, tzinfo=UTC)),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize(("size", "etag", "modified"), OBJECTS, ids=("small", "odd", "large"))
def test_row_comes_out_as_the_table_says(row: Row, size, etag, modified):
    size = 0 if row.empty else size
    headers = CIMultiDict(row.request(size, etag, modified))
    stat = Stat(size, etag, "v", modified)
    try:
        answer: Plan | Refusal = plan(row.method, headers, stat, media_type="audio/wav")
    except Refusal as refusal:
        answer = refusal
    if isinstance(answer, Refusal):
        assert STATUS[type(answer)] == row.status
        assert not isinstance(answer, Unsatisfiable) or answer.size == size
        return
    assert answer.status == row.status
    spans = [part.span for part in answer.parts] or ([answer.span] if answer.span is not None else [])
    assert tuple((span.start, span.stop) for span in spans) == row.spans(size, etag, modified)
    expected = row.answer(size, etag, modified)
    assert {name: answer.headers.get(name) for name in expected} == expected
    assert answer.headers.get("Content-Type", "").startswith("multipart/byteranges; boundary=") == bool(answer.parts)
    assert set(answer.headers) <= {
        "Accept-Ranges", "ETag", "Last-Modified", "Content-Range", "Content-Length", "Content-Type",
    }  # fmt: skip
    if answer.status != 304:
        assert answer.headers["Content-Length"] == str(answer.length)


def test_every_row_of_the_table_is_there_under_a_name_of_its_own():
    assert {row.number for row in ROWS} == set(range(16))
    assert len({str(row) for row in ROWS}) == len(ROWS)
