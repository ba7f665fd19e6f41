"""Who holds each recording of a session paused: the API, or legs whose media servers asked for it.

A recording is paused while somebody holds it paused.

1. A leg that resumes lets go of its own pause alone. So what a command paused stays paused, and so does what another
   leg paused; a leg that leaves goes on holding what it paused.
2. A resume of the API ends the pause, whoever holds it: it is the explicit will of whoever the recording belongs to.
3. Of a pause of which nobody knows who holds it (an earlier version's journal does not say) the API does.

A leg whose stream may send no more events now (rule 3 of ``intake``) has its resume *owed*: it is made when there is
room again, unless a pause comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wavstream.journal.events import PAUSED_BY_API, RecordingPaused, paused_by_leg
from wavstream.model.recording import Recording, Status
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.intake import EventAllowance


class AskedResume(NamedTuple):
    """A resume that the media server of a leg asks for, and the events that its stream may add."""

    leg: str
    allowance: EventAllowance


class Pauses:
    """Whose the pauses of a session's recordings are."""

    __slots__ = ("_held_by", "owed")

    def __init__(self) -> None:
        self.owed: AskedResume | None = None
        """What is made as soon as its stream has an event left."""
        self._held_by: dict[str, frozenset[str]] = {}
        """By recording that is paused."""

    def holders(self, row: Recording) -> frozenset[str]:
        """Return who holds the recording paused; nobody does if it goes on."""
        if row.status is not Status.PAUSED:
            return frozenset()
        return self._held_by.get(row.id, frozenset({PAUSED_BY_API}))  # rule 3

    def is_held_by_api(self, row: Recording) -> bool:
        """Return whether a command paused the recording, so that no leg ends its pause."""
        return PAUSED_BY_API in self.holders(row)

    def is_held_by_leg(self, row: Recording, leg: str) -> bool:
        """Return whether this leg holds the recording paused."""
        return paused_by_leg(leg) in self.holders(row)

    def holders_without(self, row: Recording, leg: str) -> frozenset[str]:
        """Return who else than this leg holds the recording paused (rule 1)."""
        return self.holders(row) - {paused_by_leg(leg)}

    def hold(self, row: Recording, holders: frozenset[str], *, journaled: bool) -> RecordingPaused:
        """Take in who holds a recording paused; return what the journal is told of it.

        ``journaled``: whether the journal has what is said meanwhile.
        """
        begins = row.id not in self._held_by
        self._held_by[row.id] = holders
        return RecordingPaused(
            recording_id=row.id,
            journaled=journaled,
            behavior=row.options.pause_behavior,
            held_by=tuple(sorted(holders)),
            begins=begins,
        )

    def end(self, recording_id: str) -> None:
        """Let go of the recording, whoever holds it: it goes on, or is over (rule 2)."""
        self._held_by.pop(recording_id, None)

    def restore(self, held_by: Mapping[str, frozenset[str]]) -> None:
        """Take in who held recordings before a restart."""
        self._held_by |= held_by


def all_paused(recordings: Iterable[LiveRecording]) -> bool:
    """Return whether nothing of the call belongs to any of them now."""
    return all(recording.row.status is Status.PAUSED for recording in recordings)
