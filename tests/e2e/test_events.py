"""Storage notifications as S3, MinIO, EventBridge and Cloud Storage print them, sent to a real server about real objects."""

import base64
import copy
import json
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

import pytest
import pytest_asyncio
from parts.doors import Doors
from parts.stage import Stage
from parts.uploads import Uploader
from parts.wavs import silence

DATA = silence(1.5)
PUSH = "push@acme-calls.iam.gserviceaccount.com"
"""Whom Pub/Sub pushes as."""

S3_RECORD: dict[str, Any] = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "us-west-2",
    "eventTime": "1970-01-01T00:00:00.000Z",
    "eventName": "ObjectCreated:Put",
    "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
    "requestParameters": {"sourceIPAddress": "127.0.0.1"},
    "responseElements": {
        "x-amz-request-id": "C3D13FE58DE4C810",
        "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD",
    },
    "s3": {
        "s3SchemaVersion": "1.0",
        "configurationId": "testConfigRule",
        "bucket": {
            "name": "amzn-s3-demo-bucket",
            "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
            "arn": "arn:aws:s3:::amzn-s3-demo-bucket",
        },
        "object": {
            "key": "HappyFace.jpg",
            "size": 1024,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
            "sequencer": "0055AED6DCD90281E5",
        },
    },
}
TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "amzn-s3-demo-bucket",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}
BRIDGED: dict[str, Any] = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2021-11-12T00:00:00Z",
    "region": "ca-central-1",
    "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
    "detail": {
        "version": "0",
        "bucket": {"name": "amzn-s3-demo-bucket1"},
        "object": {
            "key": "example-key",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "source-ip-address": "1.2.3.4",
        "reason": "PutObject",
    },
}


def s3_record(bucket: str, key: str, event: str = "ObjectCreated:Put") -> dict[str, Any]:
    """As S3 encodes the key."""
    record = copy.deepcopy(S3_RECORD)
    record["eventName"] = event
    record["s3"]["bucket"]["name"] = bucket
    record["s3"]["object"]["key"] = quote_plus(key, safe="/")
    return record


def s3_event(*records: dict[str, Any]) -> dict[str, Any]:
    return {"Records": list(records)}


def minio_event(bucket: str, key: str) -> dict[str, Any]:
    """MinIO names the event before the records too, and encodes the slashes."""
    record = s3_record(bucket, key, "s3:ObjectCreated:Put") | {"eventSource": "minio:s3", "eventVersion": "2.0"}
    record["s3"]["object"]["key"] = quote_plus(key)
    return {"EventName": "s3:ObjectCreated:Put", "Key": f"{bucket}/{key}", "Records": [record]}


def bridged(bucket: str, key: str, kind: str = "Object Created") -> dict[str, Any]:
    event = copy.deepcopy(BRIDGED)
    event["detail-type"] = kind
    event["detail"]["bucket"]["name"], event["detail"]["object"]["key"] = bucket, key
    return event


def pushed(bucket: str, key: str, event: str = "OBJECT_FINALIZE") -> dict[str, Any]:
    """A Pub/Sub push of a Cloud Storage notification."""
    data = {"kind": "storage#object", "name": key, "bucket": bucket, "generation": "1700000000000000"}
    return {
        "message": {
            "attributes": {
                "bucketId": bucket,
                "eventTime": "2026-05-25T10:04:48.123456Z",
                "eventType": event,
                "notificationConfig": f"projects/_/buckets/{bucket}/notificationConfigs/1",
                "objectGeneration": "1700000000000000",
                "objectId": key,
                "payloadFormat": "JSON_API_V1",
            },
            "data": base64.b64encode(json.dumps(data).encode()).decode(),
            "messageId": "2070443601311540",
            "message_id": "2070443601311540",
            "publishTime": "2026-05-25T10:04:48.5Z",
            "publish_time": "2026-05-25T10:04:48.5Z",
        },
        "subscription": "projects/acme-calls/subscriptions/recordings",
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def storage(stage: Stage) -> Uploader:
    """A tenant whose pipeline only writes objects."""
    return await Uploader.made(stage, stage.house, "storage")


@pytest.fixture
def bucket(stage: Stage) -> str:
    return str(stage.stores["s3"]["bucket"])


def named(storage: Uploader, alias: str, data: bytes = DATA, store: str = "s3", suffix: str = ".wav") -> str:
    """An object whose key names a call, as pipeline.key_pattern has it."""
    key = f"{storage.slug}/yotel/{alias}{suffix}"
    storage.stage.shelves[store].put(key, data)
    return key


def taken(storage: Uploader, path: str, event: object, key: dict[str, str] | None = None) -> list[dict[str, Any]]:
    answer = storage.ask("POST", path, event, key)
    assert answer.status == 200, answer.body
    return list(answer.json()["data"])


@pytest.mark.parametrize("form", ["s3", "minio", "bridged"])
def test_an_object_whose_key_names_a_call_makes_it_ready(storage: Uploader, bucket: str, form: str):
    alias = f"call_{uuid4().hex[:12]}"
    key = named(storage, alias)
    event = {"s3": s3_event(s3_record(bucket, key)), "minio": minio_event(bucket, key), "bridged": bridged(bucket, key)}
    (first,) = taken(storage, "/v1/events/s3", event[form])
    assert (first["outcome"], first["reason"]) == ("ready", None)
    (again,) = taken(storage, "/v1/events/s3", event[form])
    assert again == {"outcome": "unchanged", "call_id": first["call_id"], "reason": None}
    facts = storage.facts(f"yotel:{alias}")
    assert (facts["id"], facts["state"], facts["recording"]["duration_ms"]) == (first["call_id"], "ready", 1500)
    assert storage.ask("GET", f"/yotel/api/v1/calls/{alias}/recording/audio").body == DATA


def test_odd_keys_arrive_as_they_are(storage: Uploader, bucket: str):
    for odd in ("a b.wav", "a+b.wav", "50%25.wav", "é & ü=?.wav", "x%2Fy.wav"):
        name, key = storage.new_call(), f"{storage.slug}/{uuid4().hex}/{odd}"
        assert storage.recording(name, store="s3", key=key).status == 202
        storage.stage.shelves["s3"].put(key, DATA)
        for event in (s3_event(s3_record(bucket, key)), minio_event(bucket, key), bridged(bucket, key)):
            (told,) = taken(storage, "/v1/events/s3", event)
            assert (told["call_id"], told["outcome"] in {"ready", "unchanged"}) == (storage.facts(name)["id"], True)


def test_an_object_that_was_replaced_is_known_anew(storage: Uploader, bucket: str):
    alias = f"call_{uuid4().hex[:12]}"
    event = s3_event(s3_record(bucket, named(storage, alias)))
    assert taken(storage, "/v1/events/s3", event)[0]["outcome"] == "ready"
    named(storage, alias, silence(4))
    assert taken(storage, "/v1/events/s3", event)[0]["outcome"] == "ready"
    assert storage.facts(f"yotel:{alias}")["recording"]["duration_ms"] == 4000


def test_every_record_is_told_of_in_its_place(storage: Uploader, bucket: str):
    good, bad, late = (f"call_{uuid4().hex[:12]}" for _ in range(3))
    records = [
        s3_record(bucket, named(storage, good)),
        s3_record(bucket, named(storage, bad, b"no audio at all")),
        s3_record(bucket, f"{storage.slug}/yotel/{late}.wav"),
        s3_record(bucket, f"{storage.slug}/yotel/{good}.wav", "ObjectRemoved:Delete"),
        s3_record(bucket, f"{storage.slug}/elsewhere/deep/a.wav"),
        s3_record("another-bucket", f"{storage.slug}/yotel/{good}.wav"),
        s3_record(bucket, f"acme/yotel/{good}.wav"),
        s3_record(bucket, f"{storage.slug}/../acme/yotel/{good}.wav"),
        s3_record(bucket, "\0"),
    ]
    told = taken(storage, "/v1/events/s3", s3_event(*records))
    assert [(each["outcome"], each["reason"]) for each in told] == [
        ("ready", None),
        ("failed", "none of WAV, MP3, MP4, Ogg, FLAC and WebM, by its first bytes"),
        ("ignored", "the store has no such object any more"),
        ("ignored", "not about a new object"),
        ("ignored", "the key names no call, as pipeline.key_pattern has it"),
        ("ignored", "no store with that bucket is configured"),
        ("ignored", f"the key must begin with {storage.slug}/ and go on, as pipeline.key_prefix has it"),
        ("ignored", "the key must hold no .., . or nothing between its slashes, and no backslash"),
        ("ignored", "no key that an object could have"),
    ]
    assert storage.ask("GET", f"/v1/recordings/yotel:{late}").status == 404
    (another,) = taken(storage, "/v1/events/s3", s3_event(s3_record(bucket, named(storage, good, suffix=".mp3"))))
    assert (another["outcome"], another["reason"]) == ("ignored", "the call's recording lies elsewhere")


def test_an_event_that_overtakes_its_call_is_harmless(storage: Uploader, bucket: str):
    alias = f"call_{uuid4().hex[:12]}"
    key = named(storage, alias)
    assert taken(storage, "/v1/events/s3", s3_event(s3_record(bucket, key)))[0]["outcome"] == "ready"
    assert storage.call(f"yotel:{alias}", direction="outbound").status == 200
    assert storage.recording(f"yotel:{alias}", state="pending").json()["state"] == "ready"
    assert storage.recording(f"yotel:{alias}", store="s3", key=key).json()["state"] == "ready"
    assert taken(storage, "/v1/events/s3", bridged(bucket, key, "Object Deleted"))[0]["outcome"] == "ignored"


def test_a_test_event_is_welcome(storage: Uploader):
    assert taken(storage, "/v1/events/s3", TEST_EVENT) == []


def test_buckets_of_one_kind_are_not_anothers(storage: Uploader, stage: Stage, bucket: str):
    alias = f"call_{uuid4().hex[:12]}"
    there = str(stage.stores["gcs"]["bucket"])
    assert bucket == there, "two stores of different kinds, whose buckets share a name"
    key = named(storage, alias, store="gcs")
    (told,) = taken(storage, "/v1/events/s3", s3_event(s3_record(there, key)))
    assert (told["outcome"], told["reason"]) == ("ignored", "the store has no such object any more")
    (told,) = taken(storage, "/v1/events/gcs", pushed(there, key))
    assert told["outcome"] == "ready"


async def test_pubsub_pushes_with_a_token_of_its_own(stage: Stage):
    """Google's tokens know no tenant, role or scope: the address they are for stands for all three."""
    issuer = stage.issuer | {
        "tenant_claim": "email",
        "tenants": {PUSH: "storage"},
        "scopes": ["recordings:write"],
    }
    house = stage.another(identity={"issuers": [issuer]})
    storage = await Uploader.made(stage, house, "storage")
    alias = f"call_{uuid4().hex[:12]}"
    key = named(storage, alias, store="gcs")
    there = str(stage.stores["gcs"]["bucket"])
    google = {"tenant": None, "role": None, "scope": None, "azp": "1094", "sub": "1094"}
    push = stage.token(**google, email=PUSH, email_verified=True)
    for outcome in ("ready", "unchanged"):
        (told,) = taken(storage, "/v1/events/gcs", pushed(there, key), push)
        assert told["outcome"] == outcome
    for ignored in ("OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE"):
        assert taken(storage, "/v1/events/gcs", pushed(there, key, ignored), push)[0]["outcome"] == "ignored"
    assert storage.ask("GET", f"/v1/recordings/{told['call_id']}", key=push).status == 403
    for stranger in (
        stage.token(**google, email="else@acme-calls.iam.gserviceaccount.com", email_verified=True),
        stage.token(**google, email=PUSH, email_verified=False),
    ):
        assert storage.ask("POST", "/v1/events/gcs", pushed(there, key), stranger).status == 401


def test_a_store_that_is_away_asks_for_the_event_again(storage: Uploader, doors: Doors, bucket: str):
    """A door that stands empty: nobody listens there."""
    away = Uploader(storage.stage, doors.house, storage.slug, storage.tenant, storage.key)
    key = named(storage, f"call_{uuid4().hex[:12]}")
    answer = away.ask("POST", "/v1/events/s3", s3_event(s3_record(bucket, key), s3_record("no-such-bucket", key)))
    assert (answer.status, answer.json()["code"], answer.get("Retry-After")) == (503, "unavailable", "5")
    assert taken(storage, "/v1/events/s3", s3_event(s3_record(bucket, key)))[0]["outcome"] == "ready"


BODIES: dict[str, object] = {
    "nothing": {},
    "a list": [],
    "records of nothing": {"Records": [{}]},
    "a record of a number": {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": 7}}}]},
    "another service's event": {**BRIDGED, "source": "aws.ec2"},
    "too many records": s3_event(*[S3_RECORD] * 1001),
    "a push without attributes": {"message": {"data": ""}},
}


@pytest.mark.parametrize("path", ["/v1/events/s3", "/v1/events/gcs"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_is_no_notification_is_refused(storage: Uploader, path: str, body: object):
    answer = storage.ask("POST", path, body)
    assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["body"])


async def test_notifications_take_the_scope_to_write(storage: Uploader, bucket: str):
    reader = await storage.stage.key("calls:read", "recordings:download", tenant=storage.tenant)
    for path, event in (("/v1/events/s3", TEST_EVENT), ("/v1/events/gcs", pushed(bucket, "storage/yotel/a.wav"))):
        assert storage.ask("POST", path, event, key=reader).json()["needed"] == "recordings:write"
        assert storage.ask("POST", path, event, key={}).status == 401
