"""Transcripts, as the pipeline puts them."""

from __future__ import annotations

from uuid import UUID

import orjson
from asyncpg.exceptions import RestrictViolationError

from ..asks.transcripts import PutTranscript
from ..config import Database
from ..errors import Contradicts, Expired
from ..model import State, Transcript
from ..postgres import Pool, borrow
from . import queries, records, search

_EXPIRED = f"""
    SELECT {queries.OVER} OR r.state = $3 FROM recordings r
    WHERE r.tenant_id = $1 AND r.call_id = $2 FOR SHARE
"""  # noqa: S608  constants only
_PUT = """
    INSERT INTO transcripts AS x (tenant_id, call_id, status, language, text, segments, words)
    VALUES ($1, $2, $3, $4, $5, $6::jsonb, transcript_words($1, $7))
    ON CONFLICT (call_id) DO UPDATE SET
        status = excluded.status, language = excluded.language, text = excluded.text, segments = excluded.segments,
        words = excluded.words,
        updated_at = CASE
            WHEN (x.status, x.language, x.text, x.segments)
                IS DISTINCT FROM (excluded.status, excluded.language, excluded.text, excluded.segments) THEN now()
            ELSE x.updated_at END
    WHERE x.tenant_id = excluded.tenant_id
    RETURNING status, language, text, segments, created_at, updated_at
"""


class Transcripts:
    """Raises Unavailable while Postgres is away."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s

    async def put(self, tenant: UUID, call: UUID, ask: PutTranscript) -> Transcript:
        """``call`` is the tenant's. Raises Expired; Contradicts (the account has transcription switched off; the words are held)."""
        new = ask.transcript
        segments = orjson.dumps(new.segments).decode() if new.segments else None
        async with borrow(self._pool, "catalog", wait_s=self._wait_s) as connection, connection.transaction():
            if not await connection.fetchval(queries.TRANSCRIBES, tenant):
                raise Contradicts("transcription_disabled", "The account has transcription switched off.")
            # Locked: were it to expire at this moment, the text would outlive it.
            if await connection.fetchval(_EXPIRED, tenant, call, str(State.EXPIRED)):
                raise Expired
            words = new.text and search.folded(new.text)
            try:
                row = await connection.fetchrow(_PUT, tenant, call, new.status, new.language, new.text, segments, words)
            except RestrictViolationError:
                raise Contradicts(
                    "recording_held", "The recording is on legal hold, and its transcript stays as it is."
                ) from None
        if row is None:
            raise LookupError("another tenant's call has come this far")
        return records.transcript(row)
