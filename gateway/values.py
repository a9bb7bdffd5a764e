"""Values that every request makes: frozen to the type checker, and as quick to make as what is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from typing_extensions import dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass with slots, equal and hashed by its fields, that mypy lets nobody assign to.

    One that is frozen at run time sets each field through ``object.__setattr__``: of a range's instructions that was an
    eighth (docs/decisions/0020).
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
