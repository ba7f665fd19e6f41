"""What of a statement SQLite and PostgreSQL say in other words: members of JSON text, and whether a text has another.

PostgreSQL reads the text as ``json`` each time; as ``jsonb`` it would make all of it before. Every text in a
``..._json`` column is JSON, and has no NUL, which that type could not hand out (``postgres_place``).

The classes are called as functions are, since they stand in statements as functions of SQL do.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, String, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from wavstream.catalog.tables import json_text


class json_member(FunctionElement[str]):
    """A text that is a member of a document."""

    inherit_cache = True
    type = String()

    def __init__(self, document: ColumnElement[Any], name: str) -> None:
        super().__init__(document, literal(f"$.{json_text(name)}"), literal(name))


class json_number(FunctionElement[int]):
    """A whole number that is a member of a document."""

    inherit_cache = True
    type = BigInteger()

    def __init__(self, document: ColumnElement[Any], name: str) -> None:
        super().__init__(document, literal(f"$.{name}"), literal(name))


class has_pair(FunctionElement[bool]):
    """Whether the object that is a member of a document has this text by this name."""

    inherit_cache = True
    type = Boolean()

    def __init__(self, document: ColumnElement[Any], member: str, name: str, value: str) -> None:
        super().__init__(document, literal(f"$.{member}"), literal(member), literal(name), literal(value))


class contains(FunctionElement[bool]):
    """Whether a text has another in it, letter by letter."""

    inherit_cache = True
    type = Boolean()

    def __init__(self, text: ColumnElement[Any], part: str) -> None:
        super().__init__(text, literal(part))


@compiles(json_member, "sqlite")
@compiles(json_number, "sqlite")
def _extract(element: FunctionElement[Any], compiler: Any, **how: Any) -> str:
    document, path, _ = _written(element, compiler, how)
    return f"json_extract({document}, {path})"


@compiles(has_pair, "sqlite")
def _has_pair(element: FunctionElement[Any], compiler: Any, **how: Any) -> str:
    # Each of its pairs, since a path could not have every name in it.
    document, path, _, name, value = _written(element, compiler, how)
    return (
        f"EXISTS (SELECT 1 FROM json_each({document}, {path}) AS pair WHERE pair.key = {name} AND pair.value = {value})"
    )


@compiles(contains, "sqlite")
def _instr(element: FunctionElement[Any], compiler: Any, **how: Any) -> str:
    text, part = _written(element, compiler, how)
    return f"(instr({text}, {part}) > 0)"


@compiles(json_member, "postgresql")
def _member_of_postgres(element: FunctionElement[Any], compiler: Any, **how: Any) -> str:
    document, _, name = _written(element, compiler, how)
    return f"(CAST({document} AS json) ->> {name})"


@compiles(json_number, "postgresql")
def _number_of_postgres(element: FunctionElement[Any], compiler: Any, **how: Any) -> str:
    document, _, name = _written(element, compiler, how)
    return f"CAST(CAST({document} AS json) ->> {name} AS bigint)"


@compiles(has_pair, "postgresql")
def _has_pair_of_postgres(element: FunctionElement[Any], compiler: Any, **how: Any) -> str:
    document, _, member, name, value = _written(element, compiler, how)
    return f"(json_extract_path_text(CAST({document} AS json), {member}, {name}) = {value})"


@compiles(contains, "postgresql")
def _strpos(element: FunctionElement[Any], compiler: Any, **how: Any) -> str:
    text, part = _written(element, compiler, how)
    return f"(strpos({text}, {part}) > 0)"


def _written(element: FunctionElement[Any], compiler: Any, how: dict[str, Any]) -> list[str]:
    return [compiler.process(each, **how) for each in element.clauses]
