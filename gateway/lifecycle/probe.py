"""Drives the parsers of ``media``, which never wait, with bytes from a store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..media.probe import Media, identify
from ..media.window import Need, Unreadable, Window
from ..model import Span

Read = Callable[[Span], Awaitable[bytes]]
"""Exactly the bytes of a Span that lies within the object, or an error of the store's own."""


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
