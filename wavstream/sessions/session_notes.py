"""What a session notes in its journal, and when enough of it is there for a fold.

1. Nothing is noted while no recording runs. Where one starts and none ran, a new segment begins, so that the segments
   before it need not be kept for its sake.
2. A clock record is due about every 450 ms, and every 0.9 s in *calm* time: while nobody waits for what the fold finds
   out, and there is nothing else to tell. It also tells the time in which nothing was read, as far as the clock records
   before it have not. What a stream has said last may be read, and its end with it, before the tick that sees
   that the loop stood still: so the end of a stream is told of such time at once.
3. The state of the session is due again with the first clock record of a segment, and once a minute: it is what a fold
   goes on from behind damage.
4. What the call had no room for is noted when there is more of it, before a recording stops, and anew for a recording
   that starts: each has it in its receipt.

Frames do not come by here: streams append them to the journal (``stream``).
"""

from __future__ import annotations

from collections.abc import Callable

from wavstream.journal import events, records
from wavstream.journal.journal import Journal
from wavstream.journal.writer import JournalWriter
from wavstream.model.ids import new_id
from wavstream.sessions.deadlines import VISIT_US, FoldSchedule
from wavstream.sessions.intake import LeftOut
from wavstream.sessions.reading import LATE_US


class SessionNotes:
    """The journal of one session, which is made when its first recording starts."""

    # The ticker looks here for each session, so it is not spread over a dictionary.
    __slots__ = (
        "_app_id",
        "_session_id",
        "_told_ahead_us",
        "_untold_us",
        "_visited_us",
        "_writer",
        "active_us",
        "is_recording",
        "is_state_due",
        "journal",
        "late_us",
        "left_out",
        "schedule",
    )

    def __init__(
        self,
        writer: JournalWriter,
        *,
        app_id: str,
        session_id: str,
        now_us: int,
        turn: int = 0,
        late_us: Callable[[int], int] = lambda now_us: 0,
    ) -> None:
        """Begin without a journal; ``FoldSchedule`` says what ``turn`` is, ``ReadingTime`` what ``late_us`` is."""
        self.late_us = late_us
        """How late anything may have been read lately, by our own fault, at a moment."""
        self.journal: Journal | None = None
        self.is_recording = False
        """Whether a recording runs (rule 1)."""
        self.active_us = now_us
        """When something came last, noted or not, as far as that is known without asking the streams; see
        ``StalledSessions``."""
        self.left_out = LeftOut()
        self.schedule = FoldSchedule(now_us, turn)
        self.is_state_due = False
        """Whether ``note_state`` is to be called now (rule 3)."""
        self._untold_us = 0
        """Time in which nothing was read and that no clock record has told."""
        self._told_ahead_us = 0
        """Of what was told since the last tick, what the next one will come with."""
        self._visited_us: int | None = None
        self._writer = writer
        self._app_id = app_id
        self._session_id = session_id

    # ---- while recordings run ----------------------------------------------------------------------------------

    def journal_of_start(self, now_us: int) -> Journal:
        """Return the journal for a recording that starts; its segment is the first that the recording needs."""
        if self.journal is None:
            self.journal = self._writer.open(key=new_id(), app_id=self._app_id, session_id=self._session_id)
        if not self.is_recording:
            self.journal.rotate()  # rule 1
            self.schedule.restart(now_us)
        return self.journal

    # ---- notes -------------------------------------------------------------------------------------------------

    def note(self, now_us: int, event: events.JournalEvent) -> None:
        """Put what happened into the journal, if a recording runs."""
        self.active_us = now_us
        if self.journal is not None and self.is_recording:
            self.journal.append_event(records.event_record(now_us, event))

    def note_closed(self, now_us: int, stream: int, *, clean: bool) -> None:
        """Note that a stream is over, and how late its last words may have been read (rule 2)."""
        self.tell_unread(now_us)
        self.note(now_us, events.StreamClosed(stream=stream, clean=clean, late_us=self.late_us(now_us)))

    def note_digit(self, now_us: int, stream: int, digit: str) -> None:
        """Note a digit, if a recording runs: it may be the end of it."""
        self.note(now_us, events.Digit(stream=stream, digit=digit, late_us=self.late_us(now_us)))
        if self.journal is not None and self.is_recording:
            self.schedule.hurry()

    def note_state(self, now_us: int, state: events.SessionState) -> None:
        """Say again how the session is (rule 3). Nothing has happened."""
        assert self.journal is not None
        self.is_state_due = False
        self.journal.append_event(records.event_record(now_us, state))

    def note_left_out(self, now_us: int) -> None:
        """Note what the call had no room for, if a recording runs and it was not noted (rule 4)."""
        left = self.left_out
        if left.is_news and self.is_recording:
            left.is_news = False
            self.note(now_us, events.LeftOut(facts=left.facts, events=left.events))

    # ---- time --------------------------------------------------------------------------------------------------

    def put_off(self, unread_us: int) -> None:
        """Take in that nothing was read for so long: it is no silence of the peers."""
        ahead_us = min(unread_us, self._told_ahead_us)
        self._untold_us += unread_us - ahead_us
        self.active_us += unread_us

    def tell_unread(self, now_us: int) -> None:
        """Tell at once how long nothing was read until now, if a recording runs (rule 2)."""
        stood_us = 0 if self._visited_us is None else now_us - self._visited_us - VISIT_US
        if stood_us >= LATE_US:
            self._untold_us += stood_us - self._told_ahead_us
            self._told_ahead_us = stood_us
        if self._untold_us > 0 and self.journal is not None and self.is_recording:
            self.journal.append(records.clock_record(now_us, unread_us=self._untold_us))
            self._untold_us = 0

    def tick(self, now_us: int, *, is_awaited: bool = True) -> bool:
        """Note the time where that is due; return whether enough has been journaled to be worth a fold.

        ``is_awaited``: somebody waits for what the fold finds out.
        """
        schedule, journal = self.schedule, self.journal
        self._visited_us, self._told_ahead_us = now_us, 0
        is_fold_due = schedule.hurries()
        if journal is None or not self.is_recording:
            return is_fold_due
        is_calm = not (is_awaited or self._untold_us) and schedule.has_said_state(journal.segment)
        if not schedule.clock_is_due(now_us, is_calm=is_calm):  # rule 2
            return is_fold_due
        journal.append(records.clock_record(now_us, unread_us=self._untold_us))
        self._untold_us = 0
        self.is_state_due = schedule.state_is_due(now_us, journal.segment)
        return is_fold_due or schedule.fold_is_due
