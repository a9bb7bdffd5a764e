"""The table of statements and tests is whole: each test it names is there, and each test of a contract is named."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from gateway.surfaces import SURFACES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contracts.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", PAGE)))
VENDORS = [name for name in SURFACES if name != "native"]


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_every_test_that_is_named_is_there(path: str, name: str):
    assert name in functions_of(path)


@pytest.mark.parametrize("surface", VENDORS)
def test_every_test_of_a_contract_is_named_under_its_document(surface: str):
    section = PAGE.partition(f"\n## {surface}\n")[2].partition("\n## ")[0]
    path = f"tests/e2e/test_{surface}.py"
    assert {name for name in functions_of(path) if f"`{path}::{name}`" not in section} == set()


def test_every_row_names_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith("|---")]
    bare = [row for row in rows if "::test_" not in row and not row.endswith("| test |")]
    assert bare == []
    assert len(rows) > 60
