"""The contracts, as data. A new vendor is one file beside these and one line here."""

from __future__ import annotations

from ..contract import Surface
from . import agentphone, callsid, envoy, native, voki, yotel

SURFACES: dict[str, Surface] = {
    module.SURFACE.name: module.SURFACE for module in (native, yotel, agentphone, callsid, voki, envoy)
}

__all__ = ["SURFACES"]
