"""Where webhooks may go: every spelling of an address that is not public is refused, and nobody is asked."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from socket import inet_aton

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from parts.targets import LOOPBACK_SPELLED, MALFORMED, SPECIAL
from yarl import URL

from gateway.lifecycle.webhooks.guard import Forbidden, Guard

PUBLIC = [
    "https://hooks.example.com/recordings",
    "https://hooks.example.com:8443/a?b=c&d=%2F",
    "HTTPS://Hooks.Example.COM",
    "https://xn--bcher-kva.example/",
    "https://93.184.215.14/",
    "https://[2606:4700::6810:84e5]/hook",
    "https://[64:ff9b::5db8:d70e]/",
    "https://a_b.example.com:1024/x",
    "https://hooks.example.com:65535/",
    "https://1.example/",
    "https://0x7f.example/",
]
FORBIDDEN = [*MALFORMED, *(f"https://{host}/hook" for host in [*LOOPBACK_SPELLED, *SPECIAL])]


@pytest.mark.parametrize("url", PUBLIC)
def test_what_is_public_may_be_named(url):
    target = Guard().target(url)
    parsed = URL(url, encoded=True)
    assert (target.host, target.port) == (parsed.raw_host.lower(), parsed.port)


@pytest.mark.parametrize("url", FORBIDDEN)
def test_what_is_not_is_refused_and_not_echoed(url):
    with pytest.raises(Forbidden) as refusal:
        Guard().target(url)
    host = url.partition("://")[2].partition("/")[0]
    assert not host or host not in str(refusal.value)


def test_plain_http_only_where_it_is_allowed():
    assert Guard(http=True).target("http://hooks.example.com/").port == 80
    assert Guard(http=True).target("https://hooks.example.com/").port == 443
    with pytest.raises(Forbidden):
        Guard(http=True).target("http://hooks.example.com:443/")


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.1.0.0/16", "10.1.2.3", "10.2.0.1"),
        ("127.0.0.1/32", "127.0.0.1", "127.0.0.2"),
        ("fd00:1::/32", "[fd00:1::9]", "[fd00:2::9]"),
        ("10.1.0.0/16", "[::ffff:10.1.2.3]", "[::ffff:10.2.0.1]"),
        ("64:ff9b::/96", "[64:ff9b::10.1.2.3]", "10.1.2.3"),
    ],
)
def test_a_network_that_is_allowed_is_the_only_one(network, inside, outside):
    guard = Guard([ipaddress.ip_network(network)])
    guard.target(f"https://{inside}/")
    with pytest.raises(Forbidden):
        guard.target(f"https://{outside}/")


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["93.184.215.14", "::1"]])
def test_one_address_that_is_not_public_spoils_all(addresses):
    Guard().check(["93.184.215.14", "2606:4700::6810:84e5"])
    with pytest.raises(Forbidden):
        Guard().check(addresses)


def passes(address: str) -> bool:
    try:
        Guard().check([address])
    except Forbidden:
        return False
    return True


V4 = [
    IPv4Network(n)
    for n in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12")
]
V4 += [IPv4Network(n) for n in ("192.0.0.0/22", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3", "0.0.0.0/0")]
V6 = [IPv6Network(n) for n in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "2001::/22", "2002::/16", "fc00::/6", "::/0")]


def within(networks: list[IPv4Network] | list[IPv6Network]) -> st.SearchStrategy[int]:
    return st.sampled_from(networks).flatmap(lambda n: st.integers(int(n.network_address), int(n.broadcast_address)))


@given(within(V4))
@example(int(IPv4Address("172.32.0.0")))
def test_no_ipv4_address_passes_that_the_standard_library_knows_for_special(number: int):
    address = IPv4Address(number)
    if passes(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(within(V6))
def test_no_ipv6_address_passes_that_is_special_or_carries_a_special_one(number: int):
    address = IPv6Address(number)
    assume(passes(str(address)))
    inner = address.ipv4_mapped
    if address in IPv6Network("64:ff9b::/96"):
        inner = IPv4Address(number & 0xFFFFFFFF)
    if inner is not None:
        assert inner.is_global
        assert not inner.is_multicast
        return
    assert address.is_global
    assert not (address.is_multicast or address.is_reserved or address.is_link_local or address.is_site_local)
    assert address.sixtofour is None
    assert address.teredo is None


HOSTS = st.one_of(
    st.text("0123456789abcdefxABCDEF.:[]%_-", min_size=1, max_size=24),
    st.lists(st.sampled_from(["127", "0x7f", "0177", "1", "0", "localhost", "a", "com", "", "-", "_"]), max_size=5).map(
        ".".join
    ),
    st.integers(0, 2**32).map(str),
    st.integers(0, 2**128 - 1).map(lambda number: f"[{IPv6Address(number)}]"),
)


@given(
    st.sampled_from(["https://", "http://", "HTTPS://"]),
    HOSTS,
    st.sampled_from(["", ":443", ":8443", ":0", "/", "/a?b", "#c"]),
)
@example("https://", "0", "")
@example("https://", "127.0.0.1.", "/")
@example("https://", "0x7f", "")
@example("https://", "0x_", "")
def test_whatever_is_taken_every_parser_reads_alike_and_is_a_name_or_a_public_address(scheme, host, rest):
    try:
        target = Guard(http=True).target(scheme + host + rest)
    except Forbidden:
        return
    parsed = URL(target.url, encoded=True)
    assert (parsed.raw_host.lower(), parsed.port) == (target.host, target.port)
    assert parsed.user is None
    try:
        address = ip_address(target.host)
    except ValueError:
        # A name: nothing that inet_aton(3) would take for an address.
        with pytest.raises(OSError, match="illegal IP address"):
            inet_aton(target.host)
        assert not target.host.rpartition(".")[2].isdigit()
    else:
        assert target.literal == address
        assert passes(str(address))
