"""How the native surface names calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from uuid import UUID

from ...aliases import kept
from ...contract import UUID_FORM, Schema
from ...errors import Malformed
from ...model import CallRef, Head

SURFACE_NAME = r"[a-z][a-z0-9_]{0,31}"
"""As the catalog keeps them, whoever registered them."""
EXTERNAL_ID = r"[A-Za-z0-9_.+~=@-]{1,255}"
"""Most Call-IDs of SIP (RFC 3261 section 25.1) among them, and nothing that a path has a meaning for."""
_EXTERNAL = re.compile(rf"({SURFACE_NAME}):({EXTERNAL_ID})", re.ASCII)
_UUID = re.compile(UUID_FORM, re.ASCII)

PATH: Mapping[str, Schema] = {
    "id": {
        "type": "string",
        "pattern": rf"^({UUID_FORM}|{_EXTERNAL.pattern})$",
        "description": "The call's UUID, or `surface:external-id`.",
    }
}
"""What ``call`` reads, for a route's Doc."""


def call(head: Head) -> CallRef:
    """The path's ``id``: an internal UUID, or ``surface:external-id``. Raises Malformed."""
    return _named(head.path["id"])


@lru_cache(maxsize=4096)
def _named(text: str) -> CallRef:
    if _UUID.fullmatch(text) is not None:
        return CallRef(None, str(UUID(text)))
    if (named := _EXTERNAL.fullmatch(text)) is not None:
        return CallRef(named[1], kept(named[1], named[2]))
    raise Malformed("path", "id", message="must be a UUID, or surface:external-id")


def uuid_in(head: Head, name: str) -> UUID:
    """The path's ``name`` as a UUID. Raises Malformed."""
    if _UUID.fullmatch(head.path[name]) is None:
        raise Malformed("path", name, message="must be a UUID")
    return UUID(head.path[name])


def nothing(_head: Head) -> None:
    """For a route that names no call."""
