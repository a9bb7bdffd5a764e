"""What the native surface takes for a network is what a network is."""

import re
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.surfaces.native.links import NETWORK

FORM = re.compile(NETWORK)


def octets() -> Iterator[str]:
    for number, place in product(range(301), range(4)):
        yield ".".join(str(number) if place == each else "7" for each in range(4))
    yield from ("1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.04", "1.2.3.", "1..2.3", "")


def groups() -> Iterator[str]:
    for before, after in product(range(10), range(10)):
        left, right = (
            ":".join(["2001", "db8", "0", "Ff", "a", "b", "c", "d", "e"][:count]) for count in (before, after)
        )
        yield from (f"{left}::{right}", f"{left}:{right}", f"{left}:::{right}")
    yield from ("::12345", "1::2::3", "g::", ":", "fe80::1%eth0")


def lengths() -> Iterator[str]:
    for length, address in product([*range(141), "00", "01", "032", "", "-1", "255.0.0.0"], ["7.7.7.7", "::"]):
        yield f"{address}/{length}"


@pytest.mark.parametrize("spellings", [octets, groups, lengths])
def test_a_network_is_taken_just_where_it_can_be_read(spellings):
    for text in spellings():
        try:
            ip_network(text, strict=False)
        except ValueError:
            assert FORM.fullmatch(text) is None, text
        else:
            # Netmasks in place of lengths, leading zeros and zones are no notation of RFC 4632 and RFC 4291.
            odd = re.search(r"/(0\d|\d+\.)|%", text)
            assert (FORM.fullmatch(text) is None) == bool(odd), text


@given(st.from_regex(FORM, fullmatch=True))
def test_what_is_taken_can_be_read(text: str):
    ip_network(text, strict=False)
