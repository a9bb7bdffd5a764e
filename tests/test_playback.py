"""What playing promises when it cannot be put on record; all else of it is shown through a running gateway (tests/e2e)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from multidict import CIMultiDict, MultiDict

from gateway.contract import Reply
from gateway.draft import Draft
from gateway.errors import Changed, NotFound, Unavailable
from gateway.event import Intent, Method
from gateway.model import Head
from gateway.playback import Answer, Playback


class Opening:
    """A store's source, and a trail that admits an intent, or makes it durable, or neither."""

    def __init__(self, *, admits: bool) -> None:
        self.admits = admits
        self.closed = False

    def intend(self, _intent: Intent) -> asyncio.Future[None]:
        if not self.admits:
            raise Unavailable
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        durable.set_exception(Unavailable())
        return durable

    async def open(self) -> Any:
        return self

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("admits", [True, False], ids=["not durable", "not admitted"])
async def test_a_body_that_could_not_be_put_on_record_is_not_left_open_and_wants_no_outcome(*, admits: bool):
    stage: Any = Opening(admits=admits)
    playback = Playback(*[stage] * 7)
    head = Head("GET", {}, MultiDict(), CIMultiDict())
    draft = Draft.begin("native", Method.STREAM, head)
    opening = stage.open()
    with pytest.raises(Unavailable):
        await playback._record_and_open(draft, opening)
    assert (stage.closed, opening.cr_frame, draft.intended) == (admits, None, False)


@pytest.mark.parametrize("answer", [NotFound, Changed])
async def test_a_store_s_refusal_is_told_only_once_its_request_is_on_record(answer: type[Exception]):
    async def missing() -> Any:
        raise answer

    stage: Any = Opening(admits=True)
    playback = Playback(*[stage] * 7)
    draft = Draft.begin("native", Method.STREAM, Head("GET", {}, MultiDict(), CIMultiDict()))
    with pytest.raises(Unavailable):
        await playback._record_and_open(draft, missing())
    assert not draft.intended


async def test_who_leaves_while_his_request_is_put_on_record_leaves_no_body_open():
    asked = asyncio.Event()

    class Writing(Opening):
        def intend(self, _intent: Intent) -> asyncio.Future[None]:
            asked.set()
            return asyncio.get_running_loop().create_future()

    stage: Any = Writing(admits=True)
    playback = Playback(*[stage] * 7)
    draft = Draft.begin("native", Method.STREAM, Head("GET", {}, MultiDict(), CIMultiDict()))
    playing = asyncio.create_task(playback._record_and_open(draft, stage.open()))
    await asked.wait()
    playing.cancel()
    await asyncio.wait([playing])
    assert (playing.cancelled(), stage.closed) == (True, True)


class Ending:
    """A source, and a place among the streams."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def release(self) -> None:
        self.told.append("release")

    async def close(self) -> None:
        self.told.append("close")


async def test_an_answer_that_is_over_gives_back_its_place_and_closes_its_source():
    ending: Any = Ending()
    await Answer(Reply(200, {}), ending, release=ending.release).close()
    assert sorted(ending.told) == ["close", "release"]
    await Answer(Reply(200, {})).close()
