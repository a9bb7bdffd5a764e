"""Forms of values in the configuration."""

from ipaddress import ip_network

import pytest

from gateway.config.forms import unmapped


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10.20.0.0/24", "10.20.0.0/24"),
        ("::ffff:10.20.0.0/120", "10.20.0.0/24"),
        ("::ffff:10.20.0.1/128", "10.20.0.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),
        ("::/0", "::/0"),
        ("fd00::/8", "fd00::/8"),
    ],
)
def test_a_network_of_mapped_addresses_is_the_ipv4_network_it_means(written: str, meant: str) -> None:
    assert unmapped(ip_network(written)) == ip_network(meant)
