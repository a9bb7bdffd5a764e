"""What a notification leads to, as keys and stores are configured."""

from collections.abc import Callable
from typing import Any

import pytest
from parts.pipeline import Meddled, Works
from parts.wavs import silence

from gateway.asks.pipeline import Fate, Noticed, StoreKind, TakeNotices
from gateway.config import Config
from gateway.errors import NotFound, Unavailable
from gateway.lifecycle.events import Notices
from gateway.lifecycle.pipeline import Pipeline
from gateway.model import Caller, CallRef, Stat, State

on_s3 = pytest.mark.parametrize("works", ["s3"], indirect=True)
BUCKET = "recordings"


def configured(works: Works, changed: Callable[[str], None] = lambda _tag: None, **pipeline: str) -> Notices:
    """``main`` is the store of that bucket; ``also`` has it too, and comes after."""
    config = Config(stores={name: {"kind": "s3", "bucket": BUCKET} for name in ("main", "also")}, pipeline=pipeline)
    return Notices(works.pipeline, config, changed)


def in_two_stores(works: Works, main: Meddled) -> Notices:
    """``main`` and ``also`` name a bucket alike."""
    config = Config(
        stores={name: {"kind": "s3", "bucket": BUCKET} for name in ("main", "also")},
        pipeline={"key_prefix": "", "key_pattern": rf"{works.folder}/(?P<surface>\w+)-(?P<id>\w+)\.\w+"},
    )
    pipeline = Pipeline({"main": main, "also": works.store}, works.registry, works.catalog)
    return Notices(pipeline, config, lambda _tag: None)


async def told(notices: Notices, works: Works, key: str, **caller: Any) -> tuple[Fate, str | None]:
    facts = {"tenant": works.tenant, "tenant_slug": "acme", "kind": "api_key"} | caller
    who = Caller(**facts, subject=None, credential=None, method=None)
    (taken,) = await notices.take(who, None, TakeNotices(StoreKind.S3, [Noticed(BUCKET, key)]))
    return taken.fate, taken.reason


@on_s3
async def test_a_key_pattern_need_not_name_the_tenant(works: Works):
    notices = configured(works, key_prefix="", key_pattern=rf"{works.folder}/(?P<surface>\w+)-(?P<id>\w+)\.wav")
    key = works.put("callsid-42.wav", silence())
    assert await told(notices, works, key) == (Fate.READY, None)
    entry = await works.catalog.find(works.tenant, CallRef("callsid", "42"))
    assert entry.recording is not None
    assert entry.recording.state is State.READY


@on_s3
async def test_without_a_prefix_the_tenant_that_a_key_names_still_counts(works: Works):
    notices = configured(
        works, key_prefix="", key_pattern=rf"{works.folder}/(?P<tenant>\w+)/(?P<surface>\w+)-(?P<id>\w+)\.wav"
    )
    assert await told(notices, works, works.put("other/callsid-42.wav", silence())) == (
        Fate.IGNORED,
        "the key names another tenant",
    )
    assert await told(notices, works, works.put("acme/callsid-42.wav", silence())) == (Fate.READY, None)


@on_s3
async def test_a_prefix_counts_where_the_pattern_names_no_tenant(works: Works):
    notices = configured(works, key_pattern=rf"{works.folder}/(?P<surface>\w+)-(?P<id>\w+)\.wav")
    fate, reason = await told(notices, works, works.put("callsid-42.wav", silence()))
    assert (fate, reason) == (
        Fate.IGNORED,
        "the key must begin with acme/ and go on, as pipeline.key_prefix has it",
    )


@on_s3
async def test_what_is_registered_needs_no_key_of_any_form(works: Works):
    call, key = await works.call(yotel="c-1"), works.put("odd name", silence())
    await works.registry.put_recording(works.tenant, call, place=("main", key))
    tags: list[str] = []
    notices = configured(works, tags.append)
    assert await told(notices, works, key) == (Fate.READY, None)
    assert tags == [f"call:{call}"], "what the cache has is older"
    other = (await works.registry.create_tenant("other", "Other")).id
    fate, _ = await told(notices, works, key, tenant=other, tenant_slug="other")
    assert fate is Fate.IGNORED


@on_s3
async def test_what_is_registered_is_found_by_whatever_name_of_its_buckets_stores(works: Works):
    call, key = await works.call(yotel="c-1"), works.put("odd name", silence())
    await works.registry.put_recording(works.tenant, call, place=("also", key))
    notices = in_two_stores(works, works.store)
    assert await told(notices, works, key) == (Fate.READY, None)
    recording = (await works.find(call)).recording
    assert recording is not None
    assert recording.object is not None
    assert (recording.state, recording.object.store) == (State.READY, "also")


@on_s3
async def test_of_stores_whose_bucket_has_the_name_the_one_counts_that_has_the_object(works: Works):
    key = works.put("callsid-42.wav", silence())

    class Elsewhere(Meddled):
        async def stat(self, key: str) -> Stat:
            raise NotFound(key)

    notices = in_two_stores(works, Elsewhere(works.store))
    assert await told(notices, works, key) == (Fate.READY, None)
    entry = await works.catalog.find(works.tenant, CallRef("callsid", "42"))
    assert entry.recording is not None
    assert entry.recording.object is not None
    assert entry.recording.object.store == "also"
    fate, reason = await told(notices, works, works.put("callsid-42.json", b"{}"))
    assert (fate, reason) == (Fate.IGNORED, "the call's recording lies elsewhere")


@on_s3
async def test_an_alias_that_nobody_can_have_is_ignored(works: Works):
    notices = configured(works, key_prefix="", key_pattern=rf"{works.folder}/(?P<surface>.*)-(?P<id>.*)\.wav")
    for name in ("Yotel!-1.wav", "yotel-.wav", "-1.wav"):
        fate, reason = await told(notices, works, works.put(name, silence()))
        assert (fate, reason is None) == (Fate.IGNORED, False)


@on_s3
async def test_one_that_cannot_be_decided_keeps_no_other_from_its_due(works: Works):
    key, lost = works.put("yotel-1.wav", silence()), f"{works.folder}/yotel-2.wav"

    class Away(Meddled):
        async def stat(self, key: str) -> Stat:
            if key == lost:
                raise Unavailable("away")
            return await works.store.stat(key)

    pipeline = Pipeline({"main": Away(works.store)}, works.registry, works.catalog)
    config = Config(
        stores={"main": {"kind": "s3", "bucket": BUCKET}},
        pipeline={"key_prefix": "", "key_pattern": rf"{works.folder}/(?P<surface>\w+)-(?P<id>\w+)\.wav"},
    )
    notices = Notices(pipeline, config, lambda _tag: None)
    who = Caller(works.tenant, tenant_slug="acme", kind="api_key", subject=None, credential=None, method=None)
    ask = TakeNotices(StoreKind.S3, [Noticed(BUCKET, lost), Noticed(BUCKET, key)])
    with pytest.raises(Unavailable):
        await notices.take(who, None, ask)
    entry = await works.catalog.find(works.tenant, CallRef("yotel", "1"))
    assert entry.recording is not None
    assert entry.recording.state is State.READY
