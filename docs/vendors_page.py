"""Writes the tables of vendors.md from the code that they describe: `python -m docs.vendors_page`."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from wavstream.api.registry import FACADES
from wavstream.api.translation import Becomes, marked
from wavstream.model.options import RecordingOptions

PAGE = Path(__file__).with_name("vendors.md")
_BEGIN, _END = "<!-- options: python -m docs.vendors_page -->\n", "<!-- end of options -->"


def page() -> str:
    """Return the whole page, with its table as the code has it now."""
    before, _, rest = PAGE.read_text("utf-8").partition(_BEGIN)
    return before + _BEGIN + _table() + _END + rest.partition(_END)[2]


def _table() -> str:
    names = [facade.name for facade in FACADES]
    rows = [f"| option | {' | '.join(names)} |\n", f"| --- |{' --- |' * len(names)}\n"]
    of = {facade.name: _by_option(facade.name) for facade in FACADES}
    for option in fields(RecordingOptions):
        cells = [of[name].get(option.name, "-") for name in names]
        if set(cells) != {"-"}:
            rows.append(f"| `{option.name}` | {' | '.join(cells)} |\n")
    return "".join(rows)


def _by_option(name: str) -> dict[str, str]:
    [facade] = [facade for facade in FACADES if facade.name == name]
    return {mark.option: _cell(field, mark) for field, mark in marked(facade.start_options)}


def _cell(field: str, mark: Becomes) -> str:
    if mark.values is None or callable(mark.values):
        return f"`{field}`"
    values = ", ".join(f"`{_json(theirs)}` is `{ours}`" for theirs, ours in mark.values.items())
    return f"`{field}`: {values}"


def _json(value: object) -> str:
    return re.sub("^(True|False)$", lambda found: found[0].lower(), str(value))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
