"""The rooms are where the package says they are, and their modules are small, named and explained."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import wavstream

PACKAGE = Path(wavstream.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400
NAMES_THAT_SAY_NOTHING = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}


def name(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def test_the_path_of_a_sample_names_rooms_that_exist() -> None:
    sentence = re.search(r"The path of a sample: (.*?)\.$", wavstream.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert sentence is not None

    first, *rooms = re.split(r"\s*->\s*|,\s*", sentence[1])

    assert first == "socket"
    assert len(rooms) >= 7
    assert [room for room in rooms if not (PACKAGE / room / "__init__.py").is_file()] == []


def test_every_module_fits_on_a_few_screens() -> None:
    lengths = {name(module): len(module.read_text("utf-8").splitlines()) for module in MODULES}

    assert {module: lines for module, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [name(module) for module in MODULES if NAMES_THAT_SAY_NOTHING & set(module.stem.split("_"))] == []
    assert [name(folder) for folder in PACKAGE.rglob("*/") if folder.name in NAMES_THAT_SAY_NOTHING] == []


def test_every_module_says_on_its_first_line_what_it_is_for() -> None:
    silent = []
    for module in MODULES:
        docstring = ast.get_docstring(ast.parse(module.read_text("utf-8")))
        if not docstring or not docstring.splitlines()[0].strip():
            silent.append(name(module))

    assert silent == []


def test_the_command_that_is_installed_is_one_that_can_be_called() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["wavstream"].partition(":")

    assert callable(getattr(importlib.import_module(module), function))
