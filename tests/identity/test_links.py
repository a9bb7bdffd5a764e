"""Gateway-signed links: one spelling, one call, one end."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.errors import LinkExpired, LinkSpent
from gateway.identity.links import Links

KEY, OLDER, FOREIGN = SecretStr("k" * 32), SecretStr("o" * 32), SecretStr("f" * 32)
NOW = 1_800_000_000.0
HOUR = timedelta(hours=1)
TENANT, CALL = uuid4(), uuid4()
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def links(*keys: SecretStr, now: float = NOW) -> Links:
    return Links(keys or (KEY,), now=lambda: now)


def signed(payload: bytes, domain: bytes = b"recording-gateway/link\0") -> str:
    mac = hmac.digest(KEY.get_secret_value().encode(), domain + payload, "sha256")
    return base64.urlsafe_b64encode(payload + mac).decode()


def payload(version: int = 1, flags: int = 0, expiry: int = int(NOW) + 60) -> bytes:
    return bytes([version, flags]) + uuid4().bytes + TENANT.bytes + CALL.bytes + expiry.to_bytes(8, "big")


def test_a_link_proves_its_one_call_and_the_right_to_its_bytes_alone():
    minted = links().mint(TENANT, CALL, HOUR)
    caller = links().prove(minted.token)
    assert (caller.tenant, caller.call, caller.kind, caller.method) == (TENANT, CALL, "link", "link")
    assert caller.subject == caller.credential == str(minted.id)
    assert (caller.scopes, caller.role) == (frozenset({"recordings:download"}), None)


@given(
    tenant=st.uuids(),
    call=st.uuids(),
    ttl=st.timedeltas(timedelta(seconds=1), timedelta(days=3650)),
    attachment=st.booleans(),
)
def test_what_was_minted_is_read(tenant: UUID, call: UUID, ttl: timedelta, attachment: bool):  # noqa: FBT001  drawn
    minted = links().mint(tenant, call, ttl, attachment=attachment)
    grant = links().read(minted.token)
    assert (grant.id, grant.tenant, grant.call) == (minted.id, tenant, call)
    assert (grant.expires_at, grant.attachment) == (minted.expires_at, attachment)
    assert timedelta(0) <= datetime.fromtimestamp(NOW, UTC) + ttl - grant.expires_at < timedelta(seconds=1)


def test_a_link_needs_no_escaping_and_is_compact():
    token = links().mint(TENANT, CALL, HOUR).token
    assert len(token) == 120
    assert set(token) <= set(ALPHABET)


def test_every_single_flipped_bit_spends_the_link():
    raw = base64.urlsafe_b64decode(links().mint(TENANT, CALL, HOUR).token)
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LinkSpent):
            links().prove(base64.urlsafe_b64encode(flipped).decode())


def test_every_other_character_in_any_place_spends_the_link():
    token = links().mint(TENANT, CALL, HOUR).token
    for place, character in enumerate(token):
        for other in ALPHABET.replace(character, "") + "=+/. é\0\n":
            with pytest.raises(LinkSpent):
                links().prove(token[:place] + other + token[place + 1 :])


@given(garbage=st.text(max_size=200))
def test_garbage_is_no_link(garbage: str):
    with pytest.raises(LinkSpent):
        links().prove(garbage)


GOOD = links().mint(TENANT, CALL, HOUR).token
HOSTILE = {
    "empty": "",
    "truncated by a character": GOOD[:-1],
    "truncated by a group": GOOD[:-4],
    "lengthened by a group": GOOD + "AAAA",
    "padded": GOOD + "====",
    "padded within its length": GOOD[:-2] + "==",
    "a newline after it": GOOD + "\n",
    "junk that a lax decoder skips": GOOD[:60] + "!" + GOOD[60:],
    "10 KB": GOOD * 85,
    "signed for another purpose": signed(payload(), domain=b"recording-gateway/cursor\0"),
    "signed without a purpose": signed(payload(), domain=b""),
    "version 0": signed(payload(version=0)),
    "version 2": signed(payload(version=2)),
    "a flag not known": signed(payload(flags=2)),
    "a known flag beside one not known": signed(payload(flags=129)),
    "no payload at all": signed(b""),
    "another gateway's": links(FOREIGN).mint(TENANT, CALL, HOUR).token,
}


def test_the_hostile_table_is_signed_as_the_gateway_signs():
    assert links().prove(signed(payload())).call == CALL


@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE)
def test_a_spent_link_says_nothing_of_itself(token: str):
    with pytest.raises(LinkSpent) as caught:
        links().prove(token)
    assert not token or token not in caught.value.detail


@pytest.mark.parametrize("expiry", [0, int(NOW) - 1, int(NOW)])
def test_a_link_whose_time_is_over_is_told_apart(expiry: int):
    with pytest.raises(LinkExpired):
        links().prove(signed(payload(expiry=expiry)))


def test_a_link_outlives_the_rotation_of_its_key_and_not_its_removal():
    token = links(OLDER).mint(TENANT, CALL, HOUR).token
    assert links(KEY, OLDER).prove(token).call == CALL
    assert links(OLDER).prove(links(OLDER, KEY).mint(TENANT, CALL, HOUR).token).call == CALL, "the first key signs"
    with pytest.raises(LinkSpent):
        links(KEY).prove(token)


def test_two_links_to_one_call_are_told_apart():
    assert links().mint(TENANT, CALL, HOUR).id != links().mint(TENANT, CALL, HOUR).id


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=999)])
def test_a_link_without_a_life_is_not_minted(ttl: timedelta):
    with pytest.raises(ValueError, match="second"):
        links().mint(TENANT, CALL, ttl)


def test_no_key_no_links():
    with pytest.raises(ValueError, match="link_keys"):
        Links(())


def test_neither_a_link_nor_its_key_shows_when_printed():
    minted = links().mint(TENANT, CALL, HOUR)
    assert minted.token not in repr(minted)
    assert "kkkk" not in repr(links())
