"""The folder that nothing leads out of, and files that change while they are read."""

import asyncio
import errno
import os
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from parts.audit import until
from parts.labs import QUICK, read
from parts.pouring import descriptors

from gateway.config import DiskStore
from gateway.errors import Changed, NotFound, OriginFailed, OriginTimeout, Refusal, Unavailable
from gateway.model import PIECE, Span
from gateway.stores import beneath, disk
from gateway.stores.beneath import Escape, open_beneath

SECRET = b"what lies outside"
TMPFS = Path("/dev/shm")  # noqa: S108  it keeps dates that other file systems don't


class Alarms:
    """Stands in for the log."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def error(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with every trap in it, beside another that it must not lead to."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.wav").write_bytes(SECRET)
    (outside / "linked.wav").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "ok.wav").write_bytes(b"fine")
    (root / "sub" / "ok.wav").write_bytes(b"fine too")
    (root / "link.wav").symlink_to(outside / "secret.wav")
    (root / "inner-link.wav").symlink_to("ok.wav")
    (root / "dangling.wav").symlink_to("nowhere")
    (root / "loop.wav").symlink_to("loop.wav")
    (root / "folder-link").symlink_to(outside)
    (root / "inner-folder-link").symlink_to("sub")
    (root / "hard.wav").hardlink_to(outside / "linked.wav")
    os.mkfifo(root / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s"))
    if os.geteuid() == 0:
        os.mknod(root / "null.wav", 0o20666, os.makedev(1, 3))
    return root


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> Alarms:
    said = Alarms()
    monkeypatch.setattr(disk, "log", said)
    return said


@pytest.fixture
async def store(root: Path) -> AsyncIterator[disk.Disk]:
    made = disk.Disk("lab", DiskStore(kind="disk", root=root), QUICK)
    yield made
    await made.close()


ESCAPES = {
    "a link to a file outside": "link.wav",
    "a link to a file inside": "inner-link.wav",
    "a link to nothing": "dangling.wav",
    "a link to itself": "loop.wav",
    "a linked folder outside": "folder-link/secret.wav",
    "a linked folder inside": "inner-folder-link/ok.wav",
    "a linked folder, and nothing there": "folder-link/missing.wav",
    "through a link to a file": "link.wav/x.wav",
    "a hard link": "hard.wav",
    "a pipe": "pipe.wav",
    "a socket": "s",
    "a folder": "sub",
    "a folder with a slash": "sub/",
    "the folder itself": ".",
    "its parent": "..",
    "over the parent": "../outside/secret.wav",
    "down and up": "sub/../../outside/secret.wav",
    "up and back": "../root/ok.wav",
    "a dot": "./ok.wav",
    "a dot inside": "sub/./ok.wav",
    "an empty component": "sub//ok.wav",
    "nothing": "",
    "a slash": "/",
    "absolute": "/etc/passwd",
    "absolute twice": "//etc/passwd",
    "a NUL": "ok.wav\0",
    "a NUL and more": "ok.wav\0.mp3",
    "a NUL before": "\0/../ok.wav",
} | ({"a device": "null.wav"} if os.geteuid() == 0 else {})

ONLY_NAMES = {
    "encoded dots": "%2e%2e/outside/secret.wav",
    "encoded slashes": "..%2foutside%2fsecret.wav",
    "doubly encoded": "%252e%252e/outside/secret.wav",
    "backslashes": "..\\outside\\secret.wav",
    "encoded backslashes": "..%5coutside%5csecret.wav",
    "overlong UTF-8, encoded": "%c0%ae%c0%ae/outside/secret.wav",
    "overlong UTF-8": "\udcc0\udcae\udcc0\udcae/outside/secret.wav",
    "fullwidth dots": "\uff0e\uff0e/outside/secret.wav",
    "a home": "~/secret.wav",
    "a variable": "$HOME/x",
    "three dots": ".../outside/secret.wav",
    "a file as a folder": "ok.wav/secret.wav",
    "a drive": "C:/windows",
}


@pytest.mark.parametrize("key", ESCAPES.values(), ids=ESCAPES)
async def test_what_could_lead_out_is_not_found_and_alarms(store: disk.Disk, alarms: Alarms, key: str) -> None:
    with pytest.raises(NotFound):
        await store.stat(key)
    with pytest.raises(NotFound):
        await store.open(key, Span(0, 1), "any")
    assert [(a["event"], a["store"], a["key"]) for a in alarms.said] == [("disk_key_refused", "lab", key)] * 2
    assert all(a["reason"] for a in alarms.said)


@pytest.mark.parametrize("key", ESCAPES.values(), ids=ESCAPES)
async def test_what_could_lead_out_is_not_deleted_whatever_version_is_named(
    store: disk.Disk, root: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(disk, "identity", lambda _found: "any")
    before = sorted(path for path in root.parent.rglob("*"))
    with pytest.raises(OriginFailed, match="store lab"):
        await store.delete(key, "any")
    assert sorted(path for path in root.parent.rglob("*")) == before
    await store.delete("ok.wav", "any")  # or the test would prove nothing
    assert not (root / "ok.wav").exists()


async def test_a_deleted_file_stays_deleted_when_the_power_goes_and_costs_no_descriptor(
    store: disk.Disk, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, bool]] = []
    fsync = os.fsync

    def sync(file: int) -> None:
        fsync(file)
        synced.append((Path(f"/proc/self/fd/{file}").readlink(), (root / "sub" / "ok.wav").exists()))

    monkeypatch.setattr(beneath.os, "fsync", sync)
    version = (await store.stat("sub/ok.wav")).version
    before = descriptors()
    await store.delete("sub/ok.wav", version)
    assert synced == [(root / "sub", False)]
    assert descriptors() == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
async def test_a_file_that_may_not_be_deleted_says_how_to_mend_it(
    store: disk.Disk, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    version = (await store.stat("ok.wav")).version
    monkeypatch.setattr(beneath.os, "unlink", refuse)
    with pytest.raises(OriginFailed, match=r"store lab: .* the right to write in its folder"):
        await store.delete("ok.wav", version)
    assert (root / "ok.wav").exists()


@pytest.mark.parametrize("key", ONLY_NAMES.values(), ids=ONLY_NAMES)
async def test_what_only_looks_as_if_is_a_name_like_any_other(store: disk.Disk, alarms: Alarms, key: str) -> None:
    with pytest.raises(NotFound):
        await store.stat(key)
    assert alarms.said == []


@pytest.mark.parametrize("key", ["..a/b", "a../..b", "%2e%2e/x", "..\\x", "...", "\uff0e\uff0e/x"])
async def test_names_with_dots_in_them_can_be_read(store: disk.Disk, root: Path, key: str) -> None:
    (root / key).parent.mkdir(exist_ok=True)
    (root / key).write_bytes(b"here")
    assert await read(store, key) == b"here"


@pytest.mark.usefixtures("alarms")
async def test_what_is_no_plain_file_is_never_opened(store: disk.Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a pipe lets its writer go on; opening a device may do anything."""
    opened, real = [], os.open

    def noting(path: Any, flags: int, **more: Any) -> int:
        opened.append(path)
        return real(path, flags, **more)

    monkeypatch.setattr(beneath.os, "open", noting)
    for key in ("pipe.wav", "s", "null.wav", "link.wav", "sub"):
        with pytest.raises(NotFound):
            await store.open(key, Span(0, 1), "any")
    assert set(opened) == {store._root}


async def test_the_root_may_itself_be_a_link(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    store = disk.Disk("lab", DiskStore(kind="disk", root=root.parent / "alias"), QUICK)
    assert await read(store, "sub/ok.wav") == b"fine too"
    await store.check()
    await store.close()


async def test_a_root_that_is_a_file_is_unavailable(root: Path) -> None:
    store = disk.Disk("lab", DiskStore(kind="disk", root=root / "ok.wav"), QUICK)
    with pytest.raises(Unavailable, match="cannot be opened"):
        await store.stat("x")
    with pytest.raises(Unavailable, match="cannot be opened"):
        await store.check()
    await store.close()


async def test_an_empty_folder_may_be_one_that_is_not_mounted_and_nothing_in_it_is_a_404(tmp_path: Path) -> None:
    store = disk.Disk("lab", DiskStore(kind="disk", root=tmp_path), QUICK)
    for asked in (store.stat("a/b.wav"), store.open("b.wav", Span(0, 1), "any"), store.delete("b.wav", "any")):
        with pytest.raises(Unavailable, match=r"store lab: its folder .* is empty; is what belongs there mounted\?"):
            await asked
    await store.check()
    await store.close()


async def test_a_folder_whose_last_file_went_is_believed_and_one_whose_disk_went_is_not(tmp_path: Path) -> None:
    store = disk.Disk("lab", DiskStore(kind="disk", root=tmp_path), QUICK)
    (tmp_path / "a.wav").write_bytes(b"bytes")
    await store.delete("a.wav", disk.identity((tmp_path / "a.wav").stat()))  # which is all that it saw there
    await store.delete("a.wav", "any")
    with pytest.raises(NotFound):
        await store.stat("a.wav")
    await store.check()
    device = store._folder._device
    assert device is not None
    store._folder._device = device + 1  # what was there was of a disk that is there no more
    for asked in (store.stat("a.wav"), store.delete("a.wav", "any"), store.check()):
        with pytest.raises(Unavailable, match="is empty"):
            await asked
    await store.close()


async def test_a_folder_that_may_not_be_listed_tells_what_is_missing_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> Any:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(disk.os, "scandir", refused)
    store = disk.Disk("lab", DiskStore(kind="disk", root=tmp_path), QUICK)
    with pytest.raises(NotFound):
        await store.stat("a.wav")
    await store.close()


def test_a_folder_swapped_for_a_link_while_it_is_walked_leads_nowhere(root: Path) -> None:
    """The race that a check before use loses."""
    real, link, place = root / "real", root / "fake", root / "swapped"
    real.mkdir()
    (real / "secret.wav").write_bytes(b"inside")
    link.symlink_to(root.parent / "outside")
    real.rename(place)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            place.rename(real)
            link.rename(place)
            place.rename(link)
            real.rename(place)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen: Counter[object] = Counter()
    end = time.monotonic() + 20
    try:
        while time.monotonic() < end and (seen.total() < 3000 or not {b"inside", Escape} <= seen.keys()):
            try:
                file, _found = open_beneath(root, "swapped/secret.wav")
            except (OSError, Escape) as error:
                seen[type(error)] += 1
            else:
                seen[os.read(file, 100)] += 1
                os.close(file)
    finally:
        stop.set()
        swapper.join()
    assert {b"inside", Escape} <= seen.keys()
    assert SECRET not in seen


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EACCES, OriginFailed),
        (errno.EPERM, OriginFailed),
        (errno.EIO, Unavailable),
        (errno.ESTALE, Unavailable),
        (errno.EMFILE, Unavailable),
        (errno.ENAMETOOLONG, NotFound),
        (errno.ENOENT, NotFound),
    ],
)
async def test_a_failing_disk_is_no_404(
    store: disk.Disk, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[Refusal]
) -> None:
    real = os.open

    def failing(path: Any, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        if dir_fd is not None:
            raise OSError(code, os.strerror(code))
        return real(path, flags, *rest)

    monkeypatch.setattr(beneath.os, "open", failing)
    for asking in (store.stat("sub/ok.wav"), store.open("ok.wav", Span(0, 1), "any")):
        with pytest.raises(expected):
            await asking
    assert store.counts.errors == {expected.reason: 1}


@pytest.mark.parametrize(("length", "agrees"), [(4, False), (PIECE + 1, True)], ids=["another", "to be kept open"])
async def test_a_disk_that_hangs_times_out_and_loses_no_descriptor(
    root: Path, monkeypatch: pytest.MonkeyPatch, length: int, *, agrees: bool
) -> None:
    (root / "ok.wav").write_bytes(bytes(length))
    version = disk.identity((root / "ok.wav").stat()) if agrees else "any"
    store = disk.Disk("lab", DiskStore(kind="disk", root=root), QUICK.model_copy(update={"first_byte_s": 0.05}))
    release, opened = threading.Event(), threading.Event()

    def hanging(where: Path, key: str) -> tuple[int, os.stat_result]:
        release.wait(10)
        found = open_beneath(where, key)
        opened.set()
        return found

    monkeypatch.setattr(disk, "open_beneath", hanging)
    before = descriptors()
    with pytest.raises(OriginTimeout):
        await store.open("ok.wav", Span(0, length), version)
    release.set()
    assert await asyncio.to_thread(opened.wait, 5)
    await store.close()
    store._pool.shutdown(wait=True)
    assert descriptors() == before


async def test_a_disk_that_hangs_fills_no_memory_with_what_was_given_up_meanwhile(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "LINE", 40)
    release, taken = threading.Event(), threading.Semaphore(0)

    def hanging(where: Path, key: str) -> tuple[int, os.stat_result]:
        taken.release()
        release.wait(10)
        return open_beneath(where, key)

    monkeypatch.setattr(disk, "open_beneath", hanging)
    store = disk.Disk("lab", DiskStore(kind="disk", root=root), QUICK.model_copy(update={"first_byte_s": 0.05}))
    held = await asyncio.gather(*(store.stat("ok.wav") for _ in range(disk.THREADS)), return_exceptions=True)
    assert {type(end) for end in held} == {OriginTimeout}
    for _ in range(disk.THREADS):
        assert await asyncio.to_thread(taken.acquire, timeout=5)
    ends: Counter[object] = Counter()
    for _ in range(5):
        asked = [
            *(store.stat("ok.wav") for _ in range(10)),
            *(store.open("ok.wav", Span(0, 4), "any") for _ in range(10)),
        ]
        ends.update(type(end) for end in await asyncio.gather(*asked, return_exceptions=True))
    assert ends == {OriginTimeout: 40, Unavailable: 60}
    with pytest.raises(Unavailable, match=r"store lab: 40 calls wait for its disk"):
        await store.check()
    with pytest.raises(Unavailable, match=r"store lab: 40 calls wait for its disk"):
        await store.delete("ok.wav", "any")
    release.set()
    await until(store._pool._work_queue.empty)
    assert (await store.stat("ok.wav")).size == 4
    await store.close()


@pytest.mark.parametrize("becomes", ["a link", "a pipe"])
async def test_a_file_that_becomes_another_kind_while_it_is_opened_is_refused_and_loses_no_descriptor(
    store: disk.Disk, root: Path, monkeypatch: pytest.MonkeyPatch, alarms: Alarms, becomes: str
) -> None:
    await store.stat("sub/ok.wav")
    before, lstat = descriptors(), os.lstat

    def overtaken(name: bytes, *, dir_fd: int) -> os.stat_result:
        found = lstat(name, dir_fd=dir_fd)
        (root / "sub" / "ok.wav").unlink()
        if becomes == "a link":
            (root / "sub" / "ok.wav").symlink_to(root / "ok.wav")
        else:
            os.mkfifo(root / "sub" / "ok.wav")
        return found

    monkeypatch.setattr(beneath.os, "lstat", overtaken)
    with pytest.raises(NotFound):
        await store.stat("sub/ok.wav")
    assert len(alarms.said) == 1
    assert descriptors() == before


async def test_what_lies_deep_costs_no_descriptor_once_it_was_looked_at(store: disk.Disk, root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "c.wav").write_bytes(b"deep")
    await store.stat("ok.wav")
    before = descriptors()
    await store.stat("a/b/c.wav")
    assert descriptors() == before


async def test_refused_opens_lose_no_descriptor(store: disk.Disk, alarms: Alarms) -> None:
    await store.stat("ok.wav")
    before = descriptors()
    for key in [*ESCAPES.values(), *ONLY_NAMES.values()]:
        with pytest.raises(NotFound):
            await store.open(key, Span(0, 1), "any")
    for span, version in ((Span(0, 4), "another"), (Span(0, 5), (await store.stat("ok.wav")).version)):
        with pytest.raises(Changed):
            await store.open("ok.wav", span, version)
    assert descriptors() == before
    assert alarms.said


async def test_where_the_system_gives_no_more_threads_those_there_are_read_on_and_lose_no_descriptor(
    root: Path, no_more_threads: Callable[[], None]
) -> None:
    (root / "ok.wav").write_bytes(bytes(PIECE + 1))
    store = disk.Disk("lab", DiskStore(kind="disk", root=root), QUICK)

    no_more_threads()
    before = descriptors()
    version = (await store.stat("ok.wav")).version
    sources = await asyncio.gather(*(store.open("ok.wav", Span(0, PIECE + 1), version) for _ in range(4)))
    for source in sources:
        await source.close()
    await store.close()
    assert descriptors() == before


@pytest.mark.parametrize(
    "when", [300_000_000_000, -100_000_000_000, 2**60], ids=["far ahead", "long ago", "beyond what C counts years in"]
)
async def test_a_file_of_a_date_that_no_calendar_has_is_no_defect(when: int) -> None:
    with tempfile.TemporaryDirectory(dir=TMPFS) as root:
        (Path(root) / "a.wav").write_bytes(b"bytes")
        os.utime(Path(root) / "a.wav", (when, when))
        store = disk.Disk("lab", DiskStore(kind="disk", root=Path(root)), QUICK)
        with pytest.raises(OriginFailed, match=r"store lab: .*touch it"):
            await store.stat("a.wav")
        await store.close()


async def test_the_version_is_of_the_file_and_not_of_the_machine(root: Path) -> None:
    found = (root / "ok.wav").stat()
    other_mount = os.stat_result((*found[:2], found.st_dev + 1, *found[3:10]), {"st_mtime_ns": found.st_mtime_ns})
    assert other_mount.st_dev != found.st_dev
    assert disk.identity(other_mount) == disk.identity(found)
