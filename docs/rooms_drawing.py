"""Draws the rooms in CONTRIBUTING.md from the import contracts: `python -m docs.rooms_drawing`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
_WITHIN_COLUMN = 20

_BLOCK = re.compile(r"(?<=\n## Rooms\n)(.*?\n```\n)(.*?)(?=```\n)", re.DOTALL)
"""The section up to its first fenced block, and what is in the block."""


def drawing() -> str:
    """Return the layers of the package, a line each, the highest first, and beside a room those within it."""
    layers: dict[str, list[str]] = {
        container: contract["layers"]
        for contract in _contracts()
        if contract["type"] == "layers"
        for container in contract["containers"]
    }
    lines = []
    for line in layers["wavstream"]:
        within = layers.get(f"wavstream.{line}")
        lines.append(line if within is None else f"{line:{_WITHIN_COLUMN}}(within: {', '.join(within)})")
    return "".join(f"{line}\n" for line in lines)


def page(text: str) -> str:
    """Return the text of CONTRIBUTING.md with the drawing in its place."""
    return _BLOCK.sub(lambda found: found[1] + drawing(), text, count=1)


def _contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return contracts


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
