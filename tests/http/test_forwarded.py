"""X-Forwarded-For is believed as far as trusted proxies reach, and not one address further."""

from ipaddress import ip_address, ip_network
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.forwarded import client_address, is_trusted, request_id, trace_id

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8", "192.0.2.7/32")))


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1 ,\t10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1", "10.9.9.9, 192.0.2.7"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["198.51.100.1, , 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["_hidden"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0::1"], "2001:db8::1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["[::ffff:198.51.100.1]:80"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("fd00::1", ["198.51.100.1, fd00::2"], "198.51.100.1"),
        ("fe80::1%eth0", ["198.51.100.1"], "fe80::1"),
        ("fd00::1%eth0", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["fe80::1%eth0"], "10.0.0.1"),
        ("10.0.0.1", ["[198.51.100.1]"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:x"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.256"], "10.0.0.1"),
        ("10.0.0.1", ["198.051.100.1"], "10.0.0.1"),
        ("10.0.0.1", ["3325256705"], "10.0.0.1"),
        ("10.0.0.1", ["\u0661.2.3.4"], "10.0.0.1"),
        ("10.0.0.1", ['"198.51.100.1"'], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1\r\nX: 1"], "10.0.0.1"),
        ("", ["198.51.100.1"], ""),
        ("/run/gateway.sock", ["198.51.100.1"], "/run/gateway.sock"),
    ],
)
def test_client_is_the_first_address_that_no_trusted_proxy_has(peer, lines, client):
    assert client_address(peer, lines, TRUSTED) == client


def test_nobody_is_believed_unless_it_is_configured():
    assert client_address("127.0.0.1", ["198.51.100.1"], ()) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [("10.0.0.1", True), ("::ffff:10.0.0.1", True), ("fd00::1%eth0", True), ("11.0.0.1", False), ("", False), ("unix", False)],
)  # fmt: skip
def test_peer_is_trusted_within_the_networks_alone(peer, trusted):
    assert is_trusted(peer, TRUSTED) is trusted


def test_walk_is_bounded_however_many_proxies_are_claimed():
    before = process_time()
    assert client_address("10.0.0.1", ["198.51.100.1" + ", 10.0.0.1" * 100_000], TRUSTED) == "10.0.0.1"
    assert process_time() - before < 0.1


@given(st.text(), st.lists(st.text()))
def test_any_text_gives_an_address_or_the_peer_itself(peer, lines):
    client = client_address(peer, lines, TRUSTED)
    assert client == peer or ip_address(client)


addresses = st.one_of(
    st.ip_addresses(v=4), st.ip_addresses(v=6), st.sampled_from(list(map(ip_address, ("10.1.1.1", "fd00::5"))))
)


@given(st.lists(addresses, min_size=1, max_size=8), st.lists(st.text(), max_size=3))
def test_what_stands_before_the_client_changes_nothing(hops, forged):
    honest = [str(hop) for hop in hops]
    before = client_address("10.0.0.1", [", ".join(honest)], TRUSTED)
    if before == honest[0] and is_trusted(before, TRUSTED):
        return  # the walk ran out of entries, so that one more would count
    assert client_address("10.0.0.1", [*forged, ", ".join(honest)], TRUSTED) == before


@pytest.mark.parametrize("value", ["12345678", "a" * 128, "01HZX-._9", "0190b0a1-7c8e-7d4f-8f00-000000000000"])
def test_request_id_of_harmless_characters_is_taken(value):
    assert request_id(value) == value


@pytest.mark.parametrize(
    "value", [None, "", "1234567", "a" * 129, "a b c d e", "abcdefgh\n", "abcdefg\u0661", "<script>", "abc/defgh"]
)
def test_request_id_of_anything_else_is_not(value):
    assert request_id(value) is None


@pytest.mark.parametrize(
    ("field", "trace"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
        ("4bf92f3577b34da6a3ce929d0e0e4736", None),
        ("", None),
        (None, None),
    ],
)
def test_a_trace_is_told_by_its_context_field(field, trace):
    assert trace_id(field) == trace


def test_a_request_is_followed_through_so_many_proxies_and_no_more():
    trusted = [ip_network("10.0.0.0/8")]
    hops = [f"10.0.0.{number}" for number in range(1, 32)]
    assert client_address("10.0.0.99", [", ".join(["203.0.113.7", *hops])], trusted) == "203.0.113.7"
    assert client_address("10.0.0.99", [", ".join(["203.0.113.7", "10.0.1.1", *hops])], trusted) == "10.0.1.1"


def test_the_longest_way_to_write_an_address_is_read():
    entry = "[0000:0000:0000:0000:0000:ffff:203.100.113.255]:65535"
    assert client_address("10.0.0.99", [entry], [ip_network("10.0.0.0/8")]) == "203.100.113.255"


def test_a_peer_that_speaks_for_itself_is_told_without_its_zone():
    assert client_address("fe80::1%eth0", ["203.0.113.7"], ()) == "fe80::1"


@pytest.mark.parametrize(("rest", "known"), [("", True), ("-more", True), ("x", False), ("more-", False)])
def test_a_trace_is_known_by_a_whole_field_alone(rest: str, *, known: bool):
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert trace_id(f"00-{trace}-b7ad6b7169203331-01{rest}") == (trace if known else None)
