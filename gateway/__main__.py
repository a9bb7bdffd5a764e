"""``python -m gateway``."""

from .cli import main

main(prog_name="recording-gateway")
