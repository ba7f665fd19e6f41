"""What frees space on a disk where the catalog finds none, and what the catalog says then."""

from __future__ import annotations

import errno
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.erasing import NOWHERE
from tests.support.faulty_database import FOREVER, FaultyDatabase
from tests.support.recordings import a_recording
from tests.support.sessions import QuietRecorder
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.erasures import Erasing
from wavstream.catalog.failures import CatalogFile
from wavstream.catalog.schema import _use_wal, upgrade
from wavstream.errors import DiskFull, DiskRefused, NotYetRemoved
from wavstream.model.recording import LegalHold, Recording, Status
from wavstream.recorder.eraser import Eraser
from wavstream.retention.sweeper import Sweeper, Swept
from wavstream.storage.local import LocalStorage
from wavstream.storage.reserve_file import PLENTY, ReserveFile
from wavstream.storage.stores import FinishedFiles, Stores

NOW = datetime(2027, 2, 1, tzinfo=UTC)
PARTS, PART = 3, 4096


class Archive:
    """Finished recordings, on a disk whose catalog has no room."""

    def __init__(self, folder: Path, catalog: Catalog, database: FaultyDatabase) -> None:
        self.catalog = catalog
        self.storage = LocalStorage(folder / "recordings")
        self.spool = folder / "spool"
        self.storage.prepare(self.spool)
        self.reserve = folder / "reserve"
        reserve_file = ReserveFile(self.reserve, PARTS * PART, PART)
        assert reserve_file.make(PLENTY * PARTS * PART)
        self.database = database
        self.eraser = Eraser(
            catalog=catalog,
            storage=self.storage,
            files=FinishedFiles(self.storage, Stores()),
            recorder=QuietRecorder(),
            set_aside=NOWHERE,
            kept=timedelta(hours=24),
            reserve_file=reserve_file,
        )

    async def due(self, name: str) -> Recording:
        """Return a recording whose hours are over, with its file."""
        recording = a_recording(name, status=Status.AVAILABLE, expires_at=NOW)
        (self.spool / name).write_bytes(b"RIFF")
        self.storage.publish(self.spool / name, recording.object_key, sidecar=None)
        await self.catalog.recordings.add(recording)
        return recording

    def is_full(self, tries: float) -> None:
        """Let so many transactions of erasures find no room."""
        self.database.failure = DiskFull
        self.database.faults["Erasures.begin"] = tries

    @property
    def parts_left(self) -> int:
        return self.reserve.stat().st_size // PART


@pytest.fixture
def archive(tmp_path: Path, catalog: Catalog, database: FaultyDatabase) -> Archive:
    return Archive(tmp_path, catalog, database)


@pytest.mark.parametrize(("tries", "parts_left"), [(1, 3), (2, 2), (4, 0)])
async def test_files_make_room_for_their_own_erasure_and_then_the_reserve_does(
    archive: Archive, tries: int, parts_left: int
) -> None:
    recordings = [await archive.due(name) for name in ("one", "two")]
    archive.is_full(tries)
    swept = await Sweeper(archive.catalog, archive.storage, archive.eraser).sweep(NOW)
    assert swept == Swept(erased=2, failed=0)
    assert [archive.storage.stat(each.object_key) for each in recordings] == [None, None]
    assert archive.parts_left == parts_left


async def test_the_note_that_nothing_is_left_has_the_reserve_too(archive: Archive) -> None:
    await archive.due("one")
    archive.database.failure = DiskFull
    archive.database.faults["Erasures.finish"] = 1
    swept = await Sweeper(archive.catalog, archive.storage, archive.eraser).sweep(NOW)
    assert (swept, archive.parts_left) == (Swept(erased=1, failed=0), PARTS - 1)


async def test_without_any_room_the_caller_is_told_and_a_later_try_does_it(archive: Archive) -> None:
    recording = await archive.due("one")
    archive.is_full(FOREVER)
    with pytest.raises(DiskFull):
        await archive.eraser.begin([recording], Status.DELETED, by="a test", now=NOW)
    archive.is_full(0)
    assert await archive.eraser.begin([recording], Status.DELETED, by="a test", now=NOW) == {"one"}


async def test_an_erasure_whose_rest_the_disk_keeps_says_that_it_is_erased(archive: Archive) -> None:
    recording = await archive.due("one")
    await archive.eraser.begin([recording], Status.DELETED, by="a test", now=NOW)
    archive.database.failure = DiskFull
    archive.database.faults["Erasures.finish"] = FOREVER
    with pytest.raises(NotYetRemoved, match="recording one is erased") as told:
        await archive.eraser.remove(Erasing(recording.id, recording.object_key))
    assert told.value.public_text.startswith("The recording is erased")


async def test_the_file_of_a_recording_that_is_held_makes_no_room(archive: Archive) -> None:
    recording = await archive.due("one")
    assert await archive.catalog.holds.put("one", "default", LegalHold("legal", "case 4711", NOW - timedelta(days=1)))
    archive.is_full(1)
    assert await archive.eraser.begin([recording], Status.EXPIRED, by="a test", now=NOW) == set()
    assert archive.storage.stat(recording.object_key) is not None


# ---- what the catalog says -----------------------------------------------------------------------------------------


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("told by SQLite")
    error.sqlite_errorcode = code
    return error


def test_a_disk_without_room_is_told_from_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = CatalogFile(tmp_path / "catalog.db")
    no_index = sqlite_error(sqlite3.SQLITE_IOERR)
    told = [type(file.failure("written", error)) for error in (sqlite_error(sqlite3.SQLITE_FULL), no_index)]
    found = os.statvfs(tmp_path)
    full = os.statvfs_result((*found[:4], 0, *found[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    told += [type(file.failure("written", error)) for error in (no_index, OSError(errno.ENOSPC, "no room"))]
    assert told == [DiskFull, DiskRefused, DiskFull, DiskFull]


def test_a_disk_that_is_read_only_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(tmp_path)
    read_only = os.statvfs_result((*found[:8], found.f_flag | os.ST_RDONLY, *found[9:]))
    monkeypatch.setattr(os, "statvfs", lambda path: read_only)
    file = CatalogFile(tmp_path / "catalog.db")
    for code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        assert "read-only" in file.failure("written", sqlite_error(code)).public_text


def test_a_catalog_that_is_refused_is_not_tried_again_as_one_that_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    class Cursor:
        def execute(self, statement: str) -> None:
            tries.append(statement)
            raise sqlite_error(sqlite3.SQLITE_FULL if len(tries) > 1 else sqlite3.SQLITE_BUSY)

    monkeypatch.setattr("wavstream.catalog.schema.time.sleep", lambda _: None)
    with pytest.raises(sqlite3.OperationalError):
        _use_wal(Cursor())  # type: ignore[arg-type]
    assert len(tries) == 2


def test_a_catalog_that_cannot_be_opened_for_want_of_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("wavstream.catalog.schema._make_private", refuse)
    with pytest.raises(DiskFull, match=r"the disk is full: .* delete other files"):
        upgrade(tmp_path / "catalog.db")
