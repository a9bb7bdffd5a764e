"""Gateway links as a client asks for them, uses them and takes them back."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .house import Filed, House
from .stage import Stage
from .wire import Answer, Lines, Wire


@dataclass(frozen=True)
class Linked:
    """A link that ``stage`` handed out."""

    id: str
    url: str
    expires_at: str

    @property
    def target(self) -> str:
        return urlsplit(self.url).path

    @property
    def token(self) -> str:
        return self.target.split("/")[-2]


def asked(stage: Stage, of: Filed, house: House | None = None, **ask: Any) -> Answer:
    """POSTs for a link."""
    with Wire((house or stage.house).base_url) as wire:
        return wire.ask("POST", f"/v1/recordings/{of.id}/links", stage.full.items(), json.dumps(ask).encode())


def linked(stage: Stage, of: Filed, house: House | None = None, **ask: Any) -> Linked:
    """A gateway link; its token may stand in no log."""
    answer = asked(stage, of, house, **{"delivery": "gateway", **ask})
    assert answer.status == 201, answer.body
    made = Linked(**answer.json())
    stage.secrets.add(made.token)
    return made


def play(
    house: House, target: str, *lines: tuple[str, str | bytes], method: str = "GET", source: str | None = None
) -> Answer:
    """Without a credential beside the link."""
    with Wire(house.base_url, source=source) as wire:
        return wire.ask(method, target, lines)


def revoke(house: House, link: str, credential: Lines) -> Answer:
    with Wire(house.base_url) as wire:
        return wire.ask("DELETE", f"/v1/links/{link}", credential)
