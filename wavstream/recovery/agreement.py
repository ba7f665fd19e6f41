"""What holds of a recording where its row and its journal differ after a crash.

The journal is written before the row, so a killed server leaves a row that is behind, or equal. A power cut can take
the last second of a journal and not the row, whose commits are synced; damage can take any record. Then:

1. *A row that is stopped stops.* Nothing that was said after the row's end is in the file.
2. *A row that was paused after all that the journal tells of pauses is paused*, since that moment: what was said from
   then on is not in the file, though it may be in the journal.
3. Else the journal is right: it may know of a resume or a stop that the row does not. One that is paused stays paused,
   whatever the row says: of the two, nobody is recorded who was told that he is not.
4. A row that ended for good (its file is there, was deleted, has expired or failed) is never recorded further, whatever
   the journal says; see ``recovery``.

No IO, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wavstream.journal.events import RecordingPaused, RecordingStopped
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import unix_us, utc


@dataclass(frozen=True, slots=True)
class Agreement:
    """A recording as it goes on, or ends."""

    recording: Recording
    pause: RecordingPaused | None = None
    """The pause that the journal lacks (rule 2)."""
    stop: RecordingStopped | None = None
    """The stop that the journal lacks (rule 1)."""


def agree(journal: Recording, row: Recording, *, turned_us: int, last_us: int) -> Agreement:
    """Return what holds of a recording whose row is unfinished.

    ``journal``: as the journal has it; ``turned_us``: when that says that it began, was paused or resumed last;
    ``last_us``: the last arrival in it.
    """
    recording = _with_what_only_the_row_has(journal, row)
    pause = None
    if row.status is Status.PAUSED and journal.status is not Status.PAUSED:
        since_us = last_us if row.updated_at is None else unix_us(row.updated_at)
        if since_us > turned_us:  # rule 2
            behavior = row.options.pause_behavior
            pause = RecordingPaused(
                recording_id=row.id, journaled=True, behavior=behavior, since_us=since_us, begins=True
            )
            if journal.status is Status.ONGOING:
                options = replace(recording.options, pause_behavior=behavior)
                recording = recording.became(Status.PAUSED, utc(since_us), options=options)
    stop = None
    if row.status is Status.COMPLETED and journal.status is not Status.COMPLETED:  # rule 1
        reason = row.end_reason or EndReason.RECOVERED
        end_us = last_us if row.ended_at is None else min(unix_us(row.ended_at), last_us)
        stop = RecordingStopped(recording_id=row.id, reason=reason, end_us=end_us, since_us=end_us)
    return Agreement(recording, pause, stop)


def _with_what_only_the_row_has(recording: Recording, row: Recording) -> Recording:
    """Return a recording of a journal with what was changed of it beside the journal."""
    options = replace(recording.options, client_state=row.options.client_state)
    return replace(recording, hold=row.hold, options=options)
