"""Requests as the vendors' documents print them, sent by curl; answers, to be held against those printed."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .stage import Stage

UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True)
class Told:
    """What curl got. ``fields`` in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes

    def json(self) -> Any:
        assert self.fields["content-type"] == "application/json"
        return json.loads(self.body)


def curl(*words: str) -> Told:
    """One request, without a configuration of curl's own."""
    done = subprocess.run(["curl", "-q", "-sS", "-i", *words], capture_output=True, timeout=30, check=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert len(fields) == len(lines), "a field comes twice"
    return Told(int(first.split()[1]), fields, body)


def save(folder: Path, *words: str) -> Path:
    """What a browser would have saved, under the name it was told."""
    subprocess.run(["curl", "-q", "-sS", "-OJ", *words], capture_output=True, timeout=30, check=True, cwd=folder)
    (saved,) = folder.iterdir()
    return saved


def root(stage: Stage, surface: str) -> str:
    """What stands in place of the vendor's own base URL."""
    return f"http://{surface}.localhost:{urlsplit(stage.house.base_url).port}"


def headers(fields: dict[str, str]) -> tuple[str, ...]:
    """curl's words for them."""
    return tuple(word for name, value in fields.items() for word in ("-H", f"{name}: {value}"))


def as_printed(told: object, printed: object) -> None:
    """The same members in the same order, of the same types, all the way down; values may differ."""
    assert type(told) is type(printed)
    if isinstance(told, dict):
        assert isinstance(printed, dict)
        assert list(told) == list(printed)
        for name, value in told.items():
            as_printed(value, printed[name])


def sparse(stage: Stage, size: int, key: str) -> bytes:
    """An object of ``size`` zeros in the disk store that takes no room."""
    path = Path(stage.stores["disk"]["root"]) / key
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return bytes(size)
