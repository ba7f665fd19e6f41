"""Journals of sessions that another node has taken from this one: kept here until nobody can need them.

1. They lie in a folder beside the journals (``journal.set_aside``), where neither a start nor a fold looks.
2. One goes when each recording of which it tells has its file in the bucket, or has ended without one. A recording that
   the catalog does not know is one that nobody else has: its journal stays.
3. It stays for as long as the server keeps recordings (``retention.hours``), and so does one that cannot be read, or
   tells of none. One of which the catalog knows a recording without its file stays until that is in the bucket.
4. What came back meanwhile (the session was taken here again) has a name of its own: nothing here is written over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from wavstream.catalog.nodes import Nodes as Rows
from wavstream.errors import DependencyError
from wavstream.journal.records import BrokenSegment
from wavstream.journal.segments import told_by
from wavstream.journal.set_aside import TAKEN, SetAside
from wavstream.recovery.journal_summary import read_summary
from wavstream.removals import Removals

LOOK_S = 30.0

log = structlog.get_logger(__name__)


class _Kept(NamedTuple):
    recordings: frozenset[str]
    """None where it cannot be read, or tells of none."""
    since: datetime


class KeptAside:
    """The folder of what was taken. ``take`` is for any thread but the loop's, the rest for the event loop."""

    def __init__(
        self,
        folder: Path,
        *,
        rows: Rows,
        removals: Removals,
        kept: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``folder``: of the journals; ``kept``: how long what nobody knows stays."""
        self._kept = kept
        self._now = now
        self._place = SetAside(folder, removals=removals, name=TAKEN)
        self._rows = rows
        self._recordings: dict[str, frozenset[str]] = {}
        """By key of a journal: of which recordings it tells."""
        self._said: set[str] = set()
        self.on_settled: Callable[[], None] = lambda: None
        """Called when recordings that were taken from here are in the bucket: what is here of their files may go."""

    @property
    def path(self) -> Path:
        """Where they lie."""
        return self._place.path

    def take(self, key: str) -> None:
        """Put all segments of a journal there. Blocks."""
        try:
            self._place.take_journal(key)
        except OSError as error:
            log.error("taken_journal_not_moved", journal=key, error=str(error))

    async def run(self) -> None:
        """Remove what nobody needs, for ever (rule 2)."""
        while True:
            try:
                await self.look()
            except DependencyError as error:
                log.warning("kept_aside_waits", error=str(error))
            except Exception:
                log.exception("kept_aside_failed")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Remove what nobody needs; raise DependencyError."""
        told = await asyncio.to_thread(self._read)
        old_from = self._now() - self._kept
        for key, kept in told.items():
            recordings = sorted(kept.recordings)
            if recordings and await self._rows.are_settled(recordings):
                await self._remove(key, why="settled")
                self.on_settled()
            elif kept.since <= old_from and not (recordings and await self._rows.knows_any(recordings)):  # rule 3
                await self._remove(key, why="kept for long enough")

    async def _remove(self, key: str, *, why: str) -> None:
        names = await asyncio.to_thread(self._names, key)
        await asyncio.to_thread(self._place.remove, names)
        self._recordings.pop(key, None)
        self._said.discard(key)
        log.info("kept_aside_removed", journal=key, segments=len(names), reason=why)

    def _read(self) -> Mapping[str, _Kept]:
        """Return of which recordings each journal tells, and since when it is here. Blocks."""
        since: dict[str, datetime] = {}
        for file in self._place.files():
            if (told := told_by(file.name.partition("~")[0])) is not None:
                since[told[0]] = max(file.since, since.get(told[0], file.since))
        return {key: _Kept(self._recordings_of(key), at) for key, at in since.items()}

    def _recordings_of(self, key: str) -> frozenset[str]:
        if key not in self._recordings:
            try:
                self._recordings[key] = frozenset(read_summary(self.path, key).recordings)
            except (BrokenSegment, OSError) as error:
                if key not in self._said:
                    self._said.add(key)
                    log.warning("kept_aside_unreadable", journal=key, error=str(error))
                return frozenset()
        return self._recordings[key]

    def _names(self, key: str) -> list[str]:
        return [path.name for path in self.path.iterdir() if path.name.startswith(f"{key}-")]
