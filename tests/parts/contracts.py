"""A call in each state the contracts know, as each surface names it, and credentials of every kind for each surface."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID, uuid4

from gateway.identity.keys import mint
from gateway.model import State

from .aliases import fresh
from .house import FULL, some_bytes
from .stage import Stage
from .wire import Answer, Wire

SURFACES = ("native", "yotel", "agentphone", "callsid", "voki", "envoy")
OWN, STRANGER = "contracts", "stranger"
"""The tenants' slugs."""
DATA = some_bytes(20_000)
"""What every object holds."""
TEXT = "It was the best of times."
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MALFORMED = {
    "native": "not-an-id",
    "yotel": "not%20an%20id",
    "agentphone": "not%20an%20id",
    "callsid": "call_not-an-id",
    "voki": "not-an-id",
    "envoy": "call_0123",
}
VARY = {
    "native": "Origin, Authorization",
    "yotel": "Origin, Authorization",
    "agentphone": "Origin, Authorization",
    "callsid": "Origin, Authorization, X-Organization-Id",
    "voki": "Origin, Authorization, X-Tenant",
    "envoy": "Origin, Authorization, X-API-Key, X-Organization-ID",
}
MOVING = {
    "native": "/v1/recordings/{}/audio",
    "yotel": "/yotel/api/v1/calls/{}/recording/audio",
    "agentphone": "/agentphone/v1/calls/{}/recording",
    "callsid": "/callsid/api/calls/{}/recording/download",
    "voki": "/voki/api/v1/calls/{}/recording/download",
}
"""Surface → the path that sends the audio; envoy has none."""
DISCREET = {"referrer-policy": "no-referrer", "x-robots-tag": "noindex"}

PARAMETER = re.compile(r"\{[^}]*\}")
"""As it stands in a route's path."""

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Cast:
    """``ids``: state → surface → the id as it stands in a path. ``credentials``: surface → kind → request fields."""

    stage: Stage
    ids: Mapping[str, Mapping[str, str]]
    credentials: Mapping[str, Mapping[str, Fields]]
    calls: Mapping[str, UUID]
    """state → call"""
    tenants: Mapping[str, UUID]
    """own · stranger"""
    but: Mapping[str, Fields]
    """scope → a key that has every scope but that one; for the role ``attendant``, one with scopes alone"""

    def wire(self) -> Wire:
        return Wire(self.stage.house.base_url)

    def ask(self, wire: Wire, method: str, target: str, fields: Fields, *more: tuple[str, str]) -> Answer:
        """One request. A signed URL in its answer may stand in no log from then on."""
        answer = wire.ask(method, target, [*fields.items(), *more])
        if method != "HEAD" and answer.status < 300 and b"Signature=" in answer.body:
            self.stage.secrets.add(answer.body.decode().rpartition("Signature=")[2].partition('"')[0])
        return answer

    @classmethod
    async def made(cls, stage: Stage) -> Self:
        """On a stage that is open."""
        office = stage.office
        own = await office.tenant(OWN, recording_enabled=True, transcription_enabled=True)
        stranger = await office.tenant(STRANGER, recording_enabled=True, transcription_enabled=True)
        named: dict[str, tuple[UUID, Mapping[str, str]]] = {}

        async def ready(state: str, tenant: UUID, change: str | None = None, **options: Any) -> None:
            of = await stage.file("s3", DATA, tenant=tenant, **options)
            if change is not None:
                await office.rows(f"UPDATE recordings SET {change} WHERE call_id = $1", of.id)
            named[state] = of.id, of.aliases

        for state in (State.ABSENT, State.PENDING, State.PROCESSING, State.FAILED):
            aliases = fresh()
            call, _ = await office.call(own, state, aliases=aliases)
            named[state.value] = call, aliases
        await ready("ready", own)
        await ready("found", own, "state = 'processing'")
        await ready("expired", own, expires_at=_LONG_AGO)
        await ready("swept", own, "state = 'expired'", expires_at=_LONG_AGO)
        await ready("held", own, "hold = true", expires_at=_LONG_AGO)
        await ready("foreign", stranger)
        named["missing"] = uuid4(), fresh()
        for state, (call, _) in named.items():
            if state != "missing":
                await office.transcript(stranger if state == "foreign" else own, call, TEXT)
        ids: dict[str, Mapping[str, str]] = {
            state: {"native": str(call), **aliases} for state, (call, aliases) in named.items()
        }
        return cls(
            stage,
            ids | {"malformed": MALFORMED},
            await _credentials(stage, own, stranger),
            {state: call for state, (call, _) in named.items()},
            {"own": own, "stranger": stranger},
            {scope: await stage.key(*(set(FULL) - {scope}), tenant=own) for scope in (*FULL, "attendant")},
        )


async def _credentials(stage: Stage, own: UUID, stranger: UUID) -> dict[str, dict[str, Fields]]:
    """none · bad · low (scope or role) · full · foreign (another tenant's, full)"""
    low = await stage.key("audit:read", tenant=own)
    full = await stage.key(tenant=own)
    foreign = await stage.key(tenant=stranger)
    bad = {"Authorization": f"Bearer {mint('yt_live').secret}"}
    bearer: dict[str, Fields] = {"none": {}, "bad": bad, "low": low, "full": full, "foreign": foreign}

    def in_name_of(header: str, fields: Mapping[str, Fields]) -> dict[str, Fields]:
        return {kind: {**given, header: STRANGER if kind == "foreign" else OWN} for kind, given in fields.items()}

    tokens: dict[str, Fields] = {
        "none": {},
        "bad": stage.token(OWN, exp=1, iat=0),
        "low": stage.token(OWN, role="visitor"),
        "full": stage.token(OWN, role="attendant", scope=None),
        "foreign": stage.token(STRANGER, role="admin"),
    }
    return {
        **dict.fromkeys(("native", "yotel", "agentphone"), bearer),
        "callsid": in_name_of("X-Organization-Id", bearer),
        "voki": in_name_of("X-Tenant", tokens),
        "envoy": in_name_of("X-Organization-ID", {kind: _as_api_key(given) for kind, given in bearer.items()}),
    }


def _as_api_key(fields: Fields) -> Fields:
    return {"X-API-Key": fields["Authorization"].removeprefix("Bearer ")} if fields else {}


def assert_worded(surface: str, answer: Answer, method: str, *, code: str | None, extra: Fields) -> None:
    """A refusal's every field, ``extra`` among them, and its body's shape in the surface's form."""
    fields = dict(answer.headers)
    for passing in ("date", "x-request-id", "content-length"):
        assert fields.pop(passing)
    assert fields == {
        "server": "recording-gateway",
        "vary": VARY[surface],
        "cache-control": "no-store",
        "content-type": "application/problem+json" if surface == "native" else "application/json",
        "x-content-type-options": "nosniff",
        **(DISCREET if surface == "agentphone" else {}),
        **extra,
    }
    if method == "HEAD":
        assert answer.body == b""
        return
    _FORMS[surface](answer.status, code, answer.json())


def _problem(status: int, code: str | None, body: dict[str, Any]) -> None:
    more: Mapping[int, set[str]] = {422: {"errors"}, 403: {"needed"}}
    assert body.keys() == {"type", "title", "status", "code", "detail"} | more.get(status, set())
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:recording-gateway:problem:{code}"


def _error(_status: int, code: str | None, body: dict[str, Any]) -> None:
    assert body.keys() == {"error"}
    assert body["error"] == {"code": code, "message": _said(body["error"]["message"])}


def _unsuccessful(_status: int, code: str | None, body: dict[str, Any]) -> None:
    assert body.keys() == {"success", "error"}
    assert body["success"] is False
    assert body["error"] == {"code": code, "message": _said(body["error"]["message"])}


def _detail(status: int, _code: str | None, body: dict[str, Any]) -> None:
    assert body.keys() == {"detail"}
    if status != 422:
        assert _said(body["detail"])
        return
    (problem,) = body["detail"]
    assert problem.keys() == {"loc", "msg", "type"}
    assert problem["loc"] == ["path", "call_id"]
    assert _said(problem["msg"])
    assert _said(problem["type"])


def _errors(_status: int, _code: str | None, body: dict[str, Any]) -> None:
    assert body == {"errors": {"detail": _said(body["errors"]["detail"])}}


def _said(text: object) -> str:
    assert isinstance(text, str)
    assert text
    return text


_FORMS = {
    "native": _problem,
    "yotel": _error,
    "agentphone": _detail,
    "callsid": _unsuccessful,
    "voki": _errors,
    "envoy": _detail,
}


def in_any_case(answer: Answer) -> tuple[int, Sequence[tuple[str, str]], bytes]:
    """All of an answer but what differs from one request to the next."""
    return answer.status, [line for line in answer.fields if line[0] not in {"date", "x-request-id"}], answer.body
