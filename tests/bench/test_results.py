"""What is said of rounds: medians, percentiles, ratios, verdicts, and how they are shown."""

import inspect
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import workloads
from bench.goals import GOALS, Goal, Verdict, judge
from bench.plot import bars, svg
from bench.results import Results, Summary, percentile, summarise
from bench.table import cell, goals, number, page, workload
from bench.variants import VARIANTS
from bench.workloads import WORKLOADS
from bench.workloads.workers import times_one

figures = st.floats(0, 1e9, allow_nan=False)


def measured(**variants: list[float]) -> Results:
    results = Results()
    for variant, values in variants.items():
        for value in values:
            results.add("ranges", variant, {"cpu": value})
    return results


@given(st.lists(figures, min_size=1))
def test_a_median_lies_between_the_least_and_the_most(values):
    summary = summarise(values)
    assert summary.low <= summary.median <= summary.high
    assert summary.rounds == len(values)


@given(st.lists(figures, min_size=1), st.floats(0, 1))
def test_a_percentile_is_the_least_value_that_such_a_share_does_not_exceed(values, share):
    found = percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    below = [value for value in values if value < found]
    assert not below or len(below) < share * len(values) + 1e-9


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.5, 5), (0.51, 6), (0.99, 10), (1, 10)])
def test_percentiles_are_nearest_ranks(share, value):
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == value


def test_ratios_and_differences_are_of_medians():
    results = measured(ours=[9, 3, 2], theirs=[1, 2, 50])
    assert results.ratio("ranges", "ours", "cpu", "theirs") == 1.5
    assert results.difference("ranges", "ours", "cpu", "theirs") == 1


@pytest.mark.parametrize("ours", [[], [0.0]])
def test_there_is_no_ratio_of_what_was_not_measured_or_is_less_than_was_counted_in(ours):
    results = measured(ours=ours, theirs=[1])
    assert results.ratio("ranges", "ours", "cpu", "theirs") is None
    assert results.ratio("ranges", "theirs", "cpu", "ours") is None
    assert results.ratio("whole", "ours", "cpu", "theirs") is None


@pytest.mark.parametrize(
    ("figure", "least", "verdict"),
    [
        (None, False, Verdict.UNKNOWN),
        (2.5, False, Verdict.MET),
        (2.51, False, Verdict.ABOVE_FLOOR),
        (4, False, Verdict.ABOVE_FLOOR),
        (4.01, False, Verdict.BELOW),
        (10, True, Verdict.MET),
        (9.9, True, Verdict.ABOVE_FLOOR),
        (7, True, Verdict.ABOVE_FLOOR),
        (6.9, True, Verdict.BELOW),
    ],
)
def test_a_figure_at_its_goal_or_floor_still_counts(figure, least, verdict):
    goal = Goal("", "", *((10, 7) if least else (2.5, 4)), figure=lambda _: figure, least=least)
    assert judge(goal, figure) is verdict


def test_no_floor_is_stricter_than_its_goal():
    for goal in GOALS:
        assert judge(goal, goal.goal) is Verdict.MET
        assert judge(goal, goal.floor) in {Verdict.MET, Verdict.ABOVE_FLOOR}


def test_every_goal_is_listed_also_when_nothing_was_measured():
    shown = goals(Results())
    assert shown.count("not measured") == len(GOALS)


def test_goals_take_figures_that_workloads_give():
    """A workload or metric that was renamed would otherwise never be measured again, in silence."""
    asked: set[tuple[str, str, str]] = set()

    class Asking(Results):
        def summary(self, workload, variant, metric):
            asked.add((workload, variant, metric))
            return Summary(1, 1, 1, 1)

    for goal in GOALS:
        assert goal.figure(Asking()) is not None
    measuring = "".join(path.read_text() for path in Path(inspect.getfile(workloads)).parent.glob("*.py"))
    for name, variant, metric in asked:
        if not name.startswith("workers"):  # measured once there are several
            assert variant in WORKLOADS[name].variants
            assert f'"{metric}"' in measuring


def test_workloads_name_variants_there_are():
    for each in WORKLOADS.values():
        assert set(each.variants) <= set(VARIANTS)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.0361, "0.0361"), (2.504, "2.5"), (99.96, "100"), (12345.6, "12,346"), (-1.5, "-1.5")],
)
def test_numbers_have_three_figures(value, shown):
    assert number(value) == shown


def test_a_cell_tells_median_least_and_most():
    assert cell(Summary(2, 1, 3, 5)) == "2 (1–3)"
    assert cell(Summary(2, 2, 2, 1)) == "2"
    assert cell(None) == "–"


def test_a_table_tells_each_variant_against_the_baseline():
    assert workload(measured(ours=[3], theirs=[2]), "ranges", "theirs").splitlines()[2:] == [
        "| ours | 3 | 1.50 |",
        "| theirs | 2 | 1.00 |",
    ]


def test_a_page_tells_of_failures():
    results = measured(ours=[1])
    results.failures.append("whole: caddy: it ended")
    assert "**Failed: whole: caddy: it ended**" in page(results, {"ranges": ("What.", "ours")}, {}, "T", "t.svg")


def test_a_plot_is_xml_and_cuts_what_would_hide_the_rest():
    results = measured(gateway=[2], **{"<slow>": [100], "nginx": [1]})
    groups = bars(results, {"ranges": ("What.", "nginx")})
    assert groups == [("ranges: cpu, × nginx", [("nginx", 1), ("gateway", 2), ("<slow>", 100)])]
    drawn = ET.fromstring(svg(groups))  # noqa: S314 - our own
    widths = [float(each.get("width")) for each in drawn.iter("{http://www.w3.org/2000/svg}rect") if each.get("y")]
    assert widths == [55, 110, 440]
    assert "100.00 →" in svg(groups)


def test_two_workers_are_told_beside_what_the_machine_left_for_a_second():
    results = Results()
    results.add("workers", "gateway-1", {"cpus_busy": 1.5})
    results.add("workers", "gateway-2", {"times_one_worker": 1.3})
    results.add("workers", "nginx-2", {"times_one_worker": 1.25})
    told = next(line for line in goals(results).splitlines() if "two workers" in line)
    assert "1.3 × (nginx 1.25 ×; one worker, its client, origin and Postgres kept 1.50 CPUs busy)" in told


def test_two_workers_with_cpu_of_their_own_are_told_beside_what_they_did_without():
    results = Results()
    results.add("workers", "gateway-2", {"times_one_worker": 1.2})
    results.add("workers-sliced", "gateway-2", {"times_one_worker": 1.9})
    told = next(line for line in goals(results).splitlines() if "two workers" in line)
    assert "1.9 × (each with 0.3 of a CPU; with what this machine has 1.20 ×)" in told


def test_a_worker_is_held_against_one_of_its_own_kind():
    measured = {
        "gateway-1": {"requests_per_s": 10},
        "gateway-2": {"requests_per_s": 15},
        "nginx-2": {"requests_per_s": 3},
    }
    assert [times_one(name, measured) for name in measured] == [{"times_one_worker": 1}, {"times_one_worker": 1.5}, {}]
