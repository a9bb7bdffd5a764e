"""Many slow readers at once, in a process of their own, so that what they cost is not the gateway's.

Told what to do by one JSON object on stdin (``Order``), it says ``{"reading": n}`` once every answer has begun, and at
the end what it took. One thread, plain sockets: each turn every reader takes its share, and what came is compared.
"""

import json
import mmap
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

TURNS = 4
"""A second."""
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Order:
    """``readers`` ask for ``path`` and take ``rate`` bytes a second each for ``seconds``, then leave together."""

    host: str
    port: int
    path: str
    headers: Mapping[str, str]
    object: str
    """A file that holds what is to come."""
    readers: int
    rate: int
    seconds: float
    receive_buffer: int = 65_536


class _Sipper:
    def __init__(self, order: Order, number: int) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, order.receive_buffer)
        self.sock.connect((order.host, order.port))
        fields = {"Host": f"{order.host}:{order.port}", **order.headers}
        fields["User-Agent"] = f"{fields.get('User-Agent', 'sipper')} {number}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.sock.sendall(f"GET {order.path} HTTP/1.1\r\n{lines}\r\n".encode())
        self.sock.setblocking(False)
        self.head = b""
        self.answered = False
        self.taken = 0
        self.wrong = False
        self.ended = False

    def sip(self, most: int, whole: mmap.mmap) -> None:
        """At most ``most`` bytes of the body, if they are there."""
        end = self.taken + most
        while not self.ended and self.taken < end:
            try:
                piece = self.sock.recv(end - self.taken if self.answered else 4096)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                self.ended = True
                return
            if not self.answered:
                self.head += piece
                if b"\r\n\r\n" not in self.head:
                    continue
                self.answered = True
                self.wrong |= not self.head.startswith(b"HTTP/1.1 200 ")
                piece = self.head.partition(b"\r\n\r\n")[2]
            self.wrong |= whole[self.taken : self.taken + len(piece)] != piece
            self.taken += len(piece)


def work(order: Order) -> None:
    """Does it, and tells."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    with Path(order.object).open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sippers = [_Sipper(order, number) for number in range(order.readers)]
    poll = select.poll()
    for one in sippers:
        poll.register(one.sock, select.POLLIN)
    by_descriptor = {one.sock.fileno(): one for one in sippers}
    end = time.monotonic() + PATIENCE_S
    while by_descriptor and time.monotonic() < end:
        for descriptor, _ in poll.poll(1000):
            one = by_descriptor[descriptor]
            one.sip(1, whole)
            if one.answered or one.ended:
                poll.unregister(descriptor)
                del by_descriptor[descriptor]
    _say({"reading": sum(one.answered and not one.ended for one in sippers)})
    begun = time.monotonic()
    for turn in range(int(order.seconds * TURNS)):
        time.sleep(max(begun + turn / TURNS - time.monotonic(), 0))
        for one in sippers:
            one.sip(order.rate // TURNS, whole)
    taken = [one.taken for one in sippers]
    _say(
        {
            "taken": sum(taken),
            "least": min(taken),
            "wrong": sum(one.wrong for one in sippers),
            "ended": sum(one.ended for one in sippers),
            "seconds": round(time.monotonic() - begun, 2),
        }
    )
    sys.stdin.readline()  # whoever ordered looks around first
    for one in sippers:
        one.sock.close()


def start(order: Order) -> "subprocess.Popen[str]":
    """The process; its stdout tells. A line on its stdin, after the order, lets it leave."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(order)) + "\n")
    process.stdin.flush()
    return process


def _say(told: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    work(Order(**json.loads(sys.stdin.readline())))
