"""The data folder: its paths, its modes, its lock, and what a command opens in it beside a running server."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import SecretStr

from wavstream.access.master_key import make_master_key
from wavstream.catalog.app_keys import AppKeys
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.database import check_schema
from wavstream.catalog.postgres_place import PostgresPlace, place_of
from wavstream.errors import NO_ROOM, DiskFull, OperatorError, WavstreamError
from wavstream.journal.segments import is_file_at
from wavstream.settings import Settings
from wavstream.storage.modes import FILE, FOLDER, Modes, as_parent, mend
from wavstream.storage.reserve_file import ReserveFile

_AS_THE_SERVER = (
    "start the server first, or say where its folder is as it is told, by WAVSTREAM_DATA_DIR or the file that --config "
    "names; else it is ./data"
)
WITHOUT_CATALOG = (
    "a new one is made: recordings are entered again, apps and keys are not, and nobody comes in without a key; stop "
    "and restore a backup, or add the apps again with 'wavstream apps add'"
)
_SPOOL_OF_WORKER = "worker-"
_LOSSES = 20
"""As many are told; all are in the log."""

log = structlog.get_logger(__name__)

T = TypeVar("T")
FileId = tuple[int, int]
"""Of which filesystem, and its number there."""


class DataFolder:
    """The paths below the data folder; one server at a time has claimed it."""

    def __init__(self, root: Path, *, group_reads: bool = False) -> None:
        """``group_reads``: the group of this user may read finished files."""
        self.root = root
        self.modes = Modes.of(group_reads=group_reads)
        # Who only passes through sees no names.
        self._root_mode = 0o710 if group_reads else FOLDER
        self.journal = root / "journal"
        self.spool = root / "spool"
        self.recordings = root / "recordings"
        self.catalog = root / "catalog.db"
        self.database: Path | PostgresPlace = self.catalog
        """Where the catalog is: that file, or a server's database."""
        self.link_keys = root / "link-keys.json"
        self.lock = root / "lock"
        self.reserve_file = root / "reserve"
        self.drain = root / "drain"  # how far the server is to be drained; there while it is
        self.master_key = root / "master.key"
        self._lost = {
            self.journal: "what is recorded goes on; if the server dies, what running recordings had in earlier "
            "segments is lost, and so are recordings that had failed",
            self.spool: "files that were being made are written again at their end",
            self.recordings: "the files that were in it are gone; the next start names them as recording_file_gone",
        }
        self.losses: list[str] = []
        """What was lost with folders that were removed while the server runs: a sentence each."""
        self._tells_losses = True
        self._lock: int | None = None
        self._open: dict[Path, int] = {}
        """Descriptors of the folders: as long as one is open, no other folder is given its number."""

    @classmethod
    def of(cls, settings: Settings, *, serves: bool = False) -> DataFolder:
        """Return the data folder that the settings name; ``serves``: a server is to use it."""
        folder = cls(settings.data_dir, group_reads=settings.recordings_group_read)
        folder.database = place_of(settings.catalog, folder.catalog, serves=serves, cluster=settings.cluster.joined)
        return folder

    def claim(self) -> None:
        """Make the folders, take the lock, empty the spool (journals make its files again).

        Raise OperatorError, or DiskFull.
        """
        if self.make():
            log.info("data_folder_made", folder=str(self.root.resolve()))
        try:
            self._lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            self.keep_owner()
        except OSError as error:
            self.release()
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise OperatorError(
                    f"another wavstream uses the data folder {self.root}: stop it, or set WAVSTREAM_DATA_DIR"
                ) from error
            raise _unusable(self.root, error) from error
        try:
            for leftover in self.spool.iterdir():
                if leftover.name.startswith(_SPOOL_OF_WORKER):
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
        except OSError as error:
            self.release()
            raise OperatorError(
                f"{error.filename} cannot be removed ({error.strerror}): the spool is for unfinished files alone"
            ) from error
        self._open_folders()

    def join(self, lock: int, *, worker: int) -> None:
        """Use the folder that the supervisor has claimed, with the descriptor of its lock; raise OperatorError.

        Each worker has a spool of its own, below the other: it is empty when it starts, whatever the others make.
        """
        os.umask(0o077)
        self._lock = lock
        self._tells_losses = worker == 0
        self._open_folders()
        self.spool = self.spool / f"{_SPOOL_OF_WORKER}{worker}"
        try:
            with suppress(FileNotFoundError):
                shutil.rmtree(self.spool)
            self.spool.mkdir(mode=FOLDER)
        except OSError as error:
            raise _unusable(self.root, error) from error

    @property
    def catalog_file(self) -> FileId | None:
        """Which file the catalog is; None: there is none."""
        with suppress(FileNotFoundError):
            found = os.stat(self.catalog)
            return found.st_dev, found.st_ino
        return None

    def check_begun(self, catalog: FileId, *, has_key_file: bool) -> None:
        """Raise OperatorError unless what the other workers use is still there, for one that starts beside them.

        It would make another, without apps, with another key: the server would be two, and half of it refuse everybody.
        ``catalog``: which file they have open.
        """
        if self.catalog_file != catalog:
            raise OperatorError(
                f"{self.catalog} was removed or replaced while the server runs: stop the server, put a backup of it in "
                "its place, and start again"
            )
        if has_key_file and not self.master_key.exists():
            raise OperatorError(
                f"{self.master_key} was removed while the server runs: put it back, and the worker starts by itself"
            )

    @property
    def lock_descriptor(self) -> int | None:
        """What has the folder claimed, in whatever process it is open; None: nothing."""
        return self._lock

    def _open_folders(self) -> None:
        try:
            for folder in self._lost:
                self._open[folder] = _open(folder)
        except OSError as error:
            self.release()
            raise _unusable(self.root, error) from error

    def note_places(self, places: Sequence[str]) -> None:
        """Write into the lock where the server listens, for who checks a start beside it."""
        if self._lock is not None:
            os.pwrite(self._lock, "".join(f"{place}\n" for place in places).encode(), 0)

    def places(self) -> list[str] | None:
        """Return where the server listens that has claimed the folder, empty if it does not say; None: none has."""
        try:
            with self.lock.open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return lock.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            pass
        return None

    def mend(self, at: datetime) -> set[Path]:
        """Make the folders again that were removed, or moved away, since the last look; return which those are.

        Raise OSError if that cannot be done. ``at`` is when this is: what is lost is told with it.
        """
        gone = {folder for folder, opened in self._open.items() if not is_file_at(opened, folder)}
        for folder in gone:
            folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
            mend(self.root, self._root_mode)
            mend(folder, self.modes.folder if folder == self.recordings else FOLDER)
            opened, self._open[folder] = self._open[folder], _open(folder)
            os.close(opened)
            loss = f"{folder} was removed, and made again at {at:%Y-%m-%d %H:%M:%S} UTC: {self._lost[folder]}"
            if self._tells_losses:
                log.error("data_folder_removed", folder=str(folder), loss=loss)
            self.losses[:] = [*self.losses, loss][-_LOSSES:]
        if gone:
            self.spool.mkdir(mode=FOLDER, exist_ok=True)  # a worker's own, in the one that was made again
        return gone

    def look(self, *, for_catalog: bool = True) -> None:
        """Raise OperatorError if there is no data folder, or none that this user can use; make nothing.

        ``for_catalog``: the catalog has to be there too.
        """
        os.umask(0o077)
        try:
            if not stat.S_ISDIR(os.stat(self.root).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.root))
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.root))
            if for_catalog and self.database == self.catalog and not self.catalog.exists():
                raise OperatorError(f"the data folder {self.root.resolve()} has no catalog.db: {_AS_THE_SERVER}")
            if for_catalog:
                self.has_lost_catalog()
            self._mend_files()
        except FileNotFoundError:
            raise OperatorError(f"there is no data folder {self.root.resolve()}: {_AS_THE_SERVER}") from None
        except OSError as error:
            raise _unusable(self.root, error) from error

    def has_lost_catalog(self) -> bool:
        """Return whether the folder was used and has no catalog any more; raise OperatorError if that is empty.

        A server has one before it makes a master key, a journal or a recording. An empty file is none that it leaves:
        it was cut off, and whoever did that should know.
        """
        if self.database != self.catalog:
            return False  # who makes it says so (``is_lost_if_new``)
        size = self.catalog.stat().st_size if self.catalog.exists() else None
        if size:
            return False
        was_used = self._was_used()
        if was_used and size == 0:
            raise OperatorError(
                f"{self.catalog.resolve()} is empty, and the data folder was used before: put a backup of it in its "
                "place, or remove it: then a new one is made, without apps and keys"
            )
        return was_used

    def is_lost_if_new(self) -> bool:
        """Return whether a catalog that has to be made now takes the place of one that was lost."""
        return self.has_lost_catalog() if self.database == self.catalog else self._was_used()

    def _was_used(self) -> bool:
        return self.master_key.exists() or any(
            files for folder in (self.recordings, self.journal) for _, _, files in os.walk(folder)
        )

    def keep_owner(self, *, below: bool = False) -> None:
        """Give what root has made in a folder of another user to that user; ``below``: in the folders in it too."""
        if os.geteuid() != 0 or (owner := os.stat(self.root)).st_uid == 0:
            return
        for each in self.root.rglob("*") if below else self.root.iterdir():
            with suppress(FileNotFoundError):  # SQLite's log goes with its last user
                if os.lstat(each).st_uid == 0:
                    os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def make(self) -> bool:
        """Make the folders that are missing, and mend modes; raise OperatorError if that cannot be done.

        Return whether the data folder itself was made. What is below ``recordings`` may be much, and is behind a folder
        that is mended here: see ``mend_below``.
        """
        # Of the process, since SQLite and others make files too: no mode depends on who started the server.
        os.umask(0o077)
        try:
            made = not self.root.exists()
            for folder in (self.root, self.journal, self.spool, self.recordings):
                _make_folder(folder)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, "Permission denied", str(folder))
            for folder in (self.journal, self.spool):
                mend(folder, FOLDER)
            self._mend_files(self.journal, self.spool)
        except OSError as error:
            raise _unusable(self.root, error) from error
        return made

    def _mend_files(self, *folders: Path) -> None:
        """Mend the modes of the data folder, of what lies in it, and of what lies in these folders."""
        mend(self.root, self._root_mode)
        mend(self.recordings, self.modes.folder)
        logs = (self.catalog.with_name(self.catalog.name + end) for end in ("-wal", "-shm"))
        ours = (self.lock, self.reserve_file, self.drain, self.catalog, *logs, self.link_keys, self.master_key)
        for path in (*ours, *(each for folder in folders for each in folder.iterdir())):
            if not path.is_dir():
                mend(path, FILE)

    async def load_master_key(self, setting: SecretStr | None, keys: AppKeys, *, is_server: bool = False) -> bytes:
        """Return the master key: from the setting, else from its file, made if missing; raise OperatorError.

        What a server finds in a catalog of an earlier version is right, and written down.
        """
        given = setting.get_secret_value() if setting is not None else None
        while True:
            known = await keys.master()
            master, record = await asyncio.to_thread(make_master_key, given, self.master_key, known)
            is_earlier = known is not None and known.check is None
            if known == record or (is_earlier and not is_server):
                return master
            if known is not None and not is_earlier:
                return master  # read in another way than it was made: what is known of it is still right
            if await keys.set_master(record, known=known):
                return master

    @asynccontextmanager
    async def open_catalog(self, *, to_revoke: bool = False) -> AsyncIterator[Catalog]:
        """Open the catalog for a command, which may run beside a server; raise OperatorError, also if there is none.

        ``to_revoke``: the command takes access away, which has to work on a full disk: ``with_room``.
        """
        await asyncio.to_thread(self.look)
        await asyncio.to_thread(check_schema, self.database, to_do=_AS_THE_SERVER)
        async with self._opened(to_revoke=to_revoke) as catalog:
            yield catalog

    async def with_room(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what ``work`` returns, which takes access away; on a full disk it is given room of the reserve."""
        return await ReserveFile(self.reserve_file).lend(work, why="access is taken away on a full disk")

    @asynccontextmanager
    async def make_catalog(self) -> AsyncIterator[Catalog]:
        """Open the catalog for a command as ``open_catalog`` does, made first if there is none."""
        await asyncio.to_thread(self.make)
        is_lost = await asyncio.to_thread(self.is_lost_if_new)
        async with self._opened(is_lost=is_lost) as catalog:
            yield catalog

    @asynccontextmanager
    async def _opened(self, *, is_lost: bool = False, to_revoke: bool = False) -> AsyncIterator[Catalog]:
        async def opened() -> Catalog:
            return await Catalog.open(self.database, is_lost=is_lost)

        catalog = await (self.with_room(opened) if to_revoke else opened())
        try:
            yield catalog
        finally:
            await catalog.database.close()
            await asyncio.to_thread(self.keep_owner)

    def release(self) -> None:
        """Release the lock."""
        for opened in self._open.values():
            os.close(opened)
        self._open = {}
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _make_folder(folder: Path) -> None:
    for each in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        each.mkdir(mode=FOLDER, exist_ok=True)
        as_parent(each)


def _is_read_only(path: str | Path) -> bool:
    with suppress(OSError):
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return False


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _unusable(root: Path, error: OSError) -> WavstreamError:
    told = f"the data folder {root} cannot be used"
    if error.errno == errno.EROFS or (error.errno == errno.EACCES and _is_read_only(error.filename or root)):
        return OperatorError(
            f"{told}: {error.filename or root} is on a filesystem that is mounted read-only; mount it for writing, or "
            "set WAVSTREAM_DATA_DIR to a folder on another"
        )
    if error.errno == errno.ENOTDIR or error.errno == errno.EEXIST:
        return OperatorError(
            f"{told}: {error.filename or root}, or a part of that path, is no folder; move it away, or set "
            "WAVSTREAM_DATA_DIR to a folder"
        )
    if error.errno in NO_ROOM:
        return DiskFull(
            f"the disk is full: {error.filename or root} cannot be made on it; delete other files on that disk, or "
            "make it larger, and start again"
        )
    return OperatorError(
        f"{told} ({error.strerror}: {error.filename}): "
        "make it writable for this user, or set WAVSTREAM_DATA_DIR to a folder that is"
    )
