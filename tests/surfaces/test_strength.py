"""Which ids are secrets: 122 random bits, judged from the form."""

import secrets
import string
from uuid import UUID, uuid1, uuid3, uuid4, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid6, uuid7

from gateway.surfaces._strength import UUID_4, random_bits

DNS = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
NANOID = string.ascii_letters + string.digits + "_-"


def drawn(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


STRONG = {
    "UUIDv4": lambda: str(uuid4()),
    "UUIDv4 in capitals": lambda: str(uuid4()).upper(),
    "UUIDv4 without dashes": lambda: uuid4().hex,
    "UUIDv4 after a word": lambda: f"call_{uuid4()}",
    "base62, 21": lambda: "call_" + drawn(string.ascii_letters + string.digits, 21),
    "base64url, 21": lambda: "call_" + drawn(NANOID, 21),
    "hex, 31": lambda: drawn("0123456789abcdef", 31),
    "base36, 24": lambda: "call_" + drawn(string.ascii_lowercase + string.digits, 24),
    "digits, 37": lambda: drawn(string.digits, 37),
}
WEAK = {
    "empty": "",
    "a word alone": "call_",
    "yotel's example": "call_abc123",
    "UUIDv1": str(uuid1()),
    "UUIDv3": str(uuid3(DNS, "x")),
    "UUIDv5": str(uuid5(DNS, "x")),
    "UUIDv6": str(uuid6()),
    "UUIDv7": str(uuid7()),
    "UUIDv7 after a word": f"call_{uuid7()}",
    "UUIDv7 in capitals": str(uuid7()).upper(),
    "UUIDv1 without dashes": uuid1().hex,
    "UUIDv6 without dashes": uuid6().hex,
    "UUIDv7 without dashes": uuid7().hex,
    "nil": "00000000-0000-0000-0000-000000000000",
    "v4 of nothing": "00000000-0000-4000-8000-000000000000",
    "v4 of another variant": "f47ac10b-58cc-4372-c567-0e02b2c3d479",
    "ULID": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "ULID in small letters": "01arz3ndektsv4rrffq69g5fav",
    "cuid": "ckopqwooh000001la8mbi2im9",
    "ObjectId": "507f1f77bcf86cd799439011",
    "one letter": "a" * 128,
    "two letters": "ab" * 64,
    "a few": "abc123" * 20,
    "counted": "0123456789abcdef" * 2,
    "the alphabet": string.ascii_lowercase + string.digits,
    "number with zeros": "call_" + "42".zfill(60),
    "base62, 20": "aZ3xQ9rT7bK1mW5pL8cV",
    "hex, 30": "9f86d081884c7d659a2feaa0c55ad0",
    "long prefix": "abcdefghijkl_" + "aZ3xQ9rT7bK1mW5pL8c",
}


@pytest.mark.parametrize("make", STRONG.values(), ids=STRONG)
def test_random_id_is_a_secret(make):
    # One in two thousand looks weaker than it is: letters of base 36 without any digit, say.
    assert sum(random_bits(make()) < UUID_4 for _ in range(100)) <= 3


@pytest.mark.parametrize("text", WEAK.values(), ids=WEAK)
def test_id_that_could_be_guessed_is_none(text):
    assert random_bits(text) < UUID_4


def test_uuid_counts_what_it_promises():
    assert random_bits(str(uuid4())) == 122


@settings(max_examples=500)
@given(st.text(NANOID, max_size=20))
def test_short_id_never_holds_enough(text):
    """20 characters of 64 kinds hold 120 bits at most."""
    assert random_bits(text) < UUID_4


@settings(max_examples=200)
@given(st.uuids(version=4), st.sampled_from("0123567890abcdef"))
def test_no_other_version_is_taken(of, version):
    text = str(of)
    assert random_bits(text[:14] + version + text[15:]) == 0


@settings(max_examples=500)
@given(st.text(NANOID, max_size=128))
def test_total_and_never_more_than_the_text_can_hold(text):
    assert 0 <= random_bits(text) <= len(text) * 6.01
