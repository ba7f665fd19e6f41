"""The sweeper on a real catalog and real folders."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.erasing import an_eraser
from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.support.recordings import a_recording
from tests.support.sessions import QuietRecorder
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.idempotency import Remembered
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.recorder.eraser import ROWS_AT_ONCE
from wavstream.retention.sweeper import FIRST_RETRY, Sweeper, Swept
from wavstream.storage.local import LocalStorage

DATABASES = BOTH

NOW = datetime(2026, 8, 21, 12, tzinfo=UTC)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    prepared = LocalStorage(tmp_path / "recordings")
    prepared.prepare(tmp_path / "spool")
    return prepared


def sweeper_of(catalog: Catalog, storage: LocalStorage, **more: int) -> Sweeper:
    return Sweeper(catalog, storage, an_eraser(catalog, storage, QuietRecorder()), **more)


async def stored(catalog: Catalog, storage: LocalStorage, spool: Path, name: str, expires_at: datetime) -> Recording:
    recording = Recording(
        id=name,
        app_id="default",
        session_id="s",
        status=Status.AVAILABLE,
        options=RecordingOptions(),
        object_key=f"default/{name}.wav",
        file_name=f"{name}.wav",
        created_at=NOW - timedelta(days=1),
        expires_at=expires_at,
    )
    (spool / f"{name}.wav").write_bytes(b"RIFF")
    storage.publish(spool / f"{name}.wav", recording.object_key, sidecar=b"{}")
    await catalog.recordings.add(recording)
    return recording


async def status(catalog: Catalog, recording_id: str) -> Status:
    found = await catalog.recordings.get(recording_id)
    assert found is not None
    return found.status


async def test_what_is_due_loses_file_and_sidecar_and_is_expired_and_the_rest_stays(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    await stored(catalog, storage, tmp_path / "spool", "due", NOW)
    await stored(catalog, storage, tmp_path / "spool", "later", NOW + timedelta(microseconds=1))
    assert await sweeper_of(catalog, storage).sweep(NOW) == Swept(erased=1, failed=0)
    assert await status(catalog, "due") is Status.EXPIRED
    assert await status(catalog, "later") is Status.AVAILABLE
    files = {path.name for path in (tmp_path / "recordings").rglob("*") if path.is_file()}
    assert files == {"later.wav", "later.wav.json"}


async def test_a_file_that_is_gone_already_is_expired_all_the_same(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    recording = await stored(catalog, storage, tmp_path / "spool", "due", NOW)
    storage.delete(recording.object_key)
    assert await sweeper_of(catalog, storage).sweep(NOW) == Swept(erased=1, failed=0)
    assert await status(catalog, "due") is Status.EXPIRED


async def test_files_that_cannot_be_deleted_stop_no_other_and_are_logged_once_and_tried_again(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    # More stuck files than a batch holds, all due before the good one.
    for number in range(5):
        await stored(catalog, storage, tmp_path / "spool", f"stuck{number}", NOW - timedelta(hours=1))
        file = storage.path(f"default/stuck{number}.wav")
        file.unlink()
        file.mkdir()
    await stored(catalog, storage, tmp_path / "spool", "good", NOW)
    sweeper = sweeper_of(catalog, storage, batch=2)
    with capture_logs() as logs:
        assert await sweeper.sweep(NOW) == Swept(erased=1, failed=5)
        assert await sweeper.sweep(NOW + FIRST_RETRY) == Swept(erased=0, failed=5)
    refused = [entry["recording_id"] for entry in logs if entry["event"] == "erased_recording_remove_failed"]
    assert sorted(refused) == [f"stuck{number}" for number in range(5)]
    assert sweeper.failing == 5
    assert await status(catalog, "good") is await status(catalog, "stuck0") is Status.EXPIRED
    for number in range(5):
        storage.path(f"default/stuck{number}.wav").rmdir()
    # Not before its turn: the second failure doubled the wait.
    assert await sweeper.sweep(NOW + 2 * FIRST_RETRY) == Swept(erased=0, failed=5)
    assert await sweeper.sweep(NOW + 3 * FIRST_RETRY) == Swept(erased=5, failed=0)


async def test_many_that_are_due_at_once_are_erased_in_transactions_of_fifty(
    catalog: Catalog, database: FaultyDatabase, storage: LocalStorage
) -> None:
    for number in range(ROWS_AT_ONCE + 1):
        name = f"due{number}"
        await catalog.recordings.add(a_recording(name, status=Status.AVAILABLE, expires_at=NOW))
    assert await sweeper_of(catalog, storage).sweep(NOW) == Swept(erased=ROWS_AT_ONCE + 1, failed=0)
    assert database.asked.count("Erasures.begin") == 2


async def test_a_recording_that_was_deleted_meanwhile_stays_deleted(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    await stored(catalog, storage, tmp_path / "spool", "due", NOW)

    class DeletedMeanwhile(LocalStorage):
        def delete(self, object_key: str) -> bool:
            asyncio.run_coroutine_threadsafe(self._mark(), loop).result()
            return super().delete(object_key)

        async def _mark(self) -> None:
            found = await catalog.recordings.get("due")
            assert found is not None
            await catalog.recordings.save(replace(found, status=Status.DELETED))

    loop = asyncio.get_running_loop()
    await sweeper_of(catalog, DeletedMeanwhile(tmp_path / "recordings")).sweep(NOW)
    assert await status(catalog, "due") is Status.DELETED


async def test_idempotency_keys_are_forgotten_after_a_day(catalog: Catalog, storage: LocalStorage) -> None:
    async def remember(key: str, recording_id: str, now: datetime) -> Remembered | None:
        return await catalog.idempotency.remember(
            app_id="a", key=key, request_digest="d", recording_id=recording_id, now=now
        )

    for key, hours in (("old", 25), ("new", 23)):
        await remember(key, key, NOW - timedelta(hours=hours))
    await sweeper_of(catalog, storage).sweep(NOW)
    assert await remember("old", "x", NOW) is None
    assert await remember("new", "x", NOW) == Remembered("d", "new")


async def test_the_sweeper_goes_on_after_a_round_in_which_the_catalog_failed(
    catalog: Catalog, database: FaultyDatabase, storage: LocalStorage, tmp_path: Path
) -> None:
    await stored(catalog, storage, tmp_path / "spool", "due", NOW)
    database.faults = {"Recordings.due": 1}
    swept = asyncio.Event()

    def now() -> datetime:
        if "Operations.forget_before" in database.asked:  # the last thing that a sweep does
            swept.set()
        return NOW

    with capture_logs() as logs:
        task = asyncio.create_task(sweeper_of(catalog, storage).run(interval_s=0, now=now))
        await swept.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [entry["error"] for entry in logs if entry["event"] == "retention_sweep_failed"] == [
        "the catalog does not work: disk I/O error"
    ]
    assert await status(catalog, "due") is Status.EXPIRED
