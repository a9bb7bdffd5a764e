"""May this caller do this to this recording? Pure: tenant first, then role and scope, then state.

The order is what keeps a foreign call indistinguishable from one that does not exist: nobody learns anything of it, not
even that his own scope would have been too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .contract import READY_ALONE, RETRY_S
from .errors import Absent, Expired, Failed, Forbidden, Internal, NotFound, NotReady
from .model import Caller, Entry, Object, State

_READY = State.READY


class Roles:
    """The configured roles, lowest first."""

    def __init__(self, ordered: Sequence[str]) -> None:
        self._rank = {role: rank for rank, role in enumerate(ordered)}

    def reach(self, role: str | None, least: str) -> bool:
        """Whether ``role`` is ``least`` or above. One that is not configured reaches nothing, nor is it reached."""
        needed = self._rank.get(least)
        return needed is not None and role is not None and self._rank.get(role, -1) >= needed


NO_ROLES = Roles(())


def permit(
    caller: Caller, entry: Entry, scopes: frozenset[str], least: str | None = None, roles: Roles = NO_ROLES
) -> None:
    """One call, by one caller: any one of ``scopes`` permits, and the role ``least``. Neither asked for: nobody may.

    Raises NotFound (another tenant's call, or not the one the credential is bound to), Forbidden.
    """
    if entry.call.tenant != caller.tenant:
        raise NotFound("another tenant's call")
    if caller.call is not None and entry.call.id != caller.call:
        raise NotFound("not the call the credential is bound to")
    _permit(caller, scopes, least, roles)


def permit_at_large(caller: Caller, scopes: frozenset[str], least: str | None = None, roles: Roles = NO_ROLES) -> None:
    """What names no single call: a listing, a setting. A credential bound to one call never reaches it. Raises Forbidden."""
    if caller.call is not None:
        raise Forbidden(_any_of(scopes))
    _permit(caller, scopes, least, roles)


def permit_public(entry: Entry) -> None:
    """One call, by whoever knows its id: where the account has switched that on. Raises NotFound."""
    if not entry.account.recording_enabled:
        raise NotFound("the account serves nothing publicly: recording_enabled is off")


def servable(entry: Entry, now: datetime, states: frozenset[State] = READY_ALONE) -> State:
    """The recording's state at ``now``, if it is one of ``states``.

    Raises Absent, NotReady, Failed, Expired; Internal where the catalog says ready and knows no object.
    """
    recording, state = entry.recording, entry.state(now)
    if state is _READY and (recording is None or recording.object is None):
        raise Internal(f"call {entry.call.id}: its recording is ready and has no object; see its row in the catalog")
    if state not in states:
        raise _refusal(entry, state)
    return state


def known_object(entry: Entry, state: State) -> Object:
    """The object that the recording lies in, if it is known. Raises what ``state`` is refused with otherwise."""
    if entry.recording is None or entry.recording.object is None:
        raise _refusal(entry, state)
    return entry.recording.object


def _refusal(entry: Entry, state: State) -> Absent | NotReady | Failed | Expired:
    match state:
        case State.PENDING | State.PROCESSING:
            return NotReady(state.value, retry_after=RETRY_S)
        case State.FAILED:
            return Failed((entry.recording and entry.recording.failure) or "")
        case State.EXPIRED:
            return Expired()
        case State.ABSENT | State.READY:  # ready without an object never comes here
            return Absent()


def _permit(caller: Caller, scopes: frozenset[str], least: str | None, roles: Roles) -> None:
    if least is not None and not roles.reach(caller.role, least):
        raise Forbidden(least, role=True)
    if (scopes or least is None) and caller.scopes.isdisjoint(scopes):
        raise Forbidden(_any_of(scopes))


def _any_of(scopes: frozenset[str]) -> str:
    """One of ``scopes``, always the same one, to name in a refusal."""
    return min(scopes, default="")
