"""JSON Schema as a person reads it: ``{id: string (uuid), state: "ready" | "failed", note?: string | null}``."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from .schemas import REF, Json

_REF = REF.format(model="")
_INDENT = "  "
_LONG = "x" * 60
"""A pattern as long as this tells nobody anything."""
_BOUNDS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "minLength": "at least {} long",
    "maxLength": "at most {} long",
    "maxItems": "at most {}",
}


def shape(schema: Json, named: Mapping[str, Json], *, depth: int = 0, seen: frozenset[str] = frozenset()) -> str:
    """``named``: what ``$ref`` leads to. One that leads back to itself is told by its name."""
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(_REF)
        return name if name in seen else shape(named[name], named, depth=depth, seen=seen | {name})
    choices = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    if (
        choices and "properties" not in schema
    ):  # beside them they say what goes together, and a shape tells no such thing
        kinds = [shape(each, named, depth=depth, seen=seen) for each in choices]
        return " | ".join(dict.fromkeys(kinds))
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if values:
        return " | ".join(orjson.dumps(value).decode() for value in values)
    kind = schema.get("type", "anything")
    if kind == "object":
        return _object(schema, named, depth, seen)
    if kind == "array":
        return f"[{shape(schema.get('items', {}), named, depth=depth, seen=seen)}, …]"
    return (" | ".join(kind) if isinstance(kind, list) else str(kind)) + _narrowed(schema)


def _object(schema: Json, named: Mapping[str, Json], depth: int, seen: frozenset[str]) -> str:
    members: Json = schema.get("properties", {})
    if not members:
        values = schema.get("additionalProperties")
        return (
            "{" + (f"[name]: {shape(values, named, depth=depth, seen=seen)}" if isinstance(values, dict) else "") + "}"
        )
    required = schema.get("required", [])
    inner = _INDENT * (depth + 1)
    lines = [
        f"{inner}{name}{'' if name in required else '?'}: {shape(each, named, depth=depth + 1, seen=seen)}"
        for name, each in members.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{_INDENT * depth}}}"


def _narrowed(schema: Json) -> str:
    told = [str(schema["format"])] if "format" in schema else []
    told += [f"/{schema['pattern']}/"] if len(schema.get("pattern", _LONG)) < len(_LONG) else []
    told += [text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema]
    return f" ({', '.join(told)})" if told else ""
