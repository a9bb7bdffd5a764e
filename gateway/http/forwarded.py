"""Who asks, behind proxies: what X-Forwarded-For and X-Request-Id may be believed to say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_HOPS = 32
"""Proxies one request may have passed; further entries are not looked at."""
_LONGEST = 64
"""Characters of an address with brackets and port, and room to spare."""

_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"([0-9.]{7,15}):[0-9]{1,5}")
_PLAIN = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")


def client_address(peer: str, xff_values: Sequence[str], trusted_networks: Sequence[IPv4Network | IPv6Network]) -> str:
    """The client's address: the first one, from the socket outwards, that is no trusted proxy's.

    ``peer`` is the address at the other end of the socket; ``xff_values`` are the X-Forwarded-For lines in the order
    they came. Each proxy appended the address it was asked from, so the walk goes from the right, and only as far as
    trusted proxies vouch for what they appended; an entry that is no address ends it. IPv4 mapped into IPv6 counts as
    IPv4; ports, brackets and the peer's zone are dropped. A peer that is no address (a unix socket) is given back.
    """
    if not trusted_networks:
        return _alone(peer)
    address = _address(peer.partition("%")[0])
    if address is None:
        return peer
    entries = _from_the_right(xff_values)
    for _ in range(_HOPS):
        if not _trusted(address, trusted_networks):
            break
        entry = _address(next(entries, ""))
        if entry is None:
            break
        address = entry
    return str(address)


def is_trusted(peer: str, trusted_networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether the other end of the socket is a trusted proxy, whose X-Request-Id may be believed."""
    address = _address(peer.partition("%")[0])
    return address is not None and _trusted(address, trusted_networks)


def _from_the_right(lines: Sequence[str]) -> Iterator[str]:
    for line in reversed(lines):
        rest, comma = line, ","
        while comma:
            rest, comma, entry = rest.rpartition(",")
            yield entry.strip(" \t")


def _trusted(address: IPv4Address | IPv6Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


def _address(entry: str) -> IPv4Address | IPv6Address | None:
    return _parsed(entry) if len(entry) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _alone(peer: str) -> str:
    """The address of a peer that speaks for itself."""
    address = _address(peer.partition("%")[0])
    return peer if address is None else str(address)


@lru_cache(maxsize=4096)
def _parsed(entry: str) -> IPv4Address | IPv6Address | None:
    match = _BRACKETED.fullmatch(entry) or _WITH_PORT.fullmatch(entry)
    text = match[1] if match else entry
    if match is None and _PLAIN.fullmatch(entry) is None:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return None if entry.startswith("[") else address  # brackets are for IPv6


def request_id(value: str | None) -> str | None:
    """A request id fit for logs and headers, else None. Whether its sender is trusted is the caller's to ask."""
    return value if value is not None and _REQUEST_ID.fullmatch(value) else None


def trace_id(traceparent: str | None) -> str | None:
    """The trace id of a W3C Trace Context field, else None. Whether its sender is trusted is the caller's to ask."""
    match = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
    return match[1] if match else None
