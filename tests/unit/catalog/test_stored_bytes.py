"""What each app has in storage, in bytes: summed up once, and then kept up to date with the rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tests.support.postgres import BOTH
from tests.support.recordings import a_recording
from wavstream.catalog.catalog import Catalog
from wavstream.model.recording import Receipt, Recording, Status

DATABASES = BOTH

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)


def stored(number: int, size_bytes: int, *, app_id: str = "shop", status: Status = Status.AVAILABLE) -> Recording:
    made = a_recording(f"{number:032x}", status=status, created_at=NOW)
    return replace(made, app_id=app_id, receipt=Receipt(8000, 1, 8000, "9f", size_bytes))


async def test_what_is_there_at_first_is_summed_up_by_app(catalog: Catalog) -> None:
    for each in (stored(1, 100), stored(2, 20), stored(3, 7, app_id="bank"), stored(4, 1_000, status=Status.EXPIRED)):
        await catalog.recordings.add(each)

    assert await catalog.recordings.stored_bytes() == {"shop": 120, "bank": 7}


async def test_it_follows_the_rows_however_often_they_are_written(catalog: Catalog) -> None:
    recordings = catalog.recordings
    assert not await recordings.stored_bytes()
    kept, gone, lost, back = (stored(number, 10**number) for number in range(1, 5))

    for each in (kept, gone, lost):
        await recordings.save(replace(each, status=Status.ONGOING, receipt=None))
        await recordings.save(each)
        await recordings.save(each)
    await recordings.add(back)  # its sidecar was found
    full = await recordings.stored_bytes()
    for _ in range(2):
        await catalog.erasures.begin([gone], Status.DELETED, by="retention", now=NOW)
        await recordings.save(replace(lost, status=Status.FAILED))
    await recordings.save(replace(kept, status=Status.ONGOING))  # too late: it is further in its life

    assert full == {"shop": 11_110}
    assert await recordings.stored_bytes() == {"shop": 10_010}
