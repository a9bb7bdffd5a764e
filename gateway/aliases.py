"""External ids in the one form that the catalog keeps, so that what was registered in another is found all the same. Pure."""

from __future__ import annotations

import re

ENVOY_PREFIX = "call_"
PUBLIC = "agentphone"
"""The surface on which whoever knows a call's id may download its recording: there the id is a credential."""
_PREFIXES = re.compile(f"^(?:{ENVOY_PREFIX})+")


def kept(surface: str, external: str) -> str:
    """``external`` in the form that the catalog keeps. Envoy's ids lose ``call_`` and become lower case; all others stay as they are.

    Idempotent: an id may pass here more than once on its way.
    """
    return _PREFIXES.sub("", external.lower()) if surface == "envoy" else external
