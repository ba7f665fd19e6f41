"""The outbox and its dead letters as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Row, event, text
from sqlalchemy.engine import Engine

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.outbox import DEAD_KEPT, DELIVERED_KEPT, SEQUENCES_KEPT, Backlog, Due
from wavstream.errors import InvalidFields
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import Announcement, Fact, FactKind
from wavstream.service.webhook_service import wanted_facts
from wavstream.settings import WebhookSettings

DATABASES = BOTH

START = datetime(2026, 11, 1, 10, tzinfo=UTC)
LATER = START + timedelta(seconds=5)


@pytest.fixture
async def catalog(database: FaultyDatabase) -> Catalog:
    """With two apps that are told what usually is told."""
    catalog = await Catalog.over(database, is_wanted=USUAL)
    for app_id in ("shop", "bank"):
        await add_app(catalog, app_id, WebhookTarget(f"https://{app_id}.example/"))
    return catalog


async def add_app(catalog: Catalog, app_id: str, webhook: WebhookTarget | None) -> None:
    app = App(app_id, START, webhook=webhook)
    assert await catalog.apps.add(app, key_hash=f"hash of {app_id}", key_lookup=f"lookup of {app_id}")


def fact(
    fact_id: str,
    *,
    app_id: str = "shop",
    session_id: str = "s",
    kind: FactKind = FactKind.COMMAND_DONE,
    second: int = 0,
) -> Fact:
    at = START + timedelta(seconds=second)
    return Fact(id=fact_id, app_id=app_id, session_id=session_id, kind=kind, at=at, body={"told": fact_id})


async def announce(catalog: Catalog, *facts: Fact) -> set[str]:
    """Return the apps whose deliveries are woken."""
    woken: set[str] = set()
    catalog.outbox.on_announced(woken.add)
    await catalog.outbox.announce(facts)
    return woken


async def query(catalog: Catalog, statement: str) -> Sequence[Row[Any]]:
    return await catalog.database.read(lambda connection: connection.execute(text(statement)).all())


async def due(catalog: Catalog, app_id: str = "shop", *, now: datetime = LATER, limit: int = 10) -> list[str]:
    return [each.fact.id for each in (await catalog.outbox.due(app_id, now, limit)).announcements]


async def only(catalog: Catalog, app_id: str = "shop", *, now: datetime = LATER) -> Announcement:
    [announcement] = (await catalog.outbox.due(app_id, now, 10)).announcements
    return announcement


async def states(catalog: Catalog) -> dict[str, str]:
    return {row.id: row.state for row in await query(catalog, "SELECT id, state FROM outbox")}


async def die(catalog: Catalog, *fact_ids: str, session_id: str = "s") -> None:
    """Told one after the other, each is given up a second after the one before."""
    for second, fact_id in enumerate(fact_ids):
        await announce(catalog, fact(fact_id, session_id=session_id))
        [dying] = [
            each for each in (await catalog.outbox.due("shop", LATER, 10)).announcements if each.fact.id == fact_id
        ]
        await catalog.outbox.mark_dead(dying, "answered 500", LATER + timedelta(seconds=second))


async def test_a_fact_reads_back_as_it_was_written(catalog: Catalog) -> None:
    told = Fact(
        id="f1", app_id="shop", session_id="büro/../77 ☎", kind=FactKind.RECORDING_FINISHED,
        at=START + timedelta(microseconds=1), recording_id="r1", body={"recording": {"url": "u", "legs": []}},
    )  # fmt: skip

    assert await announce(catalog, told) == {"shop"}
    assert await only(catalog) == Announcement(fact=told, sequence=1, attempts=0, begun_at=told.at, error=None)


async def test_sequences_count_the_facts_of_one_session_of_one_app(catalog: Catalog) -> None:
    for each in (fact("a"), fact("b"), fact("c", session_id="other"), fact("d", app_id="bank"), fact("e")):
        await announce(catalog, each)

    rows = await query(catalog, "SELECT id, sequence FROM outbox ORDER BY id")
    assert [tuple(row) for row in rows] == [("a", 1), ("b", 2), ("c", 1), ("d", 1), ("e", 3)]


async def test_a_fact_that_is_told_again_is_written_once_and_takes_one_sequence(catalog: Catalog) -> None:
    await announce(catalog, fact("a"), fact("a"))
    await catalog.outbox.mark_delivered(await only(catalog), LATER)

    assert await announce(catalog, fact("a", second=9)) == set()
    await announce(catalog, fact("b"))
    assert ((await states(catalog))["a"], (await only(catalog)).sequence) == ("delivered", 2)


async def test_a_sequence_is_not_given_again_when_its_row_is_gone(catalog: Catalog) -> None:
    await announce(catalog, fact("a"))
    await catalog.outbox.mark_delivered(await only(catalog), LATER)
    await catalog.outbox.prune(LATER + DELIVERED_KEPT + timedelta(seconds=1))
    assert await states(catalog) == {}

    await announce(catalog, fact("b"))
    assert (await only(catalog)).sequence == 2


@pytest.mark.parametrize(
    ("webhook", "told"),
    [
        (None, []),
        (WebhookTarget("https://x.example/"), [FactKind.COMMAND_DONE, FactKind.RECORDING_FINISHED]),
        (WebhookTarget("https://x.example/", ("dtmf",)), []),
        (WebhookTarget("https://x.example/", ("x", "recording.started")), [FactKind.RECORDING_STARTED]),
    ],
)
async def test_an_app_is_told_what_it_wants_and_nothing_else_takes_a_sequence(
    catalog: Catalog, webhook: WebhookTarget | None, told: list[FactKind]
) -> None:
    await add_app(catalog, "third", webhook)
    await announce(catalog, *(fact(kind, app_id="third", kind=kind) for kind in FactKind))

    rows = await query(catalog, "SELECT id, sequence FROM outbox ORDER BY sequence")
    assert [tuple(row) for row in rows] == [(kind, number) for number, kind in enumerate(told, 1)]


async def test_an_app_that_is_gone_is_told_nothing(catalog: Catalog) -> None:
    await announce(catalog, fact("a"))
    await catalog.apps.remove("shop")

    assert await announce(catalog, fact("b")) == set()
    assert await states(catalog) == {}


async def test_what_usually_is_told_can_be_widened(catalog: Catalog) -> None:
    wider = await Catalog.over(
        catalog.database, is_wanted=wanted_facts(WebhookSettings(recording_started=True, recording_failed=True))
    )

    assert await announce(wider, fact("a", kind=FactKind.RECORDING_STARTED)) == {"shop"}


async def test_of_each_session_the_first_fact_is_due_and_the_longest_due_comes_first(catalog: Catalog) -> None:
    for each in (
        fact("b1", session_id="b", second=1),
        fact("a1", session_id="a"),
        fact("a2", session_id="a", second=2),
    ):
        await announce(catalog, each)

    assert await due(catalog) == ["a1", "b1"]
    assert await due(catalog, limit=1) == ["a1"]
    assert await due(catalog, "bank") == []


async def test_the_next_fact_of_a_session_has_its_turn_when_the_one_before_is_told_or_given_up(
    catalog: Catalog,
) -> None:
    await announce(catalog, fact("a"), fact("b"), fact("c"))

    second = await catalog.outbox.mark_delivered(await only(catalog), LATER)
    assert second == await only(catalog)
    assert second is not None
    third = await catalog.outbox.mark_dead(second, "answered 500", LATER)
    assert third == await only(catalog)
    assert third is not None
    assert third.fact.id == "c"
    assert await catalog.outbox.mark_delivered(third, LATER) is None
    assert await due(catalog) == []


async def test_a_fact_whose_try_failed_is_due_at_its_time_and_still_before_the_next(catalog: Catalog) -> None:
    await announce(catalog, fact("a"), fact("b"))
    await catalog.outbox.mark_failed(await only(catalog), "answered 500", LATER + timedelta(seconds=1), now=LATER)

    assert await catalog.outbox.due("shop", LATER, 10) == Due((), LATER + timedelta(seconds=1))
    again = await only(catalog, now=LATER + timedelta(seconds=1))
    assert (again.fact.id, again.attempts, again.error) == ("a", 1, "answered 500")


async def test_a_delivered_row_keeps_nothing_of_what_it_told(catalog: Catalog) -> None:
    await announce(catalog, fact("a"))
    await catalog.outbox.mark_delivered(await only(catalog), LATER)

    assert [row.body_json for row in await query(catalog, "SELECT body_json FROM outbox")] == ["{}"]


async def test_an_outcome_that_comes_twice_counts_once(catalog: Catalog) -> None:
    await announce(catalog, fact("a"), fact("b"))
    first = await only(catalog)
    await catalog.outbox.mark_delivered(first, LATER)

    assert await catalog.outbox.mark_dead(first, "late", LATER) is None
    assert await states(catalog) == {"a": "delivered", "b": "pending"}


async def test_the_backlog_names_the_apps_that_something_waits_for(catalog: Catalog) -> None:
    await announce(catalog, fact("a"), fact("b"), fact("c", session_id="other", second=1))
    await die(catalog, "dead", session_id="dead")

    assert await catalog.outbox.backlog() == [Backlog("shop", 3, START)]


async def test_what_waits_behind_another_is_not_looked_at(catalog: Catalog) -> None:
    # A receiver that is down for an hour must not make every question read all that waits for it.
    for number in range(3):
        await announce(catalog, fact(f"a{number}"))
    asked: list[tuple[str, Any]] = []

    def note(*seen: Any) -> None:
        asked.append((seen[2], seen[3]))

    event.listen(Engine, "before_cursor_execute", note)
    assert await due(catalog) == ["a0"]
    await catalog.outbox.backlog()
    event.remove(Engine, "before_cursor_execute", note)

    is_sqlite = catalog.database.turns_of is None

    def explain(connection: Connection) -> list[str]:
        if not is_sqlite:  # a small table is read as it lies, if it may be
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        how = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        return [str(connection.exec_driver_sql(f"{how} {sql}", values).all()) for sql, values in asked]

    plans = await catalog.database.write(explain)
    assert len(plans) == 3

    if not is_sqlite:  # which index it takes is by how many rows there are
        assert not any("Seq Scan on outbox" in plan for plan in plans)
        return
    assert all("INDEX ix_outbox_app_id_due_us" in plan for plan in plans)
    assert not any("SCAN outbox" in plan or "TEMP B-TREE" in plan for plan in plans)


async def test_rows_are_pruned_when_they_were_kept_long_enough(catalog: Catalog) -> None:
    await announce(catalog, fact("told", session_id="told"), fact("waits", session_id="waits"))
    [told, _] = (await catalog.outbox.due("shop", LATER, 10)).announcements
    await catalog.outbox.mark_delivered(told, LATER)
    await die(catalog, "dead", session_id="dead")

    for kept, left in (
        (DELIVERED_KEPT, {"told", "waits", "dead"}),
        (DELIVERED_KEPT + timedelta(seconds=1), {"waits", "dead"}),
        (DEAD_KEPT, {"waits", "dead"}),
        (DEAD_KEPT + timedelta(seconds=1), {"waits"}),
    ):
        assert not await catalog.outbox.prune(LATER + kept)
        assert set(await states(catalog)) == left


async def test_a_session_goes_on_counting_while_a_row_of_it_is_there(catalog: Catalog) -> None:
    await die(catalog, "a")
    much_later = LATER + SEQUENCES_KEPT - timedelta(seconds=1)
    await catalog.dead_letters.replay("shop", None, much_later)
    await catalog.outbox.prune(much_later + timedelta(days=1))
    await announce(catalog, fact("b"))
    assert [row.sequence for row in await query(catalog, "SELECT sequence FROM outbox ORDER BY id")] == [1, 2]

    for fact_id in "ab":
        await catalog.outbox.mark_delivered(await only(catalog, now=much_later), much_later)
        assert (await states(catalog))[fact_id] == "delivered"
    await catalog.outbox.prune(much_later + timedelta(days=2))
    assert await query(catalog, "SELECT * FROM outbox_sequences") == []


async def test_dead_letters_are_listed_by_page_the_last_to_die_first(catalog: Catalog) -> None:
    await die(catalog, *"abcde")
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = await catalog.dead_letters.page("shop", limit=2, cursor=cursor)
        seen += [each.fact.id for each in page.data]
        cursor = page.next_cursor

    assert (seen, cursor) == (list("edcba"), None)
    assert (await catalog.dead_letters.page("bank", limit=2)).data == ()
    with pytest.raises(InvalidFields):
        await catalog.dead_letters.page("shop", limit=2, cursor="x")


async def test_a_dead_letter_is_read_with_its_body_and_why_it_died(catalog: Catalog) -> None:
    await die(catalog, "a")

    letter = await catalog.dead_letters.get("shop", "a")

    assert letter is not None
    assert (letter.fact, letter.sequence, letter.attempts, letter.error) == (fact("a"), 1, 1, "answered 500")
    assert letter.died_at == LATER
    assert await catalog.dead_letters.get("bank", "a") is None
    assert await catalog.dead_letters.get("shop", "b") is None


async def test_a_replayed_letter_is_tried_anew_with_its_id_and_sequence(catalog: Catalog) -> None:
    await die(catalog, "a", "b")
    now = LATER + timedelta(days=2)

    assert await catalog.dead_letters.replay("shop", ["a", "nothing"], now) == 1
    again = await only(catalog, now=now)
    assert (again.fact.id, again.sequence, again.attempts, again.begun_at) == ("a", 1, 0, now)
    assert (again.error, again.died_at) == (None, None)
    assert await states(catalog) == {"a": "pending", "b": "dead"}
    assert await catalog.dead_letters.replay("bank", ["b"], now) == 0


async def test_all_are_replayed_in_the_order_of_their_session(catalog: Catalog) -> None:
    await die(catalog, "a", "b")
    await announce(catalog, fact("c"))

    assert await catalog.dead_letters.replay("shop", None, LATER) == 2
    told = []
    turn: Announcement | None = await only(catalog)
    while turn is not None:
        told.append(turn.fact.id)
        turn = await catalog.outbox.mark_delivered(turn, LATER)
    assert told == ["a", "b", "c"]


async def test_a_letter_that_is_replayed_while_a_later_one_is_tried_goes_before_its_next_try(catalog: Catalog) -> None:
    await die(catalog, "a")
    await announce(catalog, fact("b"))
    tried = await only(catalog)
    await catalog.dead_letters.replay("shop", None, LATER)

    await catalog.outbox.mark_failed(tried, "answered 500", LATER, now=LATER)

    assert await due(catalog) == ["a"]
