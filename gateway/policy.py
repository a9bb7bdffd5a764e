"""May this caller do this to this recording? Pure: tenant first, then scope, then state.

The order is what keeps a foreign call indistinguishable from one that does not exist: nobody learns anything of it, not
even that his own scope would have been too low. Roles, once a route asks for one, are compared beside the scopes.
"""

from __future__ import annotations

from datetime import datetime

from .errors import Absent, Expired, Failed, Forbidden, Internal, NotFound, NotReady
from .model import Caller, Entry, Recording, State

RETRY_S = 15
"""Seconds after which asking for an unfinished recording again makes sense."""


def permit(caller: Caller, entry: Entry, route_scopes: frozenset[str]) -> None:
    """One call, by one caller. Any one of ``route_scopes`` permits; none at all permits nobody.

    Raises NotFound (another tenant's call, or not the call the credential is bound to), Forbidden.
    """
    if entry.call.tenant != caller.tenant:
        raise NotFound("another tenant's call")
    if caller.call is not None and entry.call.id != caller.call:
        raise NotFound("not the call the credential is bound to")
    _permit_scope(caller, route_scopes)


def permit_scopes(caller: Caller, route_scopes: frozenset[str]) -> None:
    """What names no single call: a listing. A credential bound to one call never reaches it. Raises Forbidden."""
    if caller.call is not None:
        raise Forbidden(_any_of(route_scopes))
    _permit_scope(caller, route_scopes)


def servable(entry: Entry, now: datetime) -> Recording:
    """The recording, if its state at ``now`` lets it be served; its ``object`` is known then.

    Raises Absent, NotReady, Failed, Expired; Internal where the catalog says ready and knows no object.
    """
    recording, state = entry.recording, entry.state(now)
    if recording is None or state is State.ABSENT:
        raise Absent
    match state:
        case State.PENDING | State.PROCESSING:
            raise NotReady(state.value, retry_after=RETRY_S)
        case State.FAILED:
            raise Failed(recording.failure or "")
        case State.EXPIRED:
            raise Expired
        case State.READY:
            if recording.object is None:
                raise Internal(f"recording {recording.id} is ready and has no object; see its row in the catalog")
            return recording


def _permit_scope(caller: Caller, route_scopes: frozenset[str]) -> None:
    if caller.scopes.isdisjoint(route_scopes):
        raise Forbidden(_any_of(route_scopes))


def _any_of(route_scopes: frozenset[str]) -> str:
    """One scope that would do, always the same one."""
    return min(route_scopes, default="")
