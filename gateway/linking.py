"""A new gateway link: signed by identity, kept by the catalog where it can be taken back, played by the native surface."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network

from .access import LinkMinter
from .catalog.links import LinkBook
from .config import Config
from .config.forms import unmapped
from .identity import Links
from .model import Caller, Entry, IssuedLink, Link, LinkAsk
from .surfaces.native import play_url


def minter(config: Config, links: Links | None, book: LinkBook) -> LinkMinter:
    """Gateway links play on the native surface: where it is not mounted, or no key signs them, there are none.

    A link that was asked for as a gateway's has a row in the catalog. One that stands in for a store's own is valid by its
    signature alone: it can be made and played while Postgres is away.
    """
    native = next((mount for mount in config.mounts if mount.surface == "native"), None)
    base = config.public_url(native) if native else ""

    async def mint(caller: Caller, entry: Entry, ask: LinkAsk) -> Link | None:
        if native is None or links is None:
            return None
        on_record = ask.delivery == "gateway"
        minted = links.mint(entry.call.tenant, entry.call.id, ask.ttl, on_record=on_record)
        link = Link(play_url(base, minted.token), minted.expires_at, minted.id if on_record else None)
        if on_record:
            await book.add(
                IssuedLink(
                    id=minted.id,
                    tenant=entry.call.tenant,
                    call=entry.call.id,
                    created_at=datetime.now(UTC),
                    created_by=caller.credential,
                    expires_at=minted.expires_at,
                    max_uses=ask.max_uses,
                    network=None if ask.ip_cidr is None else unmapped(ip_network(ask.ip_cidr, strict=False)),
                )
            )
        return link

    return mint
