"""A backup put back into an empty data folder, and checked on the way: rows, files and keys.

1. First the backup itself is looked at: that it was finished, that catalog and keys are as they were, and that nothing
   is where it is to be put. Then each file is copied and the copy compared with its row. One that is not as it was ends
   the restore, and nothing is left of it; who wants the rest all the same says so.
2. Everything is made in a folder ``restoring`` of the data folder, and moved to its place at the end, ``catalog.db``
   last. As long as that folder is there no server starts, and a restore begins anew: a kill leaves nothing half done.
3. What is not in the backup was not in the data folder, or has left it: recordings without a file, and those whose file
   is in a store. Where objects are in the backup they become files of this machine, which wait to be uploaded.
4. Files of recordings that were erased are not brought back, whatever a copy by hand has of them: the row has their key
   no more, and they are known by the id in it.
5. Where the catalog is kept in PostgreSQL, its rows are moved there (``catalog/copying.py``) once all files are here.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from wavstream.catalog.copying import (
    check_empty,
    check_unused,
    copy_catalog_rows,
    every_recording,
    make_catalog,
    reading,
)
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.catalog.schema import upgrade
from wavstream.conversion.verification import differences
from wavstream.errors import OperatorError
from wavstream.journal.segments import journals_in, segment_path
from wavstream.model.ids import ids_in
from wavstream.model.recording import Recording, Status
from wavstream.service.backup import UNFINISHED
from wavstream.service.data_folder import DataFolder
from wavstream.service.manifest import Manifest, check_hashes, read_manifest
from wavstream.storage.local import LocalStorage
from wavstream.storage.modes import FILE, FOLDER
from wavstream.storage.object_keys import base_key, sidecar_key, transcript_key, waveform_key

RESTORING = "restoring"
_NAMED = 5
_EMPTY_ALL_THE_SAME = {"lock", "reserve", "lost+found", "journal", "spool", "recordings"}
"""What a folder may have that is new: folders of these names are to be empty."""
_AS_ENDED = {"link-keys.json", "master.key", "catalog.db-wal", "catalog.db-shm"}
"""What else a restore may have left that was ended while it moved things to their places."""


@dataclass(slots=True)
class Restored:
    """What was put back."""

    recordings: int = 0
    """Files, each as its row says."""
    size_bytes: int = 0
    uploaded: int = 0
    """Recordings whose files lie in a store."""
    from_store: int = 0
    """Recordings that were uploaded, and are files of this machine now."""
    without_file: int = 0
    """Recordings that had none when the backup was made."""
    journals: int = 0
    others: int = 0
    """Files without a row that is available: the next start finds out what they are."""
    damaged: dict[str, str] = field(default_factory=dict)
    """What is wrong, by the id of the recording."""


def refuse_unfinished(folder: DataFolder) -> None:
    """Raise OperatorError if a restore into the folder was ended (rule 2)."""
    if (folder.root / RESTORING).exists():
        raise OperatorError(
            f"a restore into {folder.root.resolve()} was not finished: run 'wavstream restore' again, which begins anew"
        )


def restore_backup(
    backup: Path,
    folder: DataFolder,
    *,
    has_store: bool = False,
    is_partial: bool = False,
    on_progress: Callable[[int], None] = lambda _files: None,
) -> Restored:
    """Put the backup into the data folder. Blocks; raise OperatorError, and then nothing of it is left.

    ``has_store``: files are uploaded from here. ``is_partial``: what is whole of a damaged backup is wanted.
    ``on_progress`` takes how many files are there.
    """
    manifest = _look(backup, folder, is_partial=is_partial)
    _clear(folder)
    folder.make()
    folder.claim()
    try:
        place = folder.root / RESTORING
        place.mkdir(mode=FOLDER)
        try:
            done = _Restore(backup, place, manifest, on_progress).run(has_store=has_store)
            if done.damaged and not is_partial:
                raise OperatorError(
                    f"the backup {backup} is damaged, and nothing was restored: {_named(done.damaged)}; take another "
                    "one, or restore what is whole of it with --partial"
                )
        except BaseException as error:
            shutil.rmtree(place)
            if isinstance(error, OSError | sqlite3.Error):
                raise OperatorError(f"{backup} cannot be restored ({error}): nothing was kept of it") from error
            raise
        os.sync()
        folder.keep_owner(below=True)
        _move(place, folder)
        os.sync()
    finally:
        folder.release()
    return done


def _look(backup: Path, folder: DataFolder, *, is_partial: bool) -> Manifest | None:
    """Look at the backup and at where it is to be put; raise OperatorError if one of them will not do (rule 1)."""
    if not backup.is_dir():
        raise OperatorError(f"there is no folder {backup}: name one that 'wavstream backup' has made")
    if (backup / UNFINISHED).exists():
        raise OperatorError(f"{backup} is a backup that was not finished: take another one")
    if not (backup / folder.catalog.name).exists():
        raise OperatorError(f"{backup} has no {folder.catalog.name}: name a folder that 'wavstream backup' has made")
    if folder.root.exists() and backup.resolve() in (folder.root.resolve(), *folder.root.resolve().parents):
        raise OperatorError(f"{backup} is the data folder itself, or has it in it: name the folder of a backup")
    _check_empty(folder)
    _check_database(folder)
    manifest = read_manifest(backup)
    if manifest is not None and not is_partial:
        check_hashes(backup, manifest)
    return manifest


def _check_empty(folder: DataFolder) -> None:
    root = folder.root
    if not root.exists():
        return
    was_ended = (root / RESTORING).exists()
    allowed = _EMPTY_ALL_THE_SAME | (_AS_ENDED | {RESTORING} if was_ended else set())
    strangers = [each.name for each in root.iterdir() if each.name not in allowed]
    if not was_ended:
        strangers += [
            f"{each.name}/" for each in (folder.journal, folder.recordings) if each.exists() and any(each.iterdir())
        ]
    if strangers:
        raise OperatorError(
            f"the data folder {root.resolve()} is not empty, it has {strangers[0]}: a backup is restored into an empty "
            f"one alone; move it away (mv {root.resolve()} {root.resolve()}.before), and run this again"
        )


def _check_database(folder: DataFolder) -> None:
    """Raise OperatorError unless the server's database, if the catalog is in one, is empty (rule 5)."""
    if isinstance(folder.database, PostgresPlace):
        make_catalog(folder.database)
        check_unused(folder.database)
        with reading(folder.database) as connection:
            check_empty(connection, folder.database.name)


def _clear(folder: DataFolder) -> None:
    """Remove what an ended restore has left."""
    if not (folder.root / RESTORING).exists():
        return
    for each in folder.root.iterdir():
        if each.name == RESTORING or each.name in ("lock", "lost+found"):
            continue
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink()
    shutil.rmtree(folder.root / RESTORING)


def _move(place: Path, folder: DataFolder) -> None:
    """Move all to where it belongs, the catalog last (rule 2)."""
    catalog = place / folder.catalog.name
    for each in place.iterdir():
        if each != catalog:
            os.rename(each, folder.root / each.name)
    if folder.database == folder.catalog:
        os.rename(catalog, folder.catalog)
        place.rmdir()
        return
    copy_catalog_rows(catalog, folder.database)  # rule 5
    shutil.rmtree(place)


class _Restore:
    """The copying into ``place``."""

    def __init__(
        self, backup: Path, place: Path, manifest: Manifest | None, on_progress: Callable[[int], None]
    ) -> None:
        self._backup = backup
        self._place = place
        self._lacking = frozenset(() if manifest is None else manifest.lacking)
        self._has_objects = manifest is not None and manifest.has_objects
        self._on_progress = on_progress
        self._from = LocalStorage(backup / "recordings")
        self._to = LocalStorage(place / "recordings")
        self._done = Restored()
        self._copied = 0

    def run(self, *, has_store: bool) -> Restored:
        """Copy and check everything, and return what that was."""
        (self._place / "recordings").mkdir(mode=FOLDER)
        catalog = self._catalog()
        dealt_with: set[str] = set()
        erased: set[str] = set()
        came_back: list[Recording] = []
        for recording in every_recording(catalog):
            if recording.status.is_erased:
                erased.add(recording.id)
                dealt_with.add(recording.object_key)  # of one whose file was not gone yet
            elif recording.status is Status.AVAILABLE:
                dealt_with.add(recording.object_key)
                if self._file(recording) and recording.stored is not None:
                    came_back.append(recording)
        self._others(dealt_with, erased)
        _bring_back(catalog, came_back, has_store=has_store)
        self._done.from_store = len(came_back)
        self._journals()
        for name in ("master.key", "link-keys.json"):
            if (self._backup / name).exists():
                self._copy(self._backup / name, self._place / name)
        return self._done

    def _catalog(self) -> Path:
        catalog = self._place / "catalog.db"
        self._copy(self._backup / "catalog.db", catalog)
        with closing(sqlite3.connect(catalog)) as database:
            try:
                (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
            except sqlite3.DatabaseError as error:
                said = str(error)
        if said != "ok":
            raise OperatorError(f"{self._backup / 'catalog.db'} is damaged ({said}): take another backup")
        upgrade(catalog)
        return catalog

    def _file(self, recording: Recording) -> bool:
        """Copy the file of an available recording and check it; return whether it is there (rules 1 and 3)."""
        source, target = self._from.path(recording.object_key), self._to.path(recording.object_key)
        is_uploaded = recording.stored is not None
        if is_uploaded and not (self._has_objects and source.exists()):
            self._done.uploaded += 1
            return False
        if not source.exists():
            if recording.id in self._lacking:
                self._done.without_file += 1
            else:
                self._done.damaged[recording.id] = f"its file {recording.object_key} is not there"
            return False
        self._put(recording.object_key)
        if recording.receipt is not None:
            if wrong := [each for each in differences(lambda: target.open("rb"), recording) if each is not None]:
                self._to.delete(recording.object_key)
                self._done.damaged[recording.id] = f"its file {recording.object_key}: {', '.join(wrong)}"
                return False
            self._done.size_bytes += recording.receipt.size_bytes
        self._done.recordings += 1
        return True

    def _others(self, dealt_with: set[str], erased: set[str]) -> None:
        """Copy files of which no row says what they are: they were published while the backup was made."""
        for key in self._from.walk():
            if base_key(key) not in dealt_with and erased.isdisjoint(ids_in(key)):  # rule 4
                self._put(key)
                self._done.others += 1

    def _journals(self) -> None:
        target = self._place / "journal"
        target.mkdir(mode=FOLDER)
        for key, segments in journals_in(self._backup / "journal").journals.items():
            for number in segments:
                self._copy(segment_path(self._backup / "journal", key, number), segment_path(target, key, number))
            self._done.journals += 1

    def _put(self, key: str) -> None:
        for each in (key, sidecar_key(key), waveform_key(key), transcript_key(key)):
            source, target = self._from.path(each), self._to.path(each)
            if source.exists():
                target.parent.mkdir(mode=FOLDER, parents=True, exist_ok=True)
                self._copy(source, target)
        self._copied += 1
        self._on_progress(self._copied)

    def _copy(self, source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        target.chmod(FILE)


def _bring_back(catalog: Path, recordings: list[Recording], *, has_store: bool) -> None:
    """Let the rows say that these are files of this machine, which are uploaded again if there is a store (rule 3)."""
    with closing(sqlite3.connect(catalog)) as database:
        for each in recordings:
            database.execute("UPDATE recordings SET stored_json = NULL WHERE id = ?", (each.id,))
            if has_store:
                database.execute(
                    "INSERT INTO uploads (recording_id, app_id, object_key, since_us, due_us)"
                    " SELECT id, app_id, object_key, created_us, 0 FROM recordings WHERE id = ?"
                    " ON CONFLICT (recording_id) DO NOTHING",
                    (each.id,),
                )
        database.commit()


def _named(damaged: dict[str, str]) -> str:
    some = [f"recording {each}, {why}" for each, why in list(damaged.items())[:_NAMED]]
    return "; ".join(some) + (f"; and {len(damaged) - _NAMED} others" if len(damaged) > _NAMED else "")
