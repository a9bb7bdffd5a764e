"""Structured logs: one JSON object a line on stderr, with whatever looks like a secret struck out of it.

No code is meant to log a secret; striking out is a second safeguard, for a traceback that quotes one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from ..config import Log
from .spool import Spool, Writable

_SECRETS = re.compile(
    r"(?<=[a-z0-9]_)[A-Za-z0-9]{36}(?![A-Za-z0-9])|(?<=_live_)[A-Za-z0-9]{9,}"  # API keys: their prefix is left
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # JWTs
    r"|(?<=Signature=)[A-Za-z0-9%_-]{16,}|(?<=Credential=)[A-Za-z0-9%/_@.-]{16,}|(?<=Security-Token=)[A-Za-z0-9%_-]+"
    r"|(?<=Bearer )[A-Za-z0-9._~+/-]{8,}=*"
    r"|whsec_[A-Za-z0-9+/]+=*"
    r"|(?<=/v1/links/)[A-Za-z0-9_-]{20,}"
    r"|(?<=://)[^/\s:@\"]*:[^/\s@\"]+(?=@)"  # user:password in a URL
)


def strike_out(text: str) -> str:
    """``text`` with every credential in it replaced."""
    return _SECRETS.sub("[secret]", text)


_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""What steers the terminal that shows a log, or is not seen there. JSON itself escapes no more than the first of them."""


def _told(line: str) -> str:
    """``line``, fit to leave this process: without secrets, and an escape (JSON's own) for each character of _UNSEEN."""
    return _UNSEEN.sub(_escape, strike_out(line))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def configure(settings: Log, stream: Writable | None = None, **always: object) -> None:
    """Sets up structlog and the libraries' logging, for this process: to ``stream``, standard error if there is none.

    ``always`` stands in every line.
    """
    global _out  # noqa: PLW0603 - as structlog's and logging's own settings, the process has one
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

    def lost(lines: int) -> str:
        told = {"event": "log_lines_lost", "lines": lines, "level": "error", "timestamp": datetime.now(UTC).isoformat()}
        return renderer(None, "error", told | always) + "\n"

    if isinstance(_out, Spool) and _out.stream is (stream or sys.stderr):
        _out.lost = lost  # of two threads to one stream, neither would know what the other has yet to write
    else:
        _out = Spool(stream or sys.stderr, lost)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=_out),  # type: ignore[arg-type]  # of a TextIO it asks no more
        cache_logger_on_first_use=False,  # else a reload's level and form would never reach who has logged before
    )
    handler = logging.StreamHandler(_out)
    formatter = structlog.stdlib.ProcessorFormatter(processors=[_named, renderer], foreign_pre_chain=shared)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def for_commands() -> None:
    """For a command line's process, whose stdout is not for this: lines on stderr, until ``configure`` says otherwise."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.processors.format_exc_info, _console],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


class Lines:
    """Lines that come by the thousand a second: worded and written together, a moment later, in the form that was configured.

    For facts that hold no secret: nothing is struck out here. ``flush`` it at the end.
    """

    def __init__(self, settings: Log, event: str) -> None:
        self._event = event
        self._told: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger().bind() if settings.format == "console" else None
        self._off = getattr(logging, settings.level.upper()) > logging.INFO
        self._bound = structlog.contextvars.get_contextvars()

    def tell(self, facts: dict[str, Any]) -> None:  # Any: whatever JSON holds
        """One line, which takes ``facts`` over."""
        if self._off:
            return
        if self._log is not None:
            self._log.info(self._event, **facts)
            return
        facts["event"], facts["level"], facts["timestamp"] = self._event, "info", datetime.now(UTC)
        facts.update(self._bound)
        self._told.append(facts)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TOGETHER_S, self.flush)

    def flush(self) -> None:
        """Writes what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._told:
            told, self._told = self._told, []
            _out.write("".join(map(_line, told)))
            _out.flush()


def _line(facts: dict[str, Any]) -> str:
    try:
        return orjson.dumps(facts, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE).decode()
    except TypeError:
        return _json(None, "info", facts) + "\n"


_TOGETHER_S = 0.05
_out: Writable = sys.stderr


def _adding(fields: Mapping[str, object]) -> structlog.typing.Processor:
    def add(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.update(fields)
        return event

    return add


def _json(_logger: object, _name: str, event: structlog.typing.EventDict) -> str:
    try:
        line = orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a file's name that is no UTF-8, a number beyond 64 bits
        line = json.dumps(event, default=str, ensure_ascii=False, skipkeys=True).encode(errors="replace").decode()
    return _told(line)


_plain = structlog.dev.ConsoleRenderer(
    colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
)  # the other formatter shows what variables held


def _console(logger: Any, name: str, event: structlog.typing.EventDict) -> str:  # Any: structlog's own
    return _told(_plain(logger, name, event))


def _named(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A library's record: its logger's name kept, structlog's bookkeeping dropped."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog", None)
    event["logger"] = record.name
    return event
