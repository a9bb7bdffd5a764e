"""GCS: the emulator from PyPI, and a stub for what that cannot do (generations, tokens, signatures, exact ranges)."""

import asyncio
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.config import GcsStore
from gateway.demo.ports import free_ports

READY_S = 60.0
BUCKET = "recordings"
_EMULATOR = """
from http import server
server.HTTPServer = server.ThreadingHTTPServer
from gcp_storage_emulator.__main__ import main
main()
"""
"""Left alone it serves one request at a time: a player that opens a second while it holds the first would wait for ever."""


class GcsEmulator:
    """gcp-storage-emulator in memory with one bucket. It knows no generations."""

    def __init__(self) -> None:
        self.bucket = BUCKET
        self.port = free_ports(1)[0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers. Blocks."""
        command = [sys.executable, "-c", _EMULATOR, "start", "--host=127.0.0.1"]
        self._process = subprocess.Popen(
            [*command, f"--port={self.port}", f"--default-bucket={self.bucket}", "--in-memory", "--quiet"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + READY_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self._call("GET", f"/storage/v1/b/{self.bucket}/o")
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.close()
        raise RuntimeError("the GCS emulator did not start")

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def put(self, key: str, data: bytes, media_type: str = "audio/wav") -> None:
        about = json.dumps({"name": key, "contentType": media_type}).encode()
        mark = b"a-mark-that-no-test-recording-holds"
        body = b"".join(
            [
                b"--" + mark + b"\r\nContent-Type: application/json\r\n\r\n" + about,
                b"\r\n--" + mark + b"\r\nContent-Type: " + media_type.encode() + b"\r\n\r\n" + data,
                b"\r\n--" + mark + b"--\r\n",
            ]
        )
        path = f"/upload/storage/v1/b/{self.bucket}/o?uploadType=multipart"
        self._call("POST", path, body, f"multipart/related; boundary={mark.decode()}")

    def delete(self, key: str) -> None:
        self._call("DELETE", f"/storage/v1/b/{self.bucket}/o/{quote(key, safe='')}")

    def settings(self, **changes: Any) -> GcsStore:
        """How a gateway is told of this server."""
        settings: dict[str, Any] = {"kind": "gcs", "bucket": self.bucket, "endpoint": self.endpoint}
        return GcsStore.model_validate(settings | changes)

    def _call(self, method: str, path: str, data: bytes | None = None, media_type: str = "text/plain") -> None:
        request = urllib.request.Request(self.endpoint + path, data, {"Content-Type": media_type}, method=method)
        with urllib.request.urlopen(request, timeout=60):
            pass


@dataclass
class Stored:
    """An object of the stub."""

    data: bytes
    media_type: str
    generation: int
    created: datetime
    encoding: str | None = None


@dataclass
class GcsStub:
    """GCS as Google documents it, as far as a reader can tell: for the tests' own loop, ``async with``.

    It wants a bearer token it gave out itself, or a V4 signature of its service account; ``key_file`` is that
    account's. ``may_give``, cleared, holds tokens back. ``gzip`` objects are served as Google does to who accepts no gzip: whole, 200, without a length.
    """

    bucket: str = BUCKET
    objects: dict[str, Stored] = field(default_factory=dict)
    tokens_given: int = 0
    token_life_s: int = 3600
    tokens_refused: bool = False
    """The token endpoint says no."""
    tokens_failing: int = 0
    """So many times the token endpoint cannot say anything."""
    tokens_disowned: bool = False
    """No token that it gives is good for anything."""
    denied: bool = False
    """The account may not read."""
    undeletable: bool = False
    """The account may read and not delete."""
    anonymous: bool = False
    """Who shows no token may read, as from an emulator."""
    port: int = 0

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="rg-gcs-"))
        self._key = _key()
        self._valid: set[str] = set()
        self.may_give = asyncio.Event()
        self.may_give.set()
        self.asked_for_token = asyncio.Event()
        self._generation = 1_700_000_000_000_000
        app = web.Application()
        app.router.add_post("/token", self._token)
        app.router.add_get("/storage/v1/b/{bucket}/o", self._list)
        app.router.add_get("/storage/v1/b/{bucket}/o/{key:.*}", self._object)
        app.router.add_delete("/storage/v1/b/{bucket}/o/{key:.*}", self._delete)
        app.router.add_get("/{bucket}/{key:.*}", self._signed)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.key_file = self._folder / "key.json"
        self.key_file.write_text(json.dumps(self.account()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def account(self) -> dict[str, str]:
        """The content of a service account's key file."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "tests",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": "gateway@tests.iam.example",
            "token_uri": f"{self.endpoint}/token",
        }

    def put(self, key: str, data: bytes, media_type: str = "audio/wav", *, encoding: str | None = None) -> None:
        self._generation += 1
        self.objects[key] = Stored(data, media_type, self._generation, datetime.now(UTC), encoding)

    def delete(self, key: str) -> None:
        del self.objects[key]

    def revoke_tokens(self) -> None:
        """Every token given so far is good no more, whatever its life was to be."""
        self._valid.clear()

    def settings(self, **changes: Any) -> GcsStore:
        """How a gateway is told of it; the store must be pointed at ``endpoint`` as well."""
        settings = {"kind": "gcs", "bucket": self.bucket, "service_account_file": self.key_file}
        return GcsStore.model_validate(settings | changes)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.asked_for_token.set()
        await self.may_give.wait()
        if self.tokens_refused or form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return web.json_response({"error": "invalid_grant"}, status=400)
        if self.tokens_failing:
            self.tokens_failing -= 1
            return web.json_response({"error": "internal_failure"}, status=500)
        self.tokens_given += 1
        token = f"token-{self.tokens_given}"
        self._valid.add(token)
        return web.json_response({"access_token": token, "expires_in": self.token_life_s, "token_type": "Bearer"})

    def _refused(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if (given not in self._valid or self.tokens_disowned) and not self.anonymous:
            return web.json_response({"error": {"code": 401, "message": "Invalid Credentials"}}, status=401)
        if self.denied:
            return web.json_response({"error": {"code": 403, "message": "no storage.objects.get"}}, status=403)
        if request.match_info["bucket"] != self.bucket:
            return web.json_response({"error": {"code": 404, "message": "no such bucket"}}, status=404)
        return None

    async def _list(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        return web.json_response({"kind": "storage#objects"})

    async def _object(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        key = unquote(request.raw_path.partition("?")[0].split("/o/", 1)[1])
        stored = self.objects.get(key)
        asked = request.query.get("generation")
        if stored is None or (asked is not None and asked != str(stored.generation)):
            return web.Response(text=f"No such object: {self.bucket}/{key}", status=404)
        if request.query.get("alt") == "media":
            return _media(request, stored, stored.media_type)
        told = {
            "name": key,
            "size": str(len(stored.data)),
            "generation": str(stored.generation),
            "metageneration": "1",
            "contentType": stored.media_type,
            "timeCreated": stored.created.isoformat().replace("+00:00", "Z"),
            "md5Hash": base64.b64encode(hashlib.md5(stored.data, usedforsecurity=False).digest()).decode(),
        }
        return web.json_response(told | ({"contentEncoding": stored.encoding} if stored.encoding else {}))

    async def _delete(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if self.undeletable:
            return web.json_response({"error": {"code": 403, "message": "no storage.objects.delete"}}, status=403)
        key = unquote(request.raw_path.partition("?")[0].split("/o/", 1)[1])
        stored = self.objects.get(key)
        if stored is None:
            return web.Response(text=f"No such object: {self.bucket}/{key}", status=404)
        if request.query.get("ifGenerationMatch", str(stored.generation)) != str(stored.generation):
            return web.json_response({"error": {"code": 412, "message": "conditionNotMet"}}, status=412)
        del self.objects[key]
        return web.Response(status=204)

    async def _signed(self, request: web.Request) -> web.Response:
        """A V4 signed URL: what was signed is put together again from the request alone."""
        query = request.query
        signed_at = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > signed_at + timedelta(seconds=int(query["X-Goog-Expires"])):
            return web.Response(text="<Error><Code>ExpiredToken</Code></Error>", status=400)
        path, _, asked = request.raw_path.partition("?")
        raw = [p for p in asked.split("&") if not p.startswith("X-Goog-Signature=")]
        scope = query["X-Goog-Credential"].split("/", 1)[1]
        canonical = "\n".join(
            [
                "GET",
                request.rel_url.raw_path,
                "&".join(sorted(raw)),
                f"host:{request.host}\n",
                "host",
                "UNSIGNED-PAYLOAD",
            ]
        )
        to_sign = "\n".join(
            ["GOOG4-RSA-SHA256", query["X-Goog-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        try:
            self._key.public_key().verify(
                bytes.fromhex(query["X-Goog-Signature"]), to_sign.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return web.Response(text="<Error><Code>SignatureDoesNotMatch</Code></Error>", status=403)
        stored = self.objects.get(unquote(path.split("/", 2)[2]))
        if stored is None:
            return web.Response(text="<Error><Code>NoSuchKey</Code></Error>", status=404)
        answer = _media(request, stored, query.get("response-content-type", stored.media_type))
        if "response-content-disposition" in query:
            answer.headers["Content-Disposition"] = query["response-content-disposition"]
        return answer


@cache
def _key() -> rsa.RSAPrivateKey:
    """Every account's, for one takes a tenth of a second to make."""
    return rsa.generate_private_key(65537, 2048)


def _media(request: web.Request, stored: Stored, media_type: str) -> web.Response:
    size = len(stored.data)
    headers = {"Content-Type": media_type, "X-Goog-Generation": str(stored.generation)}
    asked = request.headers.get("Range")
    if asked is None or stored.encoding is not None:
        return web.Response(body=stored.data, headers=headers)
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    assert match is not None, f"only absolute ranges are asked for, not {asked}"
    start, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    if start >= size:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{last}/{size}"
    return web.Response(status=206, body=stored.data[start : last + 1], headers=headers)
