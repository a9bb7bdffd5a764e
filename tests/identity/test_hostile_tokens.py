"""What no honest issuer sends. Each row is made with real keys and refused, and its refusal tells the log no part of it."""

from __future__ import annotations

import hmac
import json
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts.credentials import MemoryCredentials
from parts.issuer import AUDIENCE, ISSUER, JwksServer, b64, claims, ec_key, jwk, pem, rsa_key, sign, token

from gateway.config import Identity as Settings
from gateway.config import Issuer
from gateway.errors import Unauthenticated
from gateway.identity import Identity
from gateway.identity.issuers import FixedKey, Trusted
from gateway.identity.tokens import TokenIdentity
from gateway.model import Lapsed, Presented, Tenant

KEY, EC, ATTACKER = rsa_key(), ec_key(), rsa_key("attacker")
CREDENTIALS = MemoryCredentials({"acme": Tenant(uuid4(), "acme", "Acme")})
NOW = int(time.time())
DAY_S = 86_400
"""Longer than all the tests take: the tokens are made before the first of them begins."""
KID = {"kid": "k1"}
HONEST = token(KEY)
HEADER, PAYLOAD, SIGNATURE = HONEST.split(".")


def payload(**changed: Any) -> bytes:
    return json.dumps(claims(**changed)).encode()


def raw(document: bytes, header: Mapping[str, Any] | bytes = KID) -> str:
    """Signed by the issuer itself, whatever it says."""
    return sign(KEY, "RS256", header, document)


def macced(secret: bytes, algorithm: str = "HS256") -> str:
    signing = f"{b64(json.dumps({'alg': algorithm, **KID}).encode())}.{b64(payload())}"
    return f"{signing}.{b64(hmac.digest(secret, signing.encode(), 'sha256'))}"


def with_claim(text: str, **changed: Any) -> bytes:
    """The payload with ``text`` added verbatim, so that JSON can be written that no encoder writes."""
    return payload(**changed)[:-1] + b", " + text.encode() + b"}"


def loosened(token: str) -> str:
    """The same bytes in another base64 spelling: a spare bit at the end of the payload set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    head, body, tail = token.split(".")
    assert len(body) % 4 in {2, 3}
    return f"{head}.{body[:-1]}{alphabet[alphabet.index(body[-1]) ^ 1]}.{tail}"


def spare(**changed: Any) -> str:
    """An honest token whose payload ends with spare bits."""
    for pad in range(3):
        made = token(KEY, pad="x" * pad, **changed)
        if len(made.split(".")[1]) % 4 in {2, 3}:
            return made
    raise AssertionError


HOSTILE: dict[str, str] = {
    # the algorithm
    "alg none, no signature": f"{b64(json.dumps({'alg': 'none', **KID}).encode())}.{PAYLOAD}.",
    "alg none, a signature": f"{b64(json.dumps({'alg': 'none', **KID}).encode())}.{PAYLOAD}.{SIGNATURE}",
    "alg None in other letters": f"{b64(json.dumps({'alg': 'nOnE', **KID}).encode())}.{PAYLOAD}.{SIGNATURE}",
    "no alg": f"{b64(json.dumps(KID).encode())}.{PAYLOAD}.{SIGNATURE}",
    "alg of another type": raw(payload(), {**KID, "alg": ["RS256"]}),
    "alg null": raw(payload(), {**KID, "alg": None}),
    "HS256 with the public key in PEM": macced(pem(KEY)),
    "HS256 with the public key in PEM, stripped": macced(pem(KEY).strip()),
    "HS256 with the public key as JWK": macced(json.dumps(jwk(KEY, kid="k1")).encode()),
    "HS256 with an empty secret": macced(b""),
    "RS256 named HS256": macced(pem(KEY), "RS256"),
    "an algorithm the issuer does not use": token(KEY, "RS512"),
    "PS256 with the same key": token(KEY, "PS256"),
    "ES256 with an RSA key's id": token(EC, "ES256"),
    "RS256 with an EC key's id": token(KEY, header={"kid": "e1"}),
    # the key
    "signed by another key": token(ATTACKER),
    "an embedded jwk": token(ATTACKER, header={"jwk": jwk(ATTACKER)}),
    "an embedded jwk beside a good signature": token(KEY, header={"jwk": jwk(KEY)}),
    "jku": token(KEY, header={"jku": "https://attacker.example/jwks.json"}),
    "x5u": token(KEY, header={"x5u": "https://attacker.example/chain.pem"}),
    "x5c": token(KEY, header={"x5c": ["MIIB"]}),
    "a key id nobody published": token(KEY, header={"kid": "k9"}),
    "a key id that is a path": token(KEY, header={"kid": "../../dev/null"}),
    "a key id that is a query": token(KEY, header={"kid": "' or 1=1 --"}),
    "an empty key id": token(KEY, header={"kid": ""}),
    "a long key id": token(KEY, header={"kid": "k" * 300}),
    "a key id of another type": token(KEY, header={"kid": 1}),
    "a key id null": raw(payload(), {"kid": None}),
    "no key id, two keys to choose from": token(KEY, header={"kid": None}),
    "the id of a key too weak": token(rsa_key(bits=1024), header={"kid": "weak"}),
    "the id of a key for encryption": token(KEY, header={"kid": "enc"}),
    "the id of a symmetric key in the key set": sign(b"s" * 32, "HS256", {"kid": "oct"}, payload()),
    # the header's critical members
    "an unknown crit": token(KEY, header={"crit": ["exp2"], "exp2": 1}),
    "an empty crit": token(KEY, header={"crit": []}),
    "crit b64": token(KEY, header={"crit": ["b64"], "b64": True}),
    "an unencoded payload": token(KEY, header={"crit": ["b64"], "b64": False}),
    "b64 without crit": token(KEY, header={"b64": True}),
    # claims left out
    **{f"no {name}": token(KEY, **{name: None}) for name in ("exp", "aud", "iss", "iat", "sub", "tenant")},
    **{
        f"{name} null": raw(with_claim(f'"{name}": null', **{name: None}))
        for name in ("exp", "aud", "iss", "iat", "sub")
    },
    # for somebody else
    "another audience": token(KEY, aud="billing"),
    "other audiences": token(KEY, aud=["billing", "mail"]),
    "an audience that begins alike": token(KEY, aud=AUDIENCE + "2"),
    "no audience in a list": token(KEY, aud=[]),
    "audience of another type": token(KEY, aud={AUDIENCE: 1}),
    "a number among audiences": token(KEY, aud=[AUDIENCE, 1]),
    "another issuer": token(KEY, iss="https://attacker.example"),
    "an issuer with a slash more": token(KEY, iss=ISSUER + "/"),
    "issuers in a list": token(KEY, iss=[ISSUER]),
    "another tenant's slug that nobody has": token(KEY, tenant="nobody"),
    # times
    "expired, and signed by another key": token(ATTACKER, exp=NOW - 31),
    "expired, and for another audience": token(KEY, exp=NOW - 31, aud="billing"),
    "expired, of a tenant that nobody has": token(KEY, exp=NOW - 31, tenant="nobody"),
    "expired, and not yet valid": token(KEY, exp=NOW - 31, nbf=NOW + DAY_S),
    "exp in words": token(KEY, exp=str(NOW + 600)),
    "exp true": token(KEY, exp=True),
    "exp beyond time": raw(with_claim('"exp": 1e999', exp=None)),
    "exp beyond any clock": token(KEY, exp=10**30),
    "exp beyond any number": raw(with_claim('"exp": ' + "9" * 5000, exp=None)),
    "exp NaN": raw(with_claim('"exp": NaN', exp=None)),
    "exp Infinity": raw(with_claim('"exp": Infinity', exp=None)),
    "not yet valid": token(KEY, nbf=NOW + DAY_S, exp=NOW + 2 * DAY_S),
    "nbf in words": token(KEY, nbf="0"),
    "nbf true": token(KEY, nbf=True),
    "nbf null": raw(with_claim('"nbf": null')),
    "issued in the future": token(KEY, iat=NOW + DAY_S, exp=NOW + 2 * DAY_S),
    "iat in words": token(KEY, iat=str(NOW)),
    # claims of another type, or unfit to be kept
    "sub a number": token(KEY, sub=7),
    "sub empty": token(KEY, sub=""),
    "sub with a NUL": token(KEY, sub="a\0b"),
    "sub with a line break": token(KEY, sub="a\nb"),
    "sub with half a surrogate": raw(with_claim('"sub": "\\ud800"', sub=None)),
    "sub that turns the line around": token(KEY, sub="a\u202eb"),
    "sub without end": token(KEY, sub="a" * 300),
    "jti a number": token(KEY, jti=7),
    "tenant a number": token(KEY, tenant=7),
    "tenant a list": token(KEY, tenant=["acme"]),
    "tenant with a NUL": token(KEY, tenant="acme\0"),
    "role a list with a number in it": token(KEY, role=["admin", 7]),
    "role a list of lists": token(KEY, role=[["admin"]]),
    "role true": token(KEY, role=True),
    "scope an object": token(KEY, scope={"calls:read": True}),
    "scope a number": token(KEY, scope=1),
    "a number among scopes": token(KEY, scope=["calls:read", 1]),
    # JSON
    "alg named twice": raw(payload(), b'{"alg": "none", "alg": "RS256", "kid": "k1"}'),
    "a claim named twice": raw(with_claim('"tenant": "other"')),
    "a claim named twice, further in": raw(with_claim('"org": {"a": 1, "a": 2}')),
    "claims in a list": raw(b"[" + payload() + b"]"),
    "claims in UTF-16": raw(payload().decode().encode("utf-16")),
    "claims not in UTF-8": raw(payload()[:-1] + b', "x": "\xff"}'),
    "something after the claims": raw(payload() + b"{}"),
    "claims nested without end": raw(with_claim('"x": ' + "[" * 3000 + "]" * 3000)),
    "no claims at all": raw(b""),
    "header a list": sign(KEY, "RS256", b'["RS256"]', payload()),
    # the form
    "larger than 8 KB": token(KEY, padding="x" * 6200),
    "far larger than 8 KB": token(KEY, padding="x" * 1_000_000),
    "two parts": f"{HEADER}.{PAYLOAD}",
    "no signature": f"{HEADER}.{PAYLOAD}.",
    "five parts": f"{HEADER}.{PAYLOAD}.{SIGNATURE}.AAAA.AAAA",
    "half a signature": f"{HEADER}.{PAYLOAD}.{SIGNATURE[:170]}",
    "another token's signature": f"{HEADER}.{PAYLOAD}.{token(KEY, sub='other').split('.')[2]}",
    "another header": f"{b64(json.dumps({'alg': 'RS256', 'kid': 'k1'}).encode())}.{PAYLOAD}.{SIGNATURE}",
    "other claims": f"{HEADER}.{b64(payload(tenant='other'))}.{SIGNATURE}",
    "padded": f"{HEADER}.{PAYLOAD}.{SIGNATURE}==",
    "in the other base64": HONEST.replace("_", "/").replace("-", "+") + "/",
    "another spelling of the same bytes": loosened(spare()),
    "a line break after it": HONEST + "\n",
    "a space before it": " " + HONEST,
    "not ASCII": HONEST + "é",
    "a surrogate": HONEST + "\udcff",
}


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    published = (
        jwk(KEY, kid="k1", alg="RS256", use="sig"),
        jwk(rsa_key("second"), kid="k2"),
        jwk(EC, kid="e1"),
        jwk(rsa_key(bits=1024), kid="weak"),
        jwk(KEY, kid="enc", use="enc"),
        {"kty": "oct", "kid": "oct", "k": b64(b"s" * 32), "alg": "HS256"},
    )
    async with JwksServer(*published) as server:
        issuer = Issuer(issuer=ISSUER, audience=AUDIENCE, algorithms=("RS256", "ES256"), jwks_url=server.url)
        identity = await Identity.open(Settings(issuers=(issuer,)), CREDENTIALS)
        yield identity
        await identity.close()


async def test_the_honest_tokens_the_hostile_ones_are_made_of_are_proven(identity: Identity):
    for honest in (HONEST, raw(payload()), spare(), token(EC, "ES256", header={"kid": "e1"})):
        assert (await identity.prove(Presented(honest))).tenant_slug == "acme"


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_token_proves_nothing_and_stands_in_no_log(hostile: str, identity: Identity):
    with pytest.raises(Unauthenticated) as caught:
        await identity.prove(Presented(hostile))
    assert caught.value.presented
    assert caught.value.detail
    written = "".join(traceback.format_exception(caught.value))
    pieces = [piece for piece in hostile.split(".") if piece]
    assert not [piece for piece in pieces if piece in written]


@pytest.mark.parametrize("ended", [NOW - 31, 1], ids=["a moment ago", "long ago"])
async def test_an_expired_token_is_refused_and_tells_the_audit_whose_it_was(ended: int, identity: Identity):
    for _ in range(2):  # nor is it remembered
        with pytest.raises(Lapsed) as caught:
            await identity.prove(Presented(token(KEY, exp=ended)))
        assert (caught.value.caller.subject, caught.value.caller.tenant_slug) == ("user-1", "acme")
        assert isinstance(caught.value.refusal, Unauthenticated)
        assert caught.value.refusal.presented
        assert (caught.value.refusal.detail or "").endswith("ExpiredSignatureError")


PUBLIC = TokenIdentity(
    [Trusted(Issuer(issuer=ISSUER, audience=AUDIENCE, public_key_file=Path("unread")), FixedKey(KEY.public_key()))],
    CREDENTIALS,
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
value = st.text() | st.lists(st.text(), max_size=3) | st.integers(0, 10**320) | anything
named = st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "tenant", "role", "scope", "x"])


@settings(max_examples=400)
@given(changed=st.dictionaries(named, value, min_size=1, max_size=1))
async def test_whatever_the_claims_are_the_answer_is_a_caller_or_a_refusal(changed: dict[str, Any]):
    shown = raw(json.dumps({**claims(), **changed}).encode())
    with suppress(Unauthenticated, Lapsed):
        caller = await PUBLIC.prove(shown)
        assert caller.tenant_slug == "acme"
        assert all(each.isprintable() for each in (caller.subject, caller.credential, *caller.scopes))


@given(place=st.integers(0, len(HONEST) - 1), character=st.characters())
async def test_no_other_character_anywhere_is_let_through(place: int, character: str):
    await PUBLIC.prove(HONEST)
    altered = HONEST[:place] + character + HONEST[place + 1 :]
    if altered == HONEST:
        return
    with pytest.raises(Unauthenticated):
        await PUBLIC.prove(altered)
