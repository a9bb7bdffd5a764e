"""Which published key may verify which algorithm (RFC 7517, RFC 7518 section 3). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from .jose import MAX_TEXT, strict_object

PublicKey = RSAPublicKey | EllipticCurvePublicKey

MIN_RSA_BITS = 2048
MAX_KEYS = 100
_RSA = frozenset({"RS256", "RS384", "RS512"})
_CURVES = {"secp256r1": frozenset({"ES256"}), "secp384r1": frozenset({"ES384"}), "secp521r1": frozenset({"ES512"})}
_PRIVATE = frozenset({"d", "p", "q", "k"})


@dataclass(frozen=True, slots=True)
class Published:
    """One key, and the algorithms it may verify."""

    kid: str | None
    algorithms: frozenset[str]
    key: PublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's keys."""

    keys: tuple[Published, ...] = ()
    unfit: int = 0
    """How many were published that cannot be used here: symmetric, weak, for encryption, of another algorithm."""

    def pick(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """The key of that id for that algorithm. Without an id: the only one for that algorithm, if there is but one."""
        fit = [each.key for each in self.keys if algorithm in each.algorithms and kid in {None, each.kid}]
        return fit[0] if len(fit) == 1 or (fit and kid is not None) else None


def parse_jwks(document: bytes, algorithms: Collection[str]) -> KeySet:
    """A JWK set's keys that fit ``algorithms``. Raises ValueError where it is no such set, or none of it fits."""
    members = strict_object(document).get("keys")
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise ValueError(f"no list of at most {MAX_KEYS} keys")
    fit = tuple(key for member in members if (key := _published(member, algorithms)) is not None)
    if not fit:
        raise ValueError(f"none of its {len(members)} keys fits {', '.join(algorithms)}")
    return KeySet(fit, len(members) - len(fit))


def parse_pem(pem: bytes, algorithms: Collection[str]) -> PublicKey:
    """One public key that fits every one of ``algorithms``. Raises ValueError."""
    try:
        key = load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise ValueError("its key is of a kind not known here") from error
    if unfit := sorted(set(algorithms) - _fits(key)):
        raise ValueError(f"its key cannot verify {', '.join(unfit)}")
    assert isinstance(key, PublicKey)  # no other kind fits anything
    return key


def _published(jwk: object, algorithms: Collection[str]) -> Published | None:
    if not isinstance(jwk, dict) or not _meant_for_verifying(jwk):
        return None
    kid, alg = jwk.get("kid"), jwk.get("alg")
    if kid is not None and not _nameable(kid):
        return None
    try:
        # The algorithm given here only picks the kind of key; what it may verify is judged by the key itself.
        key = PyJWK(jwk, "RS256" if jwk.get("kty") == "RSA" else "ES256").key
    except (PyJWTError, ValueError, TypeError):
        return None
    fits = _fits(key) & frozenset(algorithms)
    if alg is not None:
        fits &= {alg} if isinstance(alg, str) else frozenset()
    return Published(kid, fits, key) if fits else None


def _nameable(kid: object) -> bool:
    """Whether a token could hold this key id. No other is kept or logged: it could be as long as the document."""
    return isinstance(kid, str) and len(kid) <= MAX_TEXT and kid.isprintable()


def _meant_for_verifying(jwk: Mapping[str, object]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("kty") in ("RSA", "EC")
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and not _PRIVATE & jwk.keys()
    )


def _fits(key: object) -> frozenset[str]:
    match key:
        case RSAPublicKey() if key.key_size >= MIN_RSA_BITS:
            return _RSA
        case EllipticCurvePublicKey():
            return _CURVES.get(key.curve.name, frozenset())
        case _:
            return frozenset()
