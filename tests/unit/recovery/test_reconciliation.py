"""Rows and files that do not agree, and what is done about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.recorder_harness import FaultyStorage, facts_of, register, sidecar_of, told
from tests.support.sessions import at
from tests.support.wanted import USUAL
from tests.unit.storage.test_sidecar import finished
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.nodes import Nodes
from wavstream.model.fact import FactKind
from wavstream.model.recording import LegalHold, Recording, Status, StoredObject
from wavstream.model.times import utc
from wavstream.recovery.reconciliation import PAGE_SIZE, reconcile
from wavstream.storage.object_keys import sidecar_key
from wavstream.storage.sidecar import write_sidecar


class Shelf:
    """A catalog and a storage, and what reconciliation says."""

    def __init__(self, root: Path, catalog: Catalog) -> None:
        self.catalog = catalog
        self.storage = FaultyStorage(root / "recordings")
        self.spool = root / "spool"
        self.storage.prepare(self.spool)

    def put(self, recording: Recording, *, sidecar: bytes | None, size_bytes: int | None = None) -> Path:
        assert recording.receipt is not None
        spooled = self.spool / "file"
        spooled.write_bytes(bytes(recording.receipt.size_bytes if size_bytes is None else size_bytes))
        self.storage.publish(spooled, recording.object_key, sidecar=sidecar)
        return self.storage.path(recording.object_key)

    async def save(self, row: Recording) -> None:
        await self.catalog.recordings.save(row, facts_of(row))

    async def save_found(self, row: Recording) -> None:
        await self.catalog.recordings.save(row, facts_of(row), found=True)

    async def reconcile(self, now_s: float = 2.5, *, page_size: int = PAGE_SIZE) -> list[str]:
        with capture_logs() as logs:
            await reconcile(
                recordings=self.catalog.recordings,
                storage=self.storage,
                now=lambda: utc(at(now_s)),
                save=self.save,
                save_found=self.save_found,
                page_size=page_size,
            )
        return [line["event"] for line in logs]


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    catalog = await Catalog.open(tmp_path / "catalog.db", is_wanted=USUAL)
    yield Shelf(tmp_path, catalog)
    await catalog.database.close()


async def test_a_row_with_its_file_stays_as_it_is(shelf: Shelf) -> None:
    recording = finished()
    shelf.put(recording, sidecar=sidecar_of(recording))
    await shelf.catalog.recordings.add(recording)

    assert await shelf.reconcile() == []
    assert await shelf.catalog.recordings.get(recording.id) == recording


async def test_an_available_row_whose_file_is_gone_has_failed_and_says_why(shelf: Shelf) -> None:
    recording = finished()
    await shelf.catalog.recordings.add(recording)

    assert len(await shelf.reconcile()) == 1
    row = await shelf.catalog.recordings.get(recording.id)
    assert row is not None
    assert row == recording.became(Status.FAILED, row.changed_at, error="its file is gone")


@pytest.mark.parametrize("kinds", [(FactKind.RECORDING_FAILED,), None], ids=["wants to know", "does not"])
async def test_an_app_that_wants_to_know_is_told_once_that_a_file_is_gone(
    shelf: Shelf, kinds: tuple[FactKind, ...] | None
) -> None:
    await register(shelf.catalog, kinds)
    recording = finished()
    await shelf.catalog.recordings.add(recording)

    for _ in range(2):
        await shelf.reconcile()

    fact = (FactKind.RECORDING_FAILED, recording.id, "its file is gone")
    assert await told(shelf.catalog) == ([fact] if kinds else [])


async def test_a_row_whose_retention_has_ended_is_left_to_the_sweeper(shelf: Shelf) -> None:
    recording = finished()
    await shelf.catalog.recordings.add(recording)

    assert await shelf.reconcile(now_s=3.0) == []
    assert await shelf.catalog.recordings.get(recording.id) == recording


async def test_the_lost_file_of_a_held_recording_is_no_expiry(shelf: Shelf) -> None:
    recording = replace(finished(), hold=LegalHold("legal", "case 4711", utc(at(2))))
    await shelf.catalog.recordings.add(recording)

    assert await shelf.reconcile(now_s=3.0) == ["recording_file_gone"]


async def test_the_file_of_a_recording_that_never_expires_is_another_stores_to_move(shelf: Shelf) -> None:
    recording = replace(finished(), expires_at=None)
    await shelf.catalog.recordings.add(recording)

    assert await shelf.reconcile() == []
    assert await shelf.catalog.recordings.get(recording.id) == recording


async def test_a_file_without_a_row_gets_it_back_from_its_sidecar(shelf: Shelf) -> None:
    recording = finished()
    shelf.put(recording, sidecar=sidecar_of(recording))

    said = await shelf.reconcile()

    assert said == ["recording_rows_restored"]
    assert await shelf.catalog.recordings.get(recording.id) == recording
    assert await shelf.reconcile() == []


@pytest.mark.parametrize("sidecar", [None, b"{}"], ids=["no sidecar", "a sidecar that says nothing"])
async def test_a_file_that_nothing_explains_is_left_alone_and_named_once(shelf: Shelf, sidecar: bytes | None) -> None:
    path = shelf.put(finished(), sidecar=sidecar)
    path.with_name("readme.txt").write_text("by a person")

    assert await shelf.reconcile() == ["unknown_files_left"]
    assert path.exists()
    assert await shelf.catalog.recordings.stored("", 10) == []


async def test_a_file_that_is_not_the_one_that_its_sidecar_tells_of_is_left_alone(shelf: Shelf) -> None:
    recording = finished()
    shelf.put(recording, sidecar=sidecar_of(recording), size_bytes=10)

    assert len(await shelf.reconcile()) == 1
    assert await shelf.catalog.recordings.get(recording.id) is None


async def test_a_copy_of_a_file_does_not_become_a_second_recording(shelf: Shelf) -> None:
    recording = finished()
    path = shelf.put(recording, sidecar=sidecar_of(recording))
    await shelf.catalog.recordings.add(recording)
    copy = path.with_name("copy.wav")
    copy.write_bytes(path.read_bytes())
    copy.with_name(sidecar_key("copy.wav")).write_bytes(sidecar_of(recording))

    assert len(await shelf.reconcile()) == 1
    assert await shelf.catalog.recordings.stored("", 10) == [recording]


async def test_the_file_of_a_recording_that_is_being_finished_is_nothing_strange(shelf: Shelf) -> None:
    recording = finished()
    shelf.put(recording, sidecar=None)
    await shelf.catalog.recordings.add(replace(recording, status=Status.COMPLETED, receipt=None))

    assert await shelf.reconcile() == []


async def test_the_file_of_a_recording_that_another_node_has_taken_is_nothing_strange(shelf: Shelf) -> None:
    recording = finished()
    shelf.put(recording, sidecar=sidecar_of(recording))
    as_of = partial(Nodes, shelf.catalog.database, owner_of=lambda _session_id: None)
    shelf.catalog.recordings.are_of(as_of(node="a"))
    await shelf.catalog.recordings.add(recording)
    shelf.catalog.recordings.are_of(as_of(node="b"))

    assert await shelf.reconcile() == []
    assert shelf.storage.stat(recording.object_key) is not None


async def test_more_rows_than_fit_on_a_page_are_all_looked_at(shelf: Shelf) -> None:
    recordings = [finished() for _ in range(5)]
    for recording in recordings[1:]:
        shelf.put(recording, sidecar=None)
    for recording in recordings:
        await shelf.catalog.recordings.add(recording)

    assert len(await shelf.reconcile(page_size=2)) == 1
    assert len(await shelf.catalog.recordings.stored("", 10)) == 4


async def test_a_recording_that_failed_and_whose_file_is_back_is_available_again_and_its_app_is_told(
    shelf: Shelf,
) -> None:
    await register(shelf.catalog, (FactKind.RECORDING_FAILED, FactKind.RECORDING_FINISHED))
    recording = replace(finished(), request_id="r-1")
    await shelf.catalog.recordings.add(recording)
    await shelf.reconcile()
    shelf.put(recording, sidecar=sidecar_of(recording))

    said = await shelf.reconcile()

    assert said == ["recording_file_found"]
    assert await shelf.catalog.recordings.get(recording.id) == recording
    assert [kind for kind, *_ in await told(shelf.catalog)] == [FactKind.RECORDING_FAILED, FactKind.RECORDING_FINISHED]
    assert await shelf.reconcile() == []


@pytest.mark.parametrize("status", [Status.DELETED, Status.EXPIRED])
async def test_the_file_of_an_erased_recording_brings_no_row_back(shelf: Shelf, status: Status) -> None:
    recording = finished()
    erased = recording.erased(status, utc(at(2)))
    await shelf.catalog.recordings.add(erased)
    shelf.put(recording, sidecar=sidecar_of(recording))

    assert await shelf.reconcile() == []
    assert await shelf.catalog.recordings.get(recording.id) == erased


@pytest.mark.parametrize("whose", ["another id", "another app of that name", "another size"])
async def test_a_failed_recording_stays_so_where_the_file_is_not_its_own(shelf: Shelf, whose: str) -> None:
    recording = finished()
    others = {"another id": {"id": "another"}, "another app of that name": {"app_id": f"{recording.app_id}.2"}}
    file_of = replace(recording, **others.get(whose, {}))  # type: ignore[arg-type]
    failed = recording.became(Status.FAILED, utc(at(2)), error="its file is gone")
    await shelf.catalog.recordings.add(failed)
    shelf.put(
        file_of, sidecar=write_sidecar(file_of, url="http://x/y"), size_bytes=7 if whose == "another size" else None
    )

    await shelf.reconcile()

    assert await shelf.catalog.recordings.get(recording.id) == failed


async def test_an_uploaded_file_is_not_missed_and_a_copy_of_it_that_is_here_is_not_adopted(shelf: Shelf) -> None:
    there, copied = (replace(finished(), id=f"{n}" * 32, object_key=f"default/{n}.wav") for n in (1, 2))
    for recording in (there, copied):
        await shelf.catalog.recordings.add(recording)
        assert await shelf.catalog.uploads.finish(recording.id, StoredObject("s3://calls", recording.created_at))
    shelf.put(copied, sidecar=sidecar_of(copied))

    assert await shelf.reconcile() == []
    for recording in (there, copied):
        row = await shelf.catalog.recordings.get(recording.id)
        assert row is not None
        assert (row.status, row.stored is None) == (Status.AVAILABLE, False)


async def test_one_that_is_uploaded_while_files_are_looked_for_does_not_fail(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = finished()
    await shelf.catalog.recordings.add(recording)
    read = shelf.catalog.recordings.stored

    async def uploaded_behind_it(after_id: str, limit: int) -> list[Recording]:
        page = await read(after_id, limit)
        await shelf.catalog.uploads.finish(recording.id, StoredObject("s3://calls", recording.created_at))
        return page

    monkeypatch.setattr(shelf.catalog.recordings, "stored", uploaded_behind_it)

    assert await shelf.reconcile() == []
    row = await shelf.catalog.recordings.get(recording.id)
    assert row is not None
    assert row.status is Status.AVAILABLE
