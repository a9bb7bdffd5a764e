"""Ports for servers that are still to start."""

from gateway.demo.ports import free_ports


def test_no_port_is_given_twice_whether_anybody_listens_there_by_then_or_not():
    given = [port for _ in range(300) for port in free_ports(1)]
    assert len({*given}) == 300
