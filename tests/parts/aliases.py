"""Fresh external ids of a call, one for each vendor's surface, each of its contract's form."""

from uuid import uuid4

WEAK = "call_abc123"
"""An id that anybody could guess."""


def fresh() -> dict[str, str]:
    """surface → external id; agentphone's is hard to guess."""
    return {
        "yotel": f"call_{uuid4().hex[:12]}",
        "agentphone": f"call_{uuid4()}",
        "callsid": f"call_{uuid4().hex[:12]}",
        "voki": str(uuid4()),
        "envoy": str(uuid4()),
    }
