"""Time that a test moves by hand."""


class Clock:
    """Monotonic seconds that pass as a test wills."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
