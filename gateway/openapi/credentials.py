"""Where a route's credential may stand: found by calling the route with sample credentials, so the documents cannot differ from the code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from multidict import CIMultiDict, MultiDict

from ..contract import Route, Surface
from ..errors import Refusal
from ..model import Head, Presented

KEY_FIELDS = ("X-API-Key",)
"""Request fields that hold a whole credential on some surface."""
TENANT_FIELDS = ("X-Tenant", "X-Organization-Id")
"""Request fields that name a tenant beside the credential."""

_PARAMETER = re.compile(r"\{([^}]*)\}")
_SHOWN = "shown"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials that one route takes. All empty: none of the known kinds."""

    bearer: bool = False
    keys: tuple[str, ...] = ()
    """Request fields that may hold the credential instead."""
    link: bool = False
    """A gateway link's token in the path is the credential."""
    public: bool = False
    """The call's id alone is."""
    tenant: str | None = None
    """The request field that names a tenant."""
    tenant_required: bool = False


def path_parameters(path: str) -> tuple[str, ...]:
    """The names in a template."""
    return tuple(_PARAMETER.findall(path))


def credentials(surface: Surface, route: Route) -> Credentials:
    """What ``route`` takes for a credential."""
    present = route.present or surface.present
    path = {name: f"{_SHOWN}-{name}" for name in path_parameters(route.path)}

    def shown(**fields: str) -> Presented | None:
        named = CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})
        try:
            return present(Head(route.method, path, MultiDict(), named))
        except Refusal:
            return None

    nothing = shown()
    if nothing is not None and (nothing.link or nothing.public):
        return Credentials(link=nothing.link, public=nothing.public)
    tenants = {name.replace("-", "_"): f"{_SHOWN}-{name}" for name in TENANT_FIELDS}
    with_bearer = shown(Authorization=f"Bearer {_SHOWN}", **tenants)
    keys = tuple(
        name
        for name in KEY_FIELDS
        if (told := shown(**{name.replace("-", "_"): _SHOWN}, **tenants)) is not None and told.token == _SHOWN
    )
    tenant = None
    if with_bearer is not None and with_bearer.tenant is not None:
        tenant = with_bearer.tenant.removeprefix(f"{_SHOWN}-")
    return Credentials(
        bearer=with_bearer is not None and with_bearer.token == _SHOWN,
        keys=keys,
        tenant=tenant,
        tenant_required=tenant is not None and shown(Authorization=f"Bearer {_SHOWN}") is None,
    )
