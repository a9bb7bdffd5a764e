"""A Config as TOML that explains itself: above each key what it is for and in which unit, secrets masked. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import tomlkit
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..config import AnyStore, Config, Issuer

MASK = "**********"
HEADER = """\
# Every key with its default, as `recording-gateway config show --defaults` prints them. Copy only what you change.
# The environment overrides a key so: RECORDING_GATEWAY__SERVER__PORT=9000. "#key =": unset, there is no default.
# TOML has no word for unset. What has a default and may be unset is unset so: RECORDING_GATEWAY__LIMITS='{"public": null}'
"""
_URL = re.compile(r"^(?P<scheme>[a-z+]+://)(?:(?P<user>[^/?#:@]*)(?P<password>:[^/?#@]*)?@)?(?P<place>[^@]*)$")


def defaults() -> str:
    """Every key at its default, with templates of the tables that have none."""
    lines = [HEADER.rstrip("\n"), *_tables(Config.model_construct(), ())]
    for store in get_args(get_args(AnyStore)[0]):
        lines += _template("[stores.NAME]", store)
    return "\n".join([*lines, *_template("[[identity.issuers]]", Issuer)]) + "\n"


def effective(config: Config) -> str:
    """What counts after file and environment; where a value is not the default, the default stands beside it."""
    return "\n".join(_tables(config, ())).lstrip("\n") + "\n"


def plain(value: object, name: str = "") -> Any:  # a setting may be any JSON value
    """A setting as TOML and JSON can hold it, secrets masked."""
    match value:
        case SecretStr():
            return _masked(name, value.get_secret_value())
        case BaseModel():
            return {key: plain(getattr(value, key), key) for key in type(value).model_fields}
        case Mapping():
            return {str(key): plain(item, name) for key, item in value.items()}
        case tuple() | list():
            return [plain(item, name) for item in value]
        case None | bool() | int() | float():
            return value
    return str(value)


def _masked(name: str, secret: str) -> str:
    """Of a URL all but its password; of any other secret, and of a URL that hides one elsewhere, nothing."""
    url = _URL.match(secret) if name.endswith("url") and "password" not in secret.lower() else None
    if url is None:
        return MASK
    if url["user"] is None:
        return secret
    return url["scheme"] + url["user"] + (f":{MASK}@" if url["password"] else "@") + url["place"]


def _tables(model: BaseModel, path: tuple[str, ...]) -> Iterator[str]:
    """The lines of ``model``'s own keys, then those of the tables in it."""
    inner: list[tuple[tuple[str, ...], object]] = []
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if _is_table(info, value):
            inner.append(((*path, name), value))
        else:
            yield from _key(name, info, value)
    for place, value in inner:
        match value:
            case BaseModel():
                yield from _table(f"[{_dotted(place)}]", value, place)
            case Mapping():
                for key, item in value.items():
                    yield from _table(f"[{_dotted((*place, key))}]", item, (*place, key))
            case tuple():
                for item in value:
                    yield from _table(f"[[{_dotted(place)}]]", item, place)


def _is_table(info: FieldInfo, value: object) -> bool:
    if info.annotation == Mapping[str, AnyStore]:
        return True
    items = value if isinstance(value, tuple) else (value,)
    return any(isinstance(item, BaseModel) for item in items)


def _table(header: str, model: BaseModel, path: tuple[str, ...]) -> Iterator[str]:
    yield from ("", *_comment(_summary(type(model))), header)
    yield from _tables(model, path)


def _template(header: str, model: type[BaseModel]) -> Iterator[str]:
    """A table that has no default, all of it commented out."""
    yield from ("", *_comment(_summary(model)), f"#{header}")
    for name, info in model.model_fields.items():
        if name == "kind":
            yield f'#kind = "{get_args(info.annotation)[0]}"'
            continue
        *comment, line = _key(name, info, None if info.is_required() else info.get_default(call_default_factory=True))
        yield from comment
        yield "#" + line.removeprefix("#") + (" # required" if info.is_required() else "")


def _key(name: str, info: FieldInfo, value: object) -> Iterator[str]:
    yield from _comment(info.description or "")
    default = None if info.default is PydanticUndefined else info.get_default()
    beside = "" if info.is_required() or value == default else f"  # default: {_toml(plain(default, name))}"
    if value is None:
        yield f"#{name} ={beside}"
        return
    yield f"{name} = {_toml(plain(value, name))}{beside}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ")


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(tomlkit.key(step).as_string() for step in path)


def _toml(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update(value)
        return table.as_string()
    return tomlkit.item(value).as_string()
