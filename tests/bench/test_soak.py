"""A short soak ends as a long one must, and what is said of one is true."""

import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.soak.asks import CHECKED, MIX, ROOM, Asker, Kind, Plan
from bench.soak.client import Client
from bench.soak.counts import Kept, compare
from bench.soak.tally import End, Tally
from bench.soak.verdicts import FLAT, Flat, Minute, Verdict, back, judge, thirds
from bench.soak.watch import Seen, read
from gateway.demo import postgres

SEEN = Seen(
    resident=100_000_000, sockets=20, pipes=4, others=10, clients=0, origins=8, journal=0, cpu_s=0, postgres_cpu_s=0
)
OBJECT = 32_000_000
METRICS = """\
# TYPE recording_gateway_requests_total counter
recording_gateway_requests_total{surface="native",status="206"} 7
recording_gateway_requests_total{surface="yotel",status="206"} 3
recording_gateway_requests_total{surface="native",status="404"} 1
# TYPE recording_gateway_loop_lag_seconds histogram
recording_gateway_loop_lag_seconds_bucket{le="+Inf"} 4
recording_gateway_loop_lag_seconds_sum 0.02
recording_gateway_loop_lag_seconds_count 4
"""


def minute(resident: int = 100_000_000, *took_s: float) -> Minute:
    seen = Seen(resident, 20, 4, 10, 100, 50, 0, 0, 0)
    return Minute(Tally(ends=Counter({(206, End.COMPLETE): 1}), took_s=list(took_s), seconds=60), seen)


def flat(what: str) -> Flat:
    return next(each for each in FLAT if each.what == what)


@pytest.mark.parametrize(("growth", "passed"), [(1_000_000, True), (3_000_000, False)])
def test_memory_that_grows_by_more_than_is_allowed_is_not_flat(growth: int, passed: bool):
    minutes = [minute(50_000_000 + place * growth) for place in range(6)]
    assert flat("memory is flat").judge(minutes).passed is passed


@pytest.mark.parametrize(
    ("last_us", "took_ms", "passed"),
    [(80, 2.6, True), (80, 4.5, False), (82, 4.5, False), (85, 4.5, None), (85, 2.6, True)],
)
def test_latency_is_not_judged_where_the_machine_became_slower(last_us: int, took_ms: float, *, passed: bool | None):
    minutes = [minute(1, 0.0026)] * 6 + [minute(1, took_ms / 1000)] * 3
    minutes = [
        replace(each, tally=replace(each.tally, cpu_s=(80 if place < 6 else last_us) / 1e6))
        for place, each in enumerate(minutes)
    ]
    verdict = flat("latency is flat, p50").judge(minutes)
    assert verdict.passed is passed
    assert ("slower" in verdict.told) is (passed is None)


@pytest.mark.parametrize(("gateway_s", "client_s", "passed"), [(54, 10.8, True), (50, 10, True), (54, 10, False)])
def test_a_gateway_that_works_more_for_each_request_is_told_from_a_slower_machine(
    gateway_s: float,
    client_s: float,
    *,
    passed: bool,
):
    first = replace(minute(), cpu_s=50.0, tally=replace(minute().tally, cpu_s=10.0))
    last = replace(minute(), cpu_s=gateway_s, tally=replace(minute().tally, cpu_s=client_s))
    verdict = flat("CPU per request is flat, against the client's").judge([first, first, last])
    assert verdict.passed is passed


def test_memory_that_grows_in_the_first_third_alone_is_flat():
    assert flat("memory is flat").judge([minute(1), minute(2), *[minute()] * 4]).passed is True


@pytest.mark.parametrize(("last_s", "passed"), [(0.0013, True), (0.0015, False)])
def test_latency_is_held_against_the_second_third(last_s: float, passed: bool):
    minutes = [minute(1, 0.5), minute(1, 0.001), minute(1, last_s)]
    assert flat("latency is flat, p50").judge(minutes).passed is passed


def test_two_minutes_tell_nothing():
    assert thirds([minute()] * 2) == ((), ())
    assert {each.judge([minute()] * 2).passed for each in FLAT} == {None}


def test_a_descriptor_that_is_neither_a_clients_nor_an_origins_nor_a_pipes_must_be_given_back():
    kept = Seen(0, sockets=60, pipes=400, others=10, clients=0, origins=48, journal=0, cpu_s=0, postgres_cpu_s=0)
    lost = Seen(0, sockets=60, pipes=400, others=15, clients=0, origins=48, journal=0, cpu_s=0, postgres_cpu_s=0)
    assert [[each.passed for each in back(SEEN, after)] for after in (kept, lost)] == [[True, True], [True, False]]


def test_one_request_that_one_of_three_did_not_count_is_seen():
    client = Tally(ends=Counter({(206, End.COMPLETE): 5, (206, End.CLIENT_GONE): 2}), complete_bytes=50)
    postgres = Kept(Counter({(206, "complete"): 5, (206, "client_gone"): 2}), 0, 50, 9)
    assert all(count.agreed for count in compare(client, postgres, Counter({206: 7})))
    assert [count.of for count in compare(client, postgres, Counter({206: 6})) if not count.agreed] == [
        "requests",
        "status 206",
    ]
    other = Kept(Counter({(206, "complete"): 4, (206, "client_gone"): 3}), 0, 50, 9)
    assert [count.of for count in compare(client, other, None) if not count.agreed] == [
        "206 client_gone",
        "206 complete",
    ]
    unended = Kept(Counter({(206, "complete"): 5, (206, "client_gone"): 1}), 1, 49, 9)
    assert {count.of for count in compare(client, unended, None) if not count.agreed} == {
        "206 client_gone",
        "status 206",
        "bytes of complete bodies",
    }


def test_a_gateway_whose_figures_are_gone_at_the_end_does_not_pass():
    client = Tally(ends=Counter({(206, End.COMPLETE): 5}), complete_bytes=50)
    counts = compare(client, Kept(Counter({(206, "complete"): 5}), 0, 50, 0), None)
    verdicts = judge([minute()] * 9, SEEN, SEEN, client, counts, 1.0, 0)
    assert [verdict.what for verdict in verdicts if verdict.passed is False] == ["metrics agree"]


@pytest.mark.parametrize(("told", "right"), [(OBJECT, True), (0, False), (OBJECT - 1, False)])
def test_a_head_that_tells_another_length_than_the_objects_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int, *, right: bool
):
    class Gateway(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(told))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    monkeypatch.setattr("bench.soak.asks.MIX", {Kind.HEAD: 1})
    (content := tmp_path / "content").touch()
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        plan = Plan(server.server_port, "s", ["/large"], ["/small"], OBJECT, str(content), 5, 0, 131_072, 30, 0, 1)
        client = Client(plan)
        client.drive(100, 0.3)
        client.settle()
        server.shutdown()
    tally = client.taken()
    assert (tally.wrong == 0, tally.ends[200, End.COMPLETE] > 0) == (right, right)


def test_requests_are_told_by_status_whatever_the_surface():
    told = read(METRICS)
    assert told.requests == Counter({206: 10, 404: 1})
    assert told.loop["recording_gateway_loop_lag_seconds_sum"] == 0.02


def test_whoever_leaves_leaves_more_behind_than_buffers_hold():
    plan = Plan(80, "s", ["/large"], ["/small"], OBJECT, "", 5, 0, 131_072, 30, 0, 1)
    asker = Asker(plan)
    asks = [asker.any() for _ in range(5000)] + [asker.slow() for _ in range(200)] + [asker.stalled()]
    assert {ask.kind for ask in asks} == set(Kind)
    leaving = [ask for ask in asks if ask.wanted is not None]
    assert min((ask.length or 0) - (ask.wanted or 0) for ask in leaving) >= ROOM
    ranges = [ask for ask in asks if ask.kind is Kind.RANGE]
    assert 0.5 < sum(ask.check is not None for ask in ranges) * CHECKED / len(ranges) < 2
    assert len(ranges) / 5000 == pytest.approx(MIX[Kind.RANGE] / sum(MIX.values()), abs=0.05)


@pytest.mark.timeout(240)
def test_a_short_soak_counts_every_request_three_times_alike(tmp_path: Path):
    """A rate that any machine can; how flat half a minute is, says nothing."""
    results = tmp_path / "results"
    command = [
        "--minutes",
        "0.25",
        "--rate",
        "80",
        "--slow",
        "12",
        "--stalled",
        "3",
        "--seed",
        "4",
        "--results",
        results,
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "bench.soak", *command, "--state", tmp_path / "state"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    postgres.forget(tmp_path / "state")
    (written,) = results.glob("*-soak.json")
    told = json.loads(written.read_text())
    verdicts = {each["what"]: Verdict(**each) for each in told["verdicts"]}
    assert told["examples"] == [], ended.stderr
    for what, verdict in verdicts.items():
        assert verdict.passed or "flat" in what, f"{verdict.told}\n{ended.stderr}"
    assert {count["metrics"] for count in told["counts"] if count["of"].startswith(("requests", "status"))} & {
        None
    } == set()
    assert set(told["kinds"]) >= set(Kind) - {Kind.WHOLE}
    assert written.with_suffix(".md").read_text().count("agree") > 5
