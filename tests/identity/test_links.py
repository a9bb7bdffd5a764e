"""Gateway-signed links: one spelling, one call, one end; and what their rows say besides."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.credentials import MemoryCredentials
from pydantic import SecretStr

from gateway.errors import LinkExpired, LinkRevoked, LinkSpent, Refusal, Unavailable
from gateway.identity.links import LinkIdentity, Links
from gateway.model import Caller, Credentials, IssuedLink, Lapsed

KEY, OLDER, FOREIGN = SecretStr("k" * 32), SecretStr("o" * 32), SecretStr("f" * 32)
NOW = 1_800_000_000.0
HOUR = timedelta(hours=1)
HERE = "192.0.2.7"
TENANT, CALL = uuid4(), uuid4()
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def links(*keys: SecretStr, now: float = NOW) -> Links:
    return Links(keys or (KEY,), now=lambda: now)


def signed(payload: bytes, domain: bytes = b"recording-gateway/link\0") -> str:
    mac = hmac.digest(KEY.get_secret_value().encode(), domain + payload, "sha256")
    return base64.urlsafe_b64encode(payload + mac).decode()


def payload(version: int = 1, flags: int = 0, expiry: int = int(NOW) + 60) -> bytes:
    return bytes([version, flags]) + uuid4().bytes + TENANT.bytes + CALL.bytes + expiry.to_bytes(8, "big")


async def prove(token: str, address: str = HERE, *, rows: Credentials | None = None) -> Caller:
    return await LinkIdentity(links(), rows or MemoryCredentials()).prove(token, address)


async def test_a_link_proves_its_one_call_and_the_right_to_its_bytes_alone():
    minted = links().mint(TENANT, CALL, HOUR)
    caller = await prove(minted.token)
    assert (caller.tenant, caller.call, caller.kind, caller.method) == (TENANT, CALL, "link", "link")
    assert caller.subject == caller.credential == str(minted.id)
    assert (caller.scopes, caller.role, caller.max_uses) == (frozenset({"recordings:download"}), None, None)


@given(
    tenant=st.uuids(),
    call=st.uuids(),
    ttl=st.timedeltas(timedelta(seconds=1), timedelta(days=3650)),
    flags=st.fixed_dictionaries({"attachment": st.booleans(), "on_record": st.booleans()}),
)
def test_what_was_minted_is_read(tenant: UUID, call: UUID, ttl: timedelta, flags: dict[str, bool]):
    minted = links().mint(tenant, call, ttl, **flags)
    grant = links().read(minted.token)
    assert (grant.id, grant.tenant, grant.call) == (minted.id, tenant, call)
    assert {"attachment": grant.attachment, "on_record": grant.on_record} == flags
    assert grant.expiry == minted.expires_at.timestamp()
    assert timedelta(0) <= datetime.fromtimestamp(NOW, UTC) + ttl - minted.expires_at < timedelta(seconds=1)


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
            links().read(base64.urlsafe_b64encode(flipped).decode())


def test_every_other_character_in_any_place_spends_the_link():
    token = links().mint(TENANT, CALL, HOUR).token
    for place, character in enumerate(token):
        for other in ALPHABET.replace(character, "") + "=+/. é\0\n":
            with pytest.raises(LinkSpent):
                links().read(token[:place] + other + token[place + 1 :])


@given(garbage=st.text(max_size=200))
def test_garbage_is_no_link(garbage: str):
    with pytest.raises(LinkSpent):
        links().read(garbage)


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
    "a flag not known": signed(payload(flags=4)),
    "known flags beside one not known": signed(payload(flags=131)),
    "no payload at all": signed(b""),
    "another gateway's": links(FOREIGN).mint(TENANT, CALL, HOUR).token,
}


def test_the_hostile_table_is_signed_as_the_gateway_signs():
    assert links().read(signed(payload())).call == CALL


@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE)
def test_a_spent_link_says_nothing_of_itself(token: str):
    with pytest.raises(LinkSpent) as caught:
        links().read(token)
    assert not token or token not in caught.value.detail


@pytest.mark.parametrize("expiry", [0, int(NOW) - 1, int(NOW)])
@pytest.mark.parametrize("flags", [0, 2])
async def test_a_link_whose_time_is_over_is_told_apart_and_its_row_not_asked_for(expiry: int, flags: int):
    rows = MemoryCredentials()
    with pytest.raises(Lapsed) as caught:
        await prove(signed(payload(flags=flags, expiry=expiry)), rows=rows)
    assert isinstance(caught.value.refusal, LinkExpired)
    assert (caught.value.caller.tenant, caught.value.caller.call) == (TENANT, CALL)
    assert rows.asked == 0


def test_a_link_outlives_the_rotation_of_its_key_and_not_its_removal():
    token = links(OLDER).mint(TENANT, CALL, HOUR).token
    assert links(KEY, OLDER).read(token).call == CALL
    assert links(OLDER).read(links(OLDER, KEY).mint(TENANT, CALL, HOUR).token).call == CALL, "the first key signs"
    with pytest.raises(LinkSpent):
        links(KEY).read(token)


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


# --- on record ----------------------------------------------------------------------------------------------------------


def on_record(**row: Any) -> tuple[str, MemoryCredentials]:
    """A link, and the catalog that has its row."""
    minted = links().mint(TENANT, CALL, HOUR, on_record=True)
    now = datetime.fromtimestamp(NOW, UTC)
    issued = IssuedLink(minted.id, TENANT, CALL, now, None, minted.expires_at, **row)
    return minted.token, MemoryCredentials(links={minted.id: issued})


async def test_a_link_on_record_is_good_as_far_as_its_row_says():
    token, rows = on_record(max_uses=3)
    caller = await prove(token, rows=rows)
    assert (caller.call, caller.max_uses, rows.asked) == (CALL, 3, 1)


async def test_a_link_on_record_without_a_row_is_spent():
    token, _ = on_record()
    with pytest.raises(LinkSpent):
        await prove(token)


async def test_a_link_on_record_is_an_outage_while_its_row_is_out_of_reach():
    token, rows = on_record()
    rows.away = True
    with pytest.raises(Unavailable):
        await prove(token, rows=rows)
    assert (await prove(links().mint(TENANT, CALL, HOUR).token, rows=rows)).call == CALL, "one that is not has none"


async def test_a_link_taken_back_is_refused_whatever_else_it_says():
    token, rows = on_record(revoked_at=datetime.fromtimestamp(NOW, UTC), network=ip_network("10.0.0.0/8"))
    with pytest.raises(Lapsed) as caught:
        await prove(token, rows=rows)
    assert isinstance(caught.value.refusal, LinkRevoked)
    assert (caught.value.caller.tenant, caught.value.caller.credential) == (TENANT, caught.value.caller.subject)


ADDRESSES: list[tuple[str, str, type[Refusal] | None]] = [
    ("192.0.2.0/29", "192.0.2.7", None),
    ("192.0.2.0/29", "192.0.2.8", LinkSpent),
    ("192.0.2.7/32", "192.0.2.7", None),
    ("192.0.2.7/32", "192.0.2.6", LinkSpent),
    ("0.0.0.0/0", "203.0.113.1", None),
    ("0.0.0.0/0", "2001:db8::1", LinkSpent),
    ("2001:db8::/32", "2001:db8:ffff::1", None),
    ("2001:db8::/32", "2001:db9::1", LinkSpent),
    ("0.0.0.0/0", "", LinkSpent),
    ("0.0.0.0/0", "unix", LinkSpent),
]


@pytest.mark.parametrize(("network", "address", "refusal"), ADDRESSES)
async def test_a_link_is_good_from_its_network_alone(network: str, address: str, refusal: type[Refusal] | None):
    token, rows = on_record(network=ip_network(network))
    if refusal is None:
        assert (await prove(token, address, rows=rows)).call == CALL
        return
    with pytest.raises(Lapsed) as caught:
        await prove(token, address, rows=rows)
    assert isinstance(caught.value.refusal, refusal)
