"""Which part of which journal is still needed, and by whom; what nobody needs is deleted.

A recording needs its session's journal from the segment it starts in. It lets go when its file is published; one that
failed is *kept*, so that its audio can still be had from the journal, until its retention ends or it is deleted.
Segments are deleted from the lowest up, so a kept recording also keeps what the session journals after it: the price
of a fault that is rare, and bounded by the retention.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from wavstream.journal.journal import Journal
from wavstream.journal.writer import JournalWriter


@dataclass(slots=True)
class _Use:
    journal: Journal
    first_segments: dict[str, int] = field(default_factory=dict)
    """By recording: a segment at or before its start."""


class JournalLeases:
    """The recordings that need a journal. Lives on the event loop."""

    def __init__(self, writer: JournalWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = loop
        self._uses: dict[str, _Use] = {}
        self._journal_of: dict[str, str] = {}
        self._failed: dict[str, asyncio.TimerHandle | None] = {}

    def use(self, recording_id: str, journal: Journal, *, first_segment: int) -> None:
        """The recording needs this journal from that segment on."""
        self._uses.setdefault(journal.key, _Use(journal)).first_segments[recording_id] = first_segment
        self._journal_of[recording_id] = journal.key

    def users(self, journal_key: str) -> list[str]:
        """Recordings that need the journal, failed ones too."""
        use = self._uses.get(journal_key)
        return list(use.first_segments) if use is not None else []

    def let_go(self, recording_id: str) -> None:
        """The recording needs its journal no more: delete what nobody else needs."""
        key = self._journal_of.pop(recording_id)
        use = self._uses[key]
        del use.first_segments[recording_id]
        if use.first_segments:
            self._writer.delete_before(use.journal, min(use.first_segments.values()))
        else:
            del self._uses[key]
            self._writer.close(use.journal, delete=True)

    def keep(self, recording_id: str, *, for_s: float | None) -> None:
        """The recording failed: keep its part for so many seconds; None: until it is forgotten."""
        later = None if for_s is None else self._loop.call_later(for_s, self.forget, recording_id)
        self._failed[recording_id] = later

    def forget(self, recording_id: str) -> None:
        """Let go of what is kept of a failed recording, if anything is."""
        if recording_id in self._failed:
            timer = self._failed.pop(recording_id)
            if timer is not None:
                timer.cancel()
            self.let_go(recording_id)

    @property
    def failed(self) -> int:
        """Recordings that failed and are kept."""
        return len(self._failed)

    def stop(self) -> None:
        """Delete nothing from now on: what is kept is found again at the next start."""
        for timer in self._failed.values():
            if timer is not None:
                timer.cancel()
