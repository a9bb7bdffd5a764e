"""The contracts, as data. A new vendor is one file beside these and one line here."""

from __future__ import annotations

from ..contract import Surface
from . import native, yotel

SURFACES: dict[str, Surface] = {surface.name: surface for surface in (native.SURFACE, yotel.SURFACE)}

__all__ = ["SURFACES"]
