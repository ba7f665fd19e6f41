"""The import contracts hold, and they would notice if they did not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
