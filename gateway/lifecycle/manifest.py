"""A list of recordings, as text: CSV with a header line, or one JSON object a line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ..aliases import kept
from ..model import KEY_BYTES, Lifetime, NewCall
from ..moments import DAYS_MAX, Happened, Instant

_ALIAS = re.compile(r"([a-z][a-z0-9_]{0,31}):(\S{1,255})")
_CONTROL = re.compile(r"[\x00-\x1F\x7F]")


def _aliases(given: object) -> object:
    """``surface:id`` words with spaces between, a list of them, or surface → id."""
    if isinstance(given, str):
        given = given.split()
    if not isinstance(given, list):
        return given
    found: dict[str, str] = {}
    for word in given:
        match = _ALIAS.fullmatch(str(word))
        if match is None:
            raise ValueError("each is surface:id, as yotel:c-1024")
        external = kept(match[1], match[2])
        if found.setdefault(match[1], external) != external:
            raise ValueError(f"two ids for {match[1]}; one row is one call")
    return found


def _as_kept(aliases: dict[str, str]) -> dict[str, str]:
    return {surface: kept(surface, external) for surface, external in aliases.items()}


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must hold no NUL")
    return text


def _plain(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must hold no control characters")
    return text


def _short(key: str) -> str:
    if len(key.encode()) > KEY_BYTES:
        raise ValueError(f"must have {KEY_BYTES} bytes at most")
    return key


# What neither Postgres nor a header could hold would end the whole run, not its own line alone.
_Text = Annotated[str, Field(min_length=1), AfterValidator(_plain)]
_Number = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_plain)]


class Row(BaseModel):
    """One recording of a manifest. The fields are the columns; an empty one is as good as none."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    key: Annotated[str, Field(min_length=1), AfterValidator(_storable), AfterValidator(_short)]
    store: _Text
    call: UUID | None = None
    aliases: Annotated[dict[_Text, _Text], BeforeValidator(_aliases), AfterValidator(_as_kept)] = {}
    direction: Literal["inbound", "outbound", "internal"] | None = None
    from_number: _Number | None = Field(None, alias="from")
    to_number: _Number | None = Field(None, alias="to")
    voice_agent: bool | None = None
    department: UUID | None = None
    started_at: Happened | None = None
    answered_at: Happened | None = None
    ended_at: Happened | None = None
    expires_at: Instant | None = None
    retention_days: int | None = Field(None, gt=0, le=DAYS_MAX)
    media_type: _Text | None = None

    @model_validator(mode="after")
    def _named(self) -> Row:
        if self.call is None and not self.aliases:
            raise ValueError("give call or aliases, so that a second run finds the same call")
        return self

    def new_call(self) -> NewCall:
        return NewCall(
            aliases=self.aliases,
            id=self.call,
            direction=self.direction,
            from_number=self.from_number,
            to_number=self.to_number,
            voice_agent=self.voice_agent,
            department=self.department,
            started_at=self.started_at,
            answered_at=self.answered_at,
            ended_at=self.ended_at,
        )

    def lifetime(self) -> Lifetime:
        return Lifetime(self.started_at, self.expires_at, self.retention_days)

    def names(self) -> Iterator[str]:
        """What two rows may not share."""
        if self.call is not None:
            yield str(self.call)
        yield from (f"{surface}:{id_}" for surface, id_ in self.aliases.items())


COLUMNS = tuple(field.alias or name for name, field in Row.model_fields.items())


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a manifest, counted from 1, and what stands in it: a Row, or why it is none."""

    number: int
    content: Row | str


class NoManifest(Exception):
    """The text as a whole is no manifest. Says why."""


def read_csv(text: Iterable[str], *, store: str | None = None) -> Iterator[Line]:
    """``text``: lines, of which the first names the columns; a comma, a semicolon or a tab stands between them.

    Bytes that are no UTF-8 are to come as ``surrogateescape`` has them.
    ``store`` is that of rows without one. Raises NoManifest before the first Line.
    """
    lines = iter(text)
    header = next(lines, "").removeprefix("\ufeff")
    delimiter = max(",;\t", key=header.count)
    try:
        columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
    except csv.Error as error:
        raise NoManifest(f"line 1: not CSV: {error}") from None
    if unknown := [column for column in columns if column not in COLUMNS]:
        raise NoManifest(f"line 1: no such column: {', '.join(map(repr, unknown))}; there are {', '.join(COLUMNS)}")
    if "key" not in columns or len(set(columns)) != len(columns):
        raise NoManifest("line 1: names the columns, each once, and one of them is key")
    return _csv_rows(lines, delimiter, columns, store)


def _csv_rows(lines: Iterator[str], delimiter: str, columns: list[str], store: str | None) -> Iterator[Line]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    seen: dict[str, int] = {}
    while True:
        number = reader.line_num + 2  # the header is line 1, and a quoted field may hold line ends
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Line(number, f"not CSV: {error}")
            continue
        if cells is None:
            return
        if not any(cells):
            continue
        if len(cells) != len(columns):
            yield Line(number, f"{len(cells)} fields for {len(columns)} columns")
            continue
        if _foreign(cells):
            yield Line(number, "not UTF-8; save it as such")
            continue
        filled = {column: cell for column, cell in zip(columns, cells, strict=True) if cell}
        yield _line(number, filled, store, seen)


def _foreign(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return True
    return False


def read_json_lines(text: Iterable[str], *, store: str | None = None) -> Iterator[Line]:
    """``text``: lines, each a JSON object whose names are the columns; blank ones are passed over."""
    seen: dict[str, int] = {}
    for number, said in enumerate(text, 1):
        line = said.removeprefix("\ufeff") if number == 1 else said
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            hint = "" if line.lstrip().startswith("{") else "; CSV is read from a file whose name ends in .csv"
            yield Line(number, f"not JSON: {error}{hint}")
            continue
        if not isinstance(value, dict):
            yield Line(number, "not a JSON object")
            continue
        yield _line(number, value, store, seen)


def _line(number: int, values: Mapping[str, object], store: str | None, seen: dict[str, int]) -> Line:
    values = {name: value for name, value in values.items() if value is not None}
    if store is not None:
        values = {"store": store, **values}
    try:
        row = Row.model_validate(values)
    except ValidationError as error:
        return Line(number, "; ".join(map(_problem, error.errors())))
    for name in row.names():
        if (other := seen.setdefault(name, number)) != number:
            return Line(number, f"{name} stands in line {other} already")
    return Line(number, row)


def _problem(error: ErrorDetails) -> str:
    field, message = ".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            message = f"no such column; there are {', '.join(COLUMNS)}"
        case "missing":
            message = "required; name one here, or one for all rows (--store)" if field == "store" else "required"
    return f"{field}: {message}" if field else message
