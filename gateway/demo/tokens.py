"""The demo's own issuer of tokens: a shared secret that the state folder keeps."""

from __future__ import annotations

import time
from typing import Any

import jwt

from . import cast
from .state import State

ISSUER = "https://id.demo.invalid"
AUDIENCE = "recording-gateway-demo"
_SECRET = "jwt_secret"  # noqa: S105 - the name of one
_GOOD_FOR_S = 365 * 86_400
_LEAST_S = 30 * 86_400
"""A kept token with less time left is made anew."""


def issuer(state: State) -> dict[str, Any]:
    """As the configuration names it."""
    return {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["HS256"], "secret": state.secret(_SECRET)}


def token(state: State, role: str, tenant: str = cast.TENANT) -> str:
    """A token of somebody with ``role`` at ``tenant``, the same at every run for as long as it is good for a month more."""
    secret, name, now = state.secret(_SECRET), f"token: {tenant}, {role}", int(time.time())
    kept = state.kept(name)
    if kept is not None:
        claims = jwt.decode(kept, options={"verify_signature": False})
        if claims["exp"] - now > _LEAST_S and kept == _signed(claims, secret):
            return kept
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"{role}@{tenant}", "tenant": tenant, "role": role, "iat": now}
    return state.keep(name, _signed({**claims, "exp": now + _GOOD_FOR_S}, secret))


def _signed(claims: dict[str, Any], secret: str) -> str:
    return jwt.encode(claims, secret, algorithm="HS256")
