"""Query parameters as data: how each is read, and the schema that documents it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from ...contract import UUID_FORM, Found, Schema
from ...cursor import LENGTH
from ...errors import Malformed
from ...model import Head

PAGE_MAX = 200
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_UNESCAPED = re.compile(r"(?<=[0-9]) (?=[0-9]{2}:?[0-9]{2}\Z)", re.ASCII)
"""The plus sign before a time's offset, where nobody escaped it."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """``read`` raises ValueError, saying what the value must be."""

    schema: Schema
    read: Callable[[str], object]


def read_query(head: Head, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The parameters that were given, by name. Any: each has the type of its own ``read``.

    Raises Malformed for one that is unknown, given twice or not of its form.
    """
    found = {}
    for name, value in head.query.items():
        if name not in parameters:
            raise Malformed("query", message=f"the parameters are {', '.join(parameters)}")
        if name in found:
            raise Malformed("query", name, message="given twice")
        try:
            found[name] = parameters[name].read(value)
        except ValueError as error:
            raise Malformed("query", name, message=str(error)) from None
    return found


def schemas(parameters: Mapping[str, Parameter]) -> Mapping[str, Schema]:
    """For the route's Doc."""
    return {name: parameter.schema for name, parameter in parameters.items()}


def next_page(found: Found, path: str, cursor: str) -> str:
    """The URL of the page after this one: the same question, another place."""
    query = {name: value for name, value in found.head.query.items() if name != "cursor"}
    return f"{found.base}{path}?{urlencode({**query, 'cursor': cursor})}"


def number(least: int, most: int, description: str, **schema: object) -> Parameter:
    def read(text: str) -> int:
        if _NUMBER.fullmatch(text) is None or not least <= int(text) <= most:
            raise ValueError(f"must be a number from {least} to {most}")
        return int(text)

    return Parameter({"type": "integer", "minimum": least, "maximum": most, "description": description, **schema}, read)


def instant(description: str) -> Parameter:
    def read(text: str) -> datetime:
        try:
            when = datetime.fromisoformat(_UNESCAPED.sub("+", text.upper()))
            if when.tzinfo is not None:
                return when.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ValueError("must be a time with its zone, as 2026-05-25T10:04:48Z")

    return Parameter({"type": "string", "format": "date-time", "description": description}, read)


def one_of(kind: type[StrEnum], description: str, *, but: frozenset[StrEnum] = frozenset()) -> Parameter:
    values = [str(value) for value in kind if value not in but]

    def read(text: str) -> StrEnum:
        if text not in values:
            raise ValueError("must be one of " + ", ".join(values))
        return kind(text)

    return Parameter({"type": "string", "enum": values, "description": description}, read)


def uuid(description: str) -> Parameter:
    def read(text: str) -> UUID:
        if re.fullmatch(UUID_FORM, text) is None:
            raise ValueError("must be a UUID")
        return UUID(text)

    return Parameter({"type": "string", "format": "uuid", "description": description}, read)


def words(description: str, *, most: int = 200) -> Parameter:
    """Any text of 1 to ``most`` characters without NUL."""

    def read(text: str) -> str:
        if not 1 <= len(text) <= most or "\0" in text:
            raise ValueError(f"must have 1 to {most} characters")
        return text

    schema = {
        "type": "string",
        "minLength": 1,
        "maxLength": most,
        "pattern": r"^[^\x00]+$",
        "description": description,
    }
    return Parameter(schema, read)


LIMIT = number(1, PAGE_MAX, "Entries of one page at most.", default=50)
CURSOR = Parameter(
    {
        "type": "string",
        "minLength": LENGTH,
        "maxLength": LENGTH,
        "description": "The `next_cursor` of the page before; good with the very same filters.",
    },
    str,
)
