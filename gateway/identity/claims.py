"""Verified claims → whose token this is and what it may, as the issuer's configuration maps them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config import Issuer
from .jose import refused, text

_TIMES = ("exp", "iat", "nbf")
_LAST = 253_402_300_799
"""The last second of the year 9999."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the gateway takes from a token."""

    subject: str
    id: str | None
    """jti"""
    tenant: str
    """The tenant's slug, mapped."""
    role: str | None
    scopes: frozenset[str]
    expires: float
    """Unix seconds."""


def read_claims(claims: Mapping[str, object], issuer: Issuer) -> Claims:
    """Raises Unauthenticated where a claim is missing or not of its type."""
    times = {name: _time(claims[name], name) for name in _TIMES if name in claims}
    jti, role = claims.get("jti"), reach(claims, issuer.role_claim)
    tenant = text(reach(claims, issuer.tenant_claim), f"the tenant's claim ({issuer.tenant_claim})")
    if role is not None:
        role = text(role, f"the role's claim ({issuer.role_claim})")
        role = issuer.roles.get(role, role)
    return Claims(
        subject=text(claims.get("sub"), "sub"),
        id=None if jti is None else text(jti, "jti"),
        tenant=issuer.tenants.get(tenant, tenant),
        role=role,
        scopes=_scopes(reach(claims, issuer.scope_claim), issuer.scope_claim),
        expires=times["exp"],
    )


def reach(claims: Mapping[str, object], path: str) -> object:
    """The value at ``path``: a claim of just that name (a URL has dots too), else dots reach into objects. None: none."""
    if path in claims:
        return claims[path]
    for place, character in enumerate(path):
        if character == "." and isinstance(inner := claims.get(path[:place]), dict):
            return reach(inner, path[place + 1 :])
    return None


def _time(value: object, name: str) -> float:
    # RFC 7519 section 2: a NumericDate is a JSON number. The library takes "123" and true as well.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LAST:
        return float(value)
    raise refused(f"{name} is no number of seconds")


def _scopes(value: object, name: str) -> frozenset[str]:
    if value is None:
        return frozenset()
    words = value.split(" ") if isinstance(value, str) else value
    if not isinstance(words, list):
        raise refused(f"the scopes' claim ({name}) is neither text nor a list")
    return frozenset(text(word, f"a scope in {name}") for word in words if word != "")
