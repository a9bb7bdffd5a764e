"""What broken and hostile requests get: a plain refusal that echoes nothing, and nothing of them goes any further."""

import gzip
import json
import socket
import time
from contextlib import suppress

import pytest
from parts.house import some_bytes
from parts.stage import Stage
from parts.wary import HEAD_S, LARGE, MARK, MISSING, STALL_S, Wary, silent
from parts.wire import Wire

from gateway.surfaces.native.words import PROBLEMS

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
        for length, status in ((10_240, 404), (251, 404), (250, 503)):  # callsid's contract has no bound of its own
            for path in ("stream", "download"):
                target = f"/callsid/api/calls/call_{'a' * length}/recording/{path}"
                assert wire.ask("GET", target, stage.full.items()).status == status
        answer = wire.ask("GET", f"/v1/recordings/{MISSING}/audio", stage.full.items())
        assert (answer.status, answer.get("Retry-After")) == (503, "5")


UNREADABLE = {
    "long field": "GET / HTTP/1.1\r\nHost: h\r\nX-A: " + "a" * 40_000 + "\r\n\r\n",
    "space before the colon": "GET / HTTP/1.1\r\nHost: h\r\nX-A : a\r\n\r\n",
    "bare LF": "GET / HTTP/1.1\nHost: h\n\n",
    "large head": "GET / HTTP/1.1\r\nHost: h\r\n" + "".join(f"X-{n}: {'a' * 15_000}\r\n" for n in range(6)),
}


@pytest.mark.parametrize(
    ("origins", "allowed"), [([], None), (["https://a.example"], None), (["*"], "*")], ids=["none", "one", "any"]
)
def test_cors_is_the_same_on_what_could_not_be_read(stage: Stage, origins: list[str], allowed: str | None):
    house = stage.another(stage.on_disk, cors={"origins": origins})
    for raw in UNREADABLE.values():
        with Wire(house.base_url) as wire:
            wire.send(raw.encode())
            answer = wire.read()
        assert (answer.status, answer.get("Cache-Control")) == (400, "no-store")
        assert (answer.json()["type"], answer.json()["code"]) == (f"{PROBLEMS}bad_request", "bad_request")
        assert "too long" in answer.json()["detail"]
        assert answer.get("X-Content-Type-Options") == "nosniff"
        assert (answer.get("Vary"), answer.get("Access-Control-Allow-Origin")) == ("Origin", allowed)
    assert house.stop() == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_behind_a_body_that_was_never_asked_for_nothing_is_taken_for_it(wary: Wary, method: str):
    with wary.wire() as wire:
        fields = [*wary.allowed(), ("Expect", "100-continue"), ("Content-Length", "35")]
        answer = wire.ask(method, wary.own.native, fields)
        assert (answer.status in {200, 204}, answer.get("Connection")) == (True, "close")


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


def test_http_1_0_needs_no_host(wary: Wary):
    """As haproxy's health checks have none, unless they are told one."""
    credential = f"Authorization: {wary.full['Authorization']}\r\n"
    for target in ("/healthz", "/readyz", wary.own.native, f"http://h{wary.own.native}"):
        with wary.wire() as wire:
            wire.send(f"GET {target} HTTP/1.0\r\n{credential}\r\n".encode())
            said = b"".join(iter(lambda: wire.socket.recv(65536), b""))
        assert said.startswith(b"HTTP/1.0 200 OK\r\n"), target
    with wary.wire() as wire:
        wire.send(b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")
        assert b" 400 " in wire.socket.recv(65536).partition(b"\r\n")[0]


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
    "coding beside chunked": "POST {links} HTTP/1.1\r\n{own}Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
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


@pytest.mark.parametrize("path", ["{audio}", "/healthz", "/openapi.json"])
@pytest.mark.parametrize("version", ["2.0", "0.9"])
def test_version_that_is_not_spoken_is_refused_in_one_that_is(wary: Wary, path: str, version: str):
    own = f"Host: h\r\nAuthorization: {wary.full['Authorization']}\r\n"
    with wary.wire() as wire:
        wire.send(f"GET {path.format(audio=wary.own.native)} HTTP/{version}\r\n{own}\r\n".encode())
        answer = silent(wire.read())  # which takes nothing but HTTP/1.1
    assert (answer.status, answer.get("Connection")) == (400, "close")


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


def test_member_that_there_is_none_of_is_answered_with_those_there_are(wary: Wary):
    answer = wary.ask("POST", f"/v1/recordings/{wary.own.id}/links", wary.allowed(), f'{{"{MARK}": 1}}'.encode())
    (error,) = answer.json()["errors"]
    assert error["msg"] == "the members are ttl_s, delivery, max_uses, ip_cidr"


@pytest.mark.parametrize(("coding", "status"), [("gzip", 415), ("identity, X-GZIP", 415), ("identity", 201), ("", 201)])
def test_body_under_a_content_coding_is_refused_with_what_is_taken(wary: Wary, coding: str, status: int):
    body = b'{"delivery": "gateway"}'
    sent = gzip.compress(body) if "GZIP" in coding.upper() else body
    fields = wary.allowed(("Content-Encoding", coding))
    answer = wary.ask("POST", f"/v1/recordings/{wary.own.id}/links", fields, sent)
    assert (answer.status, answer.get("Accept-Encoding")) == (status, "identity" if status == 415 else None)
    if status == 201:
        wary.stage.secrets.add(answer.json()["url"].split("/")[-2])
    assert wary.ask("GET", wary.own.native, wary.allowed(("Content-Encoding", coding))).status == 200


def test_body_over_its_bound_is_refused_and_closed(wary: Wary):
    answer = wary.ask("POST", f"/v1/recordings/{wary.own.id}/links", wary.allowed(), b" " * 1_048_577)
    assert (answer.status, answer.get("Connection")) == (413, "close")
    assert "1048576 bytes" in answer.json()["detail"]


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


@pytest.mark.parametrize("target", ["/openapi.json", "{audio}"])
def test_reader_that_asks_on_and_takes_no_answer_is_cut_off(wary: Wary, target: str):
    """Each answer fits the socket's buffers or nearly so: it is the beginning of a later one that is not taken."""
    head = f"GET {target.format(audio=wary.large.native)} HTTP/1.1\r\nHost: h\r\nRange: bytes=0-65535\r\n"
    asked = (head + f"Authorization: {wary.full['Authorization']}\r\n\r\n").encode()
    with wary.wire(receive_buffer=4096) as wire:
        wire.send(asked * 40)
        time.sleep(
            STALL_S * 3
        )  # a connection that is cut off with bytes on the way tells a reader who takes none nothing
        got = 0
        with suppress(ConnectionError):
            while taken := wire.socket.recv(65536):
                got += len(taken)
    assert 0 < got < 40 * 65536


def test_body_that_waits_to_be_asked_for_is_asked_for(wary: Wary):
    fields = [("Authorization", wary.full["Authorization"]), ("Expect", "100-continue"), ("Content-Length", "23")]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    with wary.wire() as wire:
        wire.send(f"POST /v1/recordings/{wary.own.id}/links HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode())
        assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b'{"delivery": "gateway"}')
        answer = silent(wire.read())
    assert answer.status == 201
    wary.stage.secrets.add(answer.json()["url"].split("/")[-2])


@pytest.mark.parametrize("expects", [False, True])
def test_body_that_is_too_large_by_its_own_word_is_neither_asked_for_nor_waited_for(wary: Wary, *, expects: bool):
    expect = "Expect: 100-continue\r\n" if expects else ""
    fields = f"Authorization: {wary.full['Authorization']}\r\nContent-Length: 1048577\r\n{expect}"
    with wary.wire() as wire:
        wire.send(f"POST /v1/recordings/batch HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode())
        said = wire.socket.recv(10_000)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in said


@pytest.mark.parametrize("expects", [False, True])
def test_body_of_whoever_proves_nothing_is_neither_asked_for_nor_waited_for(wary: Wary, *, expects: bool):
    """Else anybody could have it held in memory."""
    expect = "Expect: 100-continue\r\n" if expects else ""
    with wary.wire() as wire:
        wire.send(f"POST /v1/recordings/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n{expect}\r\n".encode())
        said = wire.socket.recv(10_000)
    assert said.startswith(b"HTTP/1.1 401 ")
    assert (b"\r\nConnection: close\r\n" in said) is expects


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
    """Of all that the tests above sent, and of every secret there was."""
    told = json.dumps(wary.house.logs, ensure_ascii=False)
    assert "serving" in told
    for secret in wary.stage.secrets:
        assert secret not in told
