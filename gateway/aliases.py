"""External ids in the one form that the catalog keeps, so that what was registered in another is found all the same. Pure."""

from __future__ import annotations

import re

ENVOY_PREFIX = "call_"
PUBLIC = "agentphone"
"""The surface on which whoever knows a call's id may download its recording: there the id is a credential."""
_PREFIXES = re.compile(f"^(?:{ENVOY_PREFIX})+")


def kept(surface: str, external: str) -> str:
    """``external`` as ``surface`` keeps it. Envoy's is a UUID, in any case, with or without ``call_``: kept bare, in lower case.

    All others are kept, and compared, exactly as they come. An id may pass here more than once on its way: what is kept stays so.
    """
    return _PREFIXES.sub("", external.lower()) if surface == "envoy" else external
