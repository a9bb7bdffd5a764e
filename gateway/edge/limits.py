"""How much anybody may ask, counted as ``config.Limits`` says."""

from __future__ import annotations

from ..model import Caller


class NoLimits:
    """A ``model.Limits`` that counts nothing."""

    async def stranger(self, address: str) -> None: ...
    async def suspect(self, address: str) -> None: ...
    async def caller(self, caller: Caller) -> None: ...
    async def failed(self, address: str) -> None: ...
