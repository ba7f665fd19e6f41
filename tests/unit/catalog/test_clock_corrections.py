"""What a jump of the wall clock moves in the catalog, and what it leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.support.recordings import a_recording
from tests.support.virtual_clock import START
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.clock_corrections import ClockCorrections
from wavstream.catalog.idempotency import Remembered
from wavstream.catalog.tables import app_keys, outbox
from wavstream.clock import BootClocks, ClockJump
from wavstream.errors import DependencyError
from wavstream.model.app import App, SigningSecret, WebhookTarget
from wavstream.model.fact import Fact, FactKind
from wavstream.model.recording import Recording, Status
from wavstream.model.times import unix_us

DATABASES = BOTH

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
UNTIL = START + HOUR
FORTH = timedelta(days=3)
BACK = -timedelta(days=4)


def jump(by: timedelta) -> ClockJump:
    """One an hour after the start of the machine."""
    return ClockJump(by=by, since=START, until=UNTIL)


SETTING = BootClocks("boot", wall_us=unix_us(START), journal_us=unix_us(START))


def ended(name: str, at: datetime, *, kept: timedelta | None = 24 * HOUR) -> Recording:
    expires_at = None if kept is None else at + kept
    return replace(a_recording(name, status=Status.AVAILABLE), ended_at=at, expires_at=expires_at, kept_since=at)


async def expiry(catalog: Catalog, name: str) -> datetime | None:
    found = await catalog.recordings.get(name)
    assert found is not None
    return found.expires_at


@pytest.mark.parametrize("by", [FORTH, BACK])
async def test_only_what_this_run_finished_before_the_jump_expires_at_another_moment(
    catalog: Catalog, database: FaultyDatabase, by: timedelta
) -> None:
    mine, earlier, later = ended("mine", START + MINUTE), ended("earlier", START - MINUTE), ended("later", UNTIL + HOUR)
    rows = [mine, earlier, later, ended("never", START + MINUTE, kept=None)]
    for row in rows:
        await catalog.recordings.add(row)

    assert await ClockCorrections(database).move(jump(by), SETTING) == 2

    assert mine.expires_at is not None
    told = {row.id: row.expires_at for row in rows} | {"mine": mine.expires_at + by}
    assert {name: await expiry(catalog, name) for name in told} == told


async def test_what_was_finished_with_the_clock_behind_is_not_due_when_it_is_put_right(
    catalog: Catalog, database: FaultyDatabase
) -> None:
    await catalog.recordings.add(ended("mine", START + MINUTE))
    now = UNTIL + FORTH
    assert [each.id for each in await catalog.recordings.due(now, 9)] == ["mine"]
    await ClockCorrections(database).move(jump(FORTH), SETTING)
    assert await catalog.recordings.due(now, 9) == []
    assert [each.id for each in await catalog.recordings.due(now + 24 * HOUR, 9)] == ["mine"]


@pytest.mark.parametrize("by", [FORTH, BACK])
async def test_a_jump_and_the_way_back_leave_everything_as_it_was_whatever_the_clock_of_the_call_says(
    catalog: Catalog, database: FaultyDatabase, by: timedelta
) -> None:
    stamped_by_another_run = replace(ended("mine", START + MINUTE), ended_at=START - 9 * FORTH)
    await catalog.recordings.add(stamped_by_another_run)
    corrections = ClockCorrections(database)
    await corrections.move(jump(by), SETTING)
    assert await expiry(catalog, "mine") == START + MINUTE + 24 * HOUR + by
    await corrections.move(ClockJump(by=-by, since=START + by, until=UNTIL + HOUR + by), SETTING)
    assert await catalog.recordings.get("mine") == stamped_by_another_run


async def test_how_the_clocks_are_set_changes_with_the_rows_or_not_at_all(
    catalog: Catalog, database: FaultyDatabase
) -> None:
    corrections = ClockCorrections(database)
    assert await corrections.known() is None
    await corrections.keep(replace(SETTING, boot_id="earlier"))
    await corrections.keep(SETTING)
    assert await corrections.known() == SETTING
    await corrections.move(jump(FORTH), SETTING)
    assert await corrections.known() == replace(SETTING, wall_us=unix_us(START + FORTH))
    database.faults["ClockCorrections.move"] = 1
    with pytest.raises(DependencyError):
        await corrections.move(jump(BACK), SETTING)
    assert await corrections.known() == replace(SETTING, wall_us=unix_us(START + FORTH))


@pytest.mark.parametrize("by", [FORTH, BACK])
async def test_idempotency_keys_live_as_long_as_without_the_jump(
    catalog: Catalog, database: FaultyDatabase, by: timedelta
) -> None:
    await catalog.idempotency.remember(app_id="shop", key="k", request_digest="d", recording_id="r", now=START + MINUTE)
    await ClockCorrections(database).move(jump(by), SETTING)
    await catalog.idempotency.forget_before(START + by)
    assert await remember_again(catalog, UNTIL + by) is not None
    await catalog.idempotency.forget_before(START + 2 * MINUTE + by)
    assert await remember_again(catalog, UNTIL + by) is None


async def remember_again(catalog: Catalog, now: datetime) -> Remembered | None:
    return await catalog.idempotency.remember(app_id="shop", key="k", request_digest="d", recording_id="x", now=now)


async def test_a_webhook_that_waits_for_a_retry_does_not_wait_for_the_clock_to_come_back(
    catalog: Catalog, database: FaultyDatabase
) -> None:
    await a_shop(catalog)
    fact = Fact(
        id="f", app_id="shop", session_id="s", kind=FactKind.RECORDING_FINISHED, at=START, recording_id=None, body={}
    )
    await catalog.outbox.announce([fact])
    (told,) = (await catalog.outbox.due("shop", UNTIL, 9)).announcements
    await catalog.outbox.mark_failed(told, "503", UNTIL + MINUTE, now=UNTIL)

    await ClockCorrections(database).move(jump(-HOUR), SETTING)

    assert (await catalog.outbox.due("shop", UNTIL - HOUR, 9)).next_at == UNTIL - HOUR + MINUTE
    (again,) = (await catalog.outbox.due("shop", UNTIL - HOUR + MINUTE, 9)).announcements
    assert again.begun_at == START - HOUR


async def test_a_webhook_is_not_given_up_for_the_days_that_the_clock_was_behind(
    catalog: Catalog, database: FaultyDatabase
) -> None:
    await a_shop(catalog)
    old = Fact(
        id="old",
        app_id="shop",
        session_id="a",
        kind=FactKind.RECORDING_FINISHED,
        at=START - MINUTE,
        recording_id=None,
        body={},
    )
    await catalog.outbox.announce([old, replace(old, id="new", session_id="b", at=START + MINUTE)])
    await ClockCorrections(database).move(jump(FORTH), SETTING)
    due = (await catalog.outbox.due("shop", UNTIL + FORTH, 9)).announcements
    begun = {each.fact.id: each.begun_at for each in due}
    assert begun == {"old": START - MINUTE, "new": START + MINUTE + FORTH}
    told_at = await database.read(
        lambda connection: dict(connection.execute(select(outbox.c.id, outbox.c.at_us)).all())
    )
    assert told_at["new"] == unix_us(START + MINUTE)


async def test_a_key_with_an_end_and_the_overlap_of_two_secrets_last_as_long_as_they_were_to(
    catalog: Catalog, database: FaultyDatabase
) -> None:
    secrets = (SigningSecret("new", START + MINUTE), SigningSecret("old", START - MINUTE))
    await a_shop(catalog, secrets)
    for name, at in (("mine", START + MINUTE), ("earlier", START - MINUTE)):
        assert await catalog.app_keys.add(
            "shop", name, key_hash=name, key_lookup=name, now=at, expires_at=at + 48 * HOUR
        )

    await ClockCorrections(database).move(jump(FORTH), SETTING)

    asked = select(app_keys.c.name, app_keys.c.expires_us).where(app_keys.c.expires_us.is_not(None))
    ends = await database.read(lambda connection: dict(connection.execute(asked).all()))
    assert ends == {
        "mine": unix_us(START + MINUTE + FORTH + 48 * HOUR),
        "earlier": unix_us(START - MINUTE + 48 * HOUR),
    }
    shop = await catalog.apps.get("shop")
    assert shop is not None
    assert shop.webhook is not None
    assert [each.made_at for each in shop.webhook.secrets] == [START + MINUTE + FORTH, START - MINUTE]


async def a_shop(catalog: Catalog, secrets: tuple[SigningSecret, ...] = ()) -> None:
    target = WebhookTarget("https://shop.example.com/hook", secrets=secrets)
    made_at = START - 24 * HOUR
    assert await catalog.apps.add(App("shop", created_at=made_at, webhook=target), key_hash="h", key_lookup="l")
