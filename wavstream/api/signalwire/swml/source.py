"""A document as it was sent, JSON or YAML: its values, each with the place where it stands.

1. Nothing is read that a few bytes can blow up: a depth of 32 at most, in YAML no anchor and no alias, and no number of
   more than 64 characters. What is too deep or has an anchor is refused where it is met, before what follows is read.
2. A name that an object has twice is an error: readers differ in which of the two they take.
3. YAML is read by PyYAML's safe loader, event by event, since its tree does not keep where a name stands. Tags are
   refused. What YAML takes for a date stays text: JSON has no dates, and no step takes one.
4. Text is Unicode: half a surrogate pair, which JSON can spell, is refused.

Everything here blocks, for some milliseconds in a large document: call it from a worker thread.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from wavstream.errors import BadBody, FieldError

MAX_DEPTH = 32
MAX_NUMBER_CHARACTERS = 64
JSON_TYPES = ("application/json",)
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

Scalar: TypeAlias = str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document."""

    value: Scalar | dict[str, Node] | list[Node]
    pointer: str
    """JSON pointer; the whole document's is empty."""
    line: int | None = None
    """Of the value, or of its name where it has one, from 1; None: the document is JSON."""
    column: int | None = None

    def wrong(self, detail: str, **kind: Any) -> FieldError:
        """Return the error that says what is wrong with this value, and where it stands."""
        place = self.pointer if self.line is None else f"line {self.line}, column {self.column}"
        return FieldError(self.pointer, f"{detail}, at {place}" if place else detail, **kind)


@dataclass(frozen=True, slots=True)
class Source:
    """A document that could be read."""

    root: Node
    errors: list[FieldError] = field(default_factory=list)
    """What is wrong with it as JSON or YAML already."""


def read_source(body: bytes, content_type: str) -> Source:
    """Return what is in the body; raise BadBody if it cannot be read."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in JSON_TYPES or media_type.endswith("+json"):
        read = _read_json
    elif media_type in YAML_TYPES or media_type.endswith("+yaml"):
        read = _read_yaml
    else:
        accepted = " or ".join((JSON_TYPES[0], YAML_TYPES[0]))
        raise BadBody(f"The document must be sent with Content-Type: {accepted}.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadBody(f"The body is not UTF-8: byte {error.start} is none of it.") from None
    if not text.strip():
        raise BadBody("The body is empty: send a document.")
    return read(text)


def _pointer(parent: str, step: str | int) -> str:
    return f"{parent}/{str(step).replace('~', '~0').replace('/', '~1')}"


def shown(name: str) -> str:
    """Return a caller's word as an answer may repeat it: printable, and not long."""
    kept = "".join(character if character.isprintable() else "?" for character in name[:64])
    return kept if len(name) <= 64 else f"{kept}..."


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# ---- JSON ----------------------------------------------------------------------------------------------------------


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object, in order, however often each is there."""


def _read_json(text: str) -> Source:
    try:
        said = json.loads(text, object_pairs_hook=_Object, parse_constant=_refuse_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise BadBody(f"The body is not JSON: {error.msg}, at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise _too_deep() from None
    errors: list[FieldError] = []
    return Source(_json_node(said, "", 0, errors), errors)


def _refuse_constant(name: str) -> float:
    raise BadBody(f"The body is not JSON: {name} is no number of it.")


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARACTERS:  # rule 1
        raise BadBody("A number in the body has too many digits.")
    return int(digits)


def _json_node(said: Any, pointer: str, depth: int, errors: list[FieldError]) -> Node:
    if depth > MAX_DEPTH:  # rule 1
        raise _too_deep()
    if isinstance(said, _Object):
        members: dict[str, Node] = {}
        for name, value in said:
            if not _is_unicode(name):  # rule 4
                raise _not_unicode()
            node = _json_node(value, _pointer(pointer, name), depth + 1, errors)
            _add(members, name, node, errors)
        return Node(members, pointer)
    if isinstance(said, list):
        return Node(
            [_json_node(item, _pointer(pointer, index), depth + 1, errors) for index, item in enumerate(said)], pointer
        )
    if isinstance(said, str) and not _is_unicode(said):
        raise _not_unicode()
    return Node(said, pointer)


def _add(members: dict[str, Node], name: str, node: Node, errors: list[FieldError]) -> None:
    if name in members:  # rule 2
        errors.append(node.wrong(f"{shown(name)} is there twice"))
    else:
        members[name] = node


def _too_deep(place: str = "") -> BadBody:
    return BadBody(f"The body is nested more than {MAX_DEPTH} deep{place}.")


def _not_unicode() -> BadBody:
    return BadBody("A text in the body is not Unicode: it has half a surrogate pair.")


# ---- YAML ----------------------------------------------------------------------------------------------------------

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader; the one in C where PyYAML has it, which is 20 times as fast."""
_NO_TEXT = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "null"))
_NUMBERS = frozenset(("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"))


def _read_yaml(text: str) -> Source:
    reader = None
    try:
        reader = _YamlReader(_LOADER(text))
        return reader.read()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        raise BadBody(f"The body is not YAML: {problem}{_at(mark)}.") from None
    finally:
        if reader is not None:
            reader.close()


def _at(mark: Any) -> str:
    return "" if mark is None else f", at line {mark.line + 1}, column {mark.column + 1}"


class _YamlReader:
    """Makes nodes of the events of one document."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._errors: list[FieldError] = []

    def read(self) -> Source:
        self._loader.get_event()  # the stream begins
        if self._loader.check_event(yaml.StreamEndEvent):
            raise BadBody("The body is empty: send a document.")
        self._loader.get_event()  # the document begins
        root = self._node("", 0, None)
        self._loader.get_event()
        if not self._loader.check_event(yaml.StreamEndEvent):
            raise BadBody(f"The body has more than one document{_at(self._loader.peek_event().start_mark)}.")
        return Source(root, self._errors)

    def close(self) -> None:
        self._loader.dispose()

    def _node(self, pointer: str, depth: int, named_at: Any) -> Node:
        event = self._event()
        mark = named_at or event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if isinstance(event, yaml.ScalarEvent):
            return Node(self._scalar(event), pointer, line, column)
        if depth > MAX_DEPTH:  # rule 1
            raise _too_deep(_at(event.start_mark))
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not self._loader.check_event(yaml.SequenceEndEvent):
                items.append(self._node(_pointer(pointer, len(items)), depth + 1, None))
            self._loader.get_event()
            return Node(items, pointer, line, column)
        members: dict[str, Node] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            key = self._event()
            if not isinstance(key, yaml.ScalarEvent):
                raise BadBody(f"A name in the body must be text{_at(key.start_mark)}.")
            node = self._node(_pointer(pointer, key.value), depth + 1, key.start_mark)
            _add(members, key.value, node, self._errors)
        self._loader.get_event()
        return Node(members, pointer, line, column)

    def _event(self) -> Any:
        """Return the next event, which begins a value; refuse what rules 1, 3 and 4 do not allow."""
        event = self._loader.get_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise BadBody(f"Anchors and aliases (& and *) are not taken: write it out{_at(event.start_mark)}.")
        if event.tag is not None:
            raise BadBody(f"Tags (!) are not taken: leave it out{_at(event.start_mark)}.")
        if isinstance(event, yaml.ScalarEvent) and not _is_unicode(event.value):
            raise _not_unicode()
        return event

    def _scalar(self, event: Any) -> Scalar:
        loader = self._loader
        tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag not in _NO_TEXT:  # rule 3
            return str(event.value)
        if tag in _NUMBERS and len(event.value) > MAX_NUMBER_CHARACTERS:  # rule 1
            raise BadBody(f"A number in the body has too many digits{_at(event.start_mark)}.")
        try:
            value: Scalar = loader.construct_object(yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark))
        except (ValueError, OverflowError):
            raise BadBody(f"A number in the body cannot be read{_at(event.start_mark)}.") from None
        return value
