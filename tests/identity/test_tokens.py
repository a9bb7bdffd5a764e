"""JWTs: what honest issuers send, what their configuration makes of it, and how long it is remembered."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession
from parts.credentials import MemoryCredentials
from parts.issuer import AUDIENCE, ISSUER, JwksServer, PrivateKey, ec_key, jwk, pem, rsa_key, token

from gateway.config import ConfigError, Issuer
from gateway.errors import Unauthenticated, Unavailable
from gateway.identity.issuers import FixedKey, Trusted, trust
from gateway.identity.keyset import PublicKey
from gateway.identity.tokens import BELIEVED_S, REMEMBERED, TokenIdentity
from gateway.model import Tenant

ACME, GLOBEX = Tenant(uuid4(), "acme", "Acme"), Tenant(uuid4(), "globex", "Globex")
SECRET = b"s" * 64
ROLES = ("attendant", "supervisor", "manager", "admin")


@pytest.fixture
def credentials() -> MemoryCredentials:
    return MemoryCredentials({tenant.slug: tenant for tenant in (ACME, GLOBEX)})


def issuer(**settings: Any) -> Issuer:
    given = {"issuer": ISSUER, "audience": AUDIENCE, "public_key_file": Path("unread.pem"), **settings}
    return Issuer(**given)


def prover(credentials: MemoryCredentials, key: PublicKey | bytes | None = None, **settings: Any) -> TokenIdentity:
    fixed = FixedKey(key or rsa_key().public_key())
    return TokenIdentity([Trusted(issuer(**settings), fixed)], credentials, ROLES)


SIGNERS: dict[str, PrivateKey | bytes] = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), SECRET),
    **dict.fromkeys(("RS256", "RS384", "RS512"), rsa_key()),
    **{algorithm: ec_key(algorithm=algorithm) for algorithm in ("ES256", "ES384", "ES512")},
}


@pytest.mark.parametrize("algorithm", SIGNERS)
async def test_every_algorithm_proves_by_a_configured_key(
    algorithm: str, tmp_path: Path, credentials: MemoryCredentials, session: ClientSession
):
    signer = SIGNERS[algorithm]
    if isinstance(signer, bytes):
        source: dict[str, Any] = {"secret": signer.decode(), "public_key_file": None}
    else:
        (tmp_path / "issuer.pem").write_bytes(pem(signer))
        source = {"public_key_file": tmp_path / "issuer.pem"}
    identity = TokenIdentity(trust([issuer(algorithms=(algorithm,), **source)], session), credentials)
    caller = await identity.prove(token(signer, algorithm, jti="token-7"))
    assert (caller.tenant, caller.tenant_slug, caller.kind, caller.method) == (ACME.id, "acme", "user", "jwt")
    assert (caller.subject, caller.credential, caller.role) == ("user-1", "token-7", "attendant")
    assert (caller.scopes, caller.call) == (frozenset({"calls:read", "recordings:download"}), None)


@pytest.mark.parametrize("algorithm", [name for name in SIGNERS if not name.startswith("HS")])
async def test_every_asymmetric_algorithm_proves_by_a_published_key(
    algorithm: str, credentials: MemoryCredentials, session: ClientSession
):
    signer = SIGNERS[algorithm]
    assert not isinstance(signer, bytes)
    async with JwksServer(jwk(signer, kid="k1"), jwk(rsa_key("other"), kid="k2")) as server:
        settings = issuer(algorithms=(algorithm, "RS256"), jwks_url=server.url, public_key_file=None)
        identity = TokenIdentity(trust([settings], session), credentials)
        assert (await identity.prove(token(signer, algorithm))).credential == f"{ISSUER}#k1"


async def test_a_token_without_key_id_is_held_against_a_lone_key(
    credentials: MemoryCredentials, session: ClientSession
):
    async with JwksServer(jwk(rsa_key(), kid="k1")) as server:
        identity = TokenIdentity(trust([issuer(jwks_url=server.url, public_key_file=None)], session), credentials)
        assert (await identity.prove(token(rsa_key(), header={"kid": None}))).credential == f"{ISSUER}#"


MAPPED: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str | None, set[str]]]] = {
    "as it stands": ({}, {}, ("acme", "attendant", {"calls:read", "recordings:download"})),
    "tenant mapped": ({"tenants": {"Org_9": "globex"}}, {"tenant": "Org_9"}, ("globex", "attendant", {"x"})),
    "tenant that the map does not name": ({"tenants": {"org_9": "globex"}}, {}, ("acme", "attendant", {"x"})),
    "claims inside objects": (
        {"tenant_claim": "org.id", "role_claim": "org.access.role", "scope_claim": "org.access.can"},
        {"org": {"id": "globex", "access": {"role": "r", "can": ["a", "b"]}}},
        ("globex", "r", {"a", "b"}),
    ),
    "a claim named by a URL": (
        {"tenant_claim": "https://acme.example/tenant"},
        {"https://acme.example/tenant": "globex"},
        ("globex", "attendant", {"x"}),
    ),
    "an object named by a URL": (
        {"tenant_claim": "https://acme.example/org.id"},
        {"https://acme.example/org": {"id": "globex"}},
        ("globex", "attendant", {"x"}),
    ),
    "role mapped": ({"roles": {"Agent": "attendant"}}, {"role": "Agent"}, ("acme", "attendant", {"x"})),
    "several roles, the highest configured one counting": (
        {"role_claim": "realm_access.roles"},
        {"realm_access": {"roles": ["supervisor", "owner", "attendant"]}},
        ("acme", "supervisor", {"x"}),
    ),
    "several roles, mapped": (
        {"roles": {"Chief": "admin"}},
        {"role": ["attendant", "Chief"]},
        ("acme", "admin", {"x"}),
    ),
    "several roles, none of them configured": ({}, {"role": ["owner", "guest"]}, ("acme", None, {"x"})),
    "no role of a list": ({}, {"role": []}, ("acme", None, {"x"})),
    "no role": ({}, {"role": None}, ("acme", None, {"x"})),
    "scopes in a list": ({}, {"scope": ["a", "b c"]}, ("acme", "attendant", {"a", "b c"})),
    "scopes in words, spaces to spare": ({}, {"scope": " a  b "}, ("acme", "attendant", {"a", "b"})),
    "no scope": ({}, {"scope": None}, ("acme", "attendant", set())),
    "an empty scope": ({}, {"scope": ""}, ("acme", "attendant", set())),
    "scopes of the issuer's, beside the token's": (
        {"scopes": ("a", "b")},
        {"scope": "b c"},
        ("acme", "attendant", {"a", "b", "c"}),
    ),
    "scopes of the issuer's alone": ({"scopes": ("a",)}, {"scope": None}, ("acme", "attendant", {"a"})),
    "the tenant by a verified address": (
        {"tenant_claim": "email", "tenants": {"push@p.iam.gserviceaccount.com": "globex"}},
        {"email": "push@p.iam.gserviceaccount.com", "email_verified": True},
        ("globex", "attendant", {"x"}),
    ),
    "several audiences": ({}, {"aud": ["another", AUDIENCE]}, ("acme", "attendant", {"x"})),
    "times in fractions": ({}, {"exp": time.time() + 3600.5, "nbf": 0.5}, ("acme", "attendant", {"x"})),
    "iat not asked for": ({"required": ("exp", "sub")}, {"iat": None}, ("acme", "attendant", {"x"})),
    "expired within the leeway": ({"leeway_s": 3600}, {"exp": int(time.time()) - 10}, ("acme", "attendant", {"x"})),
}


@pytest.mark.parametrize(("settings", "changed", "expected"), MAPPED.values(), ids=MAPPED)
async def test_claims_are_mapped_as_configured(
    settings: dict[str, Any],
    changed: dict[str, Any],
    expected: tuple[str, str | None, set[str]],
    credentials: MemoryCredentials,
):
    if expected[2] == {"x"}:
        changed = {"scope": "x", **changed}
    caller = await prover(credentials, **settings).prove(token(rsa_key(), **changed))
    assert (caller.tenant_slug, caller.role, set(caller.scopes)) == expected
    assert caller.tenant == credentials.tenants[expected[0]].id


async def test_an_address_that_was_not_verified_names_no_tenant(credentials: MemoryCredentials):
    identity = prover(credentials, tenant_claim="email", tenants={"a@example.com": "acme"})
    assert (await identity.prove(token(rsa_key(), email="a@example.com"))).tenant_slug == "acme"
    for unsure in (False, "true", 1):
        with pytest.raises(Unauthenticated):
            await identity.prove(token(rsa_key(), email="a@example.com", email_verified=unsure))


async def test_an_issuer_of_some_tenants_alone_is_believed_for_no_other(credentials: MemoryCredentials):
    identity = prover(credentials, tenants={"acme": "acme", "Org_9": "globex"}, tenants_only=True)
    assert (await identity.prove(token(rsa_key()))).tenant_slug == "acme"
    assert (await identity.prove(token(rsa_key(), tenant="Org_9"))).tenant_slug == "globex"
    with pytest.raises(Unauthenticated, match="tenants_only"):
        await identity.prove(token(rsa_key(), tenant="globex"))


async def test_a_required_claim_of_the_operators_own_is_required(credentials: MemoryCredentials):
    identity = prover(credentials, required=("exp", "jti"))
    assert (await identity.prove(token(rsa_key(), jti="t"))).credential == "t"
    with pytest.raises(Unauthenticated):
        await identity.prove(token(rsa_key()))


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "sub"])
async def test_whose_a_token_is_and_until_when_is_told_whatever_is_required(claim: str, credentials: MemoryCredentials):
    identity = prover(credentials, required=())
    assert (await identity.prove(token(rsa_key(), iat=None))).tenant_slug == "acme"
    with pytest.raises(Unauthenticated):
        await identity.prove(token(rsa_key(), **{claim: None}))


async def test_issuers_of_one_name_are_told_apart_by_audience(credentials: MemoryCredentials):
    one = Trusted(issuer(audience="one"), FixedKey(rsa_key("one").public_key()))
    two = Trusted(issuer(audience="two", role_claim="level"), FixedKey(rsa_key("two").public_key()))
    identity = TokenIdentity([one, two], credentials)
    assert (await identity.prove(token(rsa_key("one"), aud="one"))).role == "attendant"
    assert (await identity.prove(token(rsa_key("two"), aud=["none", "two"], level="high"))).role == "high"
    for key, audience in (("one", "two"), ("two", "one"), ("one", "three")):
        with pytest.raises(Unauthenticated):
            await identity.prove(token(rsa_key(key), aud=audience))


async def test_an_issuer_vouches_for_no_other(credentials: MemoryCredentials):
    ours = Trusted(issuer(), FixedKey(rsa_key("ours").public_key()))
    theirs = Trusted(
        issuer(issuer="https://theirs.example", algorithms=("HS256",), public_key_file=None, secret="s" * 64),
        FixedKey(SECRET),
    )
    identity = TokenIdentity([ours, theirs], credentials)
    await identity.prove(token(SECRET, "HS256", iss="https://theirs.example"))
    for forged in (token(SECRET, "HS256"), token(rsa_key("ours"), iss="https://theirs.example")):
        with pytest.raises(Unauthenticated):
            await identity.prove(forged)


async def test_no_issuer_no_tokens(credentials: MemoryCredentials):
    with pytest.raises(Unauthenticated):
        await TokenIdentity([], credentials).prove(token(rsa_key()))


async def test_an_outage_is_never_a_bad_token(credentials: MemoryCredentials, session: ClientSession):
    credentials.away = True
    with pytest.raises(Unavailable):
        await prover(credentials).prove(token(rsa_key()))
    async with JwksServer() as server:
        identity = TokenIdentity(trust([issuer(jwks_url=server.url, public_key_file=None)], session), credentials)
        with pytest.raises(Unavailable):
            await identity.prove(token(rsa_key()))


class Rotating:
    """A key source whose key can be taken away; counts how often it is asked."""

    def __init__(self) -> None:
        self.key_now = rsa_key()
        self.asked = 0

    async def key(self, _kid: str | None, _algorithm: str) -> PublicKey:
        self.asked += 1
        return self.key_now.public_key()


@pytest.mark.parametrize(("life", "believed"), [(600, BELIEVED_S), (20, 20)], ids=["a minute", "never past its exp"])
async def test_a_verified_token_is_believed_for_a_while(life: int, believed: float, credentials: MemoryCredentials):
    start = int(time.time())
    clock, source = [float(start)], Rotating()
    identity = TokenIdentity([Trusted(issuer(), source)], credentials, now=lambda: clock[0])
    shown = token(rsa_key(), exp=start + life)
    first = await identity.prove(shown)
    source.key_now = rsa_key("rotated")
    clock[0] = start + believed - 0.001
    assert await identity.prove(shown) == first
    assert (source.asked, credentials.asked) == (1, 1)
    clock[0] = start + believed
    with pytest.raises(Unauthenticated):
        await identity.prove(shown)


async def test_a_clock_that_is_set_back_makes_no_token_believed_for_longer(credentials: MemoryCredentials):
    clock, source = [time.time() + 18_000], Rotating()
    identity = TokenIdentity([Trusted(issuer(), source)], credentials, now=lambda: clock[0])
    shown = token(rsa_key(), exp=int(clock[0]) + 3600)
    await identity.prove(shown)
    source.key_now = rsa_key("rotated")
    clock[0] -= 18_000
    with pytest.raises(Unauthenticated):
        await identity.prove(shown)


async def test_a_token_past_its_exp_and_within_the_leeway_is_not_remembered(credentials: MemoryCredentials):
    source = Rotating()
    identity = TokenIdentity([Trusted(issuer(leeway_s=60), source)], credentials)
    shown = token(rsa_key(), exp=int(time.time()) - 10)
    await identity.prove(shown)
    await identity.prove(shown)
    assert source.asked == 2


async def test_what_is_remembered_is_one_token_and_not_its_neighbour(credentials: MemoryCredentials):
    identity = prover(credentials)
    shown = token(rsa_key())
    await identity.prove(shown)
    for forged in (shown[:-1] + ("A" if shown[-1] != "A" else "B"), shown.replace(".", ".A", 1), shown + "A"):
        with pytest.raises(Unauthenticated):
            await identity.prove(forged)


async def test_the_memory_of_tokens_is_bounded_and_drops_the_longest_unused(
    credentials: MemoryCredentials, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.identity.tokens.REMEMBERED", 3)
    assert REMEMBERED > 3
    source = Rotating()
    settings = issuer(algorithms=("RS256",))
    identity = TokenIdentity([Trusted(settings, source)], credentials)
    shown = [token(rsa_key(), jti=str(number)) for number in range(4)]
    for each in (*shown[:3], shown[0], shown[3]):
        await identity.prove(each)
    assert (source.asked, len(identity._verified)) == (4, 3)
    await identity.prove(shown[0])
    assert source.asked == 4, "used just now, so kept"
    await identity.prove(shown[1])
    assert source.asked == 5, "longest unused, so dropped"


BAD_SOURCES: dict[str, tuple[dict[str, Any], bytes | None, str]] = {
    "no such file": ({}, None, "No such file"),
    "no key in it": ({}, b"hello", "PEM"),
    "a key for another algorithm": ({}, pem(ec_key()), "RS256"),
    "a public key as a secret": (
        {"secret": pem(rsa_key()).decode(), "public_key_file": None, "algorithms": ("HS256",)},
        None,
        "asymmetric",
    ),
}


@pytest.mark.parametrize(("settings", "content", "words"), BAD_SOURCES.values(), ids=BAD_SOURCES)
async def test_a_key_that_cannot_be_used_is_refused_at_start(
    settings: dict[str, Any], content: bytes | None, words: str, tmp_path: Path, session: ClientSession
):
    path = tmp_path / "issuer.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        trust([issuer(**{"public_key_file": path, **settings})], session)
    assert caught.value.problems[0].startswith("identity.issuers.0.")


def test_a_configured_secret_does_not_show_when_printed():
    assert "sss" not in repr(
        Trusted(issuer(public_key_file=None, secret="s" * 64, algorithms=("HS256",)), FixedKey(SECRET))
    )
