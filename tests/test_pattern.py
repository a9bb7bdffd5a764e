"""Bytes that are made once and filled in many times."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pattern import pattern

HOLES = 3
_any = st.binary(max_size=40) | st.text(st.sampled_from("%bsd(0-"), max_size=12).map(str.encode)


def around(pieces: list[bytes]) -> Callable[..., bytes]:
    """What stands between ``pieces`` is left open."""

    def make(*texts: bytes | str) -> bytes:
        given = [text if isinstance(text, bytes) else text.encode() for text in texts]
        return b"".join(part for pair in zip(pieces, [*given, b""], strict=True) for part in pair)

    return make


@given(st.lists(_any, min_size=HOLES + 1, max_size=HOLES + 1), st.lists(_any, min_size=HOLES, max_size=HOLES))
def test_filled_in_it_is_what_would_have_been_made(pieces: list[bytes], texts: list[bytes]):
    make = around(pieces)
    assert pattern(make, HOLES) % tuple(texts) == make(*texts)


def test_nothing_left_open_is_all_of_it():
    assert pattern(lambda: b"100 % of it", 0) % () == b"100 % of it"


@pytest.mark.parametrize(
    "make",
    [
        lambda first, _second: first.encode(),
        lambda first, second: f"{second} {first}".encode(),
        lambda first, second: (first + second.upper()).encode(),
        lambda _first, _second: b"",
    ],
    ids=["one is missing", "in another order", "one is another text", "nothing"],
)
def test_what_was_to_be_left_open_must_stand_there_in_its_order(make: Callable[..., bytes]):
    with pytest.raises(ValueError, match="does not stand there"):
        pattern(make, 2)
