"""A Google service account's key file: read once, refused at start where it is not one, and the signer made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from gcloud.aio.storage import Blob

from ..config import ConfigError

NEEDED: Final = ("type", "client_email", "private_key", "token_uri")


def signer(store: str, path: Path) -> type[Blob]:
    """A Blob class that signs with the key in ``path``. Raises ConfigError, naming the setting and the fix.

    gcloud-aio's own parses and checks the key for every signature: 28 ms of CPU, on the loop, where signing takes 1.
    """
    key = _load(store, path)

    class SigningBlob(Blob):
        @staticmethod
        def get_pem_signature(str_to_sign: str, private_key: str) -> bytes:  # noqa: ARG004 - gcloud-aio's signature
            return key.sign(str_to_sign.encode(), PKCS1v15(), hashes.SHA256())

    return SigningBlob


def _load(store: str, path: Path) -> RSAPrivateKey:
    """gcloud-aio takes a file it cannot parse for none at all, and would go on as the instance's own identity."""
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
        key = load_pem_private_key(str(content["private_key"]).encode(), password=None)
    except (ValueError, TypeError):
        raise ConfigError([f"{where}: its private_key cannot be read; have a new key issued"]) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError([f"{where}: its private_key is not an RSA key; have a new key issued"])
    return key
