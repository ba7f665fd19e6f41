"""The sweeper on a real catalog and real folders."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.recordings import a_recording
from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError
from wavstream.model.recording import Recording, Status
from wavstream.retention.sweeper import Sweeper, Swept
from wavstream.storage.local import LocalStorage

NOW = datetime(2026, 8, 21, 12, tzinfo=UTC)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    prepared = LocalStorage(tmp_path / "recordings")
    prepared.prepare(tmp_path / "spool")
    return prepared


async def stored(catalog: Catalog, storage: LocalStorage, spool: Path, name: str, expires_at: datetime) -> Recording:
    recording = a_recording(name, status=Status.AVAILABLE, created_at=NOW - timedelta(days=1), expires_at=expires_at)
    (spool / f"{name}.wav").write_bytes(b"RIFF")
    storage.publish(spool / f"{name}.wav", recording.object_key, sidecar=b"{}")
    await catalog.add_recording(recording)
    return recording


async def status(catalog: Catalog, recording_id: str) -> Status:
    found = await catalog.get_recording(recording_id)
    assert found is not None
    return found.status


async def test_what_is_due_loses_file_and_sidecar_and_is_expired_and_the_rest_stays(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    await stored(catalog, storage, tmp_path / "spool", "due", NOW)
    await stored(catalog, storage, tmp_path / "spool", "later", NOW + timedelta(microseconds=1))
    assert await Sweeper(catalog, catalog.holds, storage).sweep(NOW) == Swept(expired=1, failed=0)
    assert await status(catalog, "due") is Status.EXPIRED
    assert await status(catalog, "later") is Status.AVAILABLE
    files = {path.name for path in (tmp_path / "recordings").rglob("*") if path.is_file()}
    assert files == {"later.wav", "later.wav.json"}


async def test_a_file_that_is_gone_already_is_expired_all_the_same(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    recording = await stored(catalog, storage, tmp_path / "spool", "due", NOW)
    storage.delete(recording.object_key)
    assert await Sweeper(catalog, catalog.holds, storage).sweep(NOW) == Swept(expired=1, failed=0)
    assert await status(catalog, "due") is Status.EXPIRED


async def test_files_that_cannot_be_deleted_stop_no_other_and_are_logged_once_and_tried_again(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    for number in range(5):
        await stored(catalog, storage, tmp_path / "spool", f"stuck{number}", NOW - timedelta(hours=1))
        file = storage.path(f"default/stuck{number}.wav")
        file.unlink()
        file.mkdir()
    await stored(catalog, storage, tmp_path / "spool", "good", NOW)
    # More stuck files than a batch holds, all due before the good one.
    sweeper = Sweeper(catalog, catalog.holds, storage, batch=2)
    with capture_logs() as logs:
        assert await sweeper.sweep(NOW) == Swept(expired=1, failed=5)
        assert await sweeper.sweep(NOW) == Swept(expired=0, failed=5)
    assert sorted(entry["recording"] for entry in logs) == [f"stuck{number}" for number in range(5)]
    assert await status(catalog, "good") is Status.EXPIRED
    assert await status(catalog, "stuck0") is Status.AVAILABLE
    for number in range(5):
        storage.path(f"default/stuck{number}.wav").rmdir()
    assert await sweeper.sweep(NOW) == Swept(expired=5, failed=0)


async def test_a_recording_that_was_deleted_meanwhile_stays_deleted(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    await stored(catalog, storage, tmp_path / "spool", "due", NOW)

    class DeletedMeanwhile:
        def delete(self, object_key: str) -> bool:
            asyncio.run_coroutine_threadsafe(self._mark(), loop).result()
            return storage.delete(object_key)

        async def _mark(self) -> None:
            found = await catalog.get_recording("due")
            assert found is not None
            await catalog.save_recording(replace(found, status=Status.DELETED))

    loop = asyncio.get_running_loop()
    await Sweeper(catalog, catalog.holds, DeletedMeanwhile()).sweep(NOW)
    assert await status(catalog, "due") is Status.DELETED


async def test_idempotency_keys_are_forgotten_after_a_day(catalog: Catalog, storage: LocalStorage) -> None:
    for key, hours in (("old", 25), ("new", 23)):
        used_at = NOW - timedelta(hours=hours)
        await catalog.remember(app_id="a", key=key, request_digest="d", recording_id=key, now=used_at)
    await Sweeper(catalog, catalog.holds, storage).sweep(NOW)
    assert await catalog.remember(app_id="a", key="old", request_digest="d", recording_id="x", now=NOW) is None
    assert await catalog.remember(app_id="a", key="new", request_digest="d", recording_id="x", now=NOW) is not None


async def test_the_sweeper_goes_on_after_a_round_in_which_the_catalog_failed(
    catalog: Catalog, storage: LocalStorage, tmp_path: Path
) -> None:
    await stored(catalog, storage, tmp_path / "spool", "due", NOW)
    swept = asyncio.Event()

    class FailsOnce:
        rounds = 0

        async def due(self, now: datetime, limit: int, after: Recording | None = None) -> list[Recording]:
            self.rounds += 1
            if self.rounds == 1:
                raise DependencyError("the database is away")
            return await catalog.due(now, limit, after)

        async def save_recording(self, recording: Recording) -> bool:
            return await catalog.save_recording(recording)

        async def forget_before(self, before: datetime) -> int:
            swept.set()
            return await catalog.forget_before(before)

    with capture_logs() as logs:
        task = asyncio.create_task(Sweeper(FailsOnce(), catalog.holds, storage).run(interval_s=0, now=lambda: NOW))
        await swept.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [entry["error"] for entry in logs] == ["the database is away"]
    assert await status(catalog, "due") is Status.EXPIRED
