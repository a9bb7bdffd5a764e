"""Where a webhook may be sent: never to private, loopback or otherwise special addresses, however they are spelled. Pure.

Two questions, both asked when an endpoint is made and again at each try: is the URL of a form that every parser reads alike,
and is each address that its host stands for a public one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

URL_LENGTH: Final = 2048

_SPECIAL_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network: reaches the machine itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT; some clouds' metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's own channel to its machines, in public space
            "169.254.0.0/16",  # link-local; most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and the broadcast address
        ),
    )
)
"""The IANA IPv4 special-purpose registry, multicast and reserved space, and what clouds keep for themselves."""

_GLOBAL_V6: Final = IPv6Network("2000::/3")
_SPECIAL_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo carries an IPv4 address
            "2001:db8::/32",
            "2002::/16",  # 6to4 carries an IPv4 address
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)
"""What is special within global unicast space. Everything outside of that space is refused."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is really reached."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.ASCII | re.IGNORECASE)
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII | re.IGNORECASE)
"""A last label that makes inet_aton(3) take the whole for an address."""
_URL = re.compile(
    r"(?P<scheme>(?i:https?))://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.ASCII,
)
_PORTS: Final = {"http": 80, "https": 443}
_PRIVILEGED: Final = 1024
_PORT_MAX: Final = 65_535


class Forbidden(OSError):
    """No webhook may go there. Its text says why, fit for whoever named the URL; it holds no address."""


ELSEWHERE: Final = (
    "its host must be found in the DNS and lead to public addresses alone:"
    " none that is private, loopback, link-local or otherwise special"
)
"""One answer for what is not found and what is not public: it must not tell what there is in the gateway's network."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked, as soon as its addresses are known to be public. ``host`` is lower-case, without brackets."""

    url: str
    host: str
    port: int
    literal: Address | None
    """The host, where it is an address."""


class Guard:
    """``allowed``: networks that may be reached although they are not public."""

    def __init__(self, allowed: Sequence[Network] = (), *, http: bool = False) -> None:
        self._allowed = tuple(allowed)
        self._schemes = {"https", "http"} if http else {"https"}

    def target(self, url: str) -> Target:
        """Raises Forbidden: not of the form, or its host is an address that is not public."""
        read = _URL.fullmatch(url) if len(url) <= URL_LENGTH else None
        if read is None:
            raise Forbidden(
                "must be an absolute URL in ASCII, without user name, password or fragment, 2048 characters at most"
            )
        scheme = read["scheme"].lower()
        if scheme not in self._schemes:
            raise Forbidden("must begin with https://")
        port = int(read["port"] or _PORTS[scheme])
        if port != _PORTS[scheme] and not _PRIVILEGED <= port <= _PORT_MAX:
            raise Forbidden("its port must be the scheme's own, or one from 1024 to 65535")
        host = read["host"].lower()
        literal = _literal(host)
        if literal is None and _NAME.fullmatch(host) is None:
            raise Forbidden("its host must be a DNS name, without a dot at its end, or an IP address in its usual form")
        if literal is not None:
            self.check([str(literal)])
        return Target(url, host.strip("[]"), port, literal)

    def check(self, addresses: Sequence[str]) -> None:
        """Raises Forbidden unless there is an address and every one of them may be reached."""
        if not addresses or not all(self._may(ip_address(address)) for address in addresses):
            raise Forbidden(ELSEWHERE)

    def _may(self, address: Address) -> bool:
        real = _real(address)
        return any(one in network for one in {address, real} for network in self._allowed) or _public(real)


def _literal(host: str) -> Address | None:
    """The address that ``host`` is. Raises Forbidden for one in a form that not all parsers read alike."""
    if host.startswith("["):
        try:
            return IPv6Address(host[1:-1])
        except ValueError:
            raise Forbidden("its host is no IPv6 address") from None
    if _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]) is None:
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise Forbidden("its host must be a DNS name, or an IPv4 address as four decimal numbers") from None


def _real(address: Address) -> Address:
    """The address that is reached in the end: an IPv4 address may come in an IPv6 one."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)
