"""Refusals in FastAPI's form: ``{"detail": text}``, and for what is malformed a list of what and where. Pure."""

from __future__ import annotations

from typing import Any

from .. import errors
from ..errors import Contradicts, Malformed, Refusal
from ..model import Head
from ._common import COMMON, missing
from ._words import Wording

WORDS: dict[type[Refusal], Wording] = {
    **COMMON,
    **missing((404, "not_found", "Call not found, or it has no recording."), errors.NotReady, errors.Failed),
    errors.NoTranscript: (404, "not_found", "The call has no transcript."),
    errors.Malformed: (422, "malformed", "not of its form"),
    errors.Unauthenticated: (401, "unauthenticated", "Not authenticated."),
    errors.Forbidden: (403, "forbidden", "Not permitted: the credential lacks the scope for this endpoint."),
}


def detail(_status: int, _code: str, message: str, refusal: Refusal, _head: Head) -> dict[str, Any]:
    match refusal:
        case Malformed(field=field, message=what):
            return {"detail": [{"loc": list(field), "msg": what, "type": "value_error"}]}
        case Contradicts(message=what):
            return {"detail": what}
        case _:
            return {"detail": message}
