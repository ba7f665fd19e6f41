"""Journals of sessions that another node has taken from this one: kept here until nobody can need them.

1. They lie in a folder beside the journals (``journal.set_aside``), where neither a start nor a fold looks.
2. One goes when each recording of which it tells has its file in the bucket, or has ended without one. A recording that
   the catalog does not know is one that nobody else has: its journal stays.
3. What came back meanwhile (the session was taken here again) has a name of its own: nothing here is written over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from wavstream.catalog.nodes import Nodes as Rows
from wavstream.errors import DependencyError
from wavstream.journal.records import BrokenSegment
from wavstream.journal.segments import journals_in
from wavstream.journal.set_aside import TAKEN, SetAside
from wavstream.recovery.journal_summary import read_summary
from wavstream.removals import Removals

LOOK_S = 30.0

log = structlog.get_logger(__name__)


class KeptAside:
    """The folder of what was taken. ``take`` is for any thread but the loop's, the rest for the event loop."""

    def __init__(self, folder: Path, *, rows: Rows, removals: Removals) -> None:
        """``folder``: of the journals."""
        self._place = SetAside(folder, removals=removals, name=TAKEN)
        self._rows = rows
        self._recordings: dict[str, frozenset[str]] = {}
        """By key of a journal: of which recordings it tells."""
        self._said: set[str] = set()

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
        for key, recordings in told.items():
            if await self._rows.are_settled(sorted(recordings)):
                names = await asyncio.to_thread(self._names, key)
                await asyncio.to_thread(self._place.remove, names)
                self._recordings.pop(key, None)
                log.info("kept_aside_removed", journal=key, segments=len(names))

    def _read(self) -> Mapping[str, frozenset[str]]:
        """Return of which recordings each journal tells that can be read. Blocks."""
        for key in journals_in(self.path).journals:
            if key not in self._recordings:
                try:
                    self._recordings[key] = frozenset(read_summary(self.path, key).recordings)
                except (BrokenSegment, OSError) as error:
                    if key not in self._said:
                        self._said.add(key)
                        log.warning("kept_aside_unreadable", journal=key, error=str(error))
        return {key: recordings for key, recordings in self._recordings.items() if recordings}

    def _names(self, key: str) -> list[str]:
        return [path.name for path in self.path.iterdir() if path.name.startswith(f"{key}-")]
