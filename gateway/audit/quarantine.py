"""Where what cannot be used is set aside: bytes that are no record, and records that the sink refuses. Nothing is thrown away."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson
import structlog

from .folders import QUARANTINE
from .frames import Kind
from .segments import Damage, sync_folder

_log = structlog.get_logger(__name__)
_NAMES = {int(kind): kind.name.lower() for kind in Kind}


class Quarantine:
    """The folder ``quarantine`` beside the processes' own. Blocks; raises OSError where it cannot write."""

    def __init__(self, journal_dir: Path) -> None:
        self._path = journal_dir / QUARANTINE
        self._named = False
        """The folder's own entry is durable."""
        self.records = 0
        """Records set aside by this process."""
        self.damages = 0

    def keep_damage(self, segment: Path, damaged: Sequence[Damage]) -> None:
        """Bytes that are no frame, each piece as a file named after where it stood: done twice, it leaves one."""
        for damage in damaged:
            name = f"{segment.parent.name}-{segment.stem}-{damage.offset}.{'torn' if damage.torn else 'damaged'}"
            self._write(name, damage.data, os.O_TRUNC)
            self.damages += 1
            tell = _log.warning if damage.torn else _log.error
            tell(
                "audit_journal_torn" if damage.torn else "audit_journal_damaged",
                segment=str(segment),
                offset=damage.offset,
                bytes=len(damage.data),
                kept=str(self._path / name),
            )

    def keep_record(self, kind: int, payload: bytes, reason: str) -> None:
        """A record the sink refuses for what it says, as a line of ``refused.jsonl``."""
        try:
            record = orjson.loads(payload)
        except orjson.JSONDecodeError:
            record = payload.hex()
        line = orjson.dumps({"at": datetime.now(UTC), "kind": kind, "reason": reason, "record": record}) + b"\n"
        self._write("refused.jsonl", line, os.O_APPEND)
        self.records += 1
        _log.error(
            "audit_record_refused",
            kind=_NAMES.get(kind, kind),
            event_id=record.get("event_id") if isinstance(record, dict) else None,
            reason=reason,
            kept=str(self._path / "refused.jsonl"),
        )

    def _write(self, name: str, data: bytes, mode: int) -> None:
        with suppress(FileExistsError):
            self._path.mkdir(mode=0o700)
            self._named = False
        if not self._named:  # whoever made it may have died before its name was durable
            sync_folder(self._path.parent)
            self._named = True
        fd = os.open(self._path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | mode, 0o600)
        try:
            done = 0
            if mode & os.O_APPEND and _broke_off(fd):
                data = b"\n" + data
            while done < len(data):
                done += os.write(fd, data[done:])
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(self._path)


def _broke_off(fd: int) -> bool:
    """Whether the last line has no end: the disk was full, or its process died, before it was whole."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
