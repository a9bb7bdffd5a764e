"""What the audit in Postgres says of requests that tests tell apart by their User-Agent."""

import asyncio
from collections.abc import Collection

import asyncpg

from .house import Office

_ASKED = "SELECT * FROM accesses WHERE user_agent = ANY($1::text[]) ORDER BY occurred_at"
PATIENCE_S = 20.0


async def ended(office: Office, agents: Collection[str]) -> list[asyncpg.Record]:
    """Every access of theirs, oldest first, once there is one for each and all of them have ended."""
    rows: list[asyncpg.Record] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len(rows) < len(agents) or any(row["result"] is None for row in rows):
                rows = await office.rows(_ASKED, list(agents))
                await asyncio.sleep(0.05)  # Postgres tells nobody of what arrives
    except TimeoutError:
        missing = set(agents) - {row["user_agent"] for row in rows if row["result"]}
        raise AssertionError(f"not in the audit, or not ended: {sorted(missing)}") from None
    return rows


async def outcomes(office: Office, agents: Collection[str]) -> dict[str, asyncpg.Record]:
    """User-Agent → its access, for those that made one request each."""
    rows = await ended(office, agents)
    assert len(rows) == len(agents), "an access stands twice in the audit"
    return {row["user_agent"]: row for row in rows}


async def outcome(office: Office, agent: str) -> asyncpg.Record:
    """The one access of ``agent``."""
    return (await outcomes(office, [agent]))[agent]
