"""The templates of our Helm chart, rendered without Helm: as much of its language as they use, and strictly.

A value that is not in ``values.yaml`` is a mistake here, where Helm renders nothing. Where Helm is at hand, a test
compares what both make of the chart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_ACTION = re.compile(r"(\s*\{\{-|\{\{)\s*(.*?)\s*(-\}\}\s*|\}\})", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"|]+')


class Node(NamedTuple):
    """A piece of a template: a text, what is put in its place, or a block with what is in it."""

    kind: str
    text: str
    inside: tuple[Node, ...] = ()


class Chart:
    """A chart of this repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: dict[str, Any] = yaml.safe_load((folder / "values.yaml").read_text("utf-8"))
        self.about: dict[str, Any] = yaml.safe_load((folder / "Chart.yaml").read_text("utf-8"))
        self._defined: dict[str, tuple[Node, ...]] = {}
        for node in _parsed((folder / "templates" / "_helpers.tpl").read_text("utf-8")):
            if node.kind == "define":
                self._defined[node.text.strip('"')] = node.inside

    def render(self, changes: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the manifests, of the values with these changes in them."""
        texts = (self.text(file.name, changes) for file in sorted((self.folder / "templates").glob("*.yaml")))
        return [document for text in texts for document in yaml.safe_load_all(text) if document]

    def text(self, name: str, changes: Mapping[str, Any] | None = None) -> str:
        """Return a template as it is rendered."""
        top = {
            "Values": merged(self.values, changes or {}),
            "Release": {"Name": "wavstream", "Namespace": "calls"},
            "Chart": {"AppVersion": self.about["appVersion"]},
        }
        nodes = _parsed((self.folder / "templates" / name).read_text("utf-8"))
        return "".join(self._rendered(nodes, top, {}))

    def _rendered(self, nodes: tuple[Node, ...], dot: Any, names: Mapping[str, Any]) -> Iterator[str]:
        for node in nodes:
            match node.kind:
                case "text":
                    yield node.text
                case "put":
                    yield _shown(self._value(node.text, dot, names))
                case "if":
                    if self._value(node.text, dot, names):
                        yield from self._rendered(node.inside, dot, names)
                case "with":
                    if found := self._value(node.text, dot, names):
                        yield from self._rendered(node.inside, found, {"$": dot, **names})
                case "range":
                    variables, _, expression = node.text.partition(":=")
                    key, value = (each.strip() for each in variables.split(","))
                    for name, each in sorted(self._value(expression, dot, names).items()):
                        yield from self._rendered(node.inside, each, {**names, key: name, value: each})
                case "define":
                    pass

    def _value(self, expression: str, dot: Any, names: Mapping[str, Any]) -> Any:
        """Return what a pipeline gives."""
        given: list[Any] = []
        for command in expression.split("|"):
            words = _WORD.findall(command)
            assert words, expression
            arguments = [_looked_up(word, dot, names) for word in words[1:]] + given
            match words[0]:
                case "include":
                    result: Any = "".join(self._rendered(self._defined[arguments[0]], arguments[1], {}))
                case "toYaml":
                    result = yaml.safe_dump(arguments[0], default_flow_style=False).rstrip("\n")
                case "nindent":
                    result = "".join(f"\n{' ' * arguments[0]}{line}" for line in arguments[1].splitlines())
                case "quote":
                    result = '"' + _shown(arguments[0]).replace("\\", "\\\\").replace('"', '\\"') + '"'
                case "default":
                    result = arguments[1] or arguments[0]
                case "add":
                    result = sum(arguments)
                case "join":
                    result = arguments[0].join(arguments[1])
                case word:
                    assert not arguments, f"{word} is no function that the templates may use"
                    result = _looked_up(word, dot, names)
            given = [result]
        return given[0]


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with changes in them, tables within tables."""
    made = dict(values)
    for name, each in changes.items():
        both = isinstance(each, Mapping) and isinstance(made.get(name), Mapping)
        made[name] = merged(made[name], each) if both else each
    return made


def _parsed(text: str) -> tuple[Node, ...]:
    open_blocks: list[tuple[str, str, list[Node]]] = [("", "", [])]
    at = 0
    for action in _ACTION.finditer(text):
        open_blocks[-1][2].append(Node("text", text[at : action.start()]))
        at = action.end()
        word, _, rest = action[2].partition(" ")
        if word in ("if", "with", "range", "define"):
            open_blocks.append((word, rest, []))
        elif word == "end":
            kind, said, inside = open_blocks.pop()
            open_blocks[-1][2].append(Node(kind, said, tuple(inside)))
        else:
            open_blocks[-1][2].append(Node("put", action[2]))
    open_blocks[-1][2].append(Node("text", text[at:]))
    ((_, _, nodes),) = open_blocks
    return tuple(nodes)


def _looked_up(word: str, dot: Any, names: Mapping[str, Any]) -> Any:
    if word.startswith('"'):
        return word[1:-1]
    if re.fullmatch("-?[0-9]+", word):
        return int(word)
    if word.startswith("$"):
        return names[word]
    assert word.startswith("."), word
    found = dot
    for part in filter(None, word.split(".")):
        found = found[part]  # KeyError: it is not in values.yaml
    return found


def _shown(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
