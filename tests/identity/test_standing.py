"""For how long a credential goes on proving whom it proved, without anybody being asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from parts.credentials import MemoryCredentials
from parts.issuer import AUDIENCE, ISSUER, pem, rsa_key, token
from pydantic import SecretStr

from gateway.config import Identity as Settings
from gateway.config import Issuer
from gateway.identity import Identity
from gateway.identity.issuers import FixedKey, Trusted
from gateway.identity.keys import KeyIdentity, mint
from gateway.identity.links import LinkIdentity, Links
from gateway.identity.tokens import BELIEVED_S, TokenIdentity
from gateway.model import IssuedLink, Key, Presented, Tenant

NOW = 1_800_000_000.0
ACME = Tenant(uuid4(), "acme", "Acme")
SECRET = mint("rg_live")
STORED = Key(uuid4(), ACME.id, "acme", "test", SECRET.hint, frozenset(), None, datetime.now(UTC))
LINKS = Links((SecretStr("k" * 32),), now=lambda: NOW)
HOUR = timedelta(hours=1)


def issuer(key: Path = Path("unread.pem")) -> Issuer:
    return Issuer(issuer=ISSUER, audience=AUDIENCE, public_key_file=key)


def tokens(**options: Any) -> TokenIdentity:
    trusted = Trusted(issuer(), FixedKey(rsa_key().public_key()))
    return TokenIdentity([trusted], MemoryCredentials({"acme": ACME}), **options)


def remembers(key: Key | None, for_s: float = 60.0) -> Callable[[bytes], tuple[Key, float] | None]:
    """A catalog that knows this of the key, unasked."""
    return lambda sha256: (key, for_s) if key is not None and sha256 == SECRET.sha256 else None


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


@pytest.mark.parametrize(
    ("ends", "known", "left"),
    [
        (None, remembers, 60),
        (None, lambda key: remembers(key, 0.25), 0.25),
        (at(7), remembers, 7),
        (None, lambda _: remembers(None), 0),
        (None, lambda key: remembers(replace(key)), 0),
    ],
    ids=["remembered", "not for long", "until it expires", "forgotten", "another of the same id"],
)
async def test_a_key_stands_while_the_catalog_remembers_that_very_one(ends: datetime | None, known: Any, left: float):
    key = replace(STORED, expires_at=ends)
    identity = KeyIdentity(("rg_live",), MemoryCredentials(keys={SECRET.sha256: key}), now=lambda: at(0))
    caller = await identity.prove(SECRET.secret)
    standing = identity.standing(SECRET.secret, caller, known(key))
    assert standing is not None
    assert standing() == pytest.approx(left)


async def test_a_key_that_has_expired_stands_no_longer():
    clock, key = [0.0], replace(STORED, expires_at=at(7))
    identity = KeyIdentity(("rg_live",), MemoryCredentials(keys={SECRET.sha256: key}), now=lambda: at(clock[0]))
    standing = identity.standing(SECRET.secret, await identity.prove(SECRET.secret), remembers(key))
    assert standing is not None
    clock[0] = 7.0
    assert standing() <= 0


async def test_a_key_does_not_stand_for_whom_it_did_not_prove():
    keys = {SECRET.sha256: STORED}
    identity = KeyIdentity(("rg_live",), MemoryCredentials(keys=keys))
    before = await identity.prove(SECRET.secret)
    assert identity.standing(mint("rg_live").secret, before, remembers(STORED)) is None
    keys[SECRET.sha256] = replace(STORED, role="admin")
    await identity.prove(SECRET.secret)
    assert identity.standing(SECRET.secret, before, remembers(STORED)) is None


async def test_a_token_stands_as_long_as_it_is_believed():
    clock = [float(int(time.time()))]
    identity = tokens(now=lambda: clock[0])
    shown, brief = (token(rsa_key(), exp=int(clock[0]) + life) for life in (600, 20))
    callers = [await identity.prove(each) for each in (shown, brief)]
    long, short = (identity.standing(each, caller) for each, caller in zip((shown, brief), callers, strict=True))
    assert long is not None
    assert short is not None
    assert (long(), short()) == (BELIEVED_S, 20)
    assert identity.standing(shown, callers[1]) is None, "it is of somebody else"
    clock[0] += 20
    assert (long(), short()) == (BELIEVED_S - 20, 0)
    clock[0] += BELIEVED_S - 20
    assert long() == 0
    again = await identity.prove(shown)
    assert long() == 0, "that was another proof"
    assert identity.standing(shown, again) is not None
    clock[0] -= 18_000
    assert identity.standing(shown, again) is None, "a clock that is set back makes none believed for longer"


async def test_a_token_that_stands_is_in_use_and_not_the_first_to_be_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.identity.tokens.REMEMBERED", 2)
    identity = tokens()
    used, idle, new = (token(rsa_key(), jti=str(number)) for number in range(3))
    standing = identity.standing(used, await identity.prove(used))
    other = identity.standing(idle, await identity.prove(idle))
    assert standing is not None
    assert other is not None
    assert standing() > 0
    await identity.prove(new)
    assert standing() > 0
    assert other() == 0


@pytest.mark.parametrize("on_record", [False, True])
async def test_a_link_stands_until_it_ends_unless_its_row_has_to_be_asked_for(*, on_record: bool):
    minted = LINKS.mint(ACME.id, uuid4(), HOUR, on_record=on_record)
    row = IssuedLink(minted.id, ACME.id, uuid4(), at(0), None, minted.expires_at)
    identity = LinkIdentity(LINKS, MemoryCredentials(links={minted.id: row}))
    await identity.prove(minted.token, "192.0.2.7")
    standing = identity.standing(minted.token)
    assert (standing is None) == on_record
    assert standing is None or standing() == HOUR.total_seconds()


async def test_what_stands_is_told_by_its_form(tmp_path: Path):
    (tmp_path / "issuer.pem").write_bytes(pem(rsa_key()))
    credentials = MemoryCredentials({"acme": ACME}, {SECRET.sha256: STORED})
    settings = Settings(link_keys=(SecretStr("k" * 32),), issuers=(issuer(tmp_path / "issuer.pem"),))
    identity = await Identity.open(settings, credentials)
    assert identity.links is not None
    link = identity.links.mint(ACME.id, uuid4(), HOUR).token
    try:
        for shown in (Presented(SECRET.secret), Presented(token(rsa_key())), Presented(link, link=True)):
            caller = await identity.prove(shown)
            standing = identity.standing(remembers(STORED), shown, caller)
            assert standing is not None, caller.kind
            assert standing() > 0
            named = replace(shown, tenant="acme")
            assert await identity.prove(named) == caller
            told = identity.standing(remembers(STORED), named, caller)
            assert (told is None) == (caller.kind == "link"), "whose name that is, only the catalog can tell"
        assert identity.standing(remembers(STORED), Presented(None), caller) is None
    finally:
        await identity.close()
