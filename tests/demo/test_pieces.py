"""What the demo is made of, piece by piece: its folder, its servers, its tokens, its recordings."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from parts.demo import alive
from parts.wavs import silence

from gateway.config import Config, DiskStore
from gateway.demo import server, settings, tokens
from gateway.demo.cast import aliases, store_of
from gateway.demo.server import Server
from gateway.demo.shelves import Folder
from gateway.demo.sounds import Sounds
from gateway.demo.state import DemoFailed, State
from gateway.stores import open_store


async def never() -> bool:
    return False


def test_what_is_kept_is_found_by_the_next_run(tmp_path: Path):
    with State(tmp_path / "far" / "state") as state:
        assert state.folder.stat().st_mode & 0o777 == 0o711
        secret, port = state.secret("a"), state.port("b")
        assert (state.secret("a"), state.port("b")) == (secret, port)
    with State(tmp_path / "far" / "state") as state:
        assert (state.kept("a"), state.port("b")) == (secret, port)
        with socket.create_server(("127.0.0.1", port)):
            moved = state.port("b")
        assert moved != port
        assert state.port("b") == moved


def test_a_folder_that_cannot_be_is_refused_with_the_fix(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DemoFailed, match="Not a directory; choose another folder with --state DIR"),
        State(tmp_path / "file" / "state"),
    ):
        pass


def test_a_token_is_made_anew_a_month_before_it_ends_or_for_another_secret(tmp_path: Path):
    with State(tmp_path) as state:
        secret, name = state.secret("jwt_secret"), "token: demo, admin"
        first = tokens.token(state, "admin")
        claims = jwt.decode(first, secret, algorithms=["HS256"], audience=tokens.AUDIENCE, issuer=tokens.ISSUER)
        assert (claims["tenant"], claims["role"], claims["exp"] - claims["iat"]) == ("demo", "admin", 365 * 86_400)
        assert tokens.token(state, "admin") == first
        others = {tokens.token(state, "guest"), tokens.token(state, "admin", "other")}
        assert len(others | {first}) == 3
        for days, key, stays in ((31, secret, True), (29, secret, False), (31, "x" * 32, False)):
            ends = claims["iat"] + days * 86_400
            kept = state.keep(name, jwt.encode({**claims, "exp": ends}, key, algorithm="HS256"))
            assert (tokens.token(state, "admin") == kept) == stays


def test_one_recording_of_four_and_the_last_lie_on_disk():
    assert [store_of(place, last=place == 6, s3=True) for place in range(7)] == [
        *["s3"] * 3,
        "disk",
        *["s3"] * 2,
        "disk",
    ]
    assert {store_of(place, last=False, s3=False) for place in range(4)} == {"disk"}


def test_ids_that_are_credentials_follow_from_the_folders_own_secret():
    assert aliases("one", "booking") == aliases("one", "booking")
    assert aliases("one", "booking")["agentphone"] != aliases("another", "booking")["agentphone"]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    (folder / "folder.wav").mkdir(parents=True)
    for name in ("pending.WAV", "Zwei.wav", "zwei!.wav", "….wav"):
        (folder / name).write_bytes(silence(0.1, channels=1))
    return folder


async def test_names_are_fit_for_every_surface_and_nobodys_twice(tmp_path: Path, audio: Path):
    with State(tmp_path / "state") as state:
        shelves = {name: Folder(tmp_path / name) for name in ("disk", "s3")}
        put = await Sounds(state, shelves, audio).put(lambda _: None)
        assert [(sound.name, sound.key, sound.store) for sound in put] == [
            ("zwei", "demo/calls/zwei.wav", "s3"),
            ("pending2", "demo/calls/pending2.wav", "s3"),
            ("zwei2", "demo/calls/zwei2.wav", "s3"),
            ("audio", "demo/calls/audio.wav", "disk"),
        ]
        (audio / "….wav").unlink()
        three = await Sounds(state, shelves, audio).put(lambda _: None)
        assert [sound.store for sound in three] == ["s3", "s3", "disk"]
        (audio / "pending.WAV").unlink()
        (audio / "zwei!.wav").unlink()
        alone = await Sounds(state, shelves, audio).put(lambda _: None)
        assert [(sound.name, sound.store) for sound in alone] == [("zwei", "s3"), ("zwei2", "disk")]


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


@pytest.mark.parametrize("change", [Path.unlink, longer], ids=["gone", "replaced"])
async def test_recordings_are_put_anew_where_something_changed(
    tmp_path: Path, audio: Path, change: Callable[[Path], None]
):
    with State(tmp_path / "state") as state:
        root = settings.disk_root(state)
        shelves = {"disk": Folder(root)}
        stores = {"disk": await open_store("disk", DiskStore(kind="disk", root=str(root)), Config().origin)}
        assert await Sounds(state, shelves, audio).kept(stores) is None
        put = await Sounds(state, shelves, audio).put(lambda _: None)
        Sounds(state, shelves, audio).keep(put)
        assert await Sounds(state, shelves, audio).kept(stores) == put
        assert await Sounds(state, shelves, None).kept(stores) is None
        assert await Sounds(state, {**shelves, "s3": Folder(tmp_path)}, audio).kept(stores) is None
        change(root / put[0].key)
        assert await Sounds(state, shelves, audio).kept(stores) is None
        await Sounds(state, shelves, audio).put(lambda _: None)
        assert await Sounds(state, shelves, audio).kept(stores) == put
        os.utime(audio / "Zwei.wav", (1, 1))
        assert await Sounds(state, shelves, audio).kept(stores) is None
        await stores["disk"].close()


STUBBORN = ["sh", "-c", "trap '' TERM; echo there >there; while :; do sleep 1; done"]


async def test_a_server_that_ends_too_early_is_told_of_by_its_log(tmp_path: Path):
    with pytest.raises(DemoFailed, match=rf"one ended with 3 before it was ready; see {tmp_path}/one\.log"):
        await Server.start("one", ["sh", "-c", "echo why >&2; exit 3"], folder=tmp_path, ready=never)
    assert (tmp_path / "one.log").read_text() == "why\n"


@pytest.mark.parametrize("error", [DemoFailed, ZeroDivisionError])
async def test_a_server_that_is_not_ready_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error):
    monkeypatch.setattr(server, "READY_S", 0.1)

    async def ready() -> bool:
        if error is ZeroDivisionError:
            raise ZeroDivisionError
        return False

    with pytest.raises(error):
        await Server.start("one", ["sleep", "60"], folder=tmp_path, ready=ready)
    assert not alive(int((tmp_path / "one.pid").read_text()))


async def test_a_server_that_will_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "STOP_S", 0.1)

    async def there() -> bool:
        return (tmp_path / "there").exists()

    one = await Server.start("one", STUBBORN, folder=tmp_path, ready=there, stop=signal.SIGTERM)
    pid = int((tmp_path / "one.pid").read_text())
    assert os.getsid(pid) == pid
    await one.stop()
    assert not alive(pid)
    await one.stop()
