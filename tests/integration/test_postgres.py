"""The catalog on a real PostgreSQL server: how it is made, what a start refuses, what texts and times become."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from tests.support.postgres import PASSWORD, Postgres, lent_catalog, shared_postgres
from tests.support.recordings import a_recording
from tests.support.wanted import USUAL
from wavstream.catalog import postgres_schema
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.clock_corrections import ClockCorrections
from wavstream.catalog.postgres_place import PostgresPlace, without_nul
from wavstream.catalog.tables import LOST_APPS, metadata
from wavstream.clock import BootClocks
from wavstream.errors import OperatorError
from wavstream.model.call import CallFacts
from wavstream.model.filters import RecordingFilters
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Receipt, Status


@pytest.fixture
def server() -> Postgres:
    return shared_postgres()


async def ask(place: PostgresPlace, statement: str) -> list[Any]:
    """Return the rows of a statement, by the user of the tests."""
    with place.connect() as connection:
        return await asyncio.to_thread(lambda: connection.execute(statement).fetchall())


def made(server: Postgres) -> PostgresPlace:
    """Return a database of its own, with tables."""
    place = server.place(server.database())
    postgres_schema.upgrade(place)
    return place


# ---- how it is made --------------------------------------------------------------------------------------------------


def test_migrations_from_nothing_make_the_tables_as_they_are_declared_ordered_by_bytes(server: Postgres) -> None:
    place = made(server)
    with postgres_schema.one_transaction(place) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        others = connection.execute(
            text(
                "SELECT table_name, column_name, collation_name FROM information_schema.columns"
                " WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
            )
        ).all()
        partial = connection.execute(text("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%WHERE%'")).scalars()
        assert {*partial} >= {"ix_recordings_held", "ix_recordings_erasing"}
    assert others == []


async def test_two_that_start_at_once_on_an_empty_database_both_succeed(server: Postgres) -> None:
    place = server.place(server.database())
    await asyncio.gather(*(asyncio.to_thread(postgres_schema.upgrade, place) for _ in range(4)))
    assert postgres_schema.look(place) is not None


def test_a_new_catalog_in_the_place_of_a_lost_one_lets_nobody_in_without_a_key(server: Postgres) -> None:
    place = server.place(server.database())
    postgres_schema.upgrade(place, is_lost=True)
    postgres_schema.upgrade(place, is_lost=True)
    with place.connect() as connection:
        assert connection.execute("SELECT name FROM removed_apps").fetchall() == [(LOST_APPS,)]


async def test_a_user_who_may_only_read_and_write_rows_is_enough_once_the_tables_are_there(server: Postgres) -> None:
    place = made(server)
    database = place.url.rpartition("/")[2]
    server.run(
        "DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN PASSWORD 'x';"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk",
        database=database,
    )
    clerk = server.place(database, user="clerk", password="x")
    catalog = await Catalog.open(clerk)
    assert await catalog.recordings.add(a_recording())
    await catalog.database.close()
    server.run("REVOKE UPDATE ON outbox FROM clerk", database=database)
    with pytest.raises(OperatorError, match="the user clerk may not UPDATE in outbox: GRANT SELECT"):
        postgres_schema.upgrade(clerk)
    server.run("DROP OWNED BY clerk", database=database)


# ---- what is refused at a start --------------------------------------------------------------------------------------


def with_wrong_password(server: Postgres) -> PostgresPlace:
    return replace(server.place("postgres"), password="wrong-secret")


def without_database(server: Postgres) -> PostgresPlace:
    return server.place("no_such_database")


def without_user(server: Postgres) -> PostgresPlace:
    return server.place("postgres", user="nobody-there")


def without_server(server: Postgres) -> PostgresPlace:
    return PostgresPlace(server.url("postgres").replace(f":{server.port}/", ":1/"))


def without_host(server: Postgres) -> PostgresPlace:
    return server.place("postgres", host="no-such-host.invalid")


def with_a_wrong_parameter(server: Postgres) -> PostgresPlace:
    return PostgresPlace(server.url("postgres") + "?no_such_parameter=1")


def with_another_encoding(server: Postgres) -> PostgresPlace:
    name = server.database()
    server.run(f"DROP DATABASE {name}")
    server.run(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
    return server.place(name)


def that_takes_no_writes(server: Postgres) -> PostgresPlace:
    name = server.database()
    server.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    return server.place(name)


def without_rights(server: Postgres) -> PostgresPlace:
    name = server.database()
    server.run(
        "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 'x'; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        database=name,
    )
    return server.place(name, user="guest", password="x")


def of_a_newer_version(server: Postgres) -> PostgresPlace:
    place = made(server)
    with place.connect() as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    return place


@pytest.mark.parametrize(
    ("make", "to_do"),
    [
        (with_wrong_password, "look at the user and the password (WAVSTREAM_CATALOG__PASSWORD)"),
        (without_database, "make the database, or mend the name in WAVSTREAM_CATALOG__URL"),
        (without_user, "look at the user and the password"),
        (without_server, "look at the server, and at WAVSTREAM_CATALOG__URL"),
        (without_host, "look at the server, and at WAVSTREAM_CATALOG__URL"),
        (with_a_wrong_parameter, "WAVSTREAM_CATALOG__URL cannot be read"),
        (with_another_encoding, "its encoding is LATIN1; make one with CREATE DATABASE ... ENCODING 'UTF8'"),
        (that_takes_no_writes, "name the primary in WAVSTREAM_CATALOG__URL"),
        (without_rights, "GRANT CREATE, USAGE ON SCHEMA public TO guest"),
        (of_a_newer_version, "was made by a newer wavstream"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_that_says_what_to_do(
    server: Postgres, make: Callable[[Postgres], PostgresPlace], to_do: str
) -> None:
    place = make(server)
    with pytest.raises(OperatorError) as refused:
        postgres_schema.upgrade(place)
    said = str(refused.value)
    assert to_do in said
    assert "\n" not in said
    assert refused.value.exit_code == 2
    for secret in ("wrong-secret", PASSWORD, "a%20secret"):
        assert secret not in said
        assert secret not in repr(place)
    assert PASSWORD not in place.name


# ---- what texts and times become -------------------------------------------------------------------------------------


async def test_a_session_is_in_utc_whatever_the_database_says_and_times_come_back_to_the_microsecond(
    server: Postgres,
) -> None:
    place = made(server)
    server.run(f"ALTER DATABASE {place.url.rpartition('/')[2]} SET timezone = 'Pacific/Kiritimati'")
    catalog = await Catalog.open(place)
    at = datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=UTC)

    def zone(connection: Connection) -> object:
        return connection.execute(text("SHOW TimeZone")).scalar_one()

    assert [await catalog.database.read(zone), await catalog.database.write(zone)] == ["UTC", "UTC"]
    await catalog.recordings.add(a_recording("r1", status=Status.AVAILABLE, created_at=at, expires_at=at))
    found = await catalog.recordings.get("r1")
    assert found is not None
    assert (found.created_at, found.expires_at) == (at, at)
    (day,) = await catalog.recordings.stored_by_day("default", datetime(2026, 3, 28, tzinfo=UTC))
    assert day.day == at.date()
    clocks = ClockCorrections(catalog.database)
    await clocks.keep(BootClocks("boot", 1, 2))
    assert await clocks.known() == BootClocks("boot", 1, 2)
    await catalog.database.close()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\0b", "a\ufffdb"),
        (r'{"a":"\u0000"}', r'{"a":"\ufffd"}'),
        (r'{"a":"\\\u0000"}', r'{"a":"\\\ufffd"}'),
        (r'{"a":"\\u0000"}', r'{"a":"\\u0000"}'),
        ("plain", "plain"),
    ],
)
def test_a_nul_becomes_the_character_for_what_cannot_be_shown_and_nothing_else_changes(given: str, kept: str) -> None:
    assert without_nul(given) == kept


async def test_a_nul_in_what_a_call_says_of_itself_is_taken_and_hinders_no_search() -> None:
    with lent_catalog() as place:
        catalog = await Catalog.open(place)
        recording = replace(
            a_recording(options=RecordingOptions(metadata={"a\0": "b\0", "c": r"\u0000"}), status=Status.AVAILABLE),
            call=CallFacts(from_="+49\0", vendor_ids={"id": "\0"}),
            error="it said \0",
            receipt=Receipt(8000, 1, 8000, "9f", 16_080),
        )
        assert await catalog.recordings.add(recording)
        for filters in (
            RecordingFilters(metadata={"a\0": "b\0"}),
            RecordingFilters(metadata={"c": r"\u0000"}),
            RecordingFilters(vendor_ids={"id": "\0"}),
            RecordingFilters(from_="+49\0"),
            RecordingFilters(text="9\0"),
        ):
            page = await catalog.recordings.list("default", filters, limit=10)
            assert [each.call.from_ for each in page.data] == ["+49\ufffd"], filters
        assert (await catalog.recordings.stored_bytes())["default"] == 16_080
        await catalog.database.close()


async def test_texts_are_in_the_order_of_their_bytes_as_in_a_file() -> None:
    names = ["a", "B", "_", "b-", "b", "Z", "ä", "\U0001f600", "~", "-"]
    with lent_catalog() as place:
        catalog = await Catalog.open(place, is_wanted=USUAL)
        for name in names:
            await catalog.recordings.add(a_recording(name, status=Status.AVAILABLE, session_id=name))
        in_order = sorted(names, key=str.encode)
        assert [each.id for each in await catalog.recordings.stored("", 99)] == in_order
        await catalog.database.close()


async def test_pages_go_on_behind_the_last_row_of_the_page_before() -> None:
    names = ["a", "B", "_", "b-", "b", "Z", "C", "-"]
    with lent_catalog() as place:
        catalog = await Catalog.open(place)
        for name in names:
            await catalog.recordings.add(a_recording(name))
        seen: list[str] = []
        cursor = None
        while cursor is not None or not seen:
            page = await catalog.recordings.list("default", limit=3, cursor=cursor)
            seen += [each.id for each in page.data]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == sorted(names, reverse=True)
        await catalog.database.close()
