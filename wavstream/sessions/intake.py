"""How much peers may add to a call besides audio, and the count of what was left out.

A call has room for its facts (``model.call``), and a stream for so many events: digits, marks and resumes, each of
which is a record of the journal, and some a row of the catalog. A text of 1 MiB holds thousands.

1. A stream has ``EVENTS_PER_S``, and may save up ``EVENTS_BURST`` of them: more than any person presses keys, or a
   program that names what happens in a call.
2. A digit or a mark beyond that is left out, and counted. The stream and its audio go on.
3. A pause is never left out: what is said in it may be nobody's to keep. A resume beyond that waits until there is room
   again, unless a pause comes first.
4. What was left out is said once a call in the log, in the receipt of each of its recordings, and in a metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from wavstream.model.call import MAX_FACTS_BYTES, MAX_IDS

log = structlog.get_logger(__name__)

MAX_STREAMS = 2_000
"""Streams of one call, one after the other: a link that is lost every 7 s for four hours has as many."""
MAX_LEGS = 500
"""Legs of one call, gone ones too: each is in the receipts of its recordings."""
MAX_PAUSES = 10_000
"""Pauses of one recording: one a second for nearly three hours."""
EVENTS_PER_S = 20
EVENTS_BURST = 200
_EVENT_US = 1_000_000 // EVENTS_PER_S


class EventAllowance:
    """The events that one stream may add now (rule 1). Pure: ``now_us`` never goes back."""

    __slots__ = ("_spent_us",)

    def __init__(self) -> None:
        self._spent_us = 0
        """When all that was spent is earned again."""

    def take(self, now_us: int) -> bool:
        """Spend one event; return False, and spend nothing, if there is none left."""
        spent_us = max(self._spent_us, now_us)
        if spent_us + _EVENT_US > now_us + EVENTS_BURST * _EVENT_US:
            return False
        self._spent_us = spent_us + _EVENT_US
        return True


@dataclass(slots=True)
class LeftOut:
    """What a call had no room for (rule 4)."""

    facts: int = 0
    """Facts of the call, each time that they were told."""
    events: int = 0
    """Digits and marks."""
    is_news: bool = False
    """Whether the journal does not know it yet."""

    def add_facts(self, count: int, *, session_id: str, app_id: str) -> None:
        """Count facts; the first are worth a line in the log."""
        if not self.facts:
            log.warning(
                "call_facts_left_out",
                session_id=session_id,
                app_id=app_id,
                room=f"{MAX_IDS} ids and {MAX_FACTS_BYTES} bytes a call",
            )
        self.facts += count
        self.is_news = True

    def add_event(self, *, session_id: str, app_id: str) -> None:
        """Count an event; the first is worth a line in the log."""
        if not self.events:
            log.warning(
                "stream_events_left_out", session_id=session_id, app_id=app_id, room=f"{EVENTS_PER_S} a second a stream"
            )
        self.events += 1
        self.is_news = True
