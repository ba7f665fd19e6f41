"""The journals of a backup: what was said so far in recordings that have not ended, or have failed.

1. Journals are copied before the catalog: one of a recording that ends meanwhile is there still when its row is copied
   as unfinished. A copy ends where the journal did at that moment, in the middle of a record perhaps: recovery reads it
   as what a crash leaves.
2. With each copy of the catalog they are copied once more, as far as they are still there: so a call that has begun
   since is in it, and each with what was said until then. Those are dropped of whose sessions nothing is unfinished in
   that catalog, and segments that are gone from the data folder: what was erased meanwhile is said in none.
3. What was set aside as damaged is not in a backup.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from wavstream.journal.reader import read_header
from wavstream.journal.records import BrokenSegment
from wavstream.journal.segments import delete_segments, journals_in, segment_path
from wavstream.storage.modes import FILE, FOLDER

Session = tuple[str, str]
"""The id of its app, and its own."""


class BackupJournals:
    """Copies of the journals of one data folder."""

    def __init__(self, source: Path, target: Path, *, own: Callable[[Path], None]) -> None:
        """``own`` gives what is made here its owner."""
        self._source = source
        self._target = target
        self._own = own
        self.is_older = False
        """Whether one is kept that is gone from the data folder: its call has ended, and the catalog is older."""

    def copy(self) -> None:
        """Copy all that there are (rule 1); raise OSError."""
        if not self._target.exists():
            self._target.mkdir(mode=FOLDER)
            self._own(self._target)
        for key, segments in journals_in(self._source).journals.items():
            for number in segments:
                with suppress(FileNotFoundError):  # its recordings are finished
                    self._put(segment_path(self._source, key, number), segment_path(self._target, key, number))

    def keep(self, sessions: Collection[Session]) -> int:
        """Copy them again, and drop what is not of these sessions, or gone (rule 2); return how many are kept."""
        self.copy()
        live = journals_in(self._source).journals
        kept, self.is_older = 0, False
        for key, segments in journals_in(self._target).journals.items():
            try:
                header = read_header(self._target, key)
                session = header.app_id, header.session_id
            except (BrokenSegment, msgspec.MsgspecError):
                session = None
            if session not in sessions:
                delete_segments(self._target, key)
                continue
            kept += 1
            self.is_older = self.is_older or key not in live
            for number in set(segments) - set(live.get(key, segments)):
                segment_path(self._target, key, number).unlink()
        return kept

    def _put(self, source: Path, target: Path) -> None:
        part = target.with_suffix(".part")
        try:
            shutil.copyfile(source, part)
        except FileNotFoundError:
            part.unlink(missing_ok=True)
            raise
        part.chmod(FILE)
        self._own(part)
        part.rename(target)
