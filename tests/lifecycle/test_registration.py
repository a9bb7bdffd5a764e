"""Registering over the API: how what the catalog refuses is told to whoever asked."""

import pytest

from gateway.errors import Conflict
from gateway.lifecycle.registration import contradiction


@pytest.mark.parametrize(
    "code", ["id_taken", "department_fixed", "recording_ready", "recording_expired", "recording_held"]
)
def test_each_conflict_that_has_a_code_is_told_by_it_without_what_was_sent(code: str) -> None:
    told = contradiction(Conflict("yotel:+15550100 is another call's", code))
    assert told.code == code
    assert "15550100" not in told.message


def test_a_conflict_without_a_code_is_told_as_one() -> None:
    assert contradiction(Conflict("refused by calls_number_check")).code == "conflict"
