from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog import cursor
from gateway.errors import Malformed

TENANT = UUID(int=7)
times = st.datetimes(timezones=st.just(UTC))


@given(tenant=st.uuids(), created_at=times, id_=st.uuids())
def test_a_cursor_leads_back_to_its_place(tenant: UUID, created_at: datetime, id_: UUID):
    word = cursor.encode(tenant, created_at, id_)
    assert cursor.decode(tenant, word) == (created_at, id_)
    assert len(word) == 40
    assert word.replace("-", "").replace("_", "").isalnum()


@given(created_at=times, id_=st.uuids(), at=st.integers(0, 39), by=st.characters(codec="utf-8"))
def test_a_cursor_that_was_altered_is_malformed(created_at: datetime, id_: UUID, at: int, by: str):
    word = cursor.encode(TENANT, created_at, id_)
    altered = word[:at] + by + word[at + 1 :]
    if altered == word:
        assert cursor.decode(TENANT, altered)
        return
    with pytest.raises(Malformed):
        cursor.decode(TENANT, altered)


@given(word=st.text(max_size=60))
def test_a_word_of_ones_own_is_malformed(word: str):
    with pytest.raises(Malformed):
        cursor.decode(TENANT, word)


def test_a_cursor_has_one_spelling():
    word = cursor.encode(TENANT, datetime(2026, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))
    other = word.replace("_", "/").replace("-", "+")
    assert other != word
    with pytest.raises(Malformed):
        cursor.decode(TENANT, other)


def test_a_cursor_is_good_for_its_tenant_alone():
    word = cursor.encode(TENANT, datetime(2026, 1, 1, tzinfo=UTC), UUID(int=1))
    with pytest.raises(Malformed):
        cursor.decode(UUID(int=8), word)


def test_a_well_made_cursor_out_of_time_is_malformed():
    place = cursor._PLACE.pack(2**63 - 1, bytes(16))
    word = cursor.urlsafe_b64encode(place + cursor._check(TENANT, place)).decode()
    with pytest.raises(Malformed):
        cursor.decode(TENANT, word)
