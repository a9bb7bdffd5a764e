"""What a command does not need, it does not load: half of a start is importing."""

import subprocess
import sys

import pytest

CLI = "from gateway.cli import main; main({words}, standalone_mode=False); "


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import gateway.app", {"botocore", "gcloud.aio.storage", "redis", "opentelemetry"}),
        ("import gateway.workers", {"gateway.app", "asyncpg"}),
        (CLI.format(words=["--version"]), {"aiohttp", "asyncpg", "botocore"}),
        (CLI.format(words=["tenants", "create", "--help"]), {"aiohttp", "botocore"}),
    ],
    ids=["serving", "supervising", "version", "tenants"],
)
def test_only_what_is_asked_for_is_imported(code: str, absent: set[str]):
    told = f"{code}\nimport sys; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert "'gateway'" in loaded
    assert not {name for name in absent if f"'{name}'" in loaded}


def test_collecting_goes_on_once_a_command_is_loaded():
    code = "import gc; from gateway.cli import main; main.get_command(None, 'tenants'); print(gc.isenabled())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
