"""The thread that makes records durable: everything that waits goes out in one write and one sync.

It knows files and bytes, and nothing of who waits for them. An entry that could not be written is kept and tried again,
in its order and in a new file, until it is; so each entry that was put is durable once or more than once, while the process
lives.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from .folders import Folder
from .segments import Files, SegmentWriter, numbered

RETRY_S = 0.1
"""Seconds from a failed write to the next try; doubled each time."""
RETRY_MAX_S = 1.0
LOOK_S = 0.1
"""Seconds between looks whether somebody removed the file; what was written in between is then written again.

Not at each commit: a system call gives the other threads their turn, and has to wait for one afterwards.
"""


class NotDurable(Exception):
    """A record that somebody waits for is not durable. It will be made so all the same, later, while the process lives.

    ``reason`` is journal_failed or journal_timeout.
    """

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


class Waiter(Protocol):
    """Who waits until an entry is durable: a future, or what is told by the same calls, at once."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...
    def set_exception(self, exception: NotDurable, /) -> None: ...
    def exception(self) -> BaseException | None: ...


@dataclass(slots=True, eq=False)
class Entry:
    """Framed records that belong together. ``data`` may be replaced while it is not durable; whichever stood there counts."""

    data: bytes
    size: int
    """Of the data it came with."""
    waiter: Waiter | None
    """The business of whoever put it; the thread passes it on."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Entries that are durable now, in their order."""

    entries: list[Entry]
    segment: Path
    end: int
    """Bytes of the segment that are durable. A new segment's name means that nothing will be added to those before."""
    data: bytes
    """What was written: theirs, as it was then."""
    again: int
    """How many of the entries, the first, were reported before, and have ``size`` 0: their file is gone."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Nothing can be written now. What was to be is kept, and tried again."""

    error: OSError


@dataclass(frozen=True, slots=True)
class Recovery:
    """What had failed is possible again; a Commit of what was kept may come before or after."""


Report = Commit | Failure | Recovery


class Writer:
    """``report`` is called on the writer's own thread; it must not block or raise."""

    def __init__(
        self,
        root: Path,
        *,
        segment_bytes: int,
        gather_s: float,
        files: Files,
        report: Callable[[Report], None],
    ) -> None:
        self._root = root
        self._segment_bytes = segment_bytes
        self._gather_s = gather_s
        self._files = files
        self._report = report
        self._pending: deque[Entry] = deque()
        self._kept: list[Entry] = []
        self._unseen: list[Entry] = []
        """Written since the file was last seen in its folder."""
        self._looked = 0.0
        self._again = 0
        """How many, of those to be written next, were written before."""
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self._stopping = False
        self._ready = threading.Event()
        self._segment: SegmentWriter | None = None
        self._number = 0
        self._delay = RETRY_S
        self._failing = True
        """From the start: that the folder could be made is told as a recovery, to whoever gave up waiting for it."""
        self._under_way = 0
        """Entries in the write that is going on."""
        self._thread = threading.Thread(target=self._run, name="audit-journal", daemon=True)
        self.folder: Folder | None = None
        """The process's own, once there is one."""

    def start(self) -> None:
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Takes an entry; it goes out with the next commit, which ``ring`` brings about."""
        self._pending.append(entry)

    def ring(self) -> None:
        """Wakes the thread, unless it has been told already."""
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def wait_ready(self, timeout: float) -> bool:
        """Waits until the folder was made, or could not be. False: neither, in time."""
        return self._ready.wait(timeout)

    def stop(self, timeout: float) -> int:
        """Writes what waits, closes the file and ends the thread; blocks. Returns how many entries are left unwritten."""
        self._stopping = True
        self._bell.put(None)
        self._thread.join(timeout)
        return len(self._kept) + len(self._pending) + self._under_way

    def _run(self) -> None:
        while True:
            stopping = self._stopping
            written = self._write(self._gathered())
            if not self._ready.is_set():
                self._ready.set()
            if not written:
                if stopping and not self._pending:
                    break
                self._rest()
            elif not stopping:
                self._await_bell()
            elif not self._pending and not self._unseen:
                break
        if self._segment is not None:
            self._segment.close()

    def _gathered(self) -> list[Entry]:
        """What was kept and what is pending. The bell is cleared first, so that whoever puts after this rings again."""
        self._rung = False
        batch, self._kept = self._kept, []
        while self._pending:
            batch.append(self._pending.popleft())
        return batch

    def _write(self, batch: list[Entry]) -> bool:
        try:
            if self.folder is None:
                self.folder = Folder.create(self._root)
            data = b"".join([entry.data for entry in batch])
            if self._unseen and self._is_time_to_look(len(data)) and (missing := self._missing()):
                batch = missing + batch
                data = b"".join([entry.data for entry in batch])
            if batch:
                self._commit(batch, data)
        except OSError as error:
            self._kept, self._under_way = self._missing() + batch, 0
            if self._segment is not None:
                self._segment.close()
                self._segment = None
            elif self.folder is not None and self.folder.is_gone():
                self.folder.release()
                self.folder = None
            self._failing = True
            self._report(Failure(error))
            return False
        if self._failing:
            self._failing, self._delay = False, RETRY_S
            self._report(Recovery())
        return True

    def _commit(self, batch: list[Entry], data: bytes) -> None:
        self._under_way = len(batch)
        segment = self._segment_for(len(data))
        segment.commit(data)
        self._under_way = 0
        self._report(Commit(batch, segment.path, segment.end, data, self._again))
        self._again = 0
        self._unseen += batch

    def _is_time_to_look(self, size: int) -> bool:
        """Now and then, and before a file is left behind."""
        return (
            time.monotonic() - self._looked >= LOOK_S
            or self._stopping
            or (self._segment is not None and not self._segment.has_room(size))
        )

    def _missing(self) -> list[Entry]:
        """What was written into a file that somebody had removed, once more; nothing goes into that file again."""
        self._looked = time.monotonic()
        unseen, self._unseen = self._unseen, []
        if not unseen or self._segment is None or not self._segment.is_removed():
            return []
        self._segment.close()
        self._segment = None
        self._again += len(unseen)
        return [Entry(entry.data, 0, None) for entry in unseen]

    def _segment_for(self, size: int) -> SegmentWriter:
        """The file at hand, or a new one where that has no room."""
        if self._segment is not None and not self._segment.has_room(size):
            self._segment.close()
            self._segment = None
        if self._segment is None:
            assert self.folder is not None
            path = numbered(self.folder.path, self._number)
            self._number += 1  # first: what could not be made may be there all the same
            self._segment = SegmentWriter(self._files, path, max(size, self._segment_bytes))
        return self._segment

    def _await_bell(self) -> None:
        """Until it rings, or it is time to look."""
        try:
            self._bell.get(timeout=LOOK_S if self._unseen else None)
        except Empty:
            return
        if self._gather_s and not self._stopping:
            time.sleep(self._gather_s)

    def _rest(self) -> None:
        """Until the next try. Bells are heard meanwhile and not answered: nothing can be written yet."""
        until = time.monotonic() + self._delay
        self._delay = min(self._delay * 2, RETRY_MAX_S)
        while (left := until - time.monotonic()) > 0 and not self._stopping:
            try:
                self._bell.get(timeout=left)
            except Empty:
                return
