"""Listings of recordings, by what is known of the call and by what was said in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ..model import Listing, State
from .queries import COLUMNS, OVER

_SPOKEN = "JOIN transcripts x ON x.tenant_id = r.tenant_id AND x.call_id = r.call_id"
_NOTS = re.compile(r"(?<![^\s!&|()\"])-(?:[\s!&|()]*-)+")
"""Several ``-`` before one word, with whatever a web search ignores between them. Postgres fails at some thirty of them."""
_SIGNS = re.compile(r"(?<![^\w\0-\x7f])([^\w\0-\x7f]{30})[^\w\0-\x7f]+")
"""More combining marks, or other signs of no word, than any writing puts side by side (UAX #15 section 13). To bring marks into
their order takes the square of their number: minutes, for a body full of them, in which nothing else is done here."""
_LONG = ("\ufdfa", "\ufdfb")
"""The two letters that stand for several words: NFKC makes up to 18 of each. No other makes more than 6."""
_LONG_MOST = 10_000
_OVER_OF_ONE = OVER.replace("p.id = r.tenant_id", "p.id = $1")
"""The same for recordings of the one tenant $1, whose days are looked up once."""

FEW = 2000
"""Where more calls than this match the words, going through the recordings from the newest on fills a page sooner."""
SAYING = f"""
    SELECT x.call_id FROM transcripts x
    WHERE numnode(websearch_to_tsquery('simple', $1)) > 0
        AND x.words @@ (websearch_to_tsquery('simple', $1) && $2::text::tsquery)
    LIMIT {FEW + 1}
"""  # noqa: S608  constants only
"""The account's calls in which words were said. $1: words as ``asked_for`` gives them; $2: the account as ``whose`` gives it.

At most FEW + 1 of them.
"""


def whose(tenant: UUID) -> str:
    """A tsquery for the word that marks every transcript of ``tenant``, beside the words that were said."""
    return f"'@{tenant}'"


def listing(
    tenant: UUID, asked: Listing, after: tuple[datetime, UUID] | None, saying: Sequence[UUID] | None = None
) -> tuple[str, list[object]]:
    """The statement and arguments for one row more than a page of recordings, newest first.

    ``saying``: the calls in which ``asked.text`` was said, where they are few.
    """
    arguments: list[object] = [tenant]

    def argument(value: object) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    where = ["r.tenant_id = $1"]
    if asked.state is State.EXPIRED:
        where.append(f"(r.state = 'expired' OR {_OVER_OF_ONE})")
    elif asked.state is not None:
        where.append(f"(r.state = {argument(str(asked.state))} AND NOT {_OVER_OF_ONE})")
    bounds = (
        ("r.created_at >=", asked.since),
        ("r.created_at <", asked.until),
        ("c.started_at >=", asked.started_since),
        ("c.started_at <", asked.started_until),
        ("c.department_id =", asked.department),
    )
    where += [f"{bound} {argument(value)}" for bound, value in bounds if value is not None]
    if asked.number is not None:
        number = argument(asked.number)
        sides = [f"number_key(c.{side}) = number_key({number})" for side in ("from_number", "to_number")]
        where.append(f"({' OR '.join(sides)})")
    if asked.text is not None:
        if saying is not None:
            where.append(f"r.call_id = ANY({argument(saying)}::uuid[])")
        else:
            words = f"websearch_to_tsquery('simple', {argument(asked_for(asked.text))})"
            where.append(f"x.words @@ ({words} && {argument(whose(tenant))}::text::tsquery)")
        # The words of what retention has ended lead to nothing, whether or not anything has swept it.
        where.append(f"x.status = 'ready' AND t.transcription_enabled AND r.state <> 'expired' AND NOT {_OVER_OF_ONE}")
    if after is not None:
        where.append(f"(r.created_at, r.id) < ({argument(after[0])}, {argument(after[1])})")
    statement = f"""
        SELECT {COLUMNS} FROM recordings r JOIN calls c ON c.tenant_id = r.tenant_id AND c.id = r.call_id
        JOIN tenants t ON t.id = r.tenant_id
        {_SPOKEN if asked.text is not None else ""}
        WHERE {" AND ".join(where)}
        ORDER BY r.created_at DESC, r.id DESC LIMIT {argument(asked.limit + 1)}
    """  # noqa: S608  constants and placeholders only
    return statement, arguments


def folded(text: str) -> str:
    """``text`` in the form in which words are kept and searched: NFKC, case folded; of signs side by side the first 30."""
    # As NFKC does itself, and early enough for _SIGNS: they are the only letters that become marks.
    text = text.replace("\uff9e", "\u3099").replace("\uff9f", "\u309a")
    for letter in _LONG:
        if text.count(letter) > _LONG_MOST:  # of no speech: a body full of them would take a third of a second
            text = text.replace(letter, " ")
    return unicodedata.normalize("NFKC", _SIGNS.sub(r"\1 ", text)).casefold()


def asked_for(text: str) -> str:
    """``text`` in the form in which it is searched: ``folded``, with double negations taken out."""
    return _NOTS.sub(lambda nots: "-" if nots[0].count("-") % 2 else "", folded(text))
