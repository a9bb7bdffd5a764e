from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import cursor
from gateway.errors import Malformed

TENANT = UUID(int=7)
OWN = cursor.listing(TENANT, "recordings")
times = st.datetimes(timezones=st.just(UTC))


@given(tenant=st.uuids(), filters=st.lists(st.text()), created_at=times, id_=st.uuids())
def test_a_cursor_leads_back_to_its_place(tenant: UUID, filters: list[str], created_at: datetime, id_: UUID):
    of = cursor.listing(tenant, *filters)
    word = cursor.encode(of, created_at, id_)
    assert cursor.decode(of, word) == (created_at, id_)
    assert len(word) == 40
    assert word.replace("-", "").replace("_", "").isalnum()


@given(created_at=times, id_=st.uuids(), at=st.integers(0, 39), by=st.characters(codec="utf-8"))
def test_a_cursor_that_was_altered_is_malformed(created_at: datetime, id_: UUID, at: int, by: str):
    word = cursor.encode(OWN, created_at, id_)
    altered = word[:at] + by + word[at + 1 :]
    if altered == word:
        assert cursor.decode(OWN, altered)
        return
    with pytest.raises(Malformed):
        cursor.decode(OWN, altered)


@given(word=st.text(max_size=60))
def test_a_word_of_ones_own_is_malformed(word: str):
    with pytest.raises(Malformed):
        cursor.decode(OWN, word)


def test_a_cursor_has_one_spelling():
    word = cursor.encode(OWN, datetime(2026, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))
    other = word.replace("_", "/").replace("-", "+")
    assert other != word
    with pytest.raises(Malformed):
        cursor.decode(OWN, other)


@pytest.mark.parametrize(
    ("tenant", "asked"),
    [
        (UUID(int=8), ("recordings", "ready")),
        (TENANT, ("recordings",)),
        (TENANT, ("recordings", "failed")),
        (TENANT, ("recordings", "ready", None)),
        (TENANT, ("accesses", "ready")),
        (TENANT, ("recordings\", 'ready",)),
        (TENANT, ()),
    ],
)
def test_a_cursor_is_good_for_its_tenant_and_its_filters_alone(tenant: UUID, asked: tuple[object, ...]):
    given_for = cursor.listing(TENANT, "recordings", "ready")
    word = cursor.encode(given_for, datetime(2026, 1, 1, tzinfo=UTC), UUID(int=1))
    assert cursor.decode(given_for, word)
    with pytest.raises(Malformed):
        cursor.decode(cursor.listing(tenant, *asked), word)


def test_a_well_made_cursor_out_of_time_is_malformed():
    place = cursor._PLACE.pack(2**63 - 1, bytes(16))
    word = cursor.urlsafe_b64encode(place + cursor._check(OWN, place)).decode()
    with pytest.raises(Malformed):
        cursor.decode(OWN, word)
