"""What the help says can be done can be done."""

import shlex
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack

import click
import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.lifecycle.manifest import Row, read_csv

PROGRAM = "recording-gateway"


def commands(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            yield from commands(inner, (*path, name))


def examples() -> Iterator[str]:
    """Every line of every epilog that runs the program, as far as the program reads it."""
    for _, command in commands():
        for line in (command.epilog or "").splitlines():
            if PROGRAM in line:
                yield (
                    line[line.index(PROGRAM) :]
                    .split(" | ")[0]
                    .split(" > ")[0]
                    .split(" < ")[0]
                    .split(" || ")[0]
                    .rstrip(")")
                )


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_explains_itself(path, command):
    done = CliRunner().invoke(main, [*path, "--help"], prog_name=PROGRAM)
    assert done.exit_code == 0
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    if not isinstance(command, click.Group):
        assert "Examples:" in done.output
        assert f"{PROGRAM} {' '.join(path)}" in done.output or PROGRAM in done.output


@pytest.mark.parametrize("line", sorted(set(examples())))
def test_every_example_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "may.csv").touch()
    words = [word for word in shlex.split(line, comments=True) if word != "&&"]
    words = words[words.index(PROGRAM) + 1 :]
    words = words[: words.index("echo")] if "echo" in words else words
    with ExitStack() as parsed:
        context = parsed.enter_context(main.make_context(PROGRAM, words))
        while isinstance(context.command, click.Group):
            rest = [*context._protected_args, *context.args]
            name, command, rest = context.command.resolve_command(context, rest)
            assert command is not None
            context = parsed.enter_context(command.make_context(name, rest, parent=context))


def test_the_manifest_that_help_shows_is_read():
    told = CliRunner().invoke(main, ["recordings", "add", "--help"]).output
    shown = textwrap.dedent(told.partition("A manifest as CSV:\n")[2])
    (line,) = read_csv(shown.splitlines(), store="calls")
    assert isinstance(line.content, Row), line
    assert line.content.aliases == {"yotel": "call_a1", "callsid": "call_a1"}


def test_a_first_name_is_for_scripts_alone():
    told = CliRunner().invoke(main, ["tenants", "--help"]).output
    assert ("\n  create " in told, "\n  add " in told) == (True, False)


def test_the_exit_codes_are_told():
    assert "78  the configuration is refused" in CliRunner().invoke(main, ["--help"]).output


def test_a_wrong_option_ends_with_2_and_a_hint():
    done = CliRunner().invoke(main, ["keys", "list", "--jsn"])
    assert done.exit_code == 2
    assert "--json" in done.output


def test_a_mistyped_command_is_told_what_is_alike():
    assert "Did you mean 'tenants'?" in CliRunner().invoke(main, ["tenats"]).output
