"""An issuer of JWTs with real keys, and a real HTTP server that publishes them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Self

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://issuer.example"
AUDIENCE = "recordings"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@cache
def rsa_key(name: str = "", bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key per name and size, made once: RSA keys are slow to make."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str = "", algorithm: str = "ES256") -> ec.EllipticCurvePrivateKey:
    del name
    return ec.generate_private_key(CURVES[algorithm]())


def jwk(key: PrivateKey, **members: Any) -> dict[str, Any]:
    """The public half as RFC 7517 has it, ``members`` added."""
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), **members}


def pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**changed: Any) -> dict[str, Any]:
    """What an honest token says. A claim changed to None is left out."""
    now = int(time.time())
    honest = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": now,
        "exp": now + 3600,
        "tenant": "acme",
        "role": "attendant",
        "scope": "calls:read recordings:download",
    }
    return {name: value for name, value in {**honest, **changed}.items() if value is not None}


def token(
    key: PrivateKey | bytes, algorithm: str = "RS256", *, header: Mapping[str, Any] | None = None, **changed: Any
) -> str:
    """An honest token but for ``changed`` claims and ``header`` members; one changed to None is left out."""
    named = {name: value for name, value in {"kid": "k1", **(header or {})}.items() if value is not None}
    return sign(key, algorithm, named, json.dumps(claims(**changed)).encode())


def sign(key: PrivateKey | bytes, algorithm: str, header: Mapping[str, Any] | bytes, payload: bytes) -> str:
    """Signs whatever it is given, well-formed or not: PyJWT would refuse to write most of what these tests send."""
    raw = header if isinstance(header, bytes) else json.dumps({"typ": "JWT", "alg": algorithm, **header}).encode()
    signing = f"{b64(raw)}.{b64(payload)}"
    maker = jwt.get_algorithm_by_name(algorithm)
    return f"{signing}.{b64(maker.sign(signing.encode(), key))}"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class JwksServer:
    """Publishes ``keys`` at ``url``; counts ``fetches``.

    ``status`` and ``body`` replace the answer. Clear ``open`` to hold answers back; ``asked`` is set by each question.
    """

    def __init__(self, *keys: Mapping[str, Any]) -> None:
        self.keys = list(keys)
        self.status = 200
        self.body: bytes | None = None
        self.fetches = 0
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        app = web.Application()
        app.router.add_get("/jwks.json", self._answer)
        app.router.add_get("/moved.json", self._moved)
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open.set()
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("/jwks.json"))

    @property
    def moved_url(self) -> str:
        """Redirects to ``url``."""
        return str(self._server.make_url("/moved.json"))

    async def _answer(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        self.asked.set()
        await self.open.wait()
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return web.Response(status=self.status, body=body, content_type="application/json")

    async def _moved(self, _request: web.Request) -> web.Response:
        raise web.HTTPFound("/jwks.json")
