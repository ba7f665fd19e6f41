"""A PostgreSQL server that restarts, is away, stands still or loses an answer: a pause, and nothing lost or doubled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from tests.support.postgres import Postgres, a_folder_for_postgres, lent_catalog, running_postgres
from tests.support.recordings import a_recording
from tests.support.waiting import until
from tests.support.wanted import USUAL
from wavstream.catalog import postgres_engine, postgres_schema
from wavstream.catalog.app_keys import has_changed
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.database import retry_forever
from wavstream.catalog.outbox import TAKEN_FOR
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.errors import CatalogAway
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import Fact, FactKind
from wavstream.model.recording import Status

NOW = datetime(2026, 8, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def a_server() -> Iterator[Postgres]:
    """One that may be killed: others use the shared one."""
    with a_folder_for_postgres() as folder, running_postgres(folder) as server:
        yield server


@pytest.fixture
def place(a_server: Postgres) -> PostgresPlace:
    made = a_server.place(a_server.database())
    postgres_schema.upgrade(made)
    return made


def told(number: int, *, line: str = "s") -> Fact:
    return Fact(
        id=f"{line}-{number}", app_id="shop", session_id=line, kind=FactKind.RECORDING_FINISHED, at=NOW, body={}
    )


async def with_app(place: PostgresPlace) -> Catalog:
    catalog = await Catalog.open(place, is_wanted=USUAL)
    await catalog.apps.add(App("shop", NOW, webhook=WebhookTarget("https://a.example")), key_hash="h", key_lookup="l")
    return catalog


@pytest.mark.parametrize("end", [Postgres.kill, Postgres.stop], ids=["killed", "stopped"])
async def test_a_server_that_restarts_between_any_two_statements_is_not_noticed(
    place: PostgresPlace, a_server: Postgres, end: Callable[[Postgres], None]
) -> None:
    catalog = await with_app(place)

    async def restart() -> None:
        await asyncio.to_thread(end, a_server)
        await asyncio.to_thread(a_server.start)

    await asyncio.gather(*(catalog.database.read(lambda connection: None) for _ in range(8)))  # all are connected
    await restart()
    assert await catalog.recordings.add(a_recording("r1"))
    await restart()
    assert await catalog.recordings.get("r1") == a_recording("r1")
    await restart()
    assert await catalog.recordings.save(a_recording("r1", status=Status.AVAILABLE), [told(1)])
    await restart()
    (due,) = (await catalog.outbox.due("shop", NOW, 10)).announcements
    await restart()
    assert await catalog.outbox.mark_delivered(due, NOW) is None
    assert await catalog.outbox.backlog() == []
    await catalog.database.close()


async def test_a_server_that_is_away_is_told_and_what_is_tried_again_is_done_when_it_is_back(
    place: PostgresPlace, a_server: Postgres
) -> None:
    catalog = await with_app(place)
    await asyncio.to_thread(a_server.kill)
    failures: list[Exception] = []
    trying = asyncio.create_task(
        retry_forever(
            lambda: catalog.recordings.save(a_recording("r1", status=Status.AVAILABLE), [told(1), told(2)]),
            on_first_failure=failures.append,
            delay_s=0.01,
        )
    )
    for asked in (catalog.recordings.get("r1"), catalog.recordings.add(a_recording("r2")), catalog.database.ping()):
        with pytest.raises(CatalogAway, match=r"PostgreSQL test_\d+ on 127\.0\.0\.1") as away:
            await asked
        assert "secret" not in str(away.value)
        assert "\n" not in str(away.value)
    await until(lambda: failures)
    await asyncio.to_thread(a_server.start)

    assert await trying
    assert await catalog.recordings.get("r2") is None
    assert [each.pending for each in await catalog.outbox.backlog()] == [2]
    await catalog.database.close()


class LostAnswers:
    """Loses the connection at a commit: before the server hears of it, or before its answer comes back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.next: str | None = None
        commit = psycopg.Connection.commit

        def lose(driver: psycopg.Connection[Any]) -> None:
            way, self.next = self.next, None
            if way == "after" or way is None:
                commit(driver)
            if way is not None:
                driver.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(psycopg.Connection, "commit", lose)


@pytest.mark.parametrize("way", ["before", "after"])
async def test_a_commit_whose_answer_is_lost_is_made_once(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    catalog = await with_app(place)
    before = await catalog.app_keys.version()
    answers = LostAnswers(monkeypatch)

    answers.next = way
    added, _ = await asyncio.gather(catalog.recordings.add(a_recording("r1")), catalog.database.write(has_changed))

    assert added
    assert answers.next is None
    assert await catalog.app_keys.version() == before + 1
    await catalog.database.close()


@pytest.mark.parametrize("why", ["away", "another history"])
async def test_where_it_cannot_be_known_whether_a_commit_was_made_that_is_said(
    place: PostgresPlace, a_server: Postgres, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    catalog = await with_app(place)
    answers = LostAnswers(monkeypatch)
    monkeypatch.setattr(postgres_engine, "VERIFIED_S", 0.3)
    if why == "away":

        def killed(_: object) -> None:
            a_server.kill()

    else:

        def killed(_: object) -> None:
            engine = catalog.database._engine
            assert isinstance(engine, postgres_engine.PostgresEngine)
            engine._timeline = "00000077"  # a standby that took over begins another

    answers.next = "before"
    with pytest.raises(CatalogAway, match="whether that was made is not known"):
        await catalog.database.write(killed)
    if why == "away":
        await asyncio.to_thread(a_server.start)
    assert await catalog.recordings.add(a_recording("r1"))
    await catalog.database.close()


async def test_what_may_have_been_written_may_be_written_again(place: PostgresPlace) -> None:
    """What is tried until it succeeds is tried again, too, where nobody knows whether it was made."""
    catalog = await with_app(place)
    ended = a_recording("r1", status=Status.AVAILABLE, app_id="shop")
    for _ in range(2):
        assert await catalog.recordings.save(ended, [told(1), told(2)])
    first, *others = (await catalog.outbox.due("shop", NOW, 10)).announcements
    assert others == []
    assert (await catalog.outbox.mark_delivered(first, NOW)) is not None
    assert (await catalog.outbox.mark_delivered(first, NOW)) is None
    (second,) = (await catalog.outbox.due("shop", NOW, 10)).announcements
    assert second.fact == told(2)
    for _ in range(2):
        await catalog.outbox.mark_failed(second, "no", NOW + timedelta(seconds=5), now=NOW)
    assert [each.pending for each in await catalog.outbox.backlog()] == [1]
    await catalog.database.close()


async def test_a_server_that_stands_still_is_noticed_and_what_waits_behind_it_fails_with_it(
    place: PostgresPlace, a_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_engine, "HUNG_S", 1.0)
    monkeypatch.setattr(postgres_engine, "_AT_ONCE_S", 0.5)
    catalog = await with_app(place)
    await asyncio.gather(*(catalog.recordings.get("r1") for _ in range(8)))
    a_server.freeze()
    try:
        first = [catalog.recordings.get("r1") for _ in range(4)]
        behind = [catalog.recordings.get(f"r{number}") for number in range(20)]
        write = catalog.recordings.add(a_recording("r1"))
        outcomes = await asyncio.gather(write, *first, *behind, return_exceptions=True)
    finally:
        a_server.thaw()
    assert {type(each) for each in outcomes} == {CatalogAway}
    assert await catalog.recordings.add(a_recording("r2"))
    await catalog.database.close()


async def test_a_writer_waits_for_another_machine_and_fails_when_that_takes_too_long(
    place: PostgresPlace,
) -> None:
    catalog = await Catalog.open(place)
    with place.connect() as other:
        other.execute(f"BEGIN; SELECT pg_advisory_xact_lock({postgres_engine.WRITE_LOCK})")
        waiting = asyncio.create_task(catalog.recordings.add(a_recording("r1")))
        await until(
            lambda: other.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall()
        )
        other.execute("COMMIT")
        assert await waiting
        other.execute(f"BEGIN; SELECT pg_advisory_xact_lock({postgres_engine.WRITE_LOCK})")
        with pytest.raises(CatalogAway, match="held a lock there for longer than 5 s"):
            await catalog.recordings.add(a_recording("r2"))
        other.execute("COMMIT")
    assert await catalog.recordings.add(a_recording("r2"))
    await catalog.database.close()


async def test_of_two_machines_each_announcement_is_taken_by_one_and_lines_stay_in_order() -> None:
    with lent_catalog() as shared:
        one, two = await with_app(replace(shared, turns_of="one")), await Catalog.open(replace(shared, turns_of="two"))
        lines = [f"line-{number:02}" for number in range(40)]
        for line in lines:
            await one.outbox.announce([told(1, line=line), told(2, line=line)])

        taken = await asyncio.gather(*(each.outbox.due("shop", NOW, 15) for each in (one, two, one, two)))
        by_one, by_two = ({each.fact.id for due in taken[n::2] for each in due.announcements} for n in (0, 1))
        assert by_one
        assert by_two
        assert not by_one & by_two
        assert all(each.endswith("-1") for each in by_one | by_two)

        mine = (await one.outbox.due("shop", NOW, 99)).announcements
        (mine_first, *_) = [each for each in mine if each.fact.id in by_one]
        after = await one.outbox.mark_delivered(mine_first, NOW)
        assert after is not None
        assert after.fact.line == mine_first.fact.line
        theirs = {each.fact.id for each in (await two.outbox.due("shop", NOW, 99)).announcements}
        assert after.fact.id not in theirs
        assert theirs.isdisjoint(each.fact.id for each in mine)

        # One that stays away loses its turns, and finds them again if it comes back in time.
        assert {each.fact.id for each in (await one.outbox.due("shop", NOW, 99)).announcements} >= {after.fact.id}
        late = NOW + TAKEN_FOR + timedelta(seconds=1)
        assert after.fact.id in {each.fact.id for each in (await two.outbox.due("shop", late, 99)).announcements}
        assert after.fact.id not in {each.fact.id for each in (await one.outbox.due("shop", late, 99)).announcements}
        for each_catalog in (one, two):
            await each_catalog.database.close()


async def test_what_another_is_just_ending_is_passed_over_and_not_waited_for() -> None:
    with lent_catalog() as shared:
        catalog = await with_app(shared)
        await catalog.outbox.announce([told(1, line="a"), told(1, line="b")])
        with shared.connect() as other:
            other.execute("BEGIN; SELECT 1 FROM outbox WHERE id = 'a-1' FOR UPDATE")
            due = (await catalog.outbox.due("shop", NOW, 10)).announcements
            assert [each.fact.id for each in due] == ["b-1"]
            other.execute("COMMIT")
        due = (await catalog.outbox.due("shop", NOW, 10)).announcements
        assert {each.fact.id for each in due} == {"a-1", "b-1"}
        await catalog.database.close()


async def test_no_thread_is_left_when_it_is_closed() -> None:
    before = {*threading.enumerate()}
    with lent_catalog() as shared:
        catalog = await Catalog.open(shared)
        await catalog.database.ping()
        await catalog.database.read(lambda connection: connection.execute(text("SELECT 1")).all())
        await catalog.database.close()
    assert {each.name for each in {*threading.enumerate()} - before if each.name.startswith("catalog")} == set()
