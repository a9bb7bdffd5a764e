"""Real files, made by ffmpeg once a session."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from parts.encoded import encode


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of that name in parts.encoded."""
    return partial(encode, tmp_path_factory.mktemp("encoded"))
