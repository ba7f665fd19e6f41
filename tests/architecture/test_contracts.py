"""The import contracts hold, and they would notice if they did not."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(root: Path, contract: str) -> tuple[bool, str]:
    # A process of its own, since the package is found by its name and there is one of a name in a process.
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-logo", "--no-cache", "--contract", contract],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "wavstream", tmp_path / "wavstream", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("contract", ["rooms", "rendering", "pure"])
def test_the_contract_holds(contract: str) -> None:
    holds, report = lint(ROOT, contract)

    assert holds, report


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        ("rooms", "model/__init__.py", "import wavstream.settings"),
        ("rooms", "storage/__init__.py", "import wavstream.catalog"),
        ("rooms", "dialects/__init__.py", "import wavstream.journal.records"),
        ("rooms", "sessions/__init__.py", "import wavstream.media"),
        ("rooms", "room_that_no_layer_names.py", '"""A room."""'),
        ("rendering", "rendering/mixer/__init__.py", "import wavstream.rendering.timeline"),
        ("rendering", "rendering/encoders/__init__.py", "import wavstream.rendering.fold"),
        ("pure", "dialects/__init__.py", "import asyncio"),
        ("pure", "rendering/timeline/__init__.py", "import time"),
        ("pure", "rendering/codecs/__init__.py", "import wavstream.journal.reader"),
        ("pure", "journal/records.py", "import os"),
        ("pure", "rendering/encoders/__init__.py", "from pathlib import Path"),
    ],
)
def test_an_import_against_the_contract_is_noticed(contract: str, module: str, line: str, copied: Path) -> None:
    with (copied / "wavstream" / module).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")

    holds, report = lint(copied, contract)

    assert not holds
    assert "BROKEN" in report or "room_that_no_layer_names" in report


FACADES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["wavstream"]["facades"]


def imported(source: str) -> set[str]:
    """Return the modules of ours that a source names in imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.startswith("wavstream.")}


def beyond(facade: str, source: str) -> set[str]:
    """Return what a module of the facade imports beyond what a facade may."""
    allowed = [*FACADES["may_import"], facade]
    return {
        name for name in imported(source) if not any(name == each or name.startswith(f"{each}.") for each in allowed)
    }


@pytest.mark.parametrize("facade", FACADES["facades"])
def test_a_vendors_api_compiles_against_the_cores_public_commands_alone(facade: str) -> None:
    modules = sorted((ROOT / facade.replace(".", "/")).rglob("*.py"))

    assert len(modules) > 3
    assert {module.name: names for module in modules if (names := beyond(facade, module.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from wavstream.sessions.session import Session",
        "from wavstream.sessions.registry import Sessions",
        "from wavstream.recorder.recorder import Recorder",
        "import wavstream.journal.records",
        "from wavstream.catalog.database import Database",
        "from wavstream.api import recordings",
    ],
)
def test_an_import_that_a_vendors_api_may_not_make_is_noticed(line: str) -> None:
    assert beyond("wavstream.api.gateway", f"from wavstream.errors import NotFound\n{line}\n")
