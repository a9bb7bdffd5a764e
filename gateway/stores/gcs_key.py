"""A Google service account's key file: read once, refused at start where it is not one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from gcloud.aio.storage import Blob

from ..config import ConfigError

NEEDED: Final = ("type", "client_email", "private_key", "token_uri")


@dataclass(frozen=True, slots=True)
class Account:
    """What a key file says, read and checked once.

    gcloud-aio parses and checks the key for every signature and every token: 28 ms of CPU, on the loop, where signing takes 1.
    """

    email: str
    key: RSAPrivateKey = field(repr=False)

    @property
    def service_data(self) -> dict[str, str]:
        """What a Blob asks a token for, to know whose signature it makes. The key is not in it, though it must be a text."""
        return {"client_email": self.email, "private_key": "held by the signer"}

    def signer(self) -> type[Blob]:
        """A Blob class that signs with the key; its ``get_signed_url`` wants this account as its token."""
        key = self.key

        class SigningBlob(Blob):
            @staticmethod
            def get_pem_signature(str_to_sign: str, private_key: str) -> bytes:  # noqa: ARG004 - gcloud-aio's signature
                return key.sign(str_to_sign.encode(), PKCS1v15(), hashes.SHA256())

        return SigningBlob


def read(store: str, path: Path) -> Account:
    """The account whose key file is at ``path``. Raises ConfigError, naming the setting and the fix.

    gcloud-aio takes a file it cannot parse for none at all, and would go on as the instance's own identity.
    """
    where = f"stores.{store}.service_account_file"
    try:
        content: object = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            [f"{where}: {path}: cannot be read ({error.strerror}); check the path and its permissions"]
        ) from None
    except ValueError:
        raise ConfigError([f"{where}: not JSON; give the key file that Google issued"]) from None
    if not isinstance(content, dict) or content.get("type") != "service_account" or not all(map(content.get, NEEDED)):
        raise ConfigError([f"{where}: no service account key; it must hold {', '.join(NEEDED)}"])
    try:
        return Account(str(content["client_email"]), private_key(content["private_key"]))
    except ValueError as error:
        raise ConfigError([f"{where}: its private_key {error}; have a new key issued"]) from None


def private_key(pem: object) -> RSAPrivateKey:
    """The key in a PEM text. Raises ValueError: what is wrong with it."""
    try:
        key = load_pem_private_key(str(pem).encode(), password=None)
    except (ValueError, TypeError):
        raise ValueError("cannot be read") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is not an RSA key")  # noqa: TRY004 - it is what the text says
    return key
