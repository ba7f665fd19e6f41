"""What an app has in storage, by the day on which its recordings were created."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from tests.support.postgres import BOTH
from tests.support.recordings import a_recording
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.recordings import StoredDay
from wavstream.model.recording import LegalHold, Receipt, Recording, Status

DATABASES = BOTH

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)


def stored(number: int, created_at: datetime, size_bytes: int, status: Status = Status.AVAILABLE) -> Recording:
    made = a_recording(f"{number:032x}", status=status, created_at=created_at, expires_at=NOW + timedelta(hours=1))
    return replace(made, receipt=Receipt(8000, 1, 8000, "9f", size_bytes))


async def test_files_are_counted_by_the_day_of_their_recordings_creation(catalog: Catalog) -> None:
    midnight = datetime(2026, 11, 2, tzinfo=UTC)
    for each in (
        stored(1, midnight - timedelta(microseconds=1), 100),
        stored(2, midnight, 20),
        stored(3, midnight + timedelta(hours=23), 3),
    ):
        await catalog.recordings.save(each)

    assert await catalog.recordings.stored_by_day("default", NOW) == (
        StoredDay(date(2026, 11, 1), 1, 100),
        StoredDay(date(2026, 11, 2), 2, 23),
    )


async def test_only_what_can_be_fetched_is_counted_and_of_one_app_and_session(catalog: Catalog) -> None:
    counted = stored(1, NOW, 100)
    over = replace(stored(2, NOW, 20), expires_at=NOW)
    held = replace(over, id="3" * 32, hold=LegalHold("J. Doe", "case", NOW))
    others = [
        stored(4 + number, NOW, 5, status) for number, status in enumerate(Status) if status is not counted.status
    ]
    foreign = replace(stored(20, NOW, 7), app_id="bank")
    other_call = replace(stored(21, NOW, 1_000), session_id="call-78")
    for each in (counted, over, held, *others, foreign, other_call):
        assert await catalog.recordings.add(each)

    assert await catalog.recordings.stored_by_day("default", NOW) == (StoredDay(NOW.date(), 3, 1_120),)
    assert await catalog.recordings.stored_by_day("default", NOW, session_id="call-78") == (
        StoredDay(NOW.date(), 1, 1_000),
    )
    assert await catalog.recordings.stored_by_day("nobody", NOW) == ()
