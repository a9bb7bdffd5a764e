"""``--once``: the demo asks itself for what it promises, over its own socket, and looks for the accesses in Postgres."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from uuid import uuid4

import aiohttp
import asyncpg
import orjson

from . import cast
from .cast import Sound
from .facts import Facts

AUDIT_S = 15
"""Seconds within which accesses must be in Postgres."""
ACCESSES = """
    SELECT count(*) AS requests, coalesce(sum(bytes_sent), 0)::bigint AS bytes FROM accesses
    WHERE user_agent = $1 AND result = 'complete' AND method = 'stream'
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def is_whole(self, size: int, sha256: str) -> bool:
        """Whether it is a 200 with exactly those bytes."""
        return (
            self.status == HTTPStatus.OK and len(self.body) == size and hashlib.sha256(self.body).hexdigest() == sha256
        )


class Client:
    """A client that keeps count of the audio it was given."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.streams = 0
        self.bytes = 0

    async def ask(
        self, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", body: object = None
    ) -> Answer:
        """One request."""
        data = None if body is None else orjson.dumps(body)
        async with self._session.request(method, url, headers=headers, data=data) as got:
            return Answer(got.status, got.headers, await got.read())

    async def play(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """One request for audio that should succeed."""
        answer = await self.ask(url, headers)
        self.streams += 1
        self.bytes += len(answer.body)
        return answer


async def check(facts: Facts) -> AsyncIterator[tuple[str, bool]]:
    """What was tried, and whether it went as it should."""
    agent = f"recording-gateway-demo/{uuid4()}"
    async with aiohttp.ClientSession(headers={"User-Agent": agent}) as session:
        client = Client(session)
        async for told in _serving(facts, client):
            yield told
        async for told in _refusing(facts, client):
            yield told
        yield "each of these in Postgres, to the byte", await _audited(facts, agent, client)


async def _serving(facts: Facts, client: Client) -> AsyncIterator[tuple[str, bool]]:
    ids, headers = facts.ids("native"), facts.credentials["native"].full
    sounds = {sound.name: sound for sound in facts.sounds}
    playing = {part: sounds[name] for part, name in cast.parts(facts.sounds).items() if name in sounds}
    recordings = f"{facts.mounts['native']}/v1/recordings"
    for part, sound in playing.items():
        answer = await client.play(f"{recordings}/{ids[part]}/audio", headers)
        yield f"{part}: whole, from {sound.store}, SHA-256 equal", answer.is_whole(sound.size, sound.sha256)

    sound, audio = playing["ready"], f"{recordings}/{ids['ready']}/audio"
    whole = (await client.play(audio, headers)).body
    part_of = await client.play(audio, {**headers, "Range": "bytes=1000-1999"})
    yield "ready: bytes 1000 to 1999", part_of.status == HTTPStatus.PARTIAL_CONTENT and part_of.body == whole[1000:2000]
    head = await client.ask(audio, headers, method="HEAD")
    yield "ready: HEAD", head.status == HTTPStatus.OK and head.headers.get("Content-Length") == str(sound.size)
    async for told in _vendors(facts, client, sounds):
        yield told
    link = await client.ask(f"{recordings}/{ids['ready']}/links", headers, method="POST", body={"delivery": "gateway"})
    made = link.status == HTTPStatus.CREATED
    linked = await client.play(orjson.loads(link.body)["url"]) if made else link
    yield "ready: a link, played without headers", linked.is_whole(sound.size, sound.sha256)
    empty = await client.ask(f"{recordings}/{ids['ready_empty']}/audio", headers)
    yield "ready_empty: no bytes", empty.is_whole(0, hashlib.sha256().hexdigest())


AUDIO = {
    "yotel": "/api/v1/calls/{}/recording/audio",
    "agentphone": "/v1/calls/{}/recording",
    "callsid": "/api/calls/{}/recording/download",
    "voki": "/api/v1/calls/{}/recording/download",
}
ENVOY = "/api/v1/calls/{}/recording"


async def _vendors(facts: Facts, client: Client, sounds: Mapping[str, Sound]) -> AsyncIterator[tuple[str, bool]]:
    for surface, path in AUDIO.items():
        sound = sounds[cast.parts(facts.sounds, video=surface == "voki")["ready"]]
        call, fields = facts.ids(surface)["ready"], facts.credentials[surface].full
        answer = await client.play(facts.mounts[surface] + path.format(call), fields)
        yield f"{surface}: whole, SHA-256 equal", answer.is_whole(sound.size, sound.sha256)
    envoy = facts.mounts["envoy"] + ENVOY.format(facts.ids("envoy")["ready"])
    linked = await client.ask(envoy, facts.credentials["envoy"].full)
    yield "envoy: a playback URL", linked.status == HTTPStatus.OK and "url" in orjson.loads(linked.body)


async def _refusing(facts: Facts, client: Client) -> AsyncIterator[tuple[str, bool]]:
    ids, headers = facts.ids("native"), facts.credentials["native"].full
    recordings = f"{facts.mounts['native']}/v1/recordings"
    for part, status in {"pending": 409, "failed": 409, "expired": 410, "foreign": 404, "missing": 404}.items():
        answer = await client.ask(f"{recordings}/{ids[part]}/audio", headers)
        yield f"{part}: {status}", answer.status == status
    limited = await client.ask(f"{recordings}/{ids['ready']}/audio", facts.credentials["native"].limited)
    yield "ready, with a key that may not download: 403", limited.status == HTTPStatus.FORBIDDEN


async def _audited(facts: Facts, agent: str, client: Client) -> bool:
    """The empty recording's stream is one more than what was played."""
    wanted = (client.streams + 1, client.bytes)
    connection = await asyncpg.connect(facts.database_url)
    try:
        async with asyncio.timeout(AUDIT_S):
            while tuple(await connection.fetchrow(ACCESSES, agent) or ()) != wanted:  # noqa: ASYNC110 - the shipper is elsewhere
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    finally:
        await connection.close()
    return True
