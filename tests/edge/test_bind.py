"""The socket that clients connect to."""

import socket
from unittest import mock

import pytest

from gateway.config import Config
from gateway.edge.bind import bind


def configured(host: str, port: int = 0) -> Config:
    return Config(server={"host": host, "port": port, "send_buffer_bytes": 100_000})  # as pydantic reads it


def test_an_address_is_anothers_as_well_only_where_both_share_it() -> None:
    with bind(configured("127.0.0.1"), shared=True) as one:
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0, "nothing is queued for it yet"
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 200_000, "Linux tells it twice"
        one.listen()
        port = one.getsockname()[1]
        with bind(configured("127.0.0.1", port), shared=True):
            pass
        with pytest.raises(OSError, match="in use"):
            bind(configured("127.0.0.1", port))
    with bind(configured("127.0.0.1")) as one:
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        with pytest.raises(OSError, match="in use"):
            bind(configured("127.0.0.1", one.getsockname()[1]), shared=True)


def test_one_address_of_ipv6_takes_no_clients_of_ipv4() -> None:
    with mock.patch("gateway.edge.bind.socket.socket") as made, mock.patch("gateway.edge.bind.accept_unpaced"):
        made.return_value.family = socket.AF_INET6
        bind(configured("::"))
    assert made.call_args.args == (socket.AF_INET6,)
    assert mock.call(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1) in made.return_value.setsockopt.mock_calls
