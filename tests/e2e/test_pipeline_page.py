"""What docs/pipeline.md prints does what it says."""

import json
import re
import tomllib
from pathlib import Path

from parts.stage import Stage
from parts.uploads import Uploader
from parts.wavs import silence

from gateway.config import Config

PAGE = Path(__file__).parents[2] / "docs" / "pipeline.md"


async def test_the_pages_examples_do_what_they_say(stage: Stage):
    stores = stage.stores | {"calls": stage.stores["s3"]}
    page = PAGE.read_text()
    issuer, pipeline = (tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL))
    assert Config(**issuer).identity.issuers[0].scopes == ("recordings:write",)
    key = re.search(r'"key": "(acme/[^"]+)"', page)
    assert key is not None
    stage.shelves["s3"].put(key[1], silence(1))
    uploader = await Uploader.made(stage, stage.another(stores), "acme")
    steps = re.findall(r"^(PUT) (\S+) (\{.*\})\n→ (\d+)$", page, re.MULTILINE)
    assert len(steps) == 5
    for method, path, body, status in steps:
        assert uploader.ask(method, path, json.loads(body)).status == int(status)
    pattern = Config(**pipeline).pipeline.key_pattern
    assert re.fullmatch(pattern, "calls/yotel-call_8c1f20d9.wav") is not None
    named = re.fullmatch(Config().pipeline.key_pattern, "acme/yotel/call_8c1f20d9.wav")
    assert named is not None
    assert named.groupdict() == {"tenant": "acme", "surface": "yotel", "id": "call_8c1f20d9"}
