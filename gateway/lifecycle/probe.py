"""Feeds the parsers of ``media``, which do no I/O themselves, with bytes from a store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from ..errors import Broken, Changed, NotFound, OriginFailed
from ..media.probe import Media, identify
from ..media.window import Need, Unreadable, Window
from ..model import Span, Stat, Store

Read = Callable[[Span], Awaitable[bytes]]
"""Exactly the bytes of a Span that lies within the object, or an error of the store's own."""

ATTEMPTS = 3
"""Tries at an object that is replaced, or whose body breaks off, while its header is read."""
_EMPTY = "audio/wav"
"""Media type of an empty object, where one may be a recording."""


class Unfit(Exception):
    """The object is no recording; the message says why. ``missing``: there is none."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


async def probe(read: Read, size: int, *, window: Window | None = None) -> Media:
    """What the object of ``size`` bytes is, from bounded reads. Raises Unreadable, and whatever ``read`` raises.

    Parsing runs in a thread: hostile bytes may take it some tenths of a second, never more.
    """
    window = window or Window(size)
    while True:
        try:
            return await asyncio.to_thread(identify, window)
        except Need as need:
            span = window.plan(need)
        data = await read(span)
        if len(data) != len(span):
            raise Unreadable(f"the store gave {len(data)} of the {len(span)} bytes from {span.start}")
        window.put(span.start, data)


async def examine(
    store: Store, key: str, stat: Stat | None, *, media_type: str | None = None, allow_empty: bool = False
) -> tuple[Stat, Media]:
    """What a store's object is, and the version that was looked at; ``stat`` as ``stat_or_none`` just gave it.

    ``media_type`` overrules what the bytes say, and stands alone where they say nothing.
    Raises Unfit; Unavailable, OriginFailed, OriginTimeout, where nothing could be found out.
    """
    problem = ""
    for _ in range(ATTEMPTS):
        if stat is None:
            raise Unfit("the store has no such object", missing=True)
        if stat.size == 0 and allow_empty:
            return stat, Media(media_type or _EMPTY, duration_ms=0)
        try:
            media = await probe(partial(_bytes, store, key, stat.version), stat.size)
        except Unreadable as error:
            if media_type is None or stat.size == 0:
                raise Unfit(str(error)) from None
            return stat, Media(media_type)
        except (Changed, NotFound):
            problem = "is replaced"
        except Broken:
            problem = "breaks off"
        else:
            return stat, media if media_type is None else replace(media, media_type=media_type)
        stat = await stat_or_none(store, key)
    raise OriginFailed(f"the object {problem} whenever it is read; {ATTEMPTS} tries")


async def stat_or_none(store: Store, key: str) -> Stat | None:
    """None: no such object. Raises what ``Store.stat`` does otherwise."""
    try:
        return await store.stat(key)
    except NotFound:
        return None


async def _bytes(store: Store, key: str, version: str, span: Span) -> bytes:
    source = await store.open(key, span, version)
    pieces = []
    try:
        while piece := await source.read():
            pieces.append(piece)
    finally:
        await source.close()
    return b"".join(pieces)
