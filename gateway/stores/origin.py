"""One ranged HTTP read, shared by the stores that are reached by HTTP.

What a store answers is checked before a byte of it is believed: RFC 9110 sections 14.4, 15.3.7 and 8.4. No URL stands
in any message: it may carry a signature.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping
from math import inf
from typing import Final
from urllib.parse import urlsplit

from ..config import Origin
from ..errors import Changed, OriginFailed, OriginTimeout, Unavailable
from ..model import KEY_BYTES, PIECE, Span
from .answer import Pin, fault
from .body import Body, Means
from .connection import DRY, Connection, Stale
from .counts import Counts
from .dial import Dialer, client_context, kind
from .head import Head, NotHttp
from .pipes import Pipes, can_splice
from .pool import Pool
from .short import HEAD_ROOM, Short, Told
from .short import Means as ShortMeans
from .spliced import body_of
from .target import Target

TRIES: Final = 3
"""Times a store is asked before it counts as away. One that let the first-byte deadline pass is asked twice only."""
BACKOFF_S: Final = 0.05
ERROR_BYTES: Final = 8 * 1024
SCRATCH: Final = 256 * 1024
_BUSY: Final = frozenset({408, 429})
"""Statuses that tell of the store, as 5xx do, and not of what was asked: Google's own word for a request it took too long over is 408."""
PORTS: Final = {"http": 80, "https": 443}
PATH: Final = re.compile(r"/[\x21-\x7e]*")
VALUE: Final = re.compile(r"[\x21-\x7e\x80-\xff]([\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?")


def unfit(key: str) -> str | None:
    """What keeps an object in a bucket, whoever's, from having ``key``; None: nothing."""
    try:
        return None if 0 < len(key.encode()) <= KEY_BYTES else f"other than 1 to {KEY_BYTES} bytes of UTF-8"
    except UnicodeEncodeError:
        return "not UTF-8"


def is_outage(status: int) -> bool:
    """Whether a store that answers so may answer rightly another time."""
    return status in _BUSY or status >= 500  # noqa: PLR2004 - status codes are their own names


class Refused(Exception):
    """The store answered 4xx, neither 412, 416 nor an outage's. Only its adapter knows what that means.

    ``body`` is the answer's beginning, at most ERROR_BYTES. It may quote a signature: it belongs in no message.
    """

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(str(status))
        self.status = status
        self.body = body


def jittered(attempt: int) -> float:
    """Seconds to wait before try ``attempt`` + 1: doubling, capped at a second, half of it chance."""
    return min(BACKOFF_S * 2.0 ** (attempt - 1), 1.0) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret


class Reader:
    """Reads byte ranges of one store over pooled connections. Made inside the loop that uses it."""

    def __init__(self, store: str, settings: Origin) -> None:
        self._where = f"store {store}"
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._pools: dict[tuple[str, str, int], Pool] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._period = min(max(min(settings.first_byte_s, settings.progress_s) / 16, 0.01), 1.0)
        self.counts = Counts()
        self._means = Means(
            where=self._where,
            progress_s=settings.progress_s,
            counts=self.counts,
            scratch=bytearray(SCRATCH),
            pipes=Pipes() if can_splice() else None,
            widest=settings.receive_buffer_bytes,
        )
        self._short = ShortMeans(self.counts, settings.progress_s)

    def target(self, url: str, headers: Mapping[str, str], pin: Pin) -> Target:
        """What ``url`` names, good for any number of reads; it is sent exactly as it is written.

        Raises ValueError, which quotes neither: one of them cannot stand in a request.
        """
        parts = urlsplit(url)
        _, _, rest = url.partition("://")
        path = rest[len(parts.netloc) :].partition("#")[0]
        if parts.scheme not in PORTS or parts.hostname is None or not path.startswith("/"):
            raise ValueError("no absolute http or https URL")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = parts.port or PORTS[parts.scheme]
        fields = {
            "Host": host if port == PORTS[parts.scheme] else f"{host}:{port}",
            "User-Agent": "recording-gateway",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **headers,
        }
        if not PATH.fullmatch(path) or not all(map(VALUE.fullmatch, fields.values())):
            raise ValueError("what cannot stand in a request")
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return Target(
            self._pool(parts.scheme, parts.hostname, port),
            f"GET {path} HTTP/1.1\r\n{lines}Range: bytes=".encode("latin-1"),
            pin,
        )

    async def get(self, target: Target, span: Span) -> Body:
        """The bytes ``span`` of it. The store has answered, and rightly, when this returns.

        Raises Changed (412, 416, another pin), Unavailable, OriginTimeout, OriginFailed; Refused, of which the store's
        adapter is to make one of these.
        """
        tries = TRIES
        while True:
            try:
                return await self._try(target, span)
            except (Unavailable, OriginTimeout) as error:
                tries -= 1 if isinstance(error, Unavailable) else 2
                if tries <= 0:
                    raise
            self.counts.retries += 1
            await asyncio.sleep(jittered(TRIES - tries))

    def begin(self, target: Target, span: Span, told: Told) -> Short:
        """A read of at most PIECE bytes, over a connection that the target's pool has kept; ``told`` hears its end."""
        connection = target.pool.take()
        assert connection is not None, "it is asked for right after one was seen there"
        request, _, deadline = self._asking(target, span)
        return Short(self._short, target, connection, span, told, request=request, deadline=deadline)

    async def close(self) -> None:
        """Of every connection, in use or not."""
        for pool in self._pools.values():
            pool.close()
        if self._means.pipes is not None:
            self._means.pipes.close()
        if self._sweep is not None:
            self._sweep.cancel()

    async def _try(self, target: Target, span: Span) -> Body:
        pool, length = target.pool, len(span)
        connection = pool.take() or await pool.get()
        try:
            try:
                head, rest = await connection.ask(*self._asking(target, span))
            except Stale:
                connection = await pool.replace(connection)
                head, rest = await connection.ask(*self._asking(target, span))
            await self._judge(connection, head, rest, span, target.pin)
            # More than was asked for: what follows is no answer to anybody.
            keep = head.keep_alive and len(rest) <= length
            return body_of(self._means, pool, connection, rest[:length], length, keep=keep)
        except BaseException as error:
            connection.close()
            match error:
                case NotHttp():
                    raise OriginFailed(f"{self._where}: answered what is not HTTP; check its endpoint") from None
                case TimeoutError():
                    raise OriginTimeout(
                        f"{self._where}: no answer within first_byte_s ({self._settings.first_byte_s:g} s)"
                    ) from None
                case OSError():
                    raise Unavailable(f"{self._where}: connection failed ({kind(error)})") from None
            raise

    def _asking(self, target: Target, span: Span) -> tuple[bytes, int, float]:
        """What is asked, how many bytes of the answer are wanted at first, and until when; it is counted as sent."""
        self.counts.requests += 1
        length = len(span)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._period, self._swept)
        # A short answer is taken whole, so that it leaves with the client's head; of a long one the rest can be spliced.
        want = HEAD_ROOM + length if length <= PIECE else HEAD_ROOM
        request = b"%b%d-%d\r\n\r\n" % (target.request, span.start, span.stop - 1)
        return request, want, self._loop.time() + self._settings.first_byte_s

    async def _judge(self, connection: Connection, head: Head, rest: memoryview, span: Span, pin: Pin) -> None:
        status = head.status
        if status in {200, 206}:
            told = head.fields.get(pin.field)
            if told is None and pin.required:
                raise OriginFailed(f"{self._where}: answered without {pin.field}, so its version is unknown")
            if told is not None and told != pin.value:
                raise Changed(f"{self._where}: {pin.field} is another")
            if (wrong := fault(status, head.fields, span)) is not None:
                raise OriginFailed(f"{self._where}: answered {wrong}")
        elif status in {412, 416}:
            raise Changed(f"{self._where}: answered {status}")
        elif is_outage(status):
            raise Unavailable(f"{self._where}: answered {status}")
        elif status >= 400:  # noqa: PLR2004 - status codes are their own names
            raise Refused(status, await self._beginning(connection, head, rest))
        else:
            raise OriginFailed(f"{self._where}: answered {status}; check its endpoint, region and addressing")

    async def _beginning(self, connection: Connection, head: Head, piece: bytes | memoryview) -> bytes:
        """Of the body of an error, as far as it comes."""
        try:
            async with asyncio.timeout(self._settings.progress_s):
                while True:
                    head.more(piece)
                    if head.ended or len(head.body) >= ERROR_BYTES:
                        break
                    try:
                        piece = connection.sock.recv(ERROR_BYTES)
                    except DRY:
                        piece = b""
                        await connection.readable(inf)
                    else:
                        if not piece:
                            break
        except (OSError, NotHttp):
            pass
        return head.body[:ERROR_BYTES]

    def _pool(self, scheme: str, host: str, port: int) -> Pool:
        key = scheme, host, port
        if key not in self._pools:
            context = client_context() if scheme == "https" else None
            dialer = Dialer(host, port, context, self._settings.receive_buffer_bytes)
            self._pools[key] = Pool(self._where, dialer, self._settings, self.counts)
        return self._pools[key]

    def _swept(self) -> None:
        """Deadlines are looked at every so often: a timer for each read would cost more than all else here."""
        now = self._loop.time()
        busy = [pool.sweep(now) for pool in self._pools.values()]
        self._sweep = self._loop.call_later(self._period, self._swept) if any(busy) else None
