"""The contract that names no vendor, by its own document: what it prints replayed through a real server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_asyncio
from parts.calls import plainly
from parts.contracts import DATA
from parts.house import Filed
from parts.replay import Told, as_printed, curl, headers, root, save
from parts.stage import Stage

PRINTED = {
    "success": True,
    "data": {
        "url": "https://bucket.s3.amazonaws.com/recordings/call_abc123.wav?X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "expires_in": 3600,
        "content_type": "audio/wav",
        "filename": "recording_+15559876543.wav",
    },
}
SIZE = 1924506
"""The Content-Length printed."""
SID = "call_abc123"


@dataclass(frozen=True)
class Org:
    """The organisation of the examples, its key, and the call they are about."""

    stage: Stage
    credential: dict[str, str]
    filed: Filed

    @property
    def examples(self) -> dict[str, str]:
        """The header that the examples send, and the credential that they leave out."""
        return {"X-Organization-Id": "org_123", **self.credential}

    def get(self, sid: str, what: str, *words: str) -> Told:
        told = curl(f"{root(self.stage, 'callsid')}/api/calls/{sid}/recording/{what}", *headers(self.examples), *words)
        if told.status == 200 and what == "stream":
            self.stage.secrets.add(told.json()["data"]["url"].rpartition("=")[2])
        return told

    async def file(self, store: str = "s3", **options: Any) -> str:
        """Another call's sid."""
        tenant = await self.stage.office.tenant("org_123")
        return (await self.stage.file(store, DATA, tenant=tenant, **options)).aliases["callsid"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def org(stage: Stage) -> Org:
    tenant = await stage.office.tenant("org_123")
    named: dict[str, Any] = {"aliases": {"callsid": SID}, "call": {"to_number": "+15559876543"}}
    filed = await stage.file("s3", bytes(SIZE), tenant=tenant, **named)
    return Org(stage, await stage.key("recordings:download", tenant=tenant), filed)


def test_documented_stream_example_gives_every_field(org: Org):
    told = org.get(SID, "stream")
    assert (told.status, told.fields["cache-control"]) == (200, "private, no-store")
    as_printed(told.json(), PRINTED)
    url = told.json()["data"]["url"]
    assert told.json() == PRINTED | {"data": PRINTED["data"] | {"url": url}}
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert "X-Amz-Expires=3600" in url
    assert "5559876543" not in url, "a phone number in a URL ends up in logs"


def test_presigned_url_needs_no_header_and_takes_ranges(org: Org):
    url = org.get(SID, "stream").json()["data"]["url"]
    status, body, fields = plainly(url)
    assert (status, len(body), fields["Content-Type"]) == (200, SIZE, "audio/wav")
    for asked, start, stop in (
        ("bytes=0-", 0, SIZE),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=-500", SIZE - 500, SIZE),
    ):
        status, body, fields = plainly(url, Range=asked)
        assert (status, len(body)) == (206, stop - start)
        assert fields["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"


def test_documented_download_example_gives_every_field(org: Org):
    told = org.get(SID, "download")
    assert (told.status, told.body == bytes(SIZE)) == (200, True)
    expected = {
        "content-type": "audio/wav",
        "content-disposition": 'attachment; filename="recording_+15559876543.wav"',
        "content-length": str(SIZE),
    }
    assert expected.items() <= told.fields.items()


def test_browser_saves_the_download_under_the_documented_name(org: Org, tmp_path: Path):
    url = f"{root(org.stage, 'callsid')}/api/calls/{SID}/recording/download"
    assert save(tmp_path, url, *headers(org.examples)).name == "recording_+15559876543.wav"


def test_download_must_be_taken_whole(org: Org):
    """«Supports seeking: no»."""
    for field in ("Range: bytes=0-9", "Range: bytes=-1", "Range: bytes=9999999-"):
        told = org.get(SID, "download", "-H", field)
        assert (told.status, told.fields["content-length"]) == (200, str(SIZE))
        assert told.fields["accept-ranges"] == "none"
        assert "content-range" not in told.fields
    assert org.get(SID, "download", "-I").fields["accept-ranges"] == "none"


def test_setting_lets_the_download_be_taken_in_parts(org: Org):
    mounts = [{"surface": "native"}, {"surface": "callsid", "prefix": "/callsid", "ranges": True}]
    house = org.stage.another(mounts=mounts)
    url = f"{house.base_url}/callsid/api/calls/{SID}/recording/download"
    told = curl(url, *headers(org.examples), "-H", "Range: bytes=10-19")
    assert (told.status, told.fields["content-range"]) == (206, f"bytes 10-19/{SIZE}")
    house.stop()


def test_organisations_header_alone_authorises_nothing(org: Org):
    """The examples send it alone; whoever copies them is asked for a credential."""
    for what in ("stream", "download"):
        url = f"{root(org.stage, 'callsid')}/api/calls/{SID}/recording/{what}"
        told = curl(url, "-H", "X-Organization-Id: org_123")
        assert (told.status, told.fields["www-authenticate"]) == (401, "Bearer")
        assert told.json()["success"] is False
        assert curl(url, *headers(org.examples | {"X-Organization-Id": "acme"})).status == 404


async def test_token_does_as_well_as_a_key(org: Org):
    fields = org.stage.token("org_123", scope="recordings:download") | {"X-Organization-Id": "org_123"}
    url = f"{root(org.stage, 'callsid')}/api/calls/{SID}/recording/download"
    assert curl("-I", url, *headers(fields)).status == 200


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [("audio/wav", "wav"), ("audio/mpeg", "mp3"), ("audio/mp4", "m4a"), ("video/webm", "webm")],
)
async def test_type_and_name_follow_what_the_recording_is(org: Org, media_type: str, extension: str):
    sid = await org.file(media_type=media_type, call={"to_number": "+15559876543"})
    data = org.get(sid, "stream").json()["data"]
    assert (data["content_type"], data["filename"]) == (media_type, f"recording_+15559876543.{extension}")
    assert plainly(data["url"])[2]["Content-Type"] == media_type
    assert org.get(sid, "download").fields["content-disposition"].endswith(f'_+15559876543.{extension}"')


async def test_sid_stands_in_for_a_number_that_is_not_known(org: Org):
    sid = await org.file()
    assert org.get(sid, "stream").json()["data"]["filename"] == f"recording_{sid}.wav"
    told = org.get(sid, "download")
    assert told.fields["content-disposition"] == f'attachment; filename="recording_{sid}.wav"'


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ('";filename*=x', 'recording_";filename*=x.wav'),
        ("a\r\nSet-Cookie: a=b", "recording_a__Set-Cookie: a=b.wav"),
        ("../../etc/passwd", "recording_.._.._etc_passwd.wav"),
        ("Светлана", "recording_Светлана.wav"),
        ("☎️ 5", "recording_☎️ 5.wav"),
        ("sip:alice@example.com;transport=tls", "recording_sip:alice@example.com;transport=tls.wav"),
        ("x" * 5000, "recording_" + "x" * 186 + ".wav"),
    ],
)
async def test_name_is_one_wellformed_field_whatever_the_number_holds(org: Org, number: str, name: str):
    sid = await org.file("disk", call={"to_number": number})
    told = org.get(sid, "download")  # curl refuses a broken head, and a field that comes twice fails
    field = told.fields["content-disposition"]
    assert told.body == DATA
    assert field.startswith('attachment; filename="recording')
    assert field.isascii()
    assert len(field) < 1000
    assert "set-cookie" not in told.fields
    quoted = field.split('"')[1]
    assert quoted.endswith(".wav")
    assert not set(quoted) & set('/\\"')
    _, _, encoded = field.partition("filename*=UTF-8''")
    assert unquote(encoded or quoted) == name
    assert org.get(sid, "stream").json()["data"]["filename"] == name


async def test_store_without_signed_urls_gets_the_gateways_own(org: Org):
    sid = await org.file("disk")
    data = org.get(sid, "stream").json()["data"]
    org.stage.secrets.add(data["url"].split("/")[-2])
    assert data["expires_in"] == 3600
    assert plainly(data["url"])[:2] == (200, DATA)
    assert plainly(data["url"], Range="bytes=1-2")[:2] == (206, DATA[1:3])


@pytest.mark.parametrize("sid", ["abc123", "call_", "CALL_abc", "call_a-b", "call_a%00", "call_%C3%A9", "call_a.wav"])
def test_sid_not_of_its_form_is_a_422(org: Org, sid: str):
    for what in ("stream", "download"):
        told = org.get(sid, what)
        assert told.status == 422
        assert told.json()["error"].keys() == {"code", "message"}
