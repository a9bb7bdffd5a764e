"""What a scrape is told, and the page of documentation that says what it means."""

import re
from dataclasses import replace
from pathlib import Path

from parts.figures import STATS, some_figures
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.figures import Sources, page
from gateway.telemetry.pages import merge

DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| ([a-z, ]*) ?\|", DOCUMENT, re.MULTILINE)


async def figures(of: Sources) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families((await page(of)).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name.removeprefix('recording_gateway_')}{{{labels}}}"] = sample.value
    return found


async def test_the_document_names_every_figure_and_no_other():
    given = set()
    for family in text_string_to_metric_families(merge({"0": (await page(some_figures())).decode()})):
        labels = {frozenset(sample.labels) - {"le", "worker"} for sample in family.samples}
        (own,) = labels if family.name != "recording_gateway_worker_up" else [frozenset({"worker"})]
        name = family.name + "_total" if family.type == "counter" else family.name
        given.add((name, family.type, own))
    assert len(ROWS) >= 40
    assert given == {(name, kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels in ROWS}


def test_alerts_ask_for_figures_that_there_are():
    names = {name for name, _, _ in ROWS}
    asked = {name.removesuffix("_bucket") for name in re.findall(r"recording_gateway_\w+", DOCUMENT)}
    assert asked <= names


async def test_the_page_has_what_the_meter_counted():
    found = await figures(some_figures())
    audio = "method=GET,route=/v1/recordings/{id}/audio,status=206,surface=native"
    assert found[f"requests_total{{{audio}}}"] == 2
    assert found["requests_total{method=GET,route=-,status=404,surface=native}"] == 1
    assert found["requests_unserved_total{reason=unknown_route,result=refused,surface=native}"] == 1
    assert found["bytes_sent_total{surface=native}"] == 131072
    assert (found["requests_in_flight{}"], found["streams_in_flight{}"], found["connections{}"]) == (4, 2, 6)
    assert (found["streams_max{}"], found["streams_refused_total{policy=streams}"]) == (2048, 2)


async def test_buckets_add_up():
    found = await figures(some_figures())
    by_bound = {
        le: found[f"request_duration_seconds_bucket{{le={le},surface=native}}"] for le in ("0.001", "0.25", "+Inf")
    }
    assert by_bound == {"0.001": 1, "0.25": 2, "+Inf": 3}
    assert found["request_duration_seconds_count{surface=native}"] == 3
    assert round(found["request_duration_seconds_sum{surface=native}"], 6) == 0.501
    assert found["first_byte_seconds_count{surface=native}"] == 2
    assert found["event_loop_lag_seconds_count{}"] == 1


async def test_the_page_has_how_everything_else_stands():
    found = await figures(some_figures())
    assert {name: found[f"origin_{name}_total{{store=calls}}"] for name in ("requests", "retries", "resumes")} == {
        "requests": 10,
        "retries": 3,
        "resumes": 4,
    }
    assert found["origin_connections_total{store=calls}"] == 2
    assert found["origin_connections_reused_total{store=calls}"] == 8
    assert found["origin_connections_replaced_total{store=calls}"] == 1
    assert found["origin_errors_total{reason=unavailable,store=calls}"] == 5
    assert not [name for name in found if "folder" in name]
    outcomes = {name: found[f"cache_lookups_total{{cache=calls,outcome={name}}}"] for name in ("hit", "stale", "miss")}
    assert outcomes == {"hit": 9, "stale": 2, "miss": 4}
    assert (found["cache_entries{cache=calls}"], found["catalog_changes_heard{}"]) == (3, 1)
    assert (found["postgres_connections{state=idle}"], found["postgres_connections{state=in_use}"]) == (3, 2)
    assert found["postgres_connections_max{}"] == 10
    journal = {
        name: found[f"audit_journal_{name}{{}}"] for name in ("bytes", "bound_bytes", "records", "oldest_seconds")
    }
    assert journal == {"bytes": 1000, "bound_bytes": 5000, "records": 10, "oldest_seconds": 1.5}
    assert (found["audit_open_events{}"], found["audit_admits{}"]) == (3, 1)
    assert (found["audit_journal_failing{}"], found["audit_shipping_failing{}"]) == (0, 1)
    assert (found["audit_delivered_records_total{}"], found["audit_quarantined_records_total{}"]) == (40, 2)
    assert found["process_open_fds{}"] > 0


async def test_a_journal_that_fails_is_told():
    failing = replace(STATS, journal_problem="disk full", admits=False)
    found = await figures(replace(some_figures(), audit=lambda: failing))
    assert (found["audit_journal_failing{}"], found["audit_admits{}"]) == (1, 0)
