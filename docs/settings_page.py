"""Writes settings.md from the settings themselves: `python -m docs.settings_page`."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from wavstream.settings import OLDER_VARIABLES, every_setting, variable

PAGE = Path(__file__).with_name("settings.md")

_HEAD = """\
# Settings

Written by `python -m docs.settings_page` from [wavstream/settings](../wavstream/settings); a test fails when it is out
of date.

The command line wins (`--host`, `--port`), then the environment, then the TOML file of `--config`. In the file a name
with a dot is a key of a table: `log.level` is `level` in `[log]`. A file with all of them to copy is
[config/wavstream.example.toml](../config/wavstream.example.toml). An empty variable is not set. A name that nothing
reads is refused, with the one that was probably meant, and so is a wrong value; all complaints come at once, with exit
code 2. Blanks, line ends and a byte order mark around a value, or a file, are dropped; quotes around a value, which
Docker's `--env-file` keeps, are refused.

| setting | variable | default | is |
| --- | --- | --- | --- |
"""


def page() -> str:
    """Return the whole page."""
    return _HEAD + "".join(_row(name, field) for name, field in every_setting())


def _row(name: str, field: FieldInfo) -> str:
    explained = " ".join((field.description or "").split("\n"))
    return f"| `{name}` | {_variables(name)} | {_default(field)} | {explained} |\n"


def _variables(name: str) -> str:
    names = [variable(name), *filter(None, [OLDER_VARIABLES.get(name)])]
    return ", ".join(f"`{each}`" for each in names)


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None:
        return "not set"
    if isinstance(value, Enum | Path):
        value = str(value)
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
