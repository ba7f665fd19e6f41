"""Every bound of docs/limits.md has a setting that exists, and a test that reaches it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import wavstream
from wavstream.settings import every_setting

ROOT = Path(wavstream.__file__).parent.parent
PAGE = ROOT / "docs" / "limits.md"
TABLES = ("limits", "quotas", "http")
"""Of the settings, those that are nothing but bounds: each has a row."""


def rows() -> list[list[str]]:
    lines = PAGE.read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines if line.startswith("| ")]
    return [row for row in cells if row[0] != "what grows" and not set(row[0]) <= {"-", " "}]


def settings_of(row: list[str]) -> set[str]:
    return set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", row[1]))


@cache
def functions_in(module: str) -> frozenset[str]:
    tree = ast.parse((ROOT / module).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def names() -> set[str]:
    return {name for name, *_ in every_setting()}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_a_bound_says_what_happens_at_it_and_is_reached_by_a_test(row: list[str]) -> None:
    what, setting, default, at_it, reached = row
    assert what
    assert setting
    assert default
    assert at_it
    assert settings_of(row) <= names()
    modules = re.findall(r"`(tests/[a-z_/0-9]+\.py)(?:::(test_\w+))?`", reached)
    assert modules
    for module, test in modules:
        assert (ROOT / module).exists()
        assert not test or test in functions_in(module)


def test_what_is_promised_of_bad_input_to_a_cluster_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "cluster-failure.md").read_text("utf-8").partition("## Bad input")[2]
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert lines
    for line in lines:
        found = re.findall(r"`(tests/[a-z_/0-9]+\.py)(?:::(test_\w+))?`", line.rsplit(" | ", 1)[1])
        assert found, line
        assert all(not test or test in functions_in(module) for module, test in found), line


def test_every_setting_that_is_a_bound_has_a_row() -> None:
    told = set().union(*(settings_of(row) for row in rows()))
    bounds = {name for name in names() if name.split(".")[0] in TABLES and not name.startswith("quotas.apps")}
    assert bounds - told == set()
