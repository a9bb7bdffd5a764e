"""An S3 that tells the truth of its one object in HEAD, and lies when it is read."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

ETAG = '"0123456789abcdef0123456789abcdef"'
OTHER = '"fedcba9876543210fedcba9876543210"'

Answer = tuple[str, dict[str, str], bytes]
Lie = Callable[[bytes, int, int], Answer]
"""(object, first, last) → what is said to who asks for those bytes."""


def _part(data: bytes, first: int, last: int, **changes: str) -> Answer:
    fields = {"ETag": ETAG, "Content-Range": f"bytes {first}-{last}/{len(data)}", "Content-Type": "audio/wav"}
    return "206 Partial Content", fields | {k.replace("_", "-"): v for k, v in changes.items()}, data[first : last + 1]


def _whole(data: bytes, _first: int, _last: int) -> Answer:
    return "200 OK", {"ETag": ETAG}, data


def _another_part(data: bytes, first: int, last: int) -> Answer:
    return _part(data, first, last, Content_Range=f"bytes {first + 1}-{last + 1}/{len(data)}")


def _short(data: bytes, first: int, last: int) -> Answer:
    return _part(data, first, last - 1)


def _short_without_a_range(data: bytes, first: int, last: int) -> Answer:
    status, fields, body = _part(data, first, last)
    return status, {"ETag": fields["ETag"]}, body[:-1]


def _another_version(data: bytes, first: int, last: int) -> Answer:
    return _part(data, first, last, ETag=OTHER)


def _no_version(data: bytes, first: int, last: int) -> Answer:
    status, fields, body = _part(data, first, last)
    return status, {"Content-Range": fields["Content-Range"]}, body


def _coded(data: bytes, first: int, last: int) -> Answer:
    return _part(data, first, last, Content_Encoding="gzip")


def _elsewhere(_data: bytes, _first: int, _last: int) -> Answer:
    return "307 Temporary Redirect", {"Location": "http://127.0.0.1:1/"}, b""


def _chunked(data: bytes, first: int, last: int) -> Answer:
    status, fields, body = _part(data, first, last, Transfer_Encoding="chunked")
    return status, fields, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


LIES: Mapping[str, Lie] = {
    "the whole instead of a part": _whole,
    "another part": _another_part,
    "a part that is one byte short": _short,
    "a short Content-Length without a range": _short_without_a_range,
    "another ETag": _another_version,
    "no ETag": _no_version,
    "a content coding": _coded,
    "no length": _chunked,
    "a redirect": _elsewhere,
}


class Liar:
    """``async with`` it in the test's own loop; ``lie`` None: the truth."""

    bucket = "recordings"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.lie: Lie | None = None
        self.reads = 0
        """GETs of the object that came."""
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._serving.values():
            writer.close()
        await asyncio.gather(*self._serving)

    def settings(self) -> dict[str, Any]:
        """How a gateway is told of it."""
        return {
            "kind": "s3",
            "bucket": self.bucket,
            "endpoint": f"http://127.0.0.1:{self.port}",
            "access_key_id": "anybody",
            "secret_access_key": "nobody-verifies-this",
        }

    def _answer(self, request: bytes) -> bytes:
        asked = re.search(rb"\r\nRange: bytes=(\d+)-(\d+)\r\n", request, re.IGNORECASE)
        if asked is None:
            told = {"ETag": ETAG, "Last-Modified": "Fri, 20 Nov 2026 12:00:00 GMT", "Content-Type": "audio/wav"}
            return _head("200 OK", told, len(self.data))
        self.reads += 1
        status, fields, body = (self.lie or _part)(self.data, int(asked[1]), int(asked[2]))
        return _head(status, fields, len(body)) + body

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        writer.close()


def _head(status: str, fields: Mapping[str, str], length: int) -> bytes:
    framing = {} if "Transfer-Encoding" in fields else {"Content-Length": str(length)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**fields, **framing}.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode()
