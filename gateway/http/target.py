"""What a request's first line is aimed at: host, path and query (RFC 9112 section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import parse_qsl

from multidict import MultiDict

QUERY_FIELDS = 50
"""Parameters of one query; of one that has more, none is read."""

_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?", re.ASCII)
"""RFC 3986 section 3.2 without user information; nor with the comma, which joins two Host lines into one."""
_ABSOLUTE = re.compile(
    rf"https?://(?P<host>(?!:|/){_AUTHORITY.pattern})(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.ASCII | re.IGNORECASE,
)
_NO_QUERY: MultiDict[str] = MultiDict()

NOWHERE: tuple[None, str, str] = (None, "/", "")
"""The target of what cannot be told."""


def read_target(raw: str, hosts: Sequence[str], *, http_1_0: bool = False) -> tuple[str | None, str, str]:
    """(host, raw path, raw query) of the request target ``raw`` and the Host lines. Host None: there is not exactly one.

    HTTP/1.0 may do without: then it is nobody's in particular, "".
    """
    if not hosts and http_1_0:
        hosts = ("",)  # which knew no Host: balancers' health checks come so
    host = hosts[0] if len(hosts) == 1 and is_authority(hosts[0]) else None
    if not raw.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(raw)
        if absolute is None or host is None:
            return NOWHERE
        return absolute["host"], absolute["path"] or "/", absolute["query"] or ""
    path, _, query = raw.partition("?")
    return host, path.partition("#")[0], query


@lru_cache(maxsize=256)
def is_authority(text: str) -> bool:
    return _AUTHORITY.fullmatch(text) is not None


def read_query(raw: str) -> MultiDict[str]:
    """The parameters in their order. Of too many none is read: what stands for them is no parameter of anything."""
    if not raw:
        return _NO_QUERY
    try:
        return MultiDict(parse_qsl(raw, keep_blank_values=True, max_num_fields=QUERY_FIELDS))
    except ValueError:
        return MultiDict({"": ""})
