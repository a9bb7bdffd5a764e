"""What the signals mean to a process that serves, and to its supervisor."""

from __future__ import annotations

import signal

STOPS = (signal.SIGTERM, signal.SIGINT)
RETIRE = signal.SIGQUIT
"""Leave the port to a successor, at once."""
RELOAD = signal.SIGHUP


def signal_name(number: int) -> str:
    """As operators know it; a real-time signal has no name of its own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
