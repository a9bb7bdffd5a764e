"""Settles a population in a database: tenants with calls in every state, and every kind of credential."""

import json
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from gateway.catalog.registry import Registry
from gateway.config import Origin
from gateway.identity.keys import mint
from gateway.identity.links import Links
from gateway.model import Lifetime, NewCall, Object, State
from gateway.postgres import open_pool
from gateway.stores import open_store

from .issuer import pem, rsa_key, token
from .population import ROLES, CallFact, LinkFact, Marks, Owner, Population, Shown
from .stage import LINK_KEY, Stage
from .wire import Wire

READING = ("calls:read", "recordings:download", "audit:read")
ISSUER_KEY = rsa_key("population")
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_LINKS = Links((SecretStr(LINK_KEY),))
_CALLS = (
    *(("ready", store) for store in ("disk", "disk", "s3", "s3", "disk")),
    *((state, "disk") for state in ("absent", "pending", "processing", "failed", "expired", "swept", "held")),
)
"""States, and where the object lies."""
_ADD_KEY = """
    INSERT INTO api_keys (id, tenant_id, name, hint, sha256, scopes, role, expires_at, revoked_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_ADD_RECORDING = "INSERT INTO recordings (id, tenant_id, call_id, state) VALUES ($1, $2, $3, 'pending')"
_TABLES = """
    SELECT t.table_name FROM information_schema.tables t
    JOIN information_schema.columns c USING (table_schema, table_name)
    JOIN information_schema.columns i USING (table_schema, table_name)
    WHERE t.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.column_name = 'tenant_id'
        AND i.column_name = 'id' AND i.data_type = 'uuid'
"""
"""Whatever of a tenant's is named by a UUID."""


def identity(folder: Path) -> dict[str, Any]:
    """The section that makes a gateway believe the population's tokens."""
    public = folder / "public.pem"
    public.write_bytes(pem(ISSUER_KEY))
    issuer = {"issuer": "https://issuer.example", "audience": "recordings", "public_key_file": str(public)}
    return {"issuers": [issuer]}


class Settler:
    """Fills a stage's database. Seeded: the same names each time."""

    def __init__(self, stage: Stage, scopes: frozenset[str], *, seed: int) -> None:
        self._stage = stage
        self._scopes = scopes
        self._chance = random.Random(seed)

    async def make(self) -> Population:
        """Tenants, calls, departments, transcripts and keys. ``furnish`` adds what needs a running gateway."""
        owners = [
            await self._owner("plain", enabled=True, transcribed=True),
            await self._owner("quiet", enabled=False, transcribed=False),
            await self._owner("busy", enabled=True, transcribed=True, drifts=True),
            await self._owner("still", enabled=True, transcribed=True, still=True),
        ]
        calls = [call for owner in owners for call in await self._calls(owner)]
        shown = [Shown("nothing", None)]
        for owner in owners:
            shown += await self._keys(owner)
            shown += self._tokens(owner)
        shown += [Shown("garbage", "zz_live_nothing"), Shown("unknown key", mint("yt_live").secret)]
        return Population(owners, calls, shown)

    async def furnish(self, people: Population, base_url: str) -> None:
        """Links and webhooks, made as their owners would make them; then every id there is."""
        with Wire(base_url) as wire:
            for owner in people.owners:
                founder = await self._stage.office.key(owner.id, *self._scopes, role="admin")
                ready = [call for call in people.calls if call.owner is owner and call.state == "ready"]
                people.links += [link for call in ready for link in self._links(wire, founder, call)]
                if owner.still:  # what only the holder of the signing key could make: a link to another's call
                    forged = _LINKS.mint(owner.id, people.calls[0].id, _HOUR).token
                    people.links.append(LinkFact(forged, None))
                hook = json.dumps({"url": f"http://127.0.0.1:65530/{owner.marks.word}"}).encode()
                answer = wire.ask("POST", "/v1/webhooks", founder.items(), hook)
                assert answer.status == 201, answer
        by_id = {owner.id: owner for owner in people.owners}
        for (table,) in await self._stage.office.rows(_TABLES):
            rows = await self._stage.office.rows(f"SELECT id, tenant_id FROM {table}")
            people.ids[table] = [(str(row["id"]), by_id[UUID(str(row["tenant_id"]))]) for row in rows]

    def _links(self, wire: Wire, founder: Mapping[str, str], call: CallFact) -> list[LinkFact]:
        """To one call: good ones, and one of each kind that no longer is, or never was."""
        tenant, path = call.owner.id, f"/v1/recordings/{call.id}/links"

        def made(**asked: Any) -> tuple[str, str]:
            answer = wire.ask("POST", path, founder.items(), json.dumps({"delivery": "gateway", **asked}).encode())
            assert answer.status == 201, answer
            return answer.json()["url"].split("/")[-2], answer.json()["id"]

        good, (revoked, link), (elsewhere, _) = made()[0], made(), made(ip_cidr="10.0.0.0/8")
        assert wire.ask("DELETE", f"/v1/links/{link}", founder.items()).status < 300
        bad = [
            revoked,
            elsewhere,
            good[:50] + ("B" if good[50] == "A" else "A") + good[51:],
            good[:-1],
            Links((SecretStr(LINK_KEY),), now=lambda: 1e9).mint(tenant, call.id, _HOUR).token,
            Links((SecretStr("another-key-" + "x" * 32),)).mint(tenant, call.id, _HOUR).token,
            _LINKS.mint(tenant, call.id, _HOUR, on_record=True).token,
        ]
        return [LinkFact(good, call), LinkFact(made(max_uses=1000)[0], call), *(LinkFact(each, None) for each in bad)]

    async def _owner(self, name: str, *, enabled: bool, transcribed: bool, **kind: bool) -> Owner:
        chance = self._chance
        word, hush = (prefix + "".join(chance.choices("bcdfghjklmnpqrstvwxz", k=9)) for prefix in ("qz", "xj"))
        marks = Marks(word, f"4977{chance.randrange(10**6, 10**7)}", f"{_hex(chance, 8)}-{_hex(chance, 4)}", hush)
        owner = Owner(name, self._uuid(marks), marks, enabled, transcribed, **kind)
        await self._stage.office.rows(
            "INSERT INTO tenants (id, slug, name, recording_enabled, transcription_enabled) VALUES ($1, $2, $3, $4, $5)",
            owner.id,
            owner.slug,
            f"The {word} company",
            enabled,
            transcribed,
        )
        return owner

    async def _calls(self, owner: Owner) -> list[CallFact]:
        """One of each state and several that are ready; the first is easy to guess."""
        office, word = self._stage.office, owner.marks.word
        full, empty = self._uuid(owner.marks), self._uuid(owner.marks)
        for department, name in ((full, f"Sales {word}"), (empty, f"Nobody {word}")):
            if department is full or owner.drifts or owner.still:  # an empty one may go, and its id be another's then
                await office.rows(
                    "INSERT INTO departments (id, tenant_id, name) VALUES ($1, $2, $3)", department, owner.id, name
                )
        pool = await open_pool(office.database)
        registry = Registry(pool, office.database)
        try:
            return [
                await self._call(registry, owner, number, state, store, full)
                for number, (state, store) in enumerate(_CALLS)
            ]
        finally:
            await pool.close()

    async def _call(
        self, registry: Registry, owner: Owner, number: int, state: str, store: str, department: UUID
    ) -> CallFact:
        marks, call = owner.marks, self._uuid(owner.marks)
        guessable = number == 0
        aliases = {
            "yotel": f"call_{marks.word}{number}",
            "agentphone": f"{marks.word}-{number}" if guessable else str(self._uuid(marks)),
            "callsid": f"call_{marks.word}{number}",
            "voki": str(self._uuid(marks)),
            "envoy": str(self._uuid(marks)),
        }
        now = datetime.now(UTC)
        told = NewCall(
            aliases,
            id=call,
            direction="inbound",
            from_number=f"+{marks.digits}{number:02}",
            to_number=f"+{marks.digits}9{number:02}",
            voice_agent=number % 2 == 0,
            department=department,
            started_at=now - timedelta(hours=1),
            ended_at=now,
        )
        await registry.create_call(owner.id, told)
        if state != "absent":
            await self._stage.office.rows(_ADD_RECORDING, self._uuid(marks), owner.id, call)
        audio = b""
        match state:
            case "absent":
                pass
            case "pending" | "processing":
                await registry.put_recording(owner.id, call, state=State(state))
            case "failed":
                await registry.mark_failed(owner.id, call, f"lost at {marks.word}, {marks.digits}")
            case _:
                audio = f"{marks.word} {number} ".encode() * 400
                await self._ready(registry, owner, call, store, f"{owner.slug}/{marks.word}-{number}.wav", audio, state)
        if number % 2 == 1:
            segments = [{"start_ms": 0, "end_ms": 900, "text": f"Hello {marks.hush}", "speaker": marks.hush}]
            await self._stage.office.transcript(owner.id, call, f"Hello {marks.hush} again", segments=segments)
        known = "expired" if state == "swept" else "ready" if state == "held" else state
        return CallFact(owner, call, known, aliases, guessable, number % 2 == 1, audio)

    async def _ready(
        self, registry: Registry, owner: Owner, call: UUID, store: str, key: str, audio: bytes, state: str
    ) -> None:
        shelf = self._stage.shelves[store]
        shelf.put(key, audio)
        opened = await open_store(store, self._stage.office.stores[store], Origin())
        try:
            place = Object(store, key, await opened.stat(key), "audio/wav")
        finally:
            await opened.close()
        end = _LONG_AGO if state in {"expired", "swept", "held"} else None
        await registry.mark_ready(
            owner.id, call, place, duration_ms=1000, channels=1, lifetime=Lifetime(expires_at=end)
        )
        if state == "swept":
            await self._stage.office.rows("UPDATE recordings SET state = 'expired' WHERE call_id = $1", call)
        if state == "held":
            await self._stage.office.rows("UPDATE recordings SET hold = true WHERE call_id = $1", call)

    async def _keys(self, owner: Owner) -> list[Shown]:
        """Of every reading scope each subset; where the owner drifts, of all scopes; good, revoked and expired ones."""
        known = sorted(self._scopes) if owner.drifts else READING
        subsets = [frozenset(each) for size in range(len(known) + 1) for each in combinations(known, size)]
        shown, rows = [], []
        for number, scopes in enumerate([*subsets, *subsets[-2:] * 2]):
            over = number - len(subsets)
            role, minted = (None, *ROLES, "janitor")[number % 6], mint("yt_live")
            proves = owner if over < 0 and not owner.still else None
            shown.append(Shown(f"key of {owner.name}", minted.secret, proves, scopes, role))
            end = _LONG_AGO if owner.still or over in {0, 1} else None
            revoked = _LONG_AGO if over in {2, 3} else None
            key = self._uuid(owner.marks)
            rows.append((key, owner.id, owner.marks.word, minted.hint, minted.sha256, [*scopes], role, end, revoked))
        connection = await asyncpg.connect(self._stage.database_url)
        try:
            await connection.executemany(_ADD_KEY, rows)
        finally:
            await connection.close()
        return shown

    def _tokens(self, owner: Owner) -> list[Shown]:
        """Of each role with and without scopes; and some that prove nothing."""
        shown = []
        for role in (None, *ROLES, "janitor"):
            for scopes in ((), READING):
                told = {"tenant": owner.slug, "role": role, "scope": " ".join(scopes), "sub": "somebody"}
                if owner.still:
                    told["exp"] = int(time.time()) - 3600
                proves = None if owner.still else owner
                secret = token(ISSUER_KEY, **told)
                shown.append(Shown(f"token of {owner.name}", secret, proves, frozenset(scopes), role))
        hostile = {"tenant": owner.slug, "role": "admin", "scope": " ".join(self._scopes)}
        shown.append(Shown("by another issuer", token(rsa_key("another"), **hostile)))
        shown.append(Shown("for others", token(ISSUER_KEY, aud="others", **hostile)))
        shown.append(Shown("not signed", token(ISSUER_KEY, **hostile).rpartition(".")[0] + "."))
        return shown

    def _uuid(self, marks: Marks) -> UUID:
        chance = self._chance
        return UUID(f"{marks.top}-4{_hex(chance, 3)}-{chance.choice('89ab')}{_hex(chance, 3)}-{_hex(chance, 12)}")


def _hex(chance: random.Random, digits: int) -> str:
    return f"{chance.getrandbits(4 * digits):0{digits}x}"
