"""Calls in every state, as the contracts tell them apart, and what a client sees of them."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from gateway.model import State

from .house import Filed, some_bytes
from .stage import Stage
from .wire import Answer, Lines, Wire

MISSING = "00000000-0000-4000-8000-000000000000"
DATA = some_bytes(100_000)
"""What every ready recording holds."""
SECONDS = "%Y-%m-%dT%H:%M:%SZ"
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_PROBLEMS = {"native": "application/problem+json", "yotel": "application/json"}

Wanted = tuple[int, str, str | None]
"""status, code, Retry-After"""


@dataclass(frozen=True)
class Named:
    """A call as each surface names it."""

    native: str
    yotel: str


@dataclass(frozen=True)
class Calls:
    """``by_state`` names a call of each kind. Keys: ``full``, and some with fewer scopes."""

    stage: Stage
    by_state: Mapping[str, Named]
    ready: Mapping[str, Filed]
    """store → recording"""
    read_only: dict[str, str]
    download_only: dict[str, str]

    @property
    def full(self) -> dict[str, str]:
        return self.stage.full

    @property
    def base(self) -> str:
        return self.stage.house.base_url

    def ask(
        self, method: str, target: str, key: Mapping[str, str] | None = None, lines: Lines = (), body: bytes = b""
    ) -> Answer:
        credential = self.full if key is None else key
        with Wire(self.base) as wire:
            return wire.ask(method, target, [*credential.items(), *lines], body)

    @classmethod
    async def made(cls, stage: Stage) -> Self:
        """One call of each state; ready ones in every store."""
        office, own = stage.office, stage.tenant
        ready = {
            name: await stage.file(name, DATA, voice_agent=True, channels=2, duration_ms=141_500)
            for name in stage.stores
        }
        expired = await stage.file("disk", DATA, expires_at=_LONG_AGO)
        swept = await stage.file("disk", DATA)
        await office.rows("UPDATE recordings SET expires_at = now(), state = 'expired' WHERE call_id = $1", swept.id)
        held = await stage.file("disk", DATA, expires_at=_LONG_AGO)
        await office.rows("UPDATE recordings SET hold = true WHERE call_id = $1", held.id)
        foreign = await stage.file("disk", DATA, tenant=await office.tenant("foreigner"))
        by_state = {
            state.value: Named(str(id_), alias)
            for state in (State.ABSENT, State.PENDING, State.PROCESSING, State.FAILED)
            for id_, alias in [await office.call(own, state)]
        }
        by_state |= {
            name: Named(str(filed.id), filed.alias)
            for name, filed in {"expired": expired, "swept": swept, "held": held, "foreign": foreign, **ready}.items()
        }
        by_state |= {
            "missing": Named(MISSING, "call_000000000000"),
            "nameless": Named("yotel:call_000000000000", "x"),
            "malformed": Named("not-an-id", "not%20an%20id"),
        }
        return cls(
            stage,
            by_state,
            ready,
            await stage.key("calls:read"),
            await stage.key("recordings:download"),
        )

    def link(self, of: Filed, ask: Mapping[str, Any] | None) -> Answer:
        """POSTs for a native link."""
        body = b"" if ask is None else json.dumps(ask).encode()
        answer = self.ask("POST", f"/v1/recordings/{of.id}/links", body=body)
        if answer.status == 201:
            url = answer.json()["url"]
            self.stage.secrets.add(url.rsplit("=", 1)[-1] if "Signature" in url else url.split("/")[-2])
        return answer


def assert_refused(answer: Answer, surface: str, wanted: Wanted, method: str = "GET") -> None:
    """Status, every field and the body's shape."""
    status, code, retry_after = wanted
    assert answer.status == status
    fields = answer.headers
    assert fields.pop("date")
    assert len(fields.pop("x-request-id")) == 32
    length = int(fields.pop("content-length"))
    expected = {
        "server": "recording-gateway",
        "vary": "Origin, Authorization",
        "cache-control": "no-store",
        "content-type": _PROBLEMS[surface],
        "x-content-type-options": "nosniff",
    }
    if retry_after is not None:
        expected["retry-after"] = retry_after
    optional = {"www-authenticate", "content-range", "allow", "connection"}
    assert {name: value for name, value in fields.items() if name not in optional} == expected
    if method == "HEAD":
        assert length > 0
        return
    body = answer.json()
    if surface == "yotel":
        assert body.keys() == {"error"}
        assert body["error"].keys() == {"code", "message"}
        assert body["error"]["code"] == code
        assert body["error"]["message"]
    else:
        more = {422: {"errors"}, 403: {"needed"}}.get(status, set())
        assert body.keys() == {"type", "title", "status", "code", "detail"} | more
        assert (body["status"], body["code"]) == (status, code)
        assert body["type"] == f"urn:recording-gateway:problem:{code}"


def plainly(url: str, **fields: str) -> tuple[int, bytes, Mapping[str, str]]:
    """What a client without any credential gets."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): v for name, v in fields.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def about_now(text: str, after: timedelta) -> bool:
    when = datetime.strptime(text, SECONDS).replace(tzinfo=UTC)
    return abs(when - datetime.now(UTC) - after) < timedelta(seconds=15)
