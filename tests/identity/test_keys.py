"""API keys: their form as a property, their proof against the catalog as a table."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.credentials import MemoryCredentials

from gateway.errors import Unauthenticated, Unavailable
from gateway.identity.keys import ALPHABET, CHECKSUM, RANDOM, KeyIdentity, checksum, mint, parse
from gateway.model import Key, Lapsed

PREFIXES = ("rg_live", "yt_live", "rg")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TENANT = uuid4()

keys = st.builds(
    lambda prefix, random: f"{prefix}_{random}" + checksum(f"{prefix}_{random}"),
    st.sampled_from(PREFIXES),
    st.text(ALPHABET, min_size=RANDOM, max_size=RANDOM),
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_minted_key_is_parsed_to_its_own_digest(prefix: str):
    minted = mint(prefix)
    assert parse(minted.secret, PREFIXES) == minted.sha256 == hashlib.sha256(minted.secret.encode()).digest()
    assert minted.hint == f"{prefix}_…{minted.secret[-4:]}"


def test_the_form_is_as_published():
    """Written out once, so that a scanner's rule made from it goes on holding."""
    body = "rg_live_" + "0" * 30
    assert zlib.crc32(body.encode()) == 0x54B81244
    assert checksum(body) == "1YBpv2"
    assert parse(body + "1YBpv2", PREFIXES) is not None


def test_a_key_holds_at_least_160_random_bits_and_never_repeats():
    assert len(ALPHABET) ** RANDOM > 2**160
    minted = [mint("rg_live").secret.removeprefix("rg_live_")[:RANDOM] for _ in range(500)]
    assert len(set(minted)) == len(minted)
    assert all(len({key[place] for key in minted}) > 40 for place in range(RANDOM)), "a place is not random"


def test_a_minted_key_shows_its_secret_to_nobody_who_prints_it():
    minted = mint("rg_live")
    assert minted.secret not in repr(minted)


@pytest.mark.parametrize("prefix", ["", "RG", "rg-live", "rg_", "_rg", "rg__live", "1rg", "rg live", "rg\n", "ключ"])
def test_a_prefix_of_another_form_mints_nothing(prefix: str):
    with pytest.raises(ValueError, match="prefix"):
        mint(prefix)


@given(key=keys, data=st.data())
def test_no_single_changed_character_is_let_through(key: str, data: st.DataObject):
    place = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.one_of(st.sampled_from(ALPHABET + "_-. "), st.characters()).filter(lambda c: c != key[place]))
    assert parse(key, PREFIXES) is not None
    assert parse(key[:place] + other + key[place + 1 :], PREFIXES) is None


@given(key=keys, data=st.data())
def test_no_two_swapped_neighbours_are_let_through(key: str, data: st.DataObject):
    place = data.draw(st.integers(0, len(key) - 2))
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert swapped == key or parse(swapped, PREFIXES) is None


HOSTILE = {
    "empty": "",
    "nothing but a prefix": "rg_live_",
    "another prefix": mint("other").secret,
    "too short": mint("rg_live").secret[:-1],
    "too long": mint("rg_live").secret + "0",
    "a newline after it": mint("rg_live").secret + "\n",
    "a space before it": " " + mint("rg_live").secret,
    "another prefix, same tail": mint("rg_live").secret.replace("rg_live", "yt_live"),
    "no checksum": "rg_live_" + "0" * (RANDOM + CHECKSUM),
    "digits of another script": "rg_live_" + "٣" * (RANDOM + CHECKSUM),
    "a lone surrogate": "rg_live_\udcff" + "0" * (RANDOM + CHECKSUM - 1),
    "a NUL": "rg_live_\0" + "0" * (RANDOM + CHECKSUM - 1),
    "10 KB": "rg_live_" + "0" * 10_000,
}


@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE)
async def test_what_is_no_key_is_refused_without_asking_the_catalog(token: str):
    credentials = MemoryCredentials()
    assert parse(token, PREFIXES) is None
    with pytest.raises(Unauthenticated) as caught:
        await KeyIdentity(PREFIXES, credentials).prove(token)
    assert caught.value.presented
    assert credentials.asked == 0


def stored(*, expires_at: datetime | None = None, revoked_at: datetime | None = None) -> Key:
    return Key(
        id=uuid4(),
        tenant=TENANT,
        tenant_slug="acme",
        name="test",
        hint="rg_live_…abcd",
        scopes=frozenset({"calls:read"}),
        role="attendant",
        created_at=NOW,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )


async def test_a_good_key_proves_its_tenant_scopes_and_role():
    minted, key = mint("rg_live"), stored(expires_at=NOW + timedelta(seconds=1))
    identity = KeyIdentity(PREFIXES, MemoryCredentials(keys={minted.sha256: key}), now=lambda: NOW)
    caller = await identity.prove(minted.secret)
    assert (caller.tenant, caller.tenant_slug, caller.kind, caller.method) == (TENANT, "acme", "api_key", "api_key")
    assert caller.subject == caller.credential == str(key.id)
    assert (caller.scopes, caller.role, caller.call) == (frozenset({"calls:read"}), "attendant", None)


REFUSED = {
    "revoked": stored(revoked_at=NOW - timedelta(days=1)),
    "revoked by a clock ahead of ours": stored(revoked_at=NOW + timedelta(seconds=2)),
    "expired": stored(expires_at=NOW - timedelta(seconds=1)),
    "expiring this instant": stored(expires_at=NOW),
}


@pytest.mark.parametrize("key", REFUSED.values(), ids=REFUSED)
async def test_a_key_past_its_use_is_refused_and_whose_it_was_is_told(key: Key):
    minted = mint("rg_live")
    credentials = MemoryCredentials(keys={minted.sha256: key})
    with pytest.raises(Lapsed) as caught:
        await KeyIdentity(PREFIXES, credentials, now=lambda: NOW).prove(minted.secret)
    refusal, caller = caught.value.refusal, caught.value.caller
    assert isinstance(refusal, Unauthenticated)
    assert refusal.presented
    assert minted.secret not in refusal.detail
    assert (caller.tenant, caller.kind, caller.credential) == (TENANT, "api_key", str(key.id))


async def test_an_unknown_key_is_refused_and_its_refusal_holds_no_secret():
    minted = mint("rg_live")
    with pytest.raises(Unauthenticated) as caught:
        await KeyIdentity(PREFIXES, MemoryCredentials(), now=lambda: NOW).prove(minted.secret)
    assert caught.value.presented
    assert minted.secret not in caught.value.detail


async def test_a_key_held_in_a_cache_expires_all_the_same():
    clock = [NOW]
    minted = mint("rg_live")
    credentials = MemoryCredentials(keys={minted.sha256: stored(expires_at=NOW + timedelta(minutes=1))})
    identity = KeyIdentity(PREFIXES, credentials, now=lambda: clock[0])
    await identity.prove(minted.secret)
    clock[0] += timedelta(minutes=1)
    with pytest.raises(Lapsed) as caught:
        await identity.prove(minted.secret)
    assert "expired" in caught.value.refusal.detail


async def test_a_key_is_worth_what_the_catalog_says_of_it_now():
    minted, key = mint("rg_live"), stored()
    credentials = MemoryCredentials(keys={minted.sha256: key})
    identity = KeyIdentity(PREFIXES, credentials, now=lambda: NOW)
    before = await identity.prove(minted.secret)
    assert await identity.prove(minted.secret) is before, "made once"
    credentials.keys[minted.sha256] = replace(key, scopes=frozenset(), role=None)
    after = await identity.prove(minted.secret)
    assert (after.scopes, after.role) == (frozenset(), None)


async def test_the_callers_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.identity.keys._KEPT", 3)
    minted = [mint("rg_live") for _ in range(5)]
    identity = KeyIdentity(PREFIXES, MemoryCredentials(keys={each.sha256: stored() for each in minted}))
    for each in minted:
        await identity.prove(each.secret)
    assert list(identity._callers) == [each.sha256 for each in minted[2:]]
    assert (await identity.prove(minted[0].secret)).tenant == TENANT


async def test_an_outage_is_never_a_bad_key():
    with pytest.raises(Unavailable):
        await KeyIdentity(PREFIXES, MemoryCredentials(away=True)).prove(mint("rg_live").secret)
