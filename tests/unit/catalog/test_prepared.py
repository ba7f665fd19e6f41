"""Statements that the driver runs itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, bindparam, create_engine, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError, ProgrammingError

from wavstream.catalog.database import Prepared

table = Table("calls", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text), Column("n", Integer))
ADD = Prepared(insert(table), columns=("id", "name"))
RENAME = Prepared(update(table).where(table.c.id == bindparam("wanted")).values(name="gone", n=None))
GET = Prepared(select(table).where(table.c.id >= bindparam("from")).order_by(table.c.id))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        table.create(connection)
        yield connection
    engine.dispose()


def test_values_are_bound_by_name_and_those_of_the_statement_stay(connection: Connection) -> None:
    assert [ADD.run(connection, {"id": number, "name": "x"}) for number in (1, 2)] == [1, 1]
    assert RENAME.run(connection, {"wanted": 2}) == 1
    assert RENAME.run(connection, {"wanted": 3}) == 0
    assert GET.row(connection, {"from": 2}) == {"id": 2, "name": "gone", "n": None}
    assert GET.row(connection, {"from": 3}) is None


def test_a_value_that_is_not_given_is_an_error_and_not_null(connection: Connection) -> None:
    with pytest.raises(ProgrammingError, match="name"):
        ADD.run(connection, {"id": 1})


def test_errors_of_the_driver_are_raised_as_sqlalchemy_raises_them(connection: Connection) -> None:
    ADD.run(connection, {"id": 1, "name": "x"})
    with pytest.raises(IntegrityError):
        ADD.run(connection, {"id": 1, "name": "y"})
    assert GET.row(connection, {"from": 1}) == {"id": 1, "name": "x", "n": None}, "the transaction goes on"
