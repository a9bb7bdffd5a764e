"""Verified claims → whose token this is and what it may, as the issuer's configuration maps them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def read_claims(claims: Mapping[str, object], issuer: Issuer, roles: Sequence[str] = ()) -> Claims:
    """``roles`` are the configured ones, lowest first. Raises Unauthenticated where a claim is missing or not of its type."""
    times = {name: _time(claims[name], name) for name in _TIMES if name in claims}
    jti = claims.get("jti")
    tenant = text(reach(claims, issuer.tenant_claim), f"the tenant's claim ({issuer.tenant_claim})")
    if issuer.tenant_claim == "email" and claims.get("email_verified", True) is not True:
        raise refused("its email is not verified, and names the tenant")
    if issuer.tenants_only and tenant not in issuer.tenants:
        raise refused(f"of {issuer.issuer}: its tenant is not in that issuer's tenants, and tenants_only is set")
    return Claims(
        subject=text(claims.get("sub"), "sub"),
        id=None if jti is None else text(jti, "jti"),
        tenant=issuer.tenants.get(tenant, tenant),
        role=_role(reach(claims, issuer.role_claim), issuer, roles),
        scopes=_scopes(reach(claims, issuer.scope_claim), issuer.scope_claim) | frozenset(issuer.scopes),
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


def _role(value: object, issuer: Issuer, roles: Sequence[str]) -> str | None:
    """Of several, the highest that is configured."""
    if value is None:
        return None
    name = f"the role's claim ({issuer.role_claim})"
    if not isinstance(value, list):
        role = text(value, name)
        return issuer.roles.get(role, role)
    held = {issuer.roles.get(role, role) for role in (text(each, f"a role in {name}") for each in value)}
    return next((role for role in reversed(roles) if role in held), None)


def _scopes(value: object, name: str) -> frozenset[str]:
    if value is None:
        return frozenset()
    words = value.split(" ") if isinstance(value, str) else value
    if not isinstance(words, list):
        raise refused(f"the scopes' claim ({name}) is neither text nor a list")
    return frozenset(text(word, f"a scope in {name}") for word in words if word != "")
