"""From a document to its program: the steps of its section ``main``, every one of them checked.

1. A document is taken or refused as a whole. One that is refused is told everything that is wrong with it, by name and
   place, up to 100 mistakes; nothing of it is run.
2. What is not known is refused, wherever it stands: a verb, a parameter, a section, a variable.
3. The forms of the vendor's pages are taken, today's and those before: a step may be a verb alone, ``play`` may be a
   list, a URL or an object with ``url`` or ``urls``. What YAML makes an object of, ``say: some text``, is that URL, and
   a verb with nothing behind its colon has no parameters.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from wavstream.api.mistakes import field_error
from wavstream.api.signalwire.swml.source import Node, Source, read_source, shown
from wavstream.api.signalwire.swml.variables import NAMES, is_reference, references, without_references
from wavstream.api.signalwire.swml.verbs import VERBS, Parameters, Play, Rules, Step
from wavstream.errors import FieldError, InvalidFields

VERSION = "1.0.0"
MAX_STEPS = 100
MAX_ERRORS = 100


def read_program(body: bytes, content_type: str, rules: Rules) -> tuple[Step, ...]:
    """Return the steps of the document in a body.

    Raises BadBody if it cannot be read, and InvalidFields with all that is wrong in it. Blocks: call it from a worker
    thread.
    """
    reader = _Reader(read_source(body, content_type), rules)
    steps = reader.steps()
    if reader.errors:  # rule 1
        raise InvalidFields(_some(reader.errors))
    return tuple(steps)


def _some(errors: list[FieldError]) -> tuple[FieldError, ...]:
    if len(errors) <= MAX_ERRORS:
        return tuple(errors)
    more = FieldError("", f"has {len(errors) - MAX_ERRORS} more mistakes")
    return (*errors[:MAX_ERRORS], more)


class _Reader:
    """Reads one document, and collects what is wrong with it."""

    def __init__(self, source: Source, rules: Rules) -> None:
        self.errors = list(source.errors)
        self._root = source.root
        self._rules = rules

    def steps(self) -> list[Step]:
        """Return the steps, as far as they can be read."""
        document = self._object(self._root, "an object with sections", {"version", "sections"}, "a document")
        version = document.get("version")
        if version is not None and version.value != VERSION:
            self.errors.append(version.wrong(f"must be {VERSION}"))
        sections = self._required(self._root, document, "sections")
        if sections is None:
            return []
        members = self._object(sections, "an object with the section main", {"main"}, "what is run: there is only main")
        main = self._required(sections, members, "main")
        if main is None:
            return []
        if not isinstance(main.value, list):
            self.errors.append(main.wrong("must be a list of steps"))
            return []
        if not 1 <= len(main.value) <= MAX_STEPS:
            self.errors.append(main.wrong(f"must have 1 to {MAX_STEPS} steps; it has {len(main.value)}"))
            return []
        return [step for node in main.value if (step := self._step(node)) is not None]

    def _object(self, node: Node, what: str, known: set[str], of_what: str) -> dict[str, Node]:
        if not isinstance(node.value, dict):
            self.errors.append(node.wrong(f"must be {what}"))
            return {}
        for name, member in node.value.items():
            if name not in known:
                self.errors.append(member.wrong(f"is not part of {of_what}", kind="unknown"))
        return {name: member for name, member in node.value.items() if name in known}

    def _required(self, node: Node, members: dict[str, Node], name: str) -> Node | None:
        if name not in members and isinstance(node.value, dict):
            missing = Node(None, f"{node.pointer}/{name}", node.line, node.column)
            self.errors.append(missing.wrong("is missing", kind="missing"))
        return members.get(name)

    # ---- steps -------------------------------------------------------------------------------------------------

    def _step(self, node: Node) -> Step | None:
        said = node.value
        if isinstance(said, str):
            verb, parameters = said, Node({}, node.pointer, node.line, node.column)  # rule 3
        elif isinstance(said, dict) and len(said) == 1:
            ((verb, parameters),) = said.items()
        else:
            self.errors.append(node.wrong("must be a verb with its parameters, one in each step"))
            return None
        kind = VERBS.get(verb)
        if kind is None:
            place = node if isinstance(said, str) else parameters
            detail = f"{shown(verb)} is not a verb that is run here; accepted: {', '.join(VERBS)}"
            self.errors.append(place.wrong(detail, kind="unknown"))
            return None
        members = self._play(parameters) if kind is Play else self._members(verb, parameters)
        if members is None:
            return None
        return Step(verb, kind, self._checked(kind, verb, members))

    def _members(self, verb: str, node: Node) -> dict[str, Node] | None:
        if node.value is None:  # rule 3
            return {}
        if not isinstance(node.value, dict):
            self.errors.append(node.wrong(f"must be an object with the parameters of {verb}"))
            return None
        return node.value

    def _play(self, node: Node) -> dict[str, Node] | None:
        """Return the parameters of ``play`` with ``urls`` as a list, in whichever form they were given (rule 3)."""
        said = node.value
        if isinstance(said, str):
            return {"urls": Node([node], node.pointer, node.line, node.column)}
        if isinstance(said, list):
            return {"urls": node}
        members = self._members("play", node)
        if members is None:
            return None
        if ("url" in members) == ("urls" in members):
            self.errors.append(node.wrong("must have either url or urls"))
            return None
        if (url := members.get("url")) is not None:
            members = {name: member for name, member in members.items() if name != "url"}
            return {**members, "urls": Node([url], url.pointer, url.line, url.column)}
        return members

    # ---- parameters --------------------------------------------------------------------------------------------

    def _checked(self, kind: type[Parameters], verb: str, members: dict[str, Node]) -> dict[str, Any]:
        """Return what is said of the parameters; note what is wrong with them.

        A reference is checked by the name of its variable. The model does not see a value that is one, and in a text
        with references it sees a figure in the place of each.
        """
        said = {name: _value(member) for name, member in members.items()}
        seen: dict[str, Any] = {}
        for name, value in said.items():
            member = members[name]
            if name == "urls" and isinstance(member.value, list):
                urls = [self._without_references(each, url) for each, url in zip(member.value, value, strict=True)]
                seen[name] = ["silence:0" if url is None else url for url in urls]
            elif name in kind.FIXED or name not in kind.model_fields:
                seen[name] = value
            elif (shorn := self._without_references(member, value, name in kind.TEXTS)) is not None or value is None:
                seen[name] = shorn
        try:
            kind.model_validate(seen, context=self._rules)
        except ValidationError as error:
            self._note(error, verb, members)
        return said

    def _without_references(self, node: Node, said: Any, is_text: bool = True) -> Any:
        """Return a value without references in it, None for one that is a reference; note unknown names (rule 2)."""
        if not isinstance(said, str):
            return said
        for unknown in dict.fromkeys(name for name in references(said) if name not in NAMES):
            detail = f"{shown(unknown)} is not a variable; there are {', '.join(NAMES)}"
            self.errors.append(node.wrong(detail))
        if is_reference(said):
            return None
        return without_references(said) if is_text else said

    def _note(self, error: ValidationError, verb: str, members: dict[str, Node]) -> None:
        """Note what the model has found, in the order of the document. No parameter is required, so each is there."""
        order = {name: place for place, name in enumerate(members)}
        found = error.errors(include_url=False, include_input=False)
        for detail in sorted(found, key=lambda each: order[str(each["loc"][0])]):
            name, *path = detail["loc"]
            place = members[str(name)]
            if path and isinstance(path[0], int) and isinstance(place.value, list):
                place = place.value[path[0]]
            wrong = field_error({**detail, "loc": ("body", *detail["loc"])})
            text = f"is not a parameter of {verb} here" if wrong.kind == "unknown" else wrong.detail
            self.errors.append(place.wrong(text, kind=wrong.kind))


def _value(node: Node) -> Any:
    """Return what a node says, without the places."""
    said = node.value
    if isinstance(said, list):
        return [_url(each) for each in said]
    if isinstance(said, dict):
        return {name: _value(member) for name, member in said.items()}
    return said


def _url(node: Node) -> Any:
    """Return one URL of ``play``; that which YAML has made an object of as the text that it was (rule 3)."""
    said = node.value
    if isinstance(said, dict) and len(said) == 1:
        ((scheme, rest),) = said.items()
        is_number = isinstance(rest.value, int | float) and not isinstance(rest.value, bool)
        if (scheme == "say" and isinstance(rest.value, str)) or (scheme == "silence" and is_number):
            return f"{scheme}:{rest.value}"
    return _value(node)
