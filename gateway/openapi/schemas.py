"""Types → JSON Schema (2020-12), and the schema that a surface's errors have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

REF = "#/components/schemas/{model}"
Json = dict[str, Any]  # Any: JSON Schema is JSON
_NAMES = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}


class _Told(GenerateJsonSchema):
    """pydantic's schemas without titles that repeat the names, and without defaults of null."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  Any: pydantic's own
        return False

    def default_schema(self, schema: Any) -> Json:  # Any: pydantic's own
        """Leaves out a default of null: clients send documented defaults, and a null that is sent may mean something else than none."""
        if schema.get("default", schema) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


@dataclass(frozen=True, slots=True)
class Schemas:
    """``of``: (type, asked or answered) → its schema; ``named``: what those refer to, by name."""

    of: Mapping[tuple[int, str], Json]
    named: Mapping[str, Json]

    def body(self, kind: object) -> Json:
        """The schema of a request's body."""
        return self.of[id(kind), "validation"]

    def body_required(self, kind: Any) -> bool:  # Any: whatever pydantic reads as a type
        """Whether a request must have a body: a missing one counts as ``{}``, which may be valid."""
        try:
            TypeAdapter[Any](kind).validate_python({})
        except ValidationError:
            return True
        return False

    def answer(self, kind: object) -> Json:
        """The schema of an answer's body."""
        return self.of[id(kind), "serialization"]


def schemas(bodies: Iterable[Any], answers: Iterable[Any]) -> Schemas:  # Any: whatever pydantic reads as a type
    """Raises pydantic's errors where a type has no schema."""
    kinds: dict[tuple[int, str], tuple[Any, Literal["validation", "serialization"]]] = {}
    for kind in bodies:
        kinds[id(kind), "validation"] = kind, "validation"
    for kind in answers:
        kinds[id(kind), "serialization"] = kind, "serialization"
    inputs = [(key, mode, TypeAdapter[Any](kind)) for key, (kind, mode) in kinds.items()]
    made, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF, schema_generator=_Told)
    of = {key: _bare(schema) for (key, _), schema in made.items()}
    return Schemas(of, {name: _bare(schema) for name, schema in definitions.get("$defs", {}).items()})


def _bare(schema: Json) -> Json:
    return {name: value for name, value in schema.items() if name != "title"}


def common(samples: Iterable[Any]) -> Json:
    """The tightest plain schema that every one of ``samples`` (parsed JSON) meets."""
    by_type: dict[str, list[Any]] = {}
    for sample in samples:
        by_type.setdefault(_type(sample), []).append(sample)
    kinds = [_common(kind, values) for kind, values in sorted(by_type.items())]
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _common(kind: str, values: list[Any]) -> Json:
    match kind:
        case "object":
            names = dict.fromkeys(name for value in values for name in value)
            return {
                "type": "object",
                "properties": {name: common(value[name] for value in values if name in value) for name in names},
                "required": [name for name in names if all(name in value for value in values)],
            }
        case "array":
            return {"type": "array", "items": common(item for value in values for item in value)}
        case _:
            return {"type": kind}


def _type(value: Any) -> str:
    match value:
        case dict():
            return "object"
        case list():
            return "array"
        case _:
            return _NAMES[type(value)]
