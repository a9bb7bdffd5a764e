"""The URLs that two documents say may stand in a bare audio element, in one of a real browser: played and sought."""

import pytest
from parts.browser import page_of
from parts.replay import curl, headers, root
from parts.stage import Stage
from parts.wavs import silence

SECONDS = 240
SEEKS = (200, 30)
AUDIO = '<!doctype html><title>elsewhere</title><audio src="{url}"></audio>'
PLAY = "() => document.querySelector('audio').play()"
DURATION = "() => document.querySelector('audio').duration"
SEEK = """(to) => new Promise((done, failed) => {
    const audio = document.querySelector('audio');
    audio.addEventListener('error', () => failed(new Error('code ' + audio.error.code)), {once: true});
    audio.addEventListener('seeked', () => done(audio.currentTime), {once: true});
    audio.currentTime = to;
})"""


@pytest.mark.parametrize("surface", ["callsid", "agentphone"])
async def test_url_plays_and_seeks_in_a_bare_audio_element(stage: Stage, surface: str):
    tenant = await stage.office.tenant("players", recording_enabled=True)
    of = await stage.file("s3", silence(SECONDS), tenant=tenant)
    if surface == "agentphone":
        url = f"{root(stage, surface)}/v1/calls/{of.aliases[surface]}/recording"
    else:
        asked = f"{root(stage, surface)}/api/calls/{of.aliases[surface]}/recording/stream"
        url = curl(asked, *headers(await stage.key(tenant=tenant))).json()["data"]["url"]
        stage.secrets.add(url.rpartition("=")[2])
    async with page_of(AUDIO.format(url=url.replace("&", "&amp;"))) as page:
        await page.evaluate(PLAY)
        assert await page.evaluate(DURATION) == pytest.approx(SECONDS)
        for to in SEEKS:
            assert to <= await page.evaluate(SEEK, to) < to + 5
