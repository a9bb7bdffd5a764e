"""What hostile and broken requests get: a plain refusal that echoes nothing, and nothing of them goes any further."""

import json
import socket
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio
from parts.house import Filed, House, some_bytes
from parts.issuer import AUDIENCE, ISSUER, b64, claims, jwk, pem, rsa_key, sign, token
from parts.stage import LINK_KEY, ORIGIN, PROXY, Stage
from parts.wire import Answer, Lines, Wire
from pydantic import SecretStr

from gateway.identity.links import Links

MARK = "xXmarkedXx"
"""Stands in what is sent; may stand in no answer and in no log line."""
HEAD_S = 1.0
STALL_S = 1.0
LARGE = 24_000_000
KEY, ATTACKER = rsa_key(), rsa_key("attacker")
MISSING = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Wary:
    """A gateway with short deadlines that believes one issuer; a call of its tenant, and one of another's."""

    stage: Stage
    house: House
    own: Filed
    foreign: Filed
    large: Filed

    @property
    def full(self) -> dict[str, str]:
        return self.stage.full

    def wire(self, *, source: str | None = None, receive_buffer: int | None = None) -> Wire:
        return Wire(self.house.base_url, source=source, receive_buffer=receive_buffer)

    def ask(self, method: str, target: str, lines: Lines = (), body: bytes = b"", source: str | None = None) -> Answer:
        """One request on a connection of its own; its answer echoes nothing."""
        with self.wire(source=source) as wire:
            return silent(wire.ask(method, target, lines, body))

    def allowed(self, *lines: tuple[str, str]) -> list[tuple[str, str]]:
        return [*self.full.items(), *lines]


def silent(answer: Answer) -> Answer:
    assert MARK not in repr(answer.fields)
    assert MARK.encode() not in answer.body
    assert b"Traceback" not in answer.body
    return answer


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wary(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wary]:
    public = tmp_path_factory.mktemp("issuer") / "public.pem"
    public.write_bytes(pem(KEY))
    stage.secrets.add(MARK)
    house = stage.another(
        server={"header_timeout_s": HEAD_S, "write_stall_s": STALL_S},
        identity={"issuers": [{"issuer": ISSUER, "audience": AUDIENCE, "public_key_file": str(public)}]},
    )
    other = await stage.office.tenant("other")
    yield Wary(
        stage,
        house,
        own=await stage.file("s3", some_bytes(10_000)),
        foreign=await stage.file("s3", some_bytes(10_000), tenant=other),
        large=await stage.file("disk", some_bytes(LARGE)),
    )


# --- ids ------------------------------------------------------------------------------------------------------------

IDS = {
    "dots": "..",
    "up": "..%2f..%2fetc%2fpasswd",
    "up, all encoded": "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "backslash": "..%5c..%5cetc%5cpasswd",
    "overlong dot": "%c0%ae%c0%ae%c0%afetc",
    "NUL": "abc%00",
    "NUL alone": "%00",
    "line end": "abc%0d%0aSet-Cookie:%20a=b",
    "quote": "'%20OR%20'1'='1",
    "percent": "abc%",
    "half a percent": "%zz",
    "not UTF-8": "%ff%fe",
    "wide digits": "%EF%BC%91%EF%BC%92",
    "10 KB": "a" * 10_240,
    "10 KB, encoded": "%41" * 3_400,
    "space": "a%20b",
}


@pytest.mark.parametrize("raw", IDS.values(), ids=IDS)
def test_malformed_id_is_refused_in_the_surfaces_own_words(wary: Wary, raw: str):
    for target in (f"/v1/recordings/{raw}", f"/v1/recordings/{raw}/audio"):
        answer = wary.ask("GET", target, wary.allowed())
        assert (answer.status, answer.json()["code"]) == (422, "malformed")
    for target in (f"/yotel/api/v1/calls/{raw}/recording", f"/yotel/api/v1/calls/{raw}/recording/audio"):
        answer = wary.ask("GET", target, wary.allowed())
        assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("raw", ["../../etc/passwd", "..//..//etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "./x", "x/../y"])
def test_path_that_climbs_is_nowhere(wary: Wary, raw: str):
    for target in (
        f"/v1/recordings/{raw}",
        f"/v1/recordings/{raw}/audio",
        f"/yotel/api/v1/calls/{raw}/recording/audio",
    ):
        assert wary.ask("GET", target, wary.allowed()).status == 404


async def test_malformed_ids_never_reach_the_database(brittle):
    """Postgres is stopped: whatever asks it gets a 503."""
    stage = brittle.stage
    of = await stage.file("disk", some_bytes(100))
    with Wire(stage.house.base_url) as wire:
        assert wire.ask("GET", of.native, stage.full.items()).status == 200
        brittle.postgres.stop()
        for raw in IDS.values():
            assert wire.ask("GET", f"/v1/recordings/{raw}/audio", stage.full.items()).status == 422
            assert wire.ask("GET", f"/yotel/api/v1/calls/{raw}/recording/audio", stage.full.items()).status == 404
        answer = wire.ask("GET", f"/v1/recordings/{MISSING}/audio", stage.full.items())
        assert (answer.status, answer.get("Retry-After")) == (503, "5")


# --- who is addressed -----------------------------------------------------------------------------------------------


def urls_in(value: object) -> list[str]:
    """Every URL in a JSON document."""
    match value:
        case dict():
            return [url for each in value.values() for url in urls_in(each)]
        case list():
            return [url for each in value for url in urls_in(each)]
        case str() if "://" in value:
            return [value]
    return []


LINKING = (
    ("GET", "/v1/recordings/{0.own.id}", b"", 200),
    ("GET", "/v1/recordings?limit=1", b"", 200),
    ("POST", "/v1/recordings/{0.own.id}/links", b'{"delivery": "gateway"}', 201),
    ("GET", "/yotel/api/v1/calls/{0.large.alias}/recording", b"", 200),
)


@pytest.mark.parametrize(
    ("method", "template", "body", "status"), LINKING, ids=lambda v: v if isinstance(v, str) else ""
)
def test_forged_host_is_in_no_link(wary: Wary, method: str, template: str, body: bytes, status: int):
    target = template.format(wary)
    for host in (f"{MARK}.example", f"{MARK}.example:8080", f"yotel.localhost.{MARK}.example"):
        answer = wary.ask(method, target, wary.allowed(("Host", host)), body)
        assert answer.status == status
        urls = urls_in(answer.json())
        assert urls
        assert all(url.startswith(wary.house.base_url + "/") for url in urls)
    for absolute in (f"http://{MARK}.example{target}", f"https://{MARK}.example:1{target}"):
        answer = wary.ask(method, absolute, wary.allowed(), body)
        assert answer.status == status
        assert all(url.startswith(wary.house.base_url + "/") for url in urls_in(answer.json()))


def test_absolute_form_is_served_by_the_host_it_names(wary: Wary):
    path = f"/api/v1/calls/{wary.own.alias}/recording/audio"
    answer = wary.ask("GET", f"http://yotel.localhost{path}", wary.allowed(("Host", "elsewhere.example")))
    assert (answer.status, answer.body) == (200, wary.own.data)
    assert wary.ask("GET", path, wary.allowed(("Host", "elsewhere.example"))).status == 404


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["a.example", "b.example"],
        ["a.example", "a.example"],
        [f"{MARK} b"],
        [f"{MARK}@a.example"],
        [f"a.example/{MARK}"],
        [f"{MARK}:port"],
        ["a.example, b.example"],
        ["[::1"],
        [f'{MARK}">'],
    ],
    ids=repr,
)
def test_request_without_exactly_one_sound_host_is_refused_and_closed(wary: Wary, hosts: list[str]):
    head = f"GET {wary.own.native} HTTP/1.1\r\nAuthorization: {wary.full['Authorization']}\r\n"
    with wary.wire() as wire:
        wire.send((head + "".join(f"Host: {host}\r\n" for host in hosts) + "\r\n").encode())
        answer = silent(wire.read())
    assert (answer.status, answer.get("Connection")) == (400, "close")


# --- framing --------------------------------------------------------------------------------------------------------

FOLLOWING = f"GET /healthz HTTP/1.1\r\nHost: {MARK}\r\n\r\n"
FRAMING = {
    "length and coding": "POST {links} HTTP/1.1\r\n{own}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": "POST {links} HTTP/1.1\r\n{own}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "signed length": "POST {links} HTTP/1.1\r\n{own}Content-Length: +5\r\n\r\n{{}}   ",
    "negative length": "POST {links} HTTP/1.1\r\n{own}Content-Length: -5\r\n\r\n",
    "two lengths": "POST {links} HTTP/1.1\r\n{own}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}} ",
    "list of lengths": "POST {links} HTTP/1.1\r\n{own}Content-Length: 2, 3\r\n\r\n{{}} ",
    "hex length": "POST {links} HTTP/1.1\r\n{own}Content-Length: 0x2\r\n\r\n{{}}",
    "huge length": "POST {links} HTTP/1.1\r\n{own}Content-Length: 99999999999999999999999\r\n\r\n{{}}",
    "other coding": "POST {links} HTTP/1.1\r\n{own}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding hidden by a tab": "POST {links} HTTP/1.1\r\n{own}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "coding twice": "POST {links} HTTP/1.1\r\n{own}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked on 1.0": "POST {links} HTTP/1.0\r\n{own}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
    "chunk size no number": "POST {links} HTTP/1.1\r\n{own}Transfer-Encoding: chunked\r\n\r\nxX\r\n{{}}\r\n0\r\n\r\n",
    "chunk size huge": "POST {links} HTTP/1.1\r\n{own}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{{}}\r\n0\r\n\r\n",
    "bare LF": "GET {audio} HTTP/1.1\n{own}\n",
    "bare LF in a field": "GET {audio} HTTP/1.1\r\n{own}X-A: a\nX-B: b\r\n\r\n",
    "bare CR in a field": "GET {audio} HTTP/1.1\r\n{own}X-A: a\rX-B: b\r\n\r\n",
    "folded field": "GET {audio} HTTP/1.1\r\n{own}X-A: a\r\n  folded\r\n\r\n",
    "space before colon": "GET {audio} HTTP/1.1\r\n{own}X-A : a\r\n\r\n",
    "no colon": "GET {audio} HTTP/1.1\r\n{own}X-A\r\n\r\n",
    "NUL in a field": "GET {audio} HTTP/1.1\r\n{own}X-A: a\0b\r\n\r\n",
    "NUL in the target": "GET {audio}\0 HTTP/1.1\r\n{own}\r\n",
    "space in the target": "GET {audio} x HTTP/1.1\r\n{own}\r\n",
    "no version": "GET {audio}\r\n{own}\r\n",
    "version 2": "GET {audio} HTTP/2.0\r\n{own}\r\n",
    "long field": "GET {audio} HTTP/1.1\r\n{own}X-A: " + "a" * 40_000 + "\r\n\r\n",
    "long name": "GET {audio} HTTP/1.1\r\n{own}" + "a" * 40_000 + ": a\r\n\r\n",
    "many fields": "GET {audio} HTTP/1.1\r\n{own}" + "X-A: a\r\n" * 2_000 + "\r\n",
    "long target": "GET /" + "a" * 40_000 + " HTTP/1.1\r\n{own}\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03{audio}{own}",
    "method no token": "G(T {audio} HTTP/1.1\r\n{own}\r\n",
    "two Range lines": "GET {audio} HTTP/1.1\r\n{own}Range: bytes=0-1\r\nRange: bytes=0-1\r\n\r\n",
}


@pytest.mark.parametrize("template", FRAMING.values(), ids=FRAMING)
def test_ambiguous_framing_is_refused_and_nothing_after_it_is_answered(wary: Wary, template: str):
    own = f"Host: h\r\nX-Mark: {MARK}\r\nAuthorization: {wary.full['Authorization']}\r\n"
    raw = template.format(own=own, audio=wary.own.native, links=f"/v1/recordings/{wary.own.id}/links")
    with wary.wire() as wire:
        wire.send(raw.encode("latin-1") + FOLLOWING.encode())
        answer = silent(wire.read())  # which asserts that the connection ends after it
    assert 400 <= answer.status < 500
    assert answer.get("Connection") == "close"
    assert answer.get("Cache-Control") == "no-store"


@pytest.mark.parametrize(
    "body",
    [
        f"{MARK}",
        f'{{"{MARK}": 1}}',
        f'{{"ttl_s": "{MARK}"}}',
        f'{{"delivery": "{MARK}"}}',
        f'["{MARK}"]',
        '{"ttl_s": 0}',
        '{"ttl_s": -1}',
        '{"ttl_s": 604801}',
        '{"ttl_s": 1.5}',
        '{"ttl_s": true}',
        '{"ttl_s": null}',
        '{"ttl_s": 1e400}',
        '{"max_uses": 1}',
        '{"ip_cidr": "10.0.0.0/8"}',
        '{"delivery": "gateway", "x": 1}',
        "[" * 100_000,
        '"\\ud800"',
        "null",
    ],
    ids=lambda body: body[:30],
)
def test_body_not_of_its_form_is_unprocessable(wary: Wary, body: str):
    answer = wary.ask("POST", f"/v1/recordings/{wary.own.id}/links", wary.allowed(), body.encode())
    assert (answer.status, answer.json()["code"]) == (422, "malformed")


def test_body_over_its_bound_is_refused_and_closed(wary: Wary):
    answer = wary.ask("POST", f"/v1/recordings/{wary.own.id}/links", wary.allowed(), b" " * 1_048_577)
    assert (answer.status, answer.get("Connection")) == (413, "close")


@pytest.mark.parametrize(
    "query",
    [
        f"{MARK}=1",
        f"limit={MARK}",
        "limit=0",
        "limit=201",
        "limit=%EF%BC%91",
        "limit=1&limit=1",
        f"cursor={MARK}",
        "cursor=" + "A" * 40,
        "state=lost",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "until=9999-12-31T23:59:59-23:59",
        "&".join(f"a{n}=1" for n in range(200)),
        "%00=1",
    ],
    ids=lambda query: query[:30],
)
def test_parameter_not_of_its_form_is_unprocessable(wary: Wary, query: str):
    answer = wary.ask("GET", f"/v1/recordings?{query}", wary.allowed())
    assert (answer.status, answer.json()["code"]) == (422, "malformed")


# --- slowness -------------------------------------------------------------------------------------------------------


def test_head_that_drips_is_closed_at_its_deadline(wary: Wary):
    begun = time.monotonic()
    with wary.wire() as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
        wire.socket.settimeout(HEAD_S / 20)
        while True:
            assert time.monotonic() - begun < HEAD_S * 4
            try:
                wire.send(b"X")
                if wire.ended():
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert time.monotonic() - begun > HEAD_S * 0.9


async def test_reader_that_stalls_is_closed_and_audited(wary: Wary):
    begun = time.monotonic()
    with wary.wire(receive_buffer=4096) as wire:
        lines = wary.allowed(("User-Agent", "stalled"), ("Host", wire.host))
        head = f"GET {wary.large.native} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines)
        wire.send((head + "\r\n").encode())
        assert wire.socket.recv(4, socket.MSG_PEEK)
        (row,) = await wary.stage.accesses("user_agent", "stalled", 1)
        assert STALL_S <= time.monotonic() - begun < STALL_S * 8
        with pytest.raises(ConnectionError):
            wire.read()
    assert (row["status"], row["result"], row["reason"]) == (200, "client_gone", "stalled")
    assert 0 < row["bytes_sent"] < LARGE


# --- credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["{0.own.native}", "{0.own.yotel}", "/v1/recordings/{0.own.id}", "/v1/recordings"])
def test_two_credentials_at_once_are_ambiguous(wary: Wary, target: str):
    for second in (wary.full["Authorization"], f"Bearer {token(KEY)}", f"Bearer {MARK}", ""):
        answer = wary.ask("GET", target.format(wary), wary.allowed(("Authorization", second)))
        assert (answer.status, answer.get("Connection")) == (400, "close")


async def test_link_and_bearer_at_once_are_ambiguous(wary: Wary):
    path = gateway_link(wary)
    assert wary.ask("GET", path).status == 200
    assert wary.ask("GET", path, wary.allowed()).status == 400


HOSTILE = {
    "nothing known": f"Bearer {MARK}",
    "no scheme": MARK,
    "Basic": f"Basic {MARK}",
    "empty": "",
    "Bearer alone": "Bearer",
    "two tokens": f"Bearer {MARK} {MARK}",
    "key with another tail": "Bearer yt_live_" + "A" * 43,
    "key with a wrong prefix": "Bearer zz_live_" + "A" * 43,
    "long": "Bearer " + MARK * 500,
    "not ASCII": "Bearer é",
    "JWT alg none": f"Bearer {b64(json.dumps({'alg': 'none'}).encode())}.{b64(json.dumps(claims()).encode())}.",
    "JWT by the public key": "Bearer " + sign(pem(KEY).replace(b"-----", b""), "HS256", {"kid": "k1"}, json.dumps(claims()).encode()),
    "JWT by another": f"Bearer {token(ATTACKER)}",
    "JWT by its own jwk": f"Bearer {token(ATTACKER, header={'jwk': jwk(ATTACKER)})}",
    "JWT critical": f"Bearer {token(KEY, header={'crit': ['x'], 'x': 1})}",
    "JWT for another audience": f"Bearer {token(KEY, aud='elsewhere')}",
    "JWT of another issuer": f"Bearer {token(KEY, iss='https://elsewhere.example')}",
    "JWT expired": f"Bearer {token(KEY, exp=int(time.time()) - 3600)}",
    "JWT without exp": f"Bearer {token(KEY, exp=None)}",
    "JWT without aud": f"Bearer {token(KEY, aud=None)}",
    "JWT of an unknown tenant": f"Bearer {token(KEY, tenant='nobody')}",
    "JWT without a tenant": f"Bearer {token(KEY, tenant=None)}",
}  # fmt: skip


@pytest.mark.parametrize("credential", HOSTILE.values(), ids=HOSTILE)
def test_credential_that_proves_nothing_is_unauthenticated(wary: Wary, credential: str):
    for target in (wary.own.native, wary.own.yotel, "/v1/recordings", wary.foreign.native):
        answer = wary.ask("GET", target, [("Authorization", credential)])
        assert (answer.status, answer.get("WWW-Authenticate")) == (401, 'Bearer error="invalid_token"')


def test_no_credential_is_asked_for_one(wary: Wary):
    for target in (wary.own.native, wary.own.yotel, "/v1/recordings", wary.foreign.native, f"/v1/recordings/{MISSING}"):
        answer = wary.ask("GET", target)
        assert (answer.status, answer.get("WWW-Authenticate")) == (401, "Bearer")


def test_honest_token_is_served(wary: Wary):
    answer = wary.ask("GET", wary.own.native, [("Authorization", f"Bearer {token(KEY)}")])
    assert (answer.status, answer.body) == (200, wary.own.data)
    assert wary.ask("GET", wary.own.native, [("Authorization", f"bearer {token(KEY)}")]).status == 200
    assert (
        wary.ask("GET", wary.own.native, [("Authorization", f"Bearer {token(KEY, scope='calls:read')}")]).status == 403
    )
    assert wary.ask("GET", wary.own.native, [("Authorization", f"Bearer {token(KEY, tenant='other')}")]).status == 404


ROUTES = (
    ("GET", "/v1/recordings/{id}"),
    ("HEAD", "/v1/recordings/{id}"),
    ("GET", "/v1/recordings/{id}/audio"),
    ("HEAD", "/v1/recordings/{id}/audio"),
    ("POST", "/v1/recordings/{id}/links"),
    ("GET", "/v1/recordings/yotel:{alias}"),
    ("GET", "/v1/recordings/yotel:{alias}/audio"),
    ("GET", "/yotel/api/v1/calls/{alias}/recording"),
    ("GET", "/yotel/api/v1/calls/{alias}/recording/audio"),
    ("HEAD", "/yotel/api/v1/calls/{alias}/recording/audio"),
)


@pytest.mark.parametrize("scopes", [(), ("audit:read",)], ids=["every scope", "no fit scope"])
@pytest.mark.parametrize(("method", "template"), ROUTES, ids=" ".join)
async def test_foreign_call_answers_as_a_missing_one(wary: Wary, method: str, template: str, scopes: tuple[str, ...]):
    key = await wary.stage.key(*scopes)
    conditions = ("Range", "bytes=0-1"), ("If-None-Match", "*"), ("Origin", ORIGIN)
    foreign = template.format(id=wary.foreign.id, alias=wary.foreign.alias)
    missing = template.format(id=MISSING, alias="call_000000000000")
    answers = [wary.ask(method, target, [*key.items(), *conditions]) for target in (foreign, missing)]
    one, other = ((a.status, [f for f in a.fields if f[0] not in {"date", "x-request-id"}], a.body) for a in answers)
    assert one == other
    assert one[0] == 404


# --- links ----------------------------------------------------------------------------------------------------------


def gateway_link(wary: Wary) -> str:
    """A fresh link's path."""
    answer = wary.ask("POST", f"/v1/recordings/{wary.own.id}/links", wary.allowed(), b'{"delivery": "gateway"}')
    assert answer.status == 201
    url: str = answer.json()["url"]
    wary.stage.secrets.add(url.split("/")[-2])
    return url.removeprefix(wary.house.base_url)


def apart_from_status(answer: Answer) -> tuple[object, ...]:
    body = answer.json()
    assert body.pop("status") == answer.status
    return body, [field for field in answer.fields if field[0] not in {"date", "x-request-id"}]


async def test_altered_and_expired_links_get_one_indistinct_body(wary: Wary):
    path = gateway_link(wary)
    token = path.split("/")[-2]
    assert wary.ask("GET", path).body == wary.own.data
    raw = bytearray(urlsafe_b64decode(token))
    altered = []
    for place in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[place] ^= 1
        altered.append(urlsafe_b64encode(changed).decode())
    other_key = Links((SecretStr("another-key-" + "x" * 32),))
    own = wary.stage.tenant, wary.own.id, timedelta(hours=1)
    altered += [token[:-1], token + "A", token + "=", "A", MARK, "%00", other_key.mint(*own).token]
    refused = [wary.ask("GET", f"/v1/links/{each}/audio") for each in altered]
    assert {answer.status for answer in refused} == {403}
    long_ago = Links((SecretStr(LINK_KEY),), now=lambda: time.time() - 7200)
    expired = wary.ask("GET", f"/v1/links/{long_ago.mint(*own).token}/audio")
    assert expired.status == 410
    first, *others = map(apart_from_status, [expired, *refused])
    assert all(other == first for other in others)


async def test_link_is_good_for_its_own_call_alone(wary: Wary):
    links = Links((SecretStr(LINK_KEY),))
    forged = links.mint(wary.stage.tenant, wary.foreign.id, timedelta(hours=1))
    assert wary.ask("GET", f"/v1/links/{forged.token}/audio").status == 404
    token = gateway_link(wary).split("/")[-2]
    assert wary.ask("GET", wary.own.native, [("Authorization", f"Bearer {token}")]).status == 401


# --- proxies --------------------------------------------------------------------------------------------------------


async def test_forwarded_address_counts_only_as_far_as_trusted_proxies_reach(wary: Wary):
    rows = {
        "untrusted": (None, [("X-Forwarded-For", "203.0.113.9")], "127.0.0.1"),
        "trusted": (PROXY, [("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
        "trusted, made up further left": (PROXY, [("X-Forwarded-For", "198.51.100.1, 203.0.113.9")], "203.0.113.9"),
        "trusted, two lines": (PROXY, [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
        "trusted, chained": (PROXY, [("X-Forwarded-For", f"198.51.100.1, 203.0.113.9, {PROXY}")], "203.0.113.9"),
        "trusted, garbage": (PROXY, [("X-Forwarded-For", f"203.0.113.9, {MARK}")], PROXY),
        "trusted, silent": (PROXY, [], PROXY),
    }  # fmt: skip
    for name, (source, lines, _) in rows.items():
        answer = wary.ask("GET", wary.own.native, wary.allowed(*lines, ("User-Agent", f"xff {name}")), source=source)
        assert answer.status == 200
    for name, (source, _, address) in rows.items():
        (row,) = await wary.stage.accesses("user_agent", f"xff {name}", 1)
        assert (row["address"], row["peer"]) == (address, source or "127.0.0.1")


def test_request_id_is_believed_of_trusted_proxies_alone(wary: Wary):
    given = "0a1b2c3d-trusted.id_7"
    assert wary.ask("GET", "/healthz", [("X-Request-Id", MARK)]).get("X-Request-Id")
    assert wary.ask("GET", "/healthz", [("X-Request-Id", given)], source=PROXY).get("X-Request-Id") == given
    for sent in (f"{MARK} {MARK}", f"{MARK}\t{MARK}", "short", "x" * 129, f'{MARK}"', f"{MARK}é"):
        assert wary.ask("GET", "/healthz", [("X-Request-Id", sent)], source=PROXY).get("X-Request-Id") != sent


# --- web origins ----------------------------------------------------------------------------------------------------

EXPOSED = {"Content-Range", "Accept-Ranges", "Content-Length", "ETag", "Content-Disposition", "Retry-After"}


def cors_cases(wary: Wary) -> list[tuple[int, str, str, list[tuple[str, str]]]]:
    past = f"bytes={len(wary.own.data)}-"
    return [
        (200, "GET", wary.own.native, wary.allowed()),
        (206, "GET", wary.own.native, wary.allowed(("Range", "bytes=0-1"))),
        (304, "GET", wary.own.native, wary.allowed(("If-None-Match", "*"))),
        (200, "HEAD", wary.own.yotel, wary.allowed()),
        (400, "GET", wary.own.native, wary.allowed(("Range", "bytes=0-1"), ("Range", "bytes=0-1"))),
        (401, "GET", wary.own.yotel, []),
        (404, "GET", wary.foreign.native, wary.allowed()),
        (404, "GET", "/nowhere", []),
        (405, "DELETE", wary.own.native, wary.allowed()),
        (412, "GET", wary.own.native, wary.allowed(("If-Match", '"x"'))),
        (416, "GET", wary.own.yotel, wary.allowed(("Range", past))),
        (422, "GET", "/v1/recordings/x", wary.allowed()),
        (200, "GET", "/v1/recordings", wary.allowed()),
    ]


def test_cors_is_the_same_on_every_status(wary: Wary):
    for status, method, target, lines in cors_cases(wary):
        allowed = wary.ask(method, target, [*lines, ("Origin", ORIGIN)])
        assert (allowed.status, allowed.get("Access-Control-Allow-Origin")) == (status, ORIGIN)
        assert set(allowed.headers["access-control-expose-headers"].split(", ")) == EXPOSED
        for other in (f"https://{MARK}.example", "null", ORIGIN + ".evil.example", ORIGIN.replace("https", "http")):
            refused = wary.ask(method, target, [*lines, ("Origin", other)])
            assert refused.status == status
            assert not [name for name, _ in refused.fields if name.startswith("access-control")]
        for answer in (allowed, refused, wary.ask(method, target, lines)):
            assert answer.headers["vary"].split(", ")[0] == "Origin"
        assert "access-control-allow-credentials" not in allowed.headers


def test_preflight_is_answered_for_allowed_origins_without_a_credential(wary: Wary):
    asked = [
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", f"authorization, range, {MARK}"),
    ]
    for target in (wary.own.native, wary.own.yotel, "/v1/recordings", f"/v1/recordings/{wary.own.id}/links"):
        answer = wary.ask("OPTIONS", target, [("Origin", ORIGIN), *asked])
        assert (answer.status, answer.body) == (204, b"")
        fields = answer.headers
        assert fields["access-control-allow-origin"] == ORIGIN
        assert ("POST" if target.endswith("links") else "GET") in fields["access-control-allow-methods"].split(", ")
        assert {"Authorization", "Range", "If-Range"} <= set(fields["access-control-allow-headers"].split(", "))
        assert fields["access-control-max-age"] == "600"
        refused = wary.ask("OPTIONS", target, [("Origin", f"https://{MARK}.example"), *asked])
        assert refused.status == 204
        assert not [name for name, _ in refused.fields if name.startswith("access-control")]
        assert fields["vary"] == refused.headers["vary"]


# --- and in the end -------------------------------------------------------------------------------------------------


def test_mark_everywhere_is_echoed_nowhere(wary: Wary):
    lines = [
        ("Authorization", f"Bearer {MARK}"),
        ("Range", MARK),
        ("If-Match", MARK),
        ("If-None-Match", f'"{MARK}"'),
        ("Origin", f"https://{MARK}"),
        ("User-Agent", MARK),
        ("Referer", MARK),
        ("Cookie", MARK),
        ("X-Forwarded-For", MARK),
        ("X-Forwarded-Host", MARK),
        ("X-Request-Id", MARK),
        ("Accept", MARK),
        ("Accept-Encoding", MARK),
        (MARK, MARK),
    ]
    for target in (
        f"/{MARK}",
        f"/v1/recordings/{MARK}",
        f"/v1/recordings/yotel:{MARK}/audio",
        f"/v1/recordings?{MARK}={MARK}",
    ):
        for credential in (lines, [*wary.full.items(), *lines[1:]]):
            for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", MARK.upper()):
                assert wary.ask(method, target + f"#{MARK}", credential).status < 500


def test_no_log_line_holds_what_was_sent_nor_a_secret(wary: Wary):
    """All tests above have run; what they sent, and every secret there was, is looked for."""
    told = json.dumps(wary.house.logs, ensure_ascii=False)
    assert len(wary.house.logs) > 100
    for secret in wary.stage.secrets:
        assert secret not in told
