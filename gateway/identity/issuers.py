"""An issuer of JWTs as configured, with where its keys come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import ClientSession
from jwt import get_algorithm_by_name
from jwt.exceptions import InvalidKeyError

from ..config import ConfigError, Issuer
from .jwks import Jwks
from .keyset import PublicKey, parse_pem


class KeySource(Protocol):
    """Where an issuer's keys come from."""

    async def key(self, kid: str | None, algorithm: str) -> PublicKey | bytes:
        """The key for an algorithm that the issuer's configuration accepts. Raises Unauthenticated, Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class FixedKey:
    """A key from the configuration, whatever id a token gives it."""

    value: PublicKey | bytes = field(repr=False)

    async def key(self, _kid: str | None, _algorithm: str) -> PublicKey | bytes:
        return self.value


@dataclass(frozen=True, slots=True)
class Trusted:
    """An issuer, and its keys."""

    issuer: Issuer
    keys: KeySource


def trust(issuers: Sequence[Issuer], session: ClientSession) -> list[Trusted]:
    """Reads public key files; key sets are fetched over ``session`` once they are begun. Raises ConfigError."""
    return [Trusted(issuer, _source(issuer, place, session)) for place, issuer in enumerate(issuers)]


def _source(issuer: Issuer, place: int, session: ClientSession) -> KeySource:
    if issuer.jwks_url is not None:
        return Jwks(
            issuer.jwks_url,
            issuer.algorithms,
            session,
            refresh_s=issuer.jwks_refresh_s,
            min_interval_s=issuer.jwks_min_interval_s,
        )
    if issuer.secret is not None:
        secret = issuer.secret.get_secret_value().encode()
        try:
            get_algorithm_by_name(issuer.algorithms[0]).prepare_key(secret)
        except InvalidKeyError as error:
            raise ConfigError([f"identity.issuers.{place}.secret: {error}"]) from error
        return FixedKey(secret)
    assert issuer.public_key_file is not None  # one of the three is given
    name = f"identity.issuers.{place}.public_key_file: {issuer.public_key_file}"
    try:
        return FixedKey(parse_pem(issuer.public_key_file.read_bytes(), issuer.algorithms))
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read ({error.strerror}); check the path and its permissions"]) from error
    except ValueError as error:
        raise ConfigError([f"{name}: {error}; give a PEM public key that fits every one of algorithms"]) from error
