"""A gateway to be hostile to, and requests that must be echoed nowhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .house import Filed, House, some_bytes
from .issuer import AUDIENCE, ISSUER, pem, rsa_key
from .stage import Stage
from .wire import Answer, Lines, Wire

MARK = "xXmarkedXx"
"""Stands in what is sent; may stand in no answer and in no log line."""
HEAD_S = 1.0
STALL_S = 1.0
LARGE = 24_000_000
KEY = rsa_key()
"""The one whose tokens are believed."""
MISSING = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Wary:
    """A gateway with short deadlines that believes one issuer; a call of its tenant, and one of another's."""

    stage: Stage
    house: House
    own: Filed
    foreign: Filed
    large: Filed

    @property
    def full(self) -> dict[str, str]:
        return self.stage.full

    def wire(self, *, source: str | None = None, receive_buffer: int | None = None) -> Wire:
        return Wire(self.house.base_url, source=source, receive_buffer=receive_buffer)

    def ask(self, method: str, target: str, lines: Lines = (), body: bytes = b"", source: str | None = None) -> Answer:
        """One request on a connection of its own; its answer echoes nothing."""
        with self.wire(source=source) as wire:
            return silent(wire.ask(method, target, lines, body))

    def allowed(self, *lines: tuple[str, str]) -> list[tuple[str, str]]:
        return [*self.full.items(), *lines]

    @classmethod
    async def made(cls, stage: Stage, folder: Path) -> Self:
        """Starts the gateway."""
        public = folder / "public.pem"
        public.write_bytes(pem(KEY))
        stage.secrets.add(MARK)
        house = stage.another(
            server={"header_timeout_s": HEAD_S, "write_stall_s": STALL_S},
            identity={"issuers": [{"issuer": ISSUER, "audience": AUDIENCE, "public_key_file": str(public)}]},
        )
        other = await stage.office.tenant("other")
        return cls(
            stage,
            house,
            own=await stage.file("s3", some_bytes(10_000)),
            foreign=await stage.file("s3", some_bytes(10_000), tenant=other),
            large=await stage.file("disk", some_bytes(LARGE)),
        )

    def gateway_link(self) -> str:
        """A fresh link's path."""
        answer = self.ask("POST", f"/v1/recordings/{self.own.id}/links", self.allowed(), b'{"delivery": "gateway"}')
        assert answer.status == 201
        url: str = answer.json()["url"]
        self.stage.secrets.add(url.split("/")[-2])
        return url.removeprefix(self.house.base_url)


def silent(answer: Answer) -> Answer:
    """The same, once it was seen to echo nothing."""
    assert MARK not in repr(answer.fields)
    assert MARK.encode() not in answer.body
    assert b"Traceback" not in answer.body
    return answer
