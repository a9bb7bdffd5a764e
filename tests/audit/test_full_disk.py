"""A journal on a disk that is full, for real."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from parts.audit import House, intent, outcome, settings, until
from parts.disks import FillableDisk, disks

from gateway.audit.segments import DISK_FILES
from gateway.errors import Unavailable


@pytest.mark.parametrize("disk", disks())
async def test_a_full_disk_refuses_and_serving_goes_on_when_there_is_room(
    disk: Callable[[], AbstractContextManager[FillableDisk]],
):
    with disk() as place:
        at = House(settings(place.path / "journal", segment_bytes=16_384), DISK_FILES)
        await at.journal.start()
        first = intent()
        await at.trail.intend(first)
        place.fill()
        answers = await asyncio.gather(*(at.trail.intend(intent()) for _ in range(100)), return_exceptions=True)
        refused = [answer for answer in answers if answer is not None]
        assert refused
        assert all(isinstance(answer, Unavailable) for answer in refused)
        at.trail.conclude(outcome(first))
        with pytest.raises(Unavailable):
            await at.trail.intend(intent())
        place.free()
        await until(lambda: at.journal.problem is None)
        await at.trail.intend(intent())
        assert await at.journal.drain()
        concluded = at.trail.open_events
        assert concluded == 100 - len(refused) + 1
        assert len(at.on_disk()) == 1 + 1 + 100 + len(refused) + 1
        await at.journal.close()
