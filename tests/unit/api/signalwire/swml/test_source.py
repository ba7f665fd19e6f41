"""Documents as they are sent: JSON and YAML, where everything stands, and what is small and would be much to read."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
import yaml

from wavstream.api.signalwire.swml import source
from wavstream.api.signalwire.swml.source import MAX_DEPTH, Node, read_source
from wavstream.errors import BadBody

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read YAML with each of PyYAML's safe loaders: without the library in C there is only one."""
    monkeypatch.setattr(source, "_LOADER", request.param)


def of_yaml(text: str) -> Any:
    return plain(read_source(text.encode(), "application/yaml").root)


def plain(node: Node) -> Any:
    match node.value:
        case dict(members):
            return {name: plain(member) for name, member in members.items()}
        case list(items):
            return [plain(item) for item in items]
    return node.value


def at(node: Node, *path: str | int) -> Node:
    """Return what is in a document at this place."""
    for step in path:
        match node.value, step:
            case dict(members), str(name):
                node = members[name]
            case list(items), int(index):
                node = items[index]
            case _:
                raise LookupError(step)
    return node


def refusal(body: bytes | str, content_type: str = "application/yaml") -> str:
    with pytest.raises(BadBody) as refused:
        read_source(body.encode() if isinstance(body, str) else body, content_type)
    return str(refused.value)


# ---- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/swml+json",
        "application/yaml",
        "application/x-yaml",
        "text/yaml; charset=utf-8",
        "text/x-yaml",
        "application/swml+yaml",
    ],
)
def test_a_document_is_read_as_what_its_content_type_says(content_type: str) -> None:
    assert plain(read_source(b'{"a": [1, 2.5, true, null, "x"]}', content_type).root) == {
        "a": [1, 2.5, True, None, "x"]
    }


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type_is_refused_with_those_that_are_taken(content_type: str) -> None:
    assert refusal(b"{}", content_type) == (
        "The document must be sent with Content-Type: application/json or application/yaml."
    )


@pytest.mark.usefixtures("loader")
def test_yaml_is_read_as_the_safe_loader_does_but_for_dates() -> None:
    text = (
        "a: 1\nb: 0.5\nc: yes\nd: ~\ne: '5'\nf: |\n  two\n  lines\ng: [x, {h: i}]\nj: 2026-11-01\nk: >-\n  a\n  line\n"
    )

    assert of_yaml(text) == {**yaml.safe_load(text), "j": "2026-11-01"}


@pytest.mark.usefixtures("loader")
def test_terminators_without_quotes_are_null() -> None:
    assert of_yaml("terminators: #\nbeep: true") == {"terminators": None, "beep": True}


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    assert plain(read_source("\ufeff{}".encode(), "application/json").root) == {}


@pytest.mark.usefixtures("loader")
def test_everything_knows_its_line_and_column_in_yaml() -> None:
    root = read_source(b"sections:\n  main:\n    - play:\n        url: 5\n    - stop\n", "text/yaml").root

    url, stop = at(root, "sections", "main", 0, "play", "url"), at(root, "sections", "main", 1)
    assert (url.line, url.column, url.pointer) == (4, 9, "/sections/main/0/play/url")
    assert (stop.line, stop.column) == (5, 7)
    assert url.wrong("must be text").detail == "must be text, at line 4, column 9"


def test_everything_knows_its_pointer_in_json() -> None:
    root = read_source(b'{"a/b": [{"c~d": 5}]}', "application/json").root

    node = at(root, "a/b", 0, "c~d")
    assert node.pointer == "/a~1b/0/c~0d"
    assert node.wrong("must be text").detail == "must be text, at /a~1b/0/c~0d"


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("loader")
def test_a_name_that_is_there_twice_is_a_mistake_wherever_it_is() -> None:
    of_yaml = read_source(b"a: 1\nb: {c: 1, c: 2}\na: 3\n", "text/yaml").errors
    of_json = read_source(b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}', "application/json").errors

    assert [(error.pointer, error.detail) for error in of_yaml] == [
        ("/b/c", "c is there twice, at line 2, column 11"), ("/a", "a is there twice, at line 3, column 1")
    ]  # fmt: skip
    assert [(error.pointer, error.detail) for error in of_json] == [
        ("/b/c", "c is there twice, at /b/c"), ("/a", "a is there twice, at /a")
    ]  # fmt: skip


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]\n"
"""Each line doubles what is above it."""


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "Anchors and aliases (& and *) are not taken: write it out, at line 1, column 4."),
        ("a: *b", "Anchors and aliases (& and *) are not taken: write it out, at line 1, column 4."),
        ("? &a b\n: c", "Anchors and aliases (& and *) are not taken: write it out, at line 1, column 3."),
        ("&a b: c", "Anchors and aliases (& and *) are not taken: write it out, at line 1, column 1."),
        ("a: !!python/object:os.system [x]", "Tags (!) are not taken: leave it out, at line 1, column 4."),
        ("!!str a: b", "Tags (!) are not taken: leave it out, at line 1, column 1."),
        ("a: ! b", "Tags (!) are not taken: leave it out, at line 1, column 4."),
        ("? [a]\n: b", "A name in the body must be text, at line 1, column 3."),
        ("a\n---\nb", "The body has more than one document, at line 2, column 1."),
        ("a: " + "1" * 65, "A number in the body has too many digits, at line 1, column 4."),
        ("a: 0x_", "A number in the body cannot be read, at line 1, column 4."),
        ("- " * 40, f"The body is nested more than {MAX_DEPTH} deep, at line 1, column 67."),
        ("# nothing", "The body is empty: send a document."),
        ("  \n ", "The body is empty: send a document."),
    ],
)
def test_yaml_that_is_not_taken_is_refused_with_its_place(text: str, why: str) -> None:
    assert refusal(text) == why


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    "text", ["a: [", "a: 'b", "%", "\x00", "a: b: c", "- a\nb: c", "a: |\n\tb", "a: %{b}", '"\\ud800"', "]", "@a"]
)
def test_what_is_not_yaml_is_refused(text: str) -> None:
    assert refusal(text).startswith(("The body is not YAML: ", "A text in the body is not Unicode: "))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": }', "The body is not JSON: Expecting value, at line 1, column 7."),
        (b'{\n"a": 1,\n}', "The body is not JSON: "),
        (b'{"a": NaN}', "The body is not JSON: NaN is no number of it."),
        (b'{"a": -Infinity}', "The body is not JSON: -Infinity is no number of it."),
        (b'{"a": ' + b"1" * 5_000 + b"}", "A number in the body has too many digits."),
        (b'{"a": "\\ud800"}', "A text in the body is not Unicode: it has half a surrogate pair."),
        (b'{"\\udfff": 1}', "A text in the body is not Unicode: it has half a surrogate pair."),
        (b"[" * 34 + b"]" * 34, f"The body is nested more than {MAX_DEPTH} deep."),
        (b"[" * 30_000, f"The body is nested more than {MAX_DEPTH} deep."),
        (b'{"a": "\xff"}', "The body is not UTF-8: byte 7 is none of it."),
        (b"", "The body is empty: send a document."),
    ],
)
def test_json_that_is_not_taken_is_refused(body: bytes, why: str) -> None:
    assert refusal(body, "application/json").startswith(why)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "? ", "- - ", "&a [", "!a "])
def test_what_can_be_nested_is_refused_before_all_of_it_is_read(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counter[str]()
    event = source._YamlReader._event

    def counting(reader: source._YamlReader) -> Any:
        counted["read"] += 1
        return event(reader)

    monkeypatch.setattr(source._YamlReader, "_event", counting)

    assert refusal(piece * (60_000 // len(piece)))
    assert counted["read"] <= 2 * MAX_DEPTH + 4


def test_as_much_as_a_body_may_have_is_read() -> None:
    steps: list[Any] = [{"record_call": {}} for _ in range(3_000)]

    root = read_source(json.dumps(steps).encode(), "application/json").root

    assert len(root.value) == 3_000  # type: ignore[arg-type]
