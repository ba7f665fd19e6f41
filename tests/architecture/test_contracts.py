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


def beyond_the_registry(vendor: str) -> dict[str, set[str]]:
    """Return which modules know of a vendor beside its folder, its webhooks and the registry, and what they import."""
    own = (f"wavstream.api.{vendor}", f"wavstream.webhooks.{vendor}")
    places = (ROOT / "wavstream/api" / vendor, ROOT / f"wavstream/webhooks/{vendor}.py", REGISTRY)
    found = {}
    for module in (ROOT / "wavstream").rglob("*.py"):
        if not any(module == place or place in module.parents for place in places):
            names = imported(module.read_text("utf-8"))
            if known := {name for name in names if any(name == each or name.startswith(f"{each}.") for each in own)}:
                found[str(module.relative_to(ROOT))] = known
    return found


REGISTRY = ROOT / "wavstream/api/registry.py"
VENDORS = [facade.rpartition(".")[2] for facade in FACADES["facades"] if not facade.endswith(".gateway")]


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_is_one_folder_one_module_of_webhooks_one_line_of_the_registry_and_one_page(vendor: str) -> None:
    lines = [line for line in REGISTRY.read_text("utf-8").splitlines() if line.startswith("from") and vendor in line]

    assert beyond_the_registry(vendor) == {}
    assert lines == [f"from wavstream.api.{vendor}.mount import {vendor.upper()}"]
    assert (ROOT / "docs" / f"{vendor}.md").exists()


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_facade_of_a_vendor_knows_no_other(vendor: str) -> None:
    others = [other for other in VENDORS if other != vendor]
    modules = (ROOT / "wavstream/api" / vendor).rglob("*.py")

    names = set().union(*(imported(module.read_text("utf-8")) for module in modules))
    assert [name for name in names for other in others if f".{other}" in name] == []
