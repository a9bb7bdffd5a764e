"""Each kind of credential finds its proof, and a tenant named beside it has to be its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from parts.credentials import MemoryCredentials
from parts.issuer import AUDIENCE, ISSUER, JwksServer, jwk, rsa_key, token
from pydantic import SecretStr

from gateway.config import ConfigError, Issuer
from gateway.config import Identity as Settings
from gateway.errors import LinkSpent, NotFound, Refusal, Unauthenticated, Unavailable
from gateway.identity import Identity, Links
from gateway.identity.keys import mint
from gateway.model import Key, Lapsed, Presented, Tenant

ACME, GLOBEX = Tenant(uuid4(), "acme", "Acme"), Tenant(uuid4(), "globex", "Globex")
LINK_KEY = SecretStr("k" * 32)
KEY = mint("rg_live")
STORED = Key(uuid4(), ACME.id, "acme", "test", KEY.hint, frozenset({"calls:read"}), None, datetime.now(UTC))
CALL = uuid4()


def credentials() -> MemoryCredentials:
    return MemoryCredentials({tenant.slug: tenant for tenant in (ACME, GLOBEX)}, {KEY.sha256: STORED})


@pytest.fixture
async def server() -> AsyncIterator[JwksServer]:
    async with JwksServer(jwk(rsa_key(), kid="k1")) as server:
        yield server


@pytest.fixture
async def identity(server: JwksServer) -> AsyncIterator[Identity]:
    issuer = Issuer(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url)
    identity = await Identity.open(Settings(issuers=(issuer,), link_keys=(LINK_KEY,)), credentials())
    yield identity
    await identity.close()


def link() -> str:
    return Links((LINK_KEY,)).mint(ACME.id, CALL, timedelta(hours=1)).token


SHOWN = {"api_key": Presented(KEY.secret), "jwt": Presented(token(rsa_key())), "link": Presented(link(), link=True)}


@pytest.mark.parametrize("method", SHOWN)
async def test_each_kind_of_credential_is_proven_by_its_form(method: str, identity: Identity):
    caller = await identity.prove(SHOWN[method])
    assert (caller.method, caller.tenant) == (method, ACME.id)
    assert caller.call == (CALL if method == "link" else None)


NOTHING: dict[str, tuple[Presented, type[Refusal]]] = {
    "an empty token": (Presented(""), Unauthenticated),
    "words": (Presented("let me in"), Unauthenticated),
    "two dots": (Presented(".."), Unauthenticated),
    "a key in other letters": (Presented(KEY.secret.upper()), Unauthenticated),
    "a key of a prefix not configured": (Presented(mint("other").secret), Unauthenticated),
    "a link where none is expected": (Presented(link()), Unauthenticated),
    "a key where a link is expected": (Presented(KEY.secret, link=True), LinkSpent),
    "a JWT where a link is expected": (Presented(token(rsa_key()), link=True), LinkSpent),
    "10 MB": (Presented("a" * 10_000_000), Unauthenticated),
    "10 MB in parts": (Presented("a." * 5_000_000), Unauthenticated),
}


@pytest.mark.parametrize(("shown", "refusal"), NOTHING.values(), ids=NOTHING)
async def test_what_has_no_known_form_proves_nothing(shown: Presented, refusal: type[Refusal], identity: Identity):
    with pytest.raises(refusal) as caught:
        await identity.prove(shown)
    assert getattr(caught.value, "presented", True)


async def test_nothing_shown_is_not_a_bad_credential(identity: Identity):
    for shown in (Presented(None), Presented(None, "acme"), Presented(None, link=True)):
        with pytest.raises(Unauthenticated) as caught:
            await identity.prove(shown)
        assert not caught.value.presented


@pytest.mark.parametrize("method", SHOWN)
@pytest.mark.parametrize("named", ["acme", str(ACME.id), str(ACME.id).upper()], ids=["slug", "UUID", "UUID, capitals"])
async def test_the_credentials_own_tenant_may_be_named_beside_it(method: str, named: str, identity: Identity):
    shown = SHOWN[method]
    assert (await identity.prove(Presented(shown.token, named, shown.link))).tenant == ACME.id


FOREIGN = {
    "another's slug": "globex",
    "another's UUID": str(GLOBEX.id),
    "nobody's slug": "nobody",
    "nobody's UUID": str(UUID(int=0)),
    "nothing": "",
    "a slug in other letters": "Acme",
    "a slug with a space": "acme ",
    "a UUID in braces": "{" + str(ACME.id) + "}",
    "a UUID without dashes": ACME.id.hex,
    "a NUL": "acme\0",
    "half a surrogate": "\udcff",
    "10 KB": "acme" * 2500,
}


@pytest.mark.parametrize("method", SHOWN)
@pytest.mark.parametrize("named", FOREIGN.values(), ids=FOREIGN)
async def test_another_tenant_named_beside_a_credential_is_not_found(method: str, named: str, identity: Identity):
    shown = SHOWN[method]
    with pytest.raises(Lapsed) as caught:
        await identity.prove(Presented(shown.token, named, shown.link))
    assert isinstance(caught.value.refusal, NotFound)
    assert caught.value.caller.tenant == ACME.id


async def test_a_tenant_named_beside_a_bad_credential_changes_nothing(identity: Identity):
    for named in ("acme", "globex", "nobody"):
        with pytest.raises(Unauthenticated):
            await identity.prove(Presented(mint("rg_live").secret, named))


async def test_without_link_keys_there_are_no_links():
    identity = await Identity.open(Settings(), credentials())
    assert identity.links is None
    with pytest.raises(LinkSpent):
        await identity.prove(SHOWN["link"])
    await identity.close()


async def test_identity_mints_what_it_proves(identity: Identity):
    assert identity.links is not None
    minted = identity.links.mint(ACME.id, CALL, timedelta(minutes=5))
    assert (await identity.prove(Presented(minted.token, link=True))).subject == str(minted.id)


async def test_an_issuer_that_is_away_stops_neither_start_nor_api_keys(server: JwksServer):
    server.status = 500
    issuer = Issuer(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url)
    identity = await Identity.open(Settings(issuers=(issuer,)), credentials())
    assert (await identity.prove(SHOWN["api_key"])).method == "api_key"
    with pytest.raises(Unavailable):
        await identity.prove(SHOWN["jwt"])
    await identity.close()


async def test_keys_are_fetched_before_anybody_asks(server: JwksServer, identity: Identity):
    await server.asked.wait()
    await identity.prove(SHOWN["jwt"])
    assert server.fetches == 1


async def test_a_broken_configuration_leaves_nothing_open():
    issuer = Issuer(issuer=ISSUER, audience=AUDIENCE, public_key_file=Path("/nowhere.pem"))
    with pytest.raises(ConfigError, match=r"identity\.issuers\.0\.public_key_file"):
        await Identity.open(Settings(issuers=(issuer,)), credentials())


async def test_closing_gives_up_the_fetches_under_way(server: JwksServer):
    server.open.clear()
    before = asyncio.all_tasks()
    identity = await Identity.open(
        Settings(issuers=(Issuer(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url),)), credentials()
    )
    (fetch,) = [task for task in asyncio.all_tasks() - before if task.get_name().startswith("jwks")]
    await server.asked.wait()
    await identity.close()
    assert fetch.cancelled()


async def test_closing_twice_is_closing_once(identity: Identity):
    await identity.close()
    await identity.close()


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_a_credential_does_not_show_when_printed(shown: Presented):
    assert shown.token is not None
    assert shown.token not in repr(shown)
