"""The outbox as rows, on an in-memory database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, text

from wavstream.catalog import apps, dead_letters, outbox
from wavstream.catalog.outbox import DEAD_KEPT, DELIVERED_KEPT, SEQUENCES_KEPT
from wavstream.catalog.tables import metadata
from wavstream.errors import InvalidFields
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import DEFAULT_KINDS, Announcement, Fact, FactKind

START = datetime(2026, 11, 1, 10, tzinfo=UTC)
LATER = START + timedelta(seconds=5)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as open_connection:
        for app_id in ("shop", "bank"):
            add_app(open_connection, app_id, WebhookTarget(f"https://{app_id}.example/"))
        yield open_connection
    engine.dispose()


def add_app(connection: Connection, app_id: str, webhook: WebhookTarget | None) -> None:
    assert apps.add(connection, App(app_id, START, webhook=webhook), f"hash of {app_id}", f"lookup of {app_id}")


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


def announce(connection: Connection, *facts: Fact) -> set[str]:
    return outbox.add(connection, facts, DEFAULT_KINDS)


def due(connection: Connection, app_id: str = "shop", *, now: datetime = LATER, limit: int = 10) -> list[str]:
    return [each.fact.id for each in outbox.due(connection, app_id, now, limit).announcements]


def only(connection: Connection, app_id: str = "shop", *, now: datetime = LATER) -> Announcement:
    [announcement] = outbox.due(connection, app_id, now, 10).announcements
    return announcement


def states(connection: Connection) -> dict[str, str]:
    return {row.id: row.state for row in connection.execute(text("SELECT id, state FROM outbox"))}


def die(connection: Connection, *fact_ids: str, session_id: str = "s") -> None:
    """Told one after the other, each is given up a second after the one before."""
    for second, fact_id in enumerate(fact_ids):
        announce(connection, fact(fact_id, session_id=session_id))
        [dying] = [each for each in outbox.due(connection, "shop", LATER, 10).announcements if each.fact.id == fact_id]
        outbox.mark_dead(connection, dying, "answered 500", LATER + timedelta(seconds=second))


def test_a_fact_reads_back_as_it_was_written(connection: Connection) -> None:
    told = Fact(
        id="f1", app_id="shop", session_id="büro/../77 ☎", kind=FactKind.RECORDING_FINISHED,
        at=START + timedelta(microseconds=1), recording_id="r1", body={"recording": {"url": "u", "legs": []}},
    )  # fmt: skip

    assert announce(connection, told) == {"shop"}
    assert only(connection) == Announcement(fact=told, sequence=1, attempts=0, begun_at=told.at, error=None)


def test_sequences_count_the_facts_of_one_session_of_one_app(connection: Connection) -> None:
    for each in (fact("a"), fact("b"), fact("c", session_id="other"), fact("d", app_id="bank"), fact("e")):
        announce(connection, each)

    rows = connection.execute(text("SELECT id, sequence FROM outbox ORDER BY id"))
    assert [tuple(row) for row in rows] == [("a", 1), ("b", 2), ("c", 1), ("d", 1), ("e", 3)]


def test_a_fact_that_is_told_again_is_written_once_and_takes_one_sequence(connection: Connection) -> None:
    announce(connection, fact("a"), fact("a"))
    outbox.delivered(connection, only(connection), LATER)

    assert announce(connection, fact("a", second=9)) == set()
    announce(connection, fact("b"))
    assert (states(connection)["a"], only(connection).sequence) == ("delivered", 2)


def test_a_sequence_is_not_given_again_when_its_row_is_gone(connection: Connection) -> None:
    announce(connection, fact("a"))
    outbox.delivered(connection, only(connection), LATER)
    outbox.prune(connection, LATER + DELIVERED_KEPT + timedelta(seconds=1))
    assert states(connection) == {}

    announce(connection, fact("b"))
    assert only(connection).sequence == 2


@pytest.mark.parametrize(
    ("webhook", "told"),
    [
        (None, []),
        (WebhookTarget("https://x.example/"), [FactKind.COMMAND_DONE, FactKind.RECORDING_FINISHED]),
        (WebhookTarget("https://x.example/", ("dtmf",), ()), []),
        (WebhookTarget("https://x.example/", ("x",), (FactKind.RECORDING_STARTED,)), [FactKind.RECORDING_STARTED]),
    ],
)
def test_an_app_is_told_what_it_wants_and_nothing_else_takes_a_sequence(
    connection: Connection, webhook: WebhookTarget | None, told: list[FactKind]
) -> None:
    add_app(connection, "third", webhook)
    announce(connection, *(fact(kind, app_id="third", kind=kind) for kind in FactKind))

    rows = connection.execute(text("SELECT id, sequence FROM outbox ORDER BY sequence")).all()
    assert [tuple(row) for row in rows] == [(kind, number) for number, kind in enumerate(told, 1)]


def test_an_app_that_is_gone_is_told_nothing(connection: Connection) -> None:
    announce(connection, fact("a"))
    apps.remove(connection, "shop")

    assert announce(connection, fact("b")) == set()
    assert states(connection) == {}


def test_what_usually_is_told_can_be_widened(connection: Connection) -> None:
    started = fact("a", kind=FactKind.RECORDING_STARTED)

    assert outbox.add(connection, [started], DEFAULT_KINDS | {FactKind.RECORDING_STARTED}) == {"shop"}


def test_of_each_session_the_first_fact_is_due_and_the_longest_due_comes_first(connection: Connection) -> None:
    for each in (
        fact("b1", session_id="b", second=1),
        fact("a1", session_id="a"),
        fact("a2", session_id="a", second=2),
    ):
        announce(connection, each)

    assert due(connection) == ["a1", "b1"]
    assert due(connection, limit=1) == ["a1"]
    assert due(connection, "bank") == []


def test_the_next_fact_of_a_session_has_its_turn_when_the_one_before_is_told_or_given_up(
    connection: Connection,
) -> None:
    announce(connection, fact("a"), fact("b"), fact("c"))

    second = outbox.delivered(connection, only(connection), LATER)
    assert second == only(connection)
    assert second is not None
    third = outbox.mark_dead(connection, second, "answered 500", LATER)
    assert third == only(connection)
    assert third is not None
    assert third.fact.id == "c"
    assert outbox.delivered(connection, third, LATER) is None
    assert due(connection) == []


def test_a_fact_whose_try_failed_is_due_at_its_time_and_still_before_the_next(connection: Connection) -> None:
    announce(connection, fact("a"), fact("b"))
    outbox.retry(connection, only(connection), "answered 500", LATER + timedelta(seconds=1))

    assert outbox.due(connection, "shop", LATER, 10) == outbox.Due((), LATER + timedelta(seconds=1))
    again = only(connection, now=LATER + timedelta(seconds=1))
    assert (again.fact.id, again.attempts, again.error) == ("a", 1, "answered 500")


def test_a_delivered_row_keeps_nothing_of_what_it_told(connection: Connection) -> None:
    announce(connection, fact("a"))
    outbox.delivered(connection, only(connection), LATER)

    assert connection.execute(text("SELECT body_json FROM outbox")).scalar_one() == "{}"


def test_an_outcome_that_comes_twice_counts_once(connection: Connection) -> None:
    announce(connection, fact("a"), fact("b"))
    first = only(connection)
    outbox.delivered(connection, first, LATER)

    assert outbox.mark_dead(connection, first, "late", LATER) is None
    assert states(connection) == {"a": "delivered", "b": "pending"}


def test_the_backlog_names_the_apps_that_something_waits_for(connection: Connection) -> None:
    announce(connection, fact("a"), fact("b"), fact("c", session_id="other", second=1))
    die(connection, "dead", session_id="dead")

    assert outbox.backlog(connection) == [outbox.Backlog("shop", 3, START)]


def test_what_waits_behind_another_is_not_looked_at(connection: Connection) -> None:
    # A receiver that is down for an hour must not make every question read all that waits for it.
    for number in range(3):
        announce(connection, fact(f"a{number}"))
    asked: list[tuple[str, Any]] = []
    event.listen(connection, "before_cursor_execute", lambda *seen: asked.append((seen[2], seen[3])))
    assert due(connection) == ["a0"]
    outbox.backlog(connection)
    plans = [str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()) for sql, values in asked[:3]]

    assert all("INDEX ix_outbox_app_id_due_us" in plan for plan in plans)
    assert not any("SCAN outbox" in plan or "TEMP B-TREE" in plan for plan in plans)


def test_rows_are_pruned_when_they_were_kept_long_enough(connection: Connection) -> None:
    announce(connection, fact("told", session_id="told"), fact("waits", session_id="waits"))
    [told, _] = outbox.due(connection, "shop", LATER, 10).announcements
    outbox.delivered(connection, told, LATER)
    die(connection, "dead", session_id="dead")

    for kept, left in (
        (DELIVERED_KEPT, {"told", "waits", "dead"}),
        (DELIVERED_KEPT + timedelta(seconds=1), {"waits", "dead"}),
        (DEAD_KEPT, {"waits", "dead"}),
        (DEAD_KEPT + timedelta(seconds=1), {"waits"}),
    ):
        assert not outbox.prune(connection, LATER + kept)
        assert set(states(connection)) == left


def test_a_session_goes_on_counting_while_a_row_of_it_is_there(connection: Connection) -> None:
    die(connection, "a")
    much_later = LATER + SEQUENCES_KEPT - timedelta(seconds=1)
    dead_letters.replay(connection, "shop", None, much_later)
    outbox.prune(connection, much_later + timedelta(days=1))
    announce(connection, fact("b"))
    assert [row.sequence for row in connection.execute(text("SELECT sequence FROM outbox ORDER BY id"))] == [1, 2]

    for fact_id in "ab":
        outbox.delivered(connection, only(connection, now=much_later), much_later)
        assert states(connection)[fact_id] == "delivered"
    outbox.prune(connection, much_later + timedelta(days=2))
    assert connection.execute(text("SELECT count(*) FROM outbox_sequences")).scalar_one() == 0


def test_dead_letters_are_listed_by_page_the_last_to_die_first(connection: Connection) -> None:
    die(connection, *"abcde")
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = dead_letters.page(connection, "shop", 2, cursor)
        seen += [each.fact.id for each in page.data]
        cursor = page.next_cursor

    assert (seen, cursor) == (list("edcba"), None)
    assert dead_letters.page(connection, "bank", 2, None).data == ()
    with pytest.raises(InvalidFields):
        dead_letters.page(connection, "shop", 2, "x")


def test_a_dead_letter_is_read_with_its_body_and_why_it_died(connection: Connection) -> None:
    die(connection, "a")

    letter = dead_letters.get(connection, "shop", "a")

    assert letter is not None
    assert (letter.fact, letter.sequence, letter.attempts, letter.error) == (fact("a"), 1, 1, "answered 500")
    assert letter.died_at == LATER
    assert dead_letters.get(connection, "bank", "a") is None
    assert dead_letters.get(connection, "shop", "b") is None


def test_a_replayed_letter_is_tried_anew_with_its_id_and_sequence(connection: Connection) -> None:
    die(connection, "a", "b")
    now = LATER + timedelta(days=2)

    assert dead_letters.replay(connection, "shop", ["a", "nothing"], now) == 1
    again = only(connection, now=now)
    assert (again.fact.id, again.sequence, again.attempts, again.begun_at) == ("a", 1, 0, now)
    assert (again.error, again.died_at) == (None, None)
    assert states(connection) == {"a": "pending", "b": "dead"}
    assert dead_letters.replay(connection, "bank", ["b"], now) == 0


def test_all_are_replayed_in_the_order_of_their_session(connection: Connection) -> None:
    die(connection, "a", "b")
    announce(connection, fact("c"))

    assert dead_letters.replay(connection, "shop", None, LATER) == 2
    told = []
    turn: Announcement | None = only(connection)
    while turn is not None:
        told.append(turn.fact.id)
        turn = outbox.delivered(connection, turn, LATER)
    assert told == ["a", "b", "c"]


def test_a_letter_that_is_replayed_while_a_later_one_is_tried_goes_before_its_next_try(connection: Connection) -> None:
    die(connection, "a")
    announce(connection, fact("b"))
    tried = only(connection)
    dead_letters.replay(connection, "shop", None, LATER)

    outbox.retry(connection, tried, "answered 500", LATER)

    assert due(connection) == ["a"]
