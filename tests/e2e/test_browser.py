"""A gateway link in a bare audio element of a real browser: played, sought, taken back."""

import asyncio

import pytest
from parts.browser import page_of
from parts.linked import linked, revoke
from parts.stage import Stage
from parts.wavs import silence

RATE, CHANNELS, SECONDS = 44_100, 2, 300
A_SECOND = RATE * CHANNELS * 2
"""Bytes"""
SEEKS = (250, 20, 180, 90, 290)
"""Seconds; far enough apart that none of them is buffered."""
LAST = 140
"""Where nobody was yet."""

AUDIO = '<!doctype html><title>elsewhere</title><audio src="{url}"></audio>'
PLAY = "() => document.querySelector('audio').play()"
SEEK = """(to) => new Promise((done, failed) => {
    const audio = document.querySelector('audio');
    audio.addEventListener('error', () => failed(new Error('code ' + audio.error.code)), {once: true});
    audio.addEventListener('seeked', () => {
        audio.addEventListener('timeupdate', () => done(audio.currentTime), {once: true});
    }, {once: true});
    audio.currentTime = to;
})"""
SEEK_IN_VAIN = "(to) => { document.querySelector('audio').currentTime = to }"
SEEKING = "() => document.querySelector('audio').seeking"
LOAD = """() => new Promise((done) => {
    const audio = document.querySelector('audio');
    audio.addEventListener('error', () => done(audio.error.code), {once: true});
    audio.load();
})"""
MEDIA_ERR_SRC_NOT_SUPPORTED = 4
REFUSED = "SELECT FROM accesses WHERE credential_id = $1 AND range_asked IS NOT NULL AND status = 410"


async def test_link_plays_and_seeks_in_a_browser_until_it_is_revoked(stage: Stage):
    of = await stage.file("disk", silence(SECONDS, channels=CHANNELS, rate=RATE), channels=CHANNELS)
    link = linked(stage, of, max_uses=1)
    async with page_of(AUDIO.format(url=link.url)) as page:
        await page.evaluate(PLAY)
        assert await page.evaluate("() => document.querySelector('audio').duration") == pytest.approx(SECONDS)
        for to in SEEKS:
            assert to <= await page.evaluate(SEEK, to) < to + 5
        assert revoke(stage.house, link.id, stage.full.items()).status == 204
        await page.evaluate(SEEK_IN_VAIN, LAST)
        async with asyncio.timeout(20):
            while not await stage.office.rows(REFUSED, link.id):
                pass  # Postgres tells nobody of what arrives
        assert await page.evaluate(SEEKING), "it asks again and again for what never comes"
        assert await page.evaluate(LOAD) == MEDIA_ERR_SRC_NOT_SUPPORTED
        agent = await page.evaluate("() => navigator.userAgent")

    rows = await stage.accesses("credential_id", link.id, len(SEEKS) + 3, or_more=True)
    assert {row["user_agent"] for row in rows} == {agent}
    # A browser that is kept waiting thinks better of it, and asks again.
    answered = [row for row in rows if (row["status"], row["reason"]) != (0, "before_first_byte")]
    played, late = ([row for row in answered if (row["status"] == 206) is plays] for plays in (True, False))
    assert answered == played + late, [(row["status"], row["reason"], row["range_asked"]) for row in rows]
    assert {row["method"] for row in played} == {"stream"}
    assert len({row["session"] for row in played}) == 1, "one playback, and one use"
    starts = [int(row["range_asked"].removeprefix("bytes=").removesuffix("-")) for row in played]
    for to in (0, *SEEKS):  # a browser that is kept waiting may ask for more besides
        assert any((to - 1) * A_SECOND < start <= to * A_SECOND + 44 for start in starts), to
    assert all(row["bytes_sent"] < len(of.data) for row in played)
    assert {(row["status"], row["bytes_sent"], row["reason"]) for row in late} == {(410, 0, "link_revoked")}
