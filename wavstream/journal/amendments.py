"""Events that were written down later than they took effect.

A power cut, or damage, can take the record of a pause or a stop and leave what was said after it, while the catalog's
row, which is synced, has it. The recovery then writes the event again, at the end of the journal, with the moment in
``since_us``. A fold that met it only there would have put what was said meanwhile into the file. So whoever folds such
a journal is given its amendments, and meets each of them twice: where it belongs, and where it is written, which then
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wavstream.journal.events import RecordingPaused, RecordingStopped
from wavstream.journal.frame_run import FrameRun
from wavstream.journal.records import Damage, EventRecord, Item


def amendment(event: RecordingPaused | RecordingStopped) -> EventRecord:
    """Return the event as a record of the moment since which it counts, which it has."""
    assert event.since_us is not None
    return EventRecord(event.since_us, event)


class Amendments:
    """What is put between the items of one journal, as they are read from its start."""

    def __init__(self, records: Iterable[EventRecord]) -> None:
        self._waiting = sorted(records, key=lambda record: record.arrival_us)

    def put_into(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the next items of the journal, with the events that belong before, within or between them."""
        if not self._waiting:
            return items
        amended: list[Item] = []
        for item in items:
            self._put(item, amended)
        return amended

    def _put(self, item: Item, amended: list[Item]) -> None:
        while self._waiting:
            since_us = self._waiting[0].arrival_us
            if isinstance(item, FrameRun):
                if item.last_us < since_us:
                    break
                before, rest = item.split(since_us)
                if before.tracks:
                    amended.append(before)
                    item = rest
            # What lies at the damage may be the start of the recording, which has to come first.
            elif item.arrival_us < since_us or isinstance(item, Damage):
                break
            amended.append(self._waiting.pop(0))
        amended.append(item)
