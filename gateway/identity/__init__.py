"""A credential → who asks: API keys, JWTs, gateway links.

A credential's form tells its kind, so each is checked by one kind of proof and never by a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from aiohttp import ClientSession, DummyCookieJar

from .. import config
from ..errors import LinkSpent, NotFound, Unauthenticated
from ..model import Caller, Credentials, Key, Lapsed, Presented, Standing
from .issuers import Trusted, trust
from .jose import looks_like_jwt
from .jwks import Jwks
from .keys import KeyIdentity
from .links import LinkIdentity, Links
from .tokens import TokenIdentity

__all__ = ["Identity", "Links"]

_MAX_NAME = 255


class Identity:
    """Proves credentials, as configured."""

    def __init__(
        self, settings: config.Identity, credentials: Credentials, trusted: Sequence[Trusted], session: ClientSession
    ) -> None:
        self.links = Links(settings.link_keys) if settings.link_keys else None
        """Mints links. None: no key for them is configured."""
        self._link_holders = LinkIdentity(self.links, credentials) if self.links else None
        self._keys = KeyIdentity(settings.keys.prefixes, credentials)
        self._tokens = TokenIdentity(trusted, credentials, settings.roles)
        self._jwks = [each.keys for each in trusted if isinstance(each.keys, Jwks)]
        self._credentials = credentials
        self._session = session

    @classmethod
    async def open(cls, settings: config.Identity, credentials: Credentials) -> Self:
        """Reads public key files; begins to fetch key sets and waits for none. ``close`` it. Raises ConfigError."""
        session = ClientSession(cookie_jar=DummyCookieJar())
        try:
            identity = cls(settings, credentials, trust(settings.issuers, session), session)
        except BaseException:
            await session.close()
            raise
        for jwks in identity._jwks:
            jwks.begin()
        return identity

    async def prove(self, presented: Presented, address: str = "") -> Caller:
        """Who asks, from ``address``.

        Raises Unauthenticated, LinkSpent, Lapsed (with NotFound, where another tenant than its own is named beside it),
        Unavailable.
        """
        caller = await self._prove(presented, address)
        if presented.tenant is not None and not await self._is_own_tenant(caller, presented.tenant):
            raise Lapsed(caller, NotFound("the tenant named beside the credential is not the credential's own"))
        return caller

    def standing(
        self, known_key: Callable[[bytes], tuple[Key, float] | None], presented: Presented, caller: Caller
    ) -> Standing | None:
        """Whether ``presented`` goes on proving ``caller``, as it just did. None: it is to be proven each time.

        ``known_key``: what the catalog knows unasked of a key, by its SHA-256, and for how many seconds it is so.
        """
        token = presented.token
        if token is None or (presented.tenant is not None and not caller.tenant_slug):
            return None
        if presented.link:
            return None if self._link_holders is None else self._link_holders.standing(token)
        if self._keys.recognises(token):
            return self._keys.standing(token, caller, known_key)
        return self._tokens.standing(token, caller)

    async def check(self) -> None:
        """Waits for each issuer's keys. Raises Unavailable, naming the first that gives none."""
        for jwks in self._jwks:
            await jwks.check()

    async def close(self) -> None:
        """Gives up fetches under way; may be repeated."""
        for jwks in self._jwks:
            await jwks.close()
        await self._session.close()

    async def _prove(self, presented: Presented, address: str) -> Caller:
        token = presented.token
        if token is None:
            raise Unauthenticated
        if presented.link:
            if self._link_holders is None:
                raise LinkSpent("link: no identity.link_keys are configured")
            return await self._link_holders.prove(token, address)
        if self._keys.recognises(token):
            return await self._keys.prove(token)
        if looks_like_jwt(token):
            return await self._tokens.prove(token)
        raise Unauthenticated("a credential of no known form", presented=True)

    async def _is_own_tenant(self, caller: Caller, named: str) -> bool:
        """``named`` is a tenant's slug or its UUID."""
        if named.lower() == str(caller.tenant):
            return True
        if caller.tenant_slug:
            return named == caller.tenant_slug
        if not named.isprintable() or len(named) > _MAX_NAME:
            return False
        tenant = await self._credentials.tenant(named)
        return tenant is not None and tenant.id == caller.tenant
