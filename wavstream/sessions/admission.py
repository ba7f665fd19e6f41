"""Whether a recording may begin, and as what: a value with its id and its names, before anything of it is on a disk.

Its file is called after its session, or as it was asked to be, and the second in which it was asked for. Where an app
asks for several of one name in one second, they are numbered from the second on: downloads must not overwrite each
other. The count need not outlive the server: a restart takes longer than that second (3 s, measured).

The disk keeps a reserve, so that running recordings can finish. How much is free is asked for once a second on a
thread, and not when a recording begins: a disk that hangs would stop the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from wavstream.errors import LimitReached
from wavstream.model.call import CallFacts
from wavstream.model.file_names import file_stem
from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Recording, Status
from wavstream.model.times import utc
from wavstream.storage.object_keys import KeyTemplate

CHECK_S = 1.0
READ_ONLY_TO_DO = (
    "whoever runs the server has to look why (a disk that failed is made so) and mount it for writing again"
)
FULL_BYTES = 8 << 20
"""With less than that left a disk is as good as full: the next seconds of a few calls take it."""
_BY_ITSELF = Origin()
_NOTHING_KNOWN = CallFacts()

log = structlog.get_logger(__name__)


class DiskReserve:
    """The free space of the spool's disk, and whether what we write can be written, as it was at the last look."""

    def __init__(self, spool: Path, min_free_bytes: int, *, beside: Sequence[Path] = ()) -> None:
        """Keep ``min_free_bytes``, and no less than FULL_BYTES; ``beside``: folders and files that are written too."""
        self._spool = spool
        self._beside = beside
        self.min_free_bytes = max(min_free_bytes, FULL_BYTES)
        self.failures = 0
        """Looks in a row that the disk did not answer."""
        self.free_bytes: int | None = None
        """None: nobody has looked yet."""
        self.read_only: Path | None = None
        """What lies on a disk that takes no writes: it is mounted so, or the kernel made it so after an error."""

    async def look(self) -> None:
        """Ask the disk; raises OSError."""
        before = self.read_only
        self.free_bytes, self.read_only = await asyncio.to_thread(self._look)
        if self.read_only is not None and before is None:
            log.error("disk_read_only", path=str(self.read_only), to_do=READ_ONLY_TO_DO)
        elif self.read_only is None and before is not None:
            log.info("disk_takes_writes", path=str(before))

    async def watch(self, *, every_s: float = CHECK_S) -> None:
        """Ask the disk again once a second, for as long as this runs."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.look()
                self.failures = 0
            except OSError as error:
                if not self.failures:
                    log.warning("spool_disk_unknown", error=str(error))
                self.failures += 1

    def has_room(self, size_bytes: int = 0) -> bool:
        """Return whether so many bytes more leave the reserve as it is. Before the first look there is room."""
        return self.free_bytes is None or self.free_bytes - size_bytes >= self.min_free_bytes

    @property
    def share(self) -> float:
        """How near the disk is to its reserve: what is kept as a share of what is free; 1 or more: there is no room."""
        if self.read_only is not None:
            return 1.0
        return 0.0 if self.free_bytes is None else self.min_free_bytes / max(1, self.free_bytes)

    def refusal(self) -> str | None:
        """Return why nothing new can be recorded; None: it can."""
        if self.read_only is not None:
            return f"the server's disk is read-only, so nothing can be recorded: {READ_ONLY_TO_DO}"
        if self.has_room():
            return None
        free_bytes = self.free_bytes or 0
        if free_bytes < FULL_BYTES:
            return f"the disk is full ({free_bytes // 1000} kB left)"
        return f"the spool's disk has {free_bytes // 1_000_000} MB left, less than limits.min_free_bytes"

    def check(self) -> None:
        """Raise LimitReached if a new recording must be refused."""
        if (refusal := self.refusal()) is not None:
            if self.read_only is None:
                refusal += ": running recordings go on, new ones are refused until there is room"
            raise LimitReached(refusal, retry_after_s=60)

    def _look(self) -> tuple[int, Path | None]:
        found = os.statvfs(self._spool)
        read_only = next((each for each in (self._spool, *self._beside) if _is_read_only(each)), None)
        return found.f_bavail * found.f_frsize, read_only


def _is_read_only(path: Path) -> bool:
    """Return whether nothing can be written there. Blocks.

    An ext4 that has aborted its journal refuses writes, and does not say so in its flags (Linux 6.18): a file of ours
    is opened for writing, which changes nothing on the disk.
    """
    try:
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return True
        if path.is_file():
            os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:  # what is gone is looked at elsewhere
        return error.errno == errno.EROFS
    return False


class NewRecordings:
    """Makes recordings that are asked for now."""

    def __init__(self, *, keys: KeyTemplate, reserve: DiskReserve, now_us: Callable[[], int]) -> None:
        self._keys = keys
        self._reserve = reserve
        self._now_us = now_us
        self._second = 0
        self._named: Counter[tuple[str, str]] = Counter()
        """How many files of an app have been given a name in this second."""

    def check_room(self) -> None:
        """Raise LimitReached if the disk has no room for one more."""
        self._reserve.check()

    def make(
        self,
        *,
        app_id: str,
        session_id: str,
        options: RecordingOptions,
        call: CallFacts = _NOTHING_KNOWN,
        origin: Origin = _BY_ITSELF,
    ) -> Recording:
        """Return an accepted recording with a fresh id; ``call`` is what is known of its call."""
        created_at = utc(self._now_us())
        stem = options.file_name or file_stem(session_id)
        recording = Recording(
            id=new_id(),
            app_id=app_id,
            session_id=session_id,
            status=Status.ACCEPTED,
            options=options,
            object_key="",
            file_name=f"{self._name(app_id, stem, int(created_at.timestamp()))}.{options.format}",
            created_at=created_at,
            call=call,
            origin=origin,
        )
        return replace(recording, object_key=self._keys.key(recording))

    def _name(self, app_id: str, stem: str, second: int) -> str:
        if second != self._second:
            self._second = second
            self._named.clear()
        name = f"{stem}-{second}"
        self._named[app_id, name] += 1
        number = self._named[app_id, name]
        return name if number == 1 else f"{name}-{number}"
