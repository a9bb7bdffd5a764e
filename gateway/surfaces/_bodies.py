"""JSON bodies of requests, read by the pydantic models that also describe them. Pure."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ..errors import Malformed
from ..model import Head

B = TypeVar("B", bound="Body")


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""For integers, as JSON Schema has them: 60.0 is one. Must be the last in an Annotated."""


LINE = r"^[^\x00-\x1F\x7F]+$"
"""Neither line breaks nor other control characters."""

_TOLD = 1000
"""Errors in one body above which none is worded: pydantic words all of them for the first, and a large body can have 200,000."""


class Body(BaseModel):
    """Base of all request bodies: unknown members are refused, nothing is coerced, nothing sent is echoed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def read_body(head: Head, model: type[B]) -> B:
    """The request's body as ``model``; an empty one counts as ``{}``. Raises Malformed, naming the first member at fault."""
    try:
        return model.model_validate_json(head.body or b"{}")
    except ValidationError as error:
        if error.error_count() > _TOLD:
            raise Malformed("body", message=f"more than {_TOLD} things in it are not of their form") from None
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = (str(step) for step in first["loc"] if isinstance(step, int) or step in _names(model))
        said = _said(first["type"], first["msg"])
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            members = (field.alias or name for name, field in model.model_fields.items())
            said = f"the members are {', '.join(members)}"
        raise Malformed("body", *place, message=said) from None


@cache
def _names(model: type[Body]) -> frozenset[str]:
    """The names of all members that ``model`` declares, at any depth. Other names come from the sender, and are not echoed."""
    schema = model.model_json_schema()
    objects = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for each in objects for name in each.get("properties", ()))


def _said(kind: str, message: str) -> str:
    match kind:
        case "json_invalid":
            return "must be JSON"
        case "model_type":
            return "must be a JSON object"
        case "extra_forbidden":
            return "there is no such member"
        case "missing":
            return "required"
        case _:
            return message.removeprefix("Value error, ")
