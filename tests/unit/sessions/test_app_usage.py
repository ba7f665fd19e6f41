"""What apps have on the disk, as the quotas are told of it every few seconds."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.sessions import QuietRecorder, QuietWriter, a_recording, at
from tests.support.waiting import until
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError
from wavstream.model.app import App
from wavstream.model.recording import Receipt, Status
from wavstream.model.times import utc
from wavstream.sessions import app_usage
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.app_usage import AppUsage
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.workers.shared_counts import SharedCounts


class Job:
    """A file of so many bytes."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes


async def test_what_runs_is_each_file_and_of_each_journal_what_its_oldest_recording_needs(catalog: Catalog) -> None:
    recorder, quotas = QuietRecorder(), Quotas()
    journal = QuietWriter().open(key="k", app_id="default", session_id="call-77")
    for written_bytes, size_bytes in ((500, 40), (900, 2)):
        journal.written_bytes = written_bytes
        live = recorder.accept(a_recording())
        job: Any = Job(size_bytes)
        live.row, live.journal, live.job = live.row, journal, job
        live._journaled_before = journal.written_bytes
    journal.written_bytes = 1_500
    recorder.accept(a_recording())  # waits for its stream, and has nothing

    usage = AppUsage(quotas, catalog=catalog, recorder=recorder, reserve=DiskReserve(Path(), 0))

    assert usage.running() == {"default": 40 + 2 + 1_000}


async def test_a_look_tells_how_many_apps_there_are_and_what_they_share_of_the_disk(
    catalog: Catalog, tmp_path: Path
) -> None:
    quotas, reserve = Quotas(), DiskReserve(tmp_path, 0)
    usage = AppUsage(quotas, catalog=catalog, recorder=QuietRecorder(), reserve=reserve)
    await usage.look()
    assert Quota.DISK_BYTES not in quotas.server  # nobody has looked at the disk yet
    reserve.free_bytes = reserve.min_free_bytes + 4_000
    for app_id in ("one", "two", "three"):
        await catalog.apps.add(App(app_id, created_at=utc(at(0))), key_hash="h", key_lookup=app_id)

    await usage.look()

    assert quotas.apps == 3
    assert quotas.server[Quota.DISK_BYTES] == 4_000


async def test_what_all_workers_have_stored_and_are_making_counts_in_each(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_usage, "_SUM_SHARE", 1_000_000.0)
    other = await Catalog.open(tmp_path / "catalog.db", is_wanted=USUAL)  # as another process has it
    descriptor = SharedCounts.create(2)
    looks, all_quotas = [], [Quotas(), Quotas()]
    for worker, rows in enumerate((catalog, other)):
        recorder = QuietRecorder()
        live = recorder.accept(a_recording())
        job: Any = Job(655_360 * (worker + 1))
        live.row, live.journal, live.job = live.row, QuietWriter().open(key="k", app_id="x", session_id="y"), job
        usage = AppUsage(
            all_quotas[worker],
            catalog=rows,
            recorder=recorder,
            reserve=DiskReserve(tmp_path, 0),
            shared=SharedCounts(descriptor, worker),
        )
        looks.append(usage.look)
    for look in (*looks, *looks):
        await look()
    assert [quotas.disk for quotas in all_quotas] == [{"default": 3 * 655_360}] * 2

    stored = replace(a_recording(), status=Status.AVAILABLE, receipt=Receipt(8_000, 1, 8_000, "", 16_044))
    await other.recordings.save(stored)
    for look in looks:
        await look()
    assert [quotas.disk for quotas in all_quotas] == [{"default": 3 * 655_360 + 16_044}] * 2
    await other.database.close()
    os.close(descriptor)


async def test_a_catalog_that_does_not_answer_is_asked_again_and_said_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas, asked = Quotas(), []

    async def count() -> int:
        asked.append(1)
        if len(asked) < 4:
            raise DependencyError("the disk hangs")
        return 7

    monkeypatch.setattr(catalog.apps, "count", count)
    usage = AppUsage(quotas, catalog=catalog, recorder=QuietRecorder(), reserve=DiskReserve(Path(), 0))
    with capture_logs() as logs:
        watching = asyncio.create_task(usage.watch(every_s=0))
        await until(lambda: quotas.apps == 7)
        watching.cancel()

    assert [line["event"] for line in logs] == ["app_usage_unknown"]
