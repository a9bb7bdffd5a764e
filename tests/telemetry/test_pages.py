"""Several workers' pages made into one."""

import pytest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.pages import merge, text


def a_page(requests: float, label: str = 'a "b" \\ c') -> str:
    counter = CounterMetricFamily("recording_gateway_requests", "Requests; a \\ in words.", labels=["route"])
    counter.add_metric([label], requests)
    gauge = GaugeMetricFamily("recording_gateway_streams_in_flight", "Streams.", value=requests / 4)
    histogram = HistogramMetricFamily("recording_gateway_first_byte_seconds", "First bytes.", labels=["surface"])
    histogram.add_metric(["native"], [("0.1", 1.0), ("+Inf", requests)], 3.5)
    return text([counter, gauge, histogram])


def samples(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_each_sample_has_its_workers_label_and_nothing_else_is_changed():
    pages = {"0": a_page(1), "1": a_page(7, label="x")}
    merged = samples(merge(pages))
    for worker, page in pages.items():
        for (name, labels), value in samples(page).items():
            assert merged.pop((name, tuple(sorted([*labels, ("worker", worker)])))) == value
    up = "recording_gateway_worker_up"
    assert merged == {(up, (("worker", "0"),)): 1.0, (up, (("worker", "1"),)): 1.0}


def test_each_family_is_introduced_once_and_its_samples_stand_together():
    lines = merge({"0": a_page(1), "1": a_page(7)}).splitlines()
    introduced = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert sorted(introduced) == sorted(set(introduced))
    assert [line.split()[2] for line in lines if line.startswith("# HELP")] == introduced
    here = ""
    for line in lines:
        if line.startswith("#"):
            here = line.split()[2]
        else:
            assert line.startswith(here)


def test_a_worker_that_is_down_has_no_figure_but_that():
    merged = samples(merge({"0": a_page(1)}, down=["1"]))
    of_the_other = {name: value for (name, labels), value in merged.items() if ("worker", "1") in labels}
    assert of_the_other == {"recording_gateway_worker_up": 0.0}


def test_no_worker_at_all_is_a_page_too():
    assert samples(merge({})) == {}


def test_what_is_no_page_is_refused():
    with pytest.raises(ValueError, match="pizza"):
        merge({"0": "pineapple pizza is no figure\n"})
