"""Structured logs: one JSON object a line on stderr, with whatever looks like a secret struck out of it.

Nothing is meant to log a secret; striking out is the second lock, for the traceback that quotes one.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
import structlog

from .config import Log

_SECRETS = re.compile(
    r"(?:[a-z]{2,12}_live_[A-Za-z0-9]{8})[A-Za-z0-9]+"  # API keys: what is left tells which one
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # JWTs
    r"|(?<=Signature=)[A-Za-z0-9%_-]{16,}|(?<=Credential=)[A-Za-z0-9%/_@.-]{16,}|(?<=Security-Token=)[A-Za-z0-9%_-]+"
    r"|(?<=Bearer )[A-Za-z0-9._~+/-]{8,}=*"
    r"|whsec_[A-Za-z0-9+/]+=*"
    r"|(?<=/v1/links/)[A-Za-z0-9_-]{20,}"
    r"|(?<=://)[^/\s:@\"]*:[^/\s@\"]+(?=@)"  # user:password in a URL
)


def strike_out(text: str) -> str:
    """``text`` with every credential in it replaced."""
    return _SECRETS.sub("[secret]", text)


def configure(settings: Log, stream: TextIO = sys.stderr, **always: object) -> None:
    """Sets up structlog and the libraries' logging, for this process. ``always`` stands in every line."""
    structlog.contextvars.bind_contextvars(**always)  # for Lines; threads of their own have other contexts
    level = getattr(logging, settings.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        *([_adding(always)] if always else []),
    ]
    renderer = _json if settings.format == "json" else _console
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    formatter = structlog.stdlib.ProcessorFormatter(processors=[_named, renderer], foreign_pre_chain=shared)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


class Lines:
    """Lines that come by the thousand a second: written together, a moment later, in the form that was configured.

    For facts that hold no secret: nothing is struck out here. ``flush`` it at the end.
    """

    def __init__(self, settings: Log, event: str, stream: TextIO = sys.stderr) -> None:
        self._event = event
        self._stream = stream
        self._told: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger() if settings.format == "console" else None
        self._off = getattr(logging, settings.level.upper()) > logging.INFO
        self._bound = structlog.contextvars.get_contextvars()

    def tell(self, **facts: Any) -> None:  # Any: whatever JSON holds
        """One line."""
        if self._off:
            return
        if self._log is not None:
            self._log.info(self._event, **facts)
            return
        facts["event"], facts["level"], facts["timestamp"] = self._event, "info", datetime.now(UTC)
        facts.update(self._bound)
        self._told.append(orjson.dumps(facts, default=str, option=orjson.OPT_UTC_Z).decode())
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TOGETHER_S, self.flush)

    def flush(self) -> None:
        """Writes what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._told:
            lines, self._told = self._told, []
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()


_TOGETHER_S = 0.05


def _adding(fields: Mapping[str, object]) -> structlog.typing.Processor:
    def add(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.update(fields)
        return event

    return add


def _json(_logger: object, _name: str, event: structlog.typing.EventDict) -> str:
    return strike_out(orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode())


_plain = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)


def _console(logger: Any, name: str, event: structlog.typing.EventDict) -> str:  # Any: structlog's own
    return strike_out(_plain(logger, name, event))


def _named(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A library's record: its logger's name kept, structlog's bookkeeping dropped."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog", None)
    event["logger"] = record.name
    return event
