"""Secrets and signatures of Standard Webhooks, and how secrets rest in Postgres. Pure but for chance."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from standardwebhooks import Webhook

_PREFIX = "whsec_"
_BYTES = 32
_SEALED = "sealed:"


class Unsealable(Exception):
    """None of the configured keys opens a secret."""


def mint_secret() -> str:
    """``whsec_`` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signed_headers(id_: str, at: datetime, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The three fields; a signature for each of ``keys``, in their order. ``at`` is aware and in UTC."""
    signatures = (Webhook(key).sign(id_, at, body.decode()) for key in keys)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Sealer:
    """Secrets at rest: sealed by the first of ``keys``, opened by any; without keys they rest as they are.

    What was put to rest without a key can be read all the same once there is one.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._fernet = MultiFernet([Fernet(_fernet_key(key)) for key in keys]) if keys else None

    def seal(self, secret: str) -> str:
        if self._fernet is None:
            return secret
        return _SEALED + self._fernet.encrypt(secret.encode()).decode()

    def unseal(self, resting: str) -> str:
        """Raises Unsealable."""
        if not resting.startswith(_SEALED):
            return resting
        if self._fernet is None:
            raise Unsealable
        try:
            return self._fernet.decrypt(resting.removeprefix(_SEALED)).decode()
        except InvalidToken:
            raise Unsealable from None


def _fernet_key(key: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())
