"""Every reason not to serve, once. Surfaces decide how each one is worded; nothing else does.

A ``Refusal`` is raised before the first byte and becomes an answer. What only the gateway's own parts tell each other
(``Changed``, ``Broken``, …) is not a Refusal and never reaches a client as such.
"""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """Base of all refusals; never raised itself.

    ``reason`` is the stable slug that the audit keeps. ``detail`` is for the operator's log, never for the client.
    ``retry_after`` is in seconds; None means that asking again won't help.
    """

    reason: ClassVar[str] = "refused"
    repeated = False
    """The same was refused a moment ago: the audit has that refusal and does not take this one."""

    def __init__(self, detail: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class BadRequest(Refusal):
    """The request itself is ambiguous or broken: two Range lines, two credentials, two Hosts."""

    reason = "bad_request"


class TooLarge(Refusal):
    """The request's body is over the bound, ``most`` bytes."""

    reason = "too_large"

    def __init__(self, detail: str = "", *, most: int | None = None) -> None:
        super().__init__(detail)
        self.most = most


class CodedBody(Refusal):
    """The request's body is under a Content-Encoding; none is undone here (RFC 9110 section 15.5.16)."""

    reason = "coded_body"


class Malformed(Refusal):
    """An id or a parameter is not of its form. ``field`` names it as ("path", "call_id") or ("query", "limit")."""

    reason = "malformed"

    def __init__(self, *field: str, message: str = "not of the expected form") -> None:
        super().__init__(".".join(field))
        self.field = field
        self.message = message


class Unauthenticated(Refusal):
    """No credential of a kind that is taken here, or (``presented``) one that proves nothing."""

    reason = "unauthenticated"

    def __init__(self, detail: str = "", *, presented: bool = False) -> None:
        super().__init__(detail)
        self.presented = presented


class Forbidden(Refusal):
    """Own tenant, but the scope or role is too low. ``needed`` is the scope (``role``: the role) that would do."""

    reason = "forbidden"

    def __init__(self, needed: str, *, role: bool = False) -> None:
        super().__init__(needed)
        self.needed = needed
        self.role = role


class UnknownRoute(Refusal):
    """No surface has such a path."""

    reason = "unknown_route"


class MethodNotAllowed(Refusal):
    """The path is known, the method is not. ``allow`` is the Allow field."""

    reason = "method_not_allowed"

    def __init__(self, allow: str) -> None:
        super().__init__(allow)
        self.allow = allow


class NotFound(Refusal):
    """No such call, or another tenant's: a client cannot tell which."""

    reason = "not_found"


class ObjectMissing(Refusal):
    """The catalog says ready, and the store has no such object: to the client a 404, to the operator an alarm."""

    reason = "object_missing"


class Absent(Refusal):
    """The call exists and was never recorded."""

    reason = "recording_absent"


class NotReady(Refusal):
    """Pending or processing; ask again."""

    reason = "recording_not_ready"


class Failed(Refusal):
    """The recording failed for good."""

    reason = "recording_unavailable"


class Expired(Refusal):
    """Past its retention."""

    reason = "recording_expired"


class LinkSpent(Refusal):
    """A link that was altered or made up, is not on record, or is not good from this address."""

    reason = "link_spent"


class LinkExpired(Refusal):
    """A link whose time is over. Its wording differs from LinkSpent's by nothing but the status."""

    reason = "link_expired"


class LinkRevoked(Refusal):
    """A link that was taken back. Worded as LinkExpired is."""

    reason = "link_revoked"


class LinkUsedUp(Refusal):
    """A link whose uses are spent. Worded as LinkSpent is."""

    reason = "link_used_up"


class NoTranscript(Refusal):
    """The call has no transcript, or its tenant has none made."""

    reason = "transcript_absent"


class Contradicts(Refusal):
    """What was asked contradicts what is there. ``code`` and ``message`` are for the client; neither holds what was sent."""

    reason = "conflict"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


class NoLink(Refusal):
    """The recording's store signs no URLs, and no gateway link key is configured."""

    reason = "link_unsupported"


class PreconditionFailed(Refusal):
    """RFC 9110 section 13: If-Match or If-Unmodified-Since is false."""

    reason = "precondition_failed"


class Unsatisfiable(Refusal):
    """RFC 9110 section 14.4: no requested range lies within the ``size`` bytes of the object."""

    reason = "range_unsatisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(str(size))
        self.size = size


class TooMany(Refusal):
    """A rate was reached. ``policy`` names it, as ``key``; ``quota`` requests in ``window_s`` seconds.

    ``repeated``: the same was refused so before, in the same window.
    """

    reason = "rate_limited"

    def __init__(self, policy: str, *, quota: int, window_s: int, retry_after: int, repeated: bool = False) -> None:
        super().__init__(policy, retry_after=retry_after)
        self.policy = policy
        self.quota = quota
        self.window_s = window_s
        self.repeated = repeated


class StreamsLimited(Refusal):
    """A tenant or an address has as many bodies on their way as it may: ``quota`` of them, by ``policy``, at once."""

    reason = "streams_limited"

    def __init__(self, policy: str, *, quota: int, retry_after: int, repeated: bool = False) -> None:
        super().__init__(policy, retry_after=retry_after)
        self.policy = policy
        self.quota = quota
        self.repeated = repeated


class TooManyStreams(Refusal):
    """This process has as many bodies on their way as it may. An overload, no outage: all else is served."""

    reason = "too_many_streams"

    def __init__(self, detail: str = "", *, retry_after: int = 5, repeated: bool = False) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.repeated = repeated


class Unavailable(Refusal):
    """Storage, database or journal is out of reach: 503, never a 404."""

    reason = "unavailable"

    def __init__(self, detail: str = "", *, retry_after: int = 5) -> None:
        super().__init__(detail, retry_after=retry_after)


class OriginFailed(Refusal):
    """The store answered, and what it answered is wrong: 502."""

    reason = "origin_failed"


class OriginTimeout(Refusal):
    """The store did not answer in time: 504."""

    reason = "origin_timeout"


class Internal(Refusal):
    """A defect of the gateway's own: 500. The log has the traceback under the request id."""

    reason = "internal"


class Changed(Exception):
    """The object at the store is no longer the pinned version. Before the first byte: stat and plan anew, once."""


class Broken(Exception):
    """A body ended before its time (cut, reset, stalled). The rest may be had by a ranged read at the same version."""


class Rejected(Exception):
    """A sink refuses at least one of the records for what it holds, as a text too long for an index; asking again won't help."""


class Conflict(Exception):
    """What was to be written contradicts what is stored. The message says how, for people; ``code`` does so for programs."""

    def __init__(self, what: str, code: str = "conflict") -> None:
        super().__init__(what)
        self.code = code
