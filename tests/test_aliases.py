"""External ids, however they are written."""

import pytest

from gateway.aliases import kept

ID = "0b6f5c0e-2a1d-5d7e-9a58-6f0c4c1f7b11"


@pytest.mark.parametrize(
    ("surface", "external", "as_kept"),
    [
        ("envoy", ID, ID),
        ("envoy", f"call_{ID}", ID),
        ("envoy", ID.upper(), ID),
        ("envoy", f"call_{ID.upper()}", ID),
        ("envoy", f"CALL_{ID.upper()}", ID),
        ("yotel", f"call_{ID}", f"call_{ID}"),
        ("callsid", "CA8C1F", "CA8C1F"),
    ],
)
def test_an_id_is_kept_in_one_form(surface: str, external: str, as_kept: str):
    assert kept(surface, external) == as_kept


@pytest.mark.parametrize("external", [ID, f"call_{ID}", f"CALL_{ID}", f"call_call_{ID}", "call_", "x_call_1"])
@pytest.mark.parametrize("surface", ["envoy", "yotel"])
def test_what_is_kept_stays_so_however_often_it_is_brought_into_its_form(surface: str, external: str):
    once = kept(surface, external)
    assert kept(surface, once) == once
