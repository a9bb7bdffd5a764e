"""``demo``: see it work."""

from __future__ import annotations

from pathlib import Path

import click

from ..demo import DemoFailed, Options
from ..demo import run as run_demo
from .common import Exit, Stop, examples, run, stderr, stdout


@click.command(
    epilog=examples(
        "recording-gateway demo",
        "recording-gateway demo --port 9000 --audio ~/recordings",
        "recording-gateway demo --once && echo it works",
    )
)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--state",
    default=Path(".demo"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for everything the demo keeps; a second run finds it there.",
)
@click.option(
    "--store",
    default="s3",
    show_default=True,
    type=click.Choice(["s3", "disk"]),
    help="s3: most recordings in a real S3 server, some on disk; disk: all on disk.",
)
@click.option(
    "--audio",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Your own recordings (wav, mp3, m4a, mp4, webm, ogg, opus) in place of made ones.",
)
@click.option("--once", is_flag=True, help="Start, check everything once, stop; exit 1 where a check fails.")
def demo(*, port: int, state: Path, store: str, audio: Path | None, once: bool) -> None:
    """Start Postgres, an S3 server and the gateway on loopback, with calls to play.

    Prints lines to paste into a shell, and writes demo.json into the state folder. Ctrl-C stops all of it.
    """
    options = Options(port=port, state=state, s3=store == "s3", audio=audio, once=once)
    try:
        well = run(run_demo(options, stdout(), stderr()))
    except DemoFailed as error:
        raise Stop(str(error)) from error
    raise SystemExit(int(Exit.OK if well else Exit.FAILED))
