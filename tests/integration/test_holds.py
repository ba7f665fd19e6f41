"""Legal holds on a real catalog and real files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.erasing import an_eraser
from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.support.sessions import at
from tests.support.waiting import begun
from tests.unit.sessions.test_commands import CommandsHarness
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.erasures import Erasures
from wavstream.errors import Conflict, NotFound
from wavstream.model.recording import LegalHold, Recording, Status
from wavstream.model.times import utc
from wavstream.retention.holds import Holds
from wavstream.retention.sweeper import Sweeper, Swept

DATABASES = BOTH

KEPT = timedelta(hours=24)
STOPPED = utc(at(5))
LATER = STOPPED + KEPT + timedelta(seconds=1)


def by_legal(since: datetime = STOPPED, *, reason: str = "case 4711") -> LegalHold:
    return LegalHold(by="legal", reason=reason, since=since)


class Archive:
    """Recordings, those who hold them and those who delete them."""

    def __init__(self, folder: Path, catalog: Catalog, database: FaultyDatabase) -> None:
        self.office = CommandsHarness(folder, catalog, database)
        self.catalog = catalog
        self.holds = Holds(register=catalog.holds, commands=self.office.commands, recorder=self.office.recorder)
        self.sweeper = Sweeper(catalog, self.office.storage, self.office.eraser)

    async def running(self) -> Recording:
        self.office.stream()
        return await self.office.start()

    async def available(self) -> Recording:
        """One that was stopped and has its file, which expires after a day."""
        stopped = await self.office.stop(await self.running())
        kept = replace(stopped, expires_at=STOPPED + KEPT)
        await self.catalog.recordings.save(kept)
        return kept

    async def put(self, recording: Recording, hold: LegalHold) -> Recording:
        return await self.holds.put(app_id="one", recording_id=recording.id, hold=hold)

    async def release(self, recording: Recording, app_id: str = "one") -> Recording:
        return await self.holds.release(app_id=app_id, recording_id=recording.id)

    async def delete(self, recording: Recording) -> None:
        await self.office.commands.delete(app_id="one", recording_id=recording.id)

    def has_file(self, recording: Recording) -> bool:
        return self.office.storage.stat(recording.object_key) is not None


@pytest.fixture
def archive(tmp_path: Path, catalog: Catalog, database: FaultyDatabase) -> Archive:
    return Archive(tmp_path, catalog, database)


async def test_a_held_recording_is_neither_swept_nor_erased_until_it_is_released(archive: Archive) -> None:
    recording = await archive.available()
    held = await archive.put(recording, by_legal())
    assert held == replace(recording, hold=by_legal())

    assert await archive.sweeper.sweep(LATER) == Swept(erased=0, failed=0)
    with pytest.raises(Conflict, match="legal hold") as refusal:
        await archive.delete(recording)
    assert refusal.value.state == "available"
    assert archive.has_file(recording)

    assert (await archive.release(recording)).hold is None
    assert await archive.sweeper.sweep(LATER) == Swept(erased=1, failed=0)
    assert not archive.has_file(recording)


async def test_a_hold_of_a_recording_that_runs_goes_with_it_to_its_end(archive: Archive) -> None:
    recording = await archive.running()
    await archive.put(recording, by_legal())

    paused = await archive.office.commands.pause(app_id="one", recording_id=recording.id)
    stopped = await archive.office.stop(recording)

    assert (paused.hold, stopped.hold) == (by_legal(), by_legal())
    with pytest.raises(Conflict, match="legal hold"):
        await archive.delete(recording)


async def test_a_hold_put_while_the_file_is_finished_is_shown_and_outlives_the_last_write(archive: Archive) -> None:
    recording = await archive.running()
    stopping = await begun(archive.office.commands.stop(app_id="one", recording_id=recording.id))

    shown = await archive.put(recording, by_legal())
    await archive.office.finished(recording)
    await stopping

    row = await archive.catalog.recordings.get(recording.id)
    assert row is not None
    assert (shown.status, shown.hold) == (Status.COMPLETED, by_legal())
    assert (row.status, row.hold) == (Status.AVAILABLE, by_legal())


async def test_a_hold_is_put_once_and_is_not_changed_by_another(archive: Archive) -> None:
    recording = await archive.available()
    await archive.put(recording, by_legal())

    again = await archive.put(recording, by_legal(STOPPED + timedelta(hours=1)))
    with pytest.raises(Conflict, match="held by legal"):
        await archive.put(recording, by_legal(reason="another"))

    assert again.hold == by_legal()


async def test_what_has_expired_is_not_held_whether_or_not_it_was_swept(archive: Archive) -> None:
    recording = await archive.available()
    for _ in range(2):
        with pytest.raises(Conflict) as refusal:
            await archive.put(recording, by_legal(STOPPED + KEPT))
        assert refusal.value.state == "expired"
        await archive.sweeper.sweep(LATER)


async def test_what_ended_without_a_file_is_not_held(archive: Archive) -> None:
    recording = await archive.office.start()
    absent = await archive.office.commands.stop(app_id="one", recording_id=recording.id)
    with pytest.raises(Conflict) as refusal:
        await archive.put(absent, by_legal())
    assert refusal.value.state == "absent"


async def test_of_a_hold_and_an_erasure_at_the_same_moment_one_is_refused(archive: Archive) -> None:
    recording = await archive.available()
    file = archive.office.storage.path(recording.object_key)
    file.unlink()
    file.mkdir()  # cannot be deleted, but its erasure has begun
    await archive.sweeper.sweep(LATER)

    with pytest.raises(Conflict, match="expired"):
        await archive.put(recording, by_legal())


async def test_a_hold_put_between_the_sweepers_look_and_its_deletion_keeps_the_file(archive: Archive) -> None:
    recording = await archive.available()

    class HeldMeanwhile(Erasures):
        async def begin(
            self, doomed: Sequence[Recording], status: Status, *, by: str, now: datetime, **more: Any
        ) -> set[str]:
            await archive.put(recording, by_legal())
            return await super().begin(doomed, status, by=by, now=now, **more)

    whole = archive.catalog
    catalog = replace(whole, erasures=HeldMeanwhile(whole.database, whole.recordings, whole.outbox))
    eraser = an_eraser(catalog, archive.office.storage, archive.office.recorder)
    sweeper = Sweeper(catalog, archive.office.storage, eraser)
    assert await sweeper.sweep(LATER) == Swept(erased=0, failed=0)
    assert archive.has_file(recording)


async def test_another_apps_recording_can_neither_be_held_nor_released(archive: Archive) -> None:
    recording = await archive.available()
    with pytest.raises(NotFound):
        await archive.holds.put(app_id="two", recording_id=recording.id, hold=by_legal())
    untouched = await archive.catalog.recordings.get(recording.id)
    await archive.put(recording, by_legal())
    with pytest.raises(NotFound):
        await archive.release(recording, app_id="two")
    row = await archive.catalog.recordings.get(recording.id)
    assert untouched is not None
    assert row is not None
    assert (untouched.hold, row.hold) == (None, by_legal())


async def test_what_was_erased_is_unknown_to_holds(archive: Archive) -> None:
    recording = await archive.available()
    await archive.delete(recording)
    with pytest.raises(NotFound):
        await archive.put(recording, by_legal())
