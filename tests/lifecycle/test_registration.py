"""Registering over the API: how what the catalog refuses is told to whoever asked."""

import pytest

from gateway.errors import Conflict
from gateway.lifecycle.registration import contradiction, unfit_key


@pytest.mark.parametrize(
    "code", ["id_taken", "department_fixed", "recording_ready", "recording_expired", "recording_held"]
)
def test_each_conflict_that_has_a_code_is_told_by_it_without_what_was_sent(code: str) -> None:
    told = contradiction(Conflict("yotel:+15550100 is another call's", code))
    assert told.code == code
    assert "15550100" not in told.message


def test_a_conflict_without_a_code_is_told_as_one() -> None:
    assert contradiction(Conflict("refused by calls_number_check")).code == "conflict"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("acme/a.wav", None),
        ("acme/2026/..a/.b/c...wav", None),
        ("acme/" + "x" * 1019, None),
        ("acme/" + "x" * 1020, "must have 1024 bytes"),
        ("acme/" + "é" * 510, "must have 1024 bytes"),
        ("acme/", "must begin with acme/ and go on"),
        ("acme", "must begin with acme/ and go on"),
        ("acme2/a.wav", "must begin with acme/"),
        ("ACME/a.wav", "must begin with acme/"),
        ("/acme/a.wav", "must begin with acme/"),
        ("acme/../other/a.wav", "must hold no . or .."),
        ("acme/./a.wav", "must hold no . or .."),
        ("acme/..", "must hold no . or .."),
    ],
)
def test_a_key_stays_beneath_its_tenants_prefix(key: str, reason: str | None) -> None:
    told = unfit_key(key, "acme/")
    assert told is None if reason is None else str(told).startswith(reason)
