"""What is said of gateways that ran beside one another."""

import click
import pytest
from click.testing import CliRunner

from bench import instructions, keys, telemetry
from bench.beside import Run
from bench.keys import MISSES, RANGES, Turned
from bench.variants import Target
from gateway.config import Config

TARGET = Target("any", 1, {}, lambda _origin, key: key, {})


def test_the_first_round_warms_up_and_is_in_no_figure():
    run = Run(TARGET, [900, 10, 30, 20], [90, 1, 3, 2], [1, 1000, 3000, 2000])
    assert (run.cpu(), run.postgres(), run.rate()) == ("20.0 (10.0–30.0)", "2", "2,000")


def test_a_difference_is_taken_within_a_round():
    run, other = Run(TARGET, [0, 11, 22, 33]), Run(TARGET, [99, 10, 20, 30])
    assert run.over(other) == "+2.0 (+1.0 … +3.0)"


@pytest.mark.parametrize("turned", [*RANGES, *MISSES], ids=lambda turned: turned.what)
def test_what_is_turned_is_a_key_that_there_is(turned: Turned):
    for name in {**turned.settings, **turned.shipped}:
        section, key = name.split("__")
        assert key in Config.model_fields[section].annotation.model_fields


@pytest.mark.parametrize("command", [keys.main, telemetry.main, instructions.main])
@pytest.mark.parametrize("rounds", ["few", "0"])
def test_a_number_of_rounds_that_is_none_is_refused_before_anything_starts(command: click.Command, rounds: str):
    done = CliRunner().invoke(command, [rounds])
    assert (done.exit_code, "Invalid value" in done.output) == (2, True)
