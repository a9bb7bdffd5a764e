"""Which published keys are taken, and for what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import RSAAlgorithm
from parts.issuer import ec_key, jwk, pem, rsa_key

from gateway.identity.keyset import MAX_KEYS, KeySet, parse_jwks, parse_pem

ALL = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
RS = frozenset({"RS256", "RS384", "RS512"})


def keys(*members: Any) -> KeySet:
    """What is taken of ``members``, beside one honest key that makes it a set at all."""
    honest = jwk(ec_key("honest"), kid="honest")
    taken = parse_jwks(json.dumps({"keys": [*members, honest]}).encode(), ALL)
    return KeySet(tuple(key for key in taken.keys if key.kid != "honest"), taken.unfit)


FIT: dict[str, tuple[dict[str, Any], frozenset[str]]] = {
    "RSA, nothing said": (jwk(rsa_key()), RS),
    "RSA for one algorithm": (jwk(rsa_key(), alg="RS384"), frozenset({"RS384"})),
    "RSA for signatures": (jwk(rsa_key(), use="sig", key_ops=["verify"]), RS),
    "P-256": (jwk(ec_key()), frozenset({"ES256"})),
    "P-384": (jwk(ec_key(algorithm="ES384")), frozenset({"ES384"})),
    "P-521": (jwk(ec_key(algorithm="ES512")), frozenset({"ES512"})),
    "with members nobody knows": (jwk(rsa_key(), x5t="abc", vendor={"a": 1}), RS),
}


@pytest.mark.parametrize(("member", "algorithms"), FIT.values(), ids=FIT)
def test_a_fit_key_verifies_what_its_kind_and_its_own_words_allow(member: dict[str, Any], algorithms: frozenset[str]):
    assert [key.algorithms for key in keys({**member, "kid": "k"}).keys] == [algorithms]


K1 = ec.generate_private_key(ec.SECP256K1())
UNFIT: dict[str, Any] = {
    "symmetric": {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
    "symmetric, calling itself HS256": {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
    "RSA of 2047 bits": jwk(rsa_key(bits=2047)),
    "RSA for encryption": jwk(rsa_key(), use="enc"),
    "RSA for another algorithm": jwk(rsa_key(), alg="RSA-OAEP"),
    "RSA for PSS": jwk(rsa_key(), alg="PS256"),
    "RSA that calls itself HS256": jwk(rsa_key(), alg="HS256"),
    "RSA that calls itself none": jwk(rsa_key(), alg="none"),
    "RSA with an alg of another type": jwk(rsa_key(), alg=["RS256"]),
    "RSA that may only sign": jwk(rsa_key(), key_ops=["sign"]),
    "RSA with key_ops of another type": jwk(rsa_key(), key_ops="verify"),
    "RSA, its private half published": RSAAlgorithm.to_jwk(rsa_key("leaked"), as_dict=True),
    "RSA, a prime of it published": jwk(rsa_key(), p=RSAAlgorithm.to_jwk(rsa_key(), as_dict=True)["p"]),
    "RSA with an id longer than a token's may be": jwk(rsa_key(), kid="k" * 256),
    "RSA with an id of several lines": jwk(rsa_key(), kid="k\n2"),
    "RSA without a modulus": {"kty": "RSA", "e": "AQAB"},
    "RSA with a modulus of another type": {"kty": "RSA", "e": "AQAB", "n": 5},
    "RSA with an even exponent": jwk(rsa_key(), e="Ag"),
    "P-256 for another curve's algorithm": jwk(ec_key(), alg="ES384"),
    "secp256k1": jwk(K1),
    "a point off its curve": jwk(ec_key(), x=jwk(ec_key("other"))["x"]),
    "P-256 without a point": {"kty": "EC", "crv": "P-256"},
    "Ed25519": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    "kty of another type": {"kty": ["RSA"], "n": "AQAB", "e": "AQAB"},
    "kid of another type": jwk(rsa_key(), kid=7),
    "no object": "key",
    "nothing": None,
}


@pytest.mark.parametrize("member", UNFIT.values(), ids=UNFIT)
def test_an_unfit_key_is_passed_over_and_counted(member: Any):
    if isinstance(member, dict):
        member = {"kid": "k", **member}
    assert keys(member) == KeySet((), 1)


NO_SET = {
    "no JSON": (b"<html>", "Expecting value"),
    "no object": (b"[]", "no object"),
    "no keys": (b"{}", "no list"),
    "keys of another type": (b'{"keys": {}}', "no list"),
    "no key at all": (b'{"keys": []}', "none of its 0 keys"),
    "no fit key": (json.dumps({"keys": [jwk(rsa_key(bits=2047))]}).encode(), "none of its 1 keys"),
    "keys named twice": (b'{"keys": [], "keys": []}', "twice"),
    "not UTF-8": (b'{"keys": ["\xff"]}', "utf-8"),
    "nested without end": (b'{"keys":' + b"[" * 100_000, "nested too deeply"),
    "a number without end": (b'{"keys":' + b"1" * 10_000 + b"}", "digits"),
    "too many keys": (json.dumps({"keys": [jwk(ec_key())] * (MAX_KEYS + 1)}).encode(), "at most"),
}


@pytest.mark.parametrize(("document", "why"), NO_SET.values(), ids=NO_SET)
def test_what_is_no_key_set_is_refused(document: bytes, why: str):
    with pytest.raises(ValueError, match=why):
        parse_jwks(document, ALL)


def test_only_the_issuers_own_algorithms_count():
    document = json.dumps({"keys": [jwk(rsa_key(), kid="r"), jwk(ec_key(), kid="e")]}).encode()
    taken = parse_jwks(document, ("ES256",))
    assert [(key.kid, key.algorithms) for key in taken.keys] == [("e", frozenset({"ES256"}))]
    assert taken.unfit == 1


def test_a_key_is_picked_by_its_id_and_its_algorithm():
    taken = keys(jwk(rsa_key("a"), kid="a"), jwk(rsa_key("b"), kid="b"), jwk(ec_key(algorithm="ES384"), kid="a"))
    assert taken.pick("a", "RS256") == rsa_key("a").public_key()
    assert taken.pick("b", "RS256") == rsa_key("b").public_key()
    assert taken.pick("a", "ES384") == ec_key(algorithm="ES384").public_key()
    assert taken.pick("b", "ES384") is None
    assert taken.pick("c", "RS256") is None
    assert taken.pick("a", "HS256") is None


def test_without_an_id_only_a_lone_key_is_picked():
    taken = keys(jwk(rsa_key("a"), kid="a"), jwk(rsa_key("b"), kid="b"), jwk(ec_key(algorithm="ES384")))
    assert taken.pick(None, "RS256") is None
    assert taken.pick(None, "ES384") == ec_key(algorithm="ES384").public_key()
    assert taken.pick("c", "ES384") is None


def test_a_pem_key_verifies_all_that_is_asked_of_it():
    assert parse_pem(pem(rsa_key()), ("RS256", "RS512")) == rsa_key().public_key()
    assert parse_pem(pem(ec_key()), ("ES256",)) == ec_key().public_key()


PRIVATE = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ED25519 = ed25519.Ed25519PrivateKey.generate().public_key()
NO_PEM = {
    "nothing": (b"", "RS256", "PEM"),
    "a private key": (PRIVATE, "RS256", "PEM"),
    "RSA for ES256": (pem(rsa_key()), "ES256", "cannot verify ES256"),
    "P-256 for ES384": (pem(ec_key()), "ES384", "cannot verify ES384"),
    "RSA of 2047 bits": (pem(rsa_key(bits=2047)), "RS256", "cannot verify RS256"),
    "Ed25519": (ED25519.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "ES256", "cannot verify ES256"),
}


@pytest.mark.parametrize(("document", "algorithm", "why"), NO_PEM.values(), ids=NO_PEM)
def test_a_pem_key_that_cannot_do_its_work_is_refused(document: bytes, algorithm: str, why: str):
    with pytest.raises(ValueError, match=why):
        parse_pem(document, (algorithm,))
