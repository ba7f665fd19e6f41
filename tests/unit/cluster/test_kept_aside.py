"""What is kept of journals that another node has taken, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from tests.support.journals import a_started_recording, a_writer, call
from wavstream.cluster.kept_aside import KeptAside
from wavstream.journal.journal import Journal
from wavstream.journal.segments import journals_in
from wavstream.removals import Removals

KEPT = timedelta(hours=24)


class Rows:
    """What the catalog says of recordings."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.settled: set[str] = set()

    async def are_settled(self, recording_ids: Sequence[str]) -> bool:
        return self.settled.issuperset(recording_ids)

    async def knows_any(self, recording_ids: Sequence[str]) -> bool:
        return not self.known.isdisjoint(recording_ids)


class Aside:
    """The folder of one node, beside the time and the catalog of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = Rows()
        self.now = datetime.now(UTC)
        self._aside = KeptAside(folder, rows=cast(Any, self.rows), removals=Removals(), kept=KEPT, now=lambda: self.now)

    def take(self, key: str) -> str:
        """Put a journal aside that tells of one recording; return the recording's id."""
        recording = a_started_recording()
        writer = a_writer(self.folder)
        journal: Journal = writer.open(key=key, app_id="default", session_id=key)
        for row in call(recording, length_s=0.1):
            journal.append(row)
        writer.submit([journal])
        writer.stop()
        self._aside.take(key)
        return recording.id

    async def look(self, *, after: timedelta = timedelta()) -> list[str]:
        """Look through the folder, at a later time; return which journals are there still."""
        self.now += after
        await self._aside.look()
        return sorted(journals_in(self._aside.path).journals)


async def test_a_journal_goes_when_each_recording_of_it_has_its_file(tmp_path: Path) -> None:
    aside = Aside(tmp_path)
    first, second = [await asyncio.to_thread(aside.take, key) for key in ("one", "two")]
    aside.rows.known |= {first, second}
    told: list[str] = []
    aside._aside.on_settled = lambda: told.append("what is here of its file may go")
    assert await aside.look() == ["one", "two"]
    assert told == []
    aside.rows.settled.add(first)
    assert await aside.look() == ["two"]
    assert len(told) == 1
    assert await aside.look(after=2 * KEPT) == ["two"], "the bucket may be away for days"
    aside.rows.settled.add(second)
    assert await aside.look() == []


async def test_what_nobody_knows_or_can_read_stays_as_long_as_recordings_are_kept_and_no_longer(
    tmp_path: Path,
) -> None:
    aside = Aside(tmp_path)
    await asyncio.to_thread(aside.take, "one")
    (tmp_path / "taken" / "broken-000001.wsj").write_bytes(b"?" * 4096)
    (tmp_path / "taken" / "broken-000002.wsj~2").write_bytes(b"?" * 4096)
    assert await aside.look(after=KEPT / 2) == ["broken", "one"]
    assert await aside.look(after=KEPT) == []
    assert not [*(tmp_path / "taken").iterdir()]
