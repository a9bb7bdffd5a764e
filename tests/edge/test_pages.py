"""Pages as they are made and answered, without a server."""

import orjson
import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from gateway.edge.pages import page_reply
from gateway.model import Head
from gateway.openapi import Page
from gateway.surfaces import SURFACES


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
async def test_a_page_that_cannot_be_made_is_a_defect_in_the_log_and_a_500_in_the_words_of_its_surface(surface):
    def body() -> bytes:
        raise LookupError("what only the log tells")

    head = Head("GET", {}, CIMultiDict(), CIMultiDict(), request_id="0123456789abcdef")
    with capture_logs() as lines:
        reply = await page_reply(Page("application/json", body), surface, head)

    assert reply.status == 500
    assert b"what only" not in reply.body
    assert orjson.loads(reply.body)
    assert [(line["event"], line["request_id"], line["exc_info"]) for line in lines] == [
        ("defect", "0123456789abcdef", True)
    ]
