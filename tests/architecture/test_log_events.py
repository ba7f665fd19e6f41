"""Every event of the log is a literal with one level and one set of fields, and docs/logs.md explains it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import wavstream
from wavstream.service.logs import LIBRARY_LINE

pytestmark = pytest.mark.xdist_group("log events")
"""All tests read the same trees, of which one process has enough."""

PACKAGE = Path(wavstream.__file__).parent
ROOT = PACKAGE.parent
PAGE = ROOT / "docs" / "logs.md"
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
OF_LIBRARIES = ("library_line", "any", frozenset({"logger", "message", "exception"}))
"""The one event that no call names: what libraries log becomes it on its way out."""
LOGGER = "structlog.get_logger(__name__)"
LEVEL_OF = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
OTHER_NAMES_OF_IDS = {"recording", "session", "app"}


class Event(NamedTuple):
    room: str
    name: str
    level: str
    fields: frozenset[str]


@cache
def trees() -> dict[str, ast.Module]:
    return {
        module.relative_to(PACKAGE).as_posix(): ast.parse(module.read_text("utf-8"))
        for module in sorted(PACKAGE.rglob("*.py"))
    }


def log_calls(tree: ast.Module) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    ]


def logged() -> list[Event]:
    ours = [event(module, call) for module, tree in trees().items() for call in log_calls(tree)]
    assert OF_LIBRARIES[0] == LIBRARY_LINE
    return [*ours, Event("service", *OF_LIBRARIES)]


def event(module: str, call: ast.Call) -> Event:
    where = f"{module}:{call.lineno}"
    assert isinstance(call.func, ast.Attribute)
    assert len(call.args) == 1, f"{where}: an event and its fields by name"
    assert isinstance(call.args[0], ast.Constant), f"{where}: the event is a literal"
    names = {keyword.arg for keyword in call.keywords}
    assert None not in names, f"{where}: each field is named"
    fields = {"exception" if name == "exc_info" else str(name) for name in names}
    if call.func.attr == "exception":
        fields.add("exception")
    return Event(
        module.split("/")[0].removesuffix(".py"), str(call.args[0].value), LEVEL_OF[call.func.attr], frozenset(fields)
    )


def told() -> list[Event]:
    section = PAGE.read_text("utf-8").partition("\n## Events\n")[2]
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| (\w+) \| ?(.*?) ?\| [^|]+ \|$", section, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\|", section, re.MULTILINE)) - 2, "a row is not of the table's form"
    return [Event(room, name, level, frozenset(re.findall(r"`(\w+)`", fields))) for room, name, level, fields in rows]


def test_the_page_has_every_event_of_the_log_with_its_level_and_fields_and_no_other() -> None:
    assert len(logged()) > 80
    assert set(told()) == set(logged())


def test_every_event_that_another_document_names_exists() -> None:
    # Whatever else a line about the log names, such as a field or a setting, is somewhere in the code too.
    code = "\n".join(module.read_text("utf-8") for module in PACKAGE.rglob("*.py"))
    named = {
        word
        for document in DOCUMENTS
        if document.name != "CHANGELOG.md"
        for line in document.read_text("utf-8").splitlines()
        if re.search(r"\blogs?\b", line)
        for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", line)
    }

    assert len(named & {event.name for event in logged()}) > 10
    assert [word for word in sorted(named) if word not in code] == ["snake_case"]


def test_the_table_of_events_is_sorted_and_names_none_twice() -> None:
    places = [(event.room, event.name) for event in told()]

    assert places == sorted(set(places))


def test_an_event_is_a_word_of_one_level_and_one_set_of_fields_wherever_it_is_logged() -> None:
    kinds = defaultdict(set)
    for event in logged():
        kinds[event.name].add((event.level, event.fields))

    assert [name for name in kinds if not re.fullmatch(r"[a-z]+(_[a-z]+)+", name)] == []
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_ids_are_logged_under_one_name() -> None:
    assert [event for event in logged() if event.fields & OTHER_NAMES_OF_IDS] == []


def test_every_logger_is_called_log_and_used_only_where_it_is_called() -> None:
    wrong = []
    for module, tree in trees().items():
        made = [
            node for node in ast.walk(tree) if isinstance(node, ast.Call) and "get_logger" in ast.unparse(node.func)
        ]
        named = [
            node
            for node in tree.body
            if isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "log"
            and ast.unparse(node.value) == LOGGER
        ]
        uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "log"]
        if len(made) != len(named) or len(named) > 1 or (named and len(uses) != len(named) + len(log_calls(tree))):
            wrong.append(module)

    assert wrong == []
