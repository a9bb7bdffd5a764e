"""The tables of the file that say who is believed, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from .forms import BaseUrl, Delay, Seconds, Section, strong

_LONGEST = 32
"""Characters of a key's prefix at most."""


def _key_prefix(text: str) -> str:
    if len(text) > _LONGEST or re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", text) is None:
        raise ValueError(f'give a prefix as "rg_live": lower-case letters, digits and _, at most {_LONGEST}')
    return text


class Keys(Section):
    """API keys."""

    prefixes: tuple[Annotated[str, AfterValidator(_key_prefix)], ...] = Field(
        ("rg_live", "yt_live"),
        min_length=1,
        description="recognisable key prefixes; the first is what `keys create` uses",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761 section 6.3


def _untouched(url: str) -> str:
    """Over plain http somebody on the way could put in keys of his own, and forge tokens."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise ValueError("give an https URL; over plain http, keys are believed from this machine's loopback alone")
    return url


KeysUrl = Annotated[BaseUrl, AfterValidator(_untouched)]


class Issuer(Section):
    """One issuer of JWTs. Exactly one of jwks_url, public_key_file and secret."""

    issuer: str = Field(description="required value of iss")
    audience: str = Field(description="required value of aud")
    algorithms: tuple[Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"], ...] = (
        Field(("RS256",), min_length=1, description="accepted algorithms; HS and RS/ES never together")
    )
    jwks_url: KeysUrl | None = Field(
        None, description="where the issuer publishes its keys: https, or http on this machine's loopback"
    )
    public_key_file: Path | None = Field(None, description="PEM file of the issuer's public key")
    secret: SecretStr | None = Field(
        None, description="shared secret for HS*, as long as the hash: at least 32, 48 or 64 bytes"
    )
    required: tuple[str, ...] = Field(
        ("exp", "iat", "sub"), description="claims a token must carry, beside iss and aud"
    )
    leeway_s: Delay = Field(30, description="seconds of clock skew allowed")
    tenant_claim: str = Field("tenant", description="claim that holds the tenant's slug; dots reach into objects")
    role_claim: str = Field("role", description="claim that holds the role, if any")
    scope_claim: str = Field("scope", description="claim that holds scopes: a list, or words with spaces between")
    scopes: tuple[str, ...] = Field(
        (),
        description="scopes that every token of this issuer gets besides its own: for issuers whose tokens carry none",
    )
    tenants: Mapping[str, str] = Field({}, description="claim value → tenant slug, where the two differ")
    tenants_only: bool = Field(
        False,
        description='believe the issuer for the values in `tenants` alone (there acme = "acme", where the two do not differ):'
        " for one that is some customers' own; else it speaks for every tenant here",
    )
    roles: Mapping[str, str] = Field({}, description="claim value → role, where the two differ")
    jwks_refresh_s: Seconds = Field(3600, description="seconds before fetched keys are renewed")
    jwks_min_interval_s: Seconds = Field(
        60,
        description="least seconds between fetches, however many unknown key ids come; 5 until one has succeeded",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        sources = [s for s in (self.jwks_url, self.public_key_file, self.secret) if s is not None]
        if len(sources) != 1:
            raise ValueError("give exactly one of jwks_url, public_key_file and secret")
        if self.tenants_only and not self.tenants:
            raise ValueError("tenants_only: refuses every token while tenants is empty; list there whom it speaks for")
        shared = {a.startswith("HS") for a in self.algorithms}
        if len(shared) != 1 or shared != {self.secret is not None}:
            raise ValueError("HS algorithms go with secret, RS and ES with jwks_url or public_key_file; never mixed")
        # RFC 7518 section 3.2: a key as long as the hash.
        least = max(int(a[2:]) // 8 for a in self.algorithms)
        if self.secret is not None and not strong(self.secret, least):
            raise ValueError(f"secret must have at least {least} bytes; `openssl rand -base64 48` makes one")
        # A key withdrawn would be believed for the longer of the two.
        if self.jwks_refresh_s < self.jwks_min_interval_s:
            raise ValueError(
                "jwks_refresh_s: smaller than jwks_min_interval_s, the least time between fetches; lower that"
            )
        return self


class Identity(Section):
    """How callers prove who they are."""

    keys: Keys = Keys()
    issuers: tuple[Issuer, ...] = Field((), description="JWT issuers; none: only API keys are accepted")
    roles: tuple[str, ...] = Field(
        ("attendant", "supervisor", "manager", "admin"),
        min_length=1,
        description="roles of keys and tokens, lowest first; where a surface asks for a role, those above it are accepted too",
    )
    link_keys: tuple[SecretStr, ...] = Field(
        (),
        description="secrets that sign gateway links, at least 32 bytes each: the first signs, all verify, so that they can be"
        " rotated; none: recordings in a store without signed URLs have no links",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not all(map(strong, self.link_keys)):
            raise ValueError("link_keys: each must have at least 32 bytes; `openssl rand -base64 48` makes one")
        # The order is the rank: a role listed twice would have two.
        if twice := sorted({role for role in self.roles if self.roles.count(role) > 1}):
            raise ValueError(f"roles: twice in it: {', '.join(twice)}; list each role once, lowest first")
        if len({(i.issuer, i.audience) for i in self.issuers}) != len(self.issuers):
            raise ValueError("issuers: two of them share issuer and audience")
        for number, issuer in enumerate(self.issuers):
            if unknown := sorted(set(issuer.roles.values()) - set(self.roles)):
                raise ValueError(f"issuers.{number}.roles: names {', '.join(unknown)}, not listed in identity.roles")
        return self
