"""Voki: metadata with a download beside it, by role; recordings and their departments are kept.

https://voki.avanter.com.br, "Recordings". Ids are UUIDs; a malformed one is a call that does not exist. The roles
``attendant`` and, for departments, ``admin`` are looked up in the configured order.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from .. import errors
from ..asks.tenants import DeleteDepartment
from ..contract import MEDIA, UUID_FORM, Doc, Found, Route, Schema, Surface, Transcribed
from ..errors import Contradicts, Malformed, Refusal
from ..event import Method
from ..http.headers import content_disposition
from ..model import Head, Presented, Verb
from ._common import COMMON, missing
from ._voki_metadata import DOWNLOAD, RECORDING, RecordedAnswer, extension, metadata
from ._words import BRIEFLY, Wording, alias, audio, bearer, known, no_content, refuser

TENANT = "X-Tenant"

WORDS: dict[type[Refusal], Wording] = {
    **COMMON,
    **missing((404, "not_found", "Recording not found"), errors.Malformed, errors.NotReady, errors.Failed),
    errors.Unauthenticated: (401, "unauthorized", "Send a valid token as 'Authorization: Bearer …'."),
    errors.Forbidden: (403, "forbidden", "No permission: the role is too low for this endpoint."),
}


def _error(_status: int, _code: str, message: str, refusal: Refusal, head: Head) -> dict[str, Any]:
    match refusal:
        case Contradicts(message=own):
            message = own
        case errors.MethodNotAllowed() if head.method == "DELETE":
            message = "Recordings cannot be deleted one by one"
        case errors.NotFound() | Malformed() if "id" in head.path:
            message = "Department not found"
        case _:
            pass
    return {"errors": {"detail": message}}


def _present(head: Head) -> Presented:
    return bearer(head, tenant_field=TENANT)


def _department(head: Head) -> DeleteDepartment:
    if re.fullmatch(UUID_FORM, head.path["id"]) is None:
        raise Malformed("path", "id")
    return DeleteDepartment(UUID(head.path["id"]))


def _file_name(found: Found) -> str:
    _, _, stored = known(found)
    return content_disposition("inline", f"recording-{found.head.path['call_id']}{extension(stored.media_type)}")


_call = alias("voki", UUID_FORM)
_NO_SCOPE: frozenset[str] = frozenset()
_FIELDS: dict[str, Schema] = {TENANT: {"type": "string"}}
_PATH: dict[str, Schema] = {"call_id": {"type": "string"}}

SURFACE = Surface(
    name="voki",
    about="Voki's contract: metadata and a download by role; recordings and their departments are kept. Ids are UUIDs.",
    present=_present,
    refuse=refuser(WORDS, _error),
    vary=f"Authorization, {TENANT}",
    routes=(
        Route(
            "GET",
            RECORDING,
            Verb.DESCRIBE,
            _NO_SCOPE,
            _call,
            metadata,
            role="attendant",
            transcript=Transcribed.OPTIONAL,
            doc=Doc(
                "Get a call's recording",
                "Metadata, and where to download it. Minimum role: attendant. Recordings cannot be deleted one by one.",
                answer=RecordedAnswer,
                path=_PATH,
                fields=_FIELDS,
            ),
        ),
        Route(
            "GET",
            DOWNLOAD,
            Verb.PLAY,
            _NO_SCOPE,
            _call,
            audio(BRIEFLY, _file_name),
            role="attendant",
            doc=Doc("Download a call's recording", "Minimum role: attendant.", media=MEDIA, path=_PATH, fields=_FIELDS),
        ),
        Route(
            "DELETE",
            RECORDING,
            Verb.DELETE,
            _NO_SCOPE,
            _call,
            metadata,
            role="attendant",
            allow="GET, HEAD, OPTIONS",
            doc=Doc(
                "Refused: recordings cannot be deleted one by one",
                "405, and the attempt is audited.",
                status=405,
                path=_PATH,
                fields=_FIELDS,
            ),
        ),
        Route(
            "DELETE",
            "/api/v1/departments/{id}",
            Verb.ACT,
            _NO_SCOPE,
            lambda _head: None,
            no_content,
            ask=_department,
            role="admin",
            audited=Method.SETTINGS,
            doc=Doc(
                "Delete a department",
                "Refused with 409 while any of its calls has a recording. Minimum role: admin.",
                conflicts=("department_has_recordings",),
                status=204,
                path={"id": {"type": "string"}},
                fields=_FIELDS,
            ),
        ),
    ),
)
