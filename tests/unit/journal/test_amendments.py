"""Events are put where they belong, whatever they fall between."""

from __future__ import annotations

import pytest

from tests.support.records import frame_record, rows_of
from tests.support.sessions import at
from wavstream.journal.amendments import Amendments, amendment
from wavstream.journal.events import RecordingPaused, RecordingStopped
from wavstream.journal.frame_run import FrameRun
from wavstream.journal.records import ClockRecord, EventRecord, Item, items
from wavstream.model.recording import EndReason


def a_run(first_s: float, frames: int = 4) -> FrameRun:
    """Return frames of a run, a second apart."""
    rows = [
        frame_record(track=0, arrival_us=at(first_s + number), position=160 * number, payload=bytes([number]) * 320)
        for number in range(frames)
    ]
    (run,) = items(b"".join(rows))
    assert isinstance(run, FrameRun)
    return run


def a_pause(since_s: float) -> EventRecord:
    return amendment(RecordingPaused(recording_id="r", journaled=True, since_us=at(since_s)))


def order(amended: list[Item]) -> list[str]:
    """Return frames as their payloads' first byte, clock records as ``c`` and events as ``e``."""
    told = []
    for item in amended:
        if isinstance(item, FrameRun):
            told += [str(payload[0]) for *_, payload in rows_of(item) if isinstance(payload, bytes)]
        else:
            told.append("c" if isinstance(item, ClockRecord) else "e")
    return told


@pytest.mark.parametrize(
    ("since_s", "expected"),
    [(-1, "e0123c"), (0, "e0123c"), (2, "01e23c"), (2.5, "012e3c"), (3.5, "0123ec"), (4, "0123ec"), (9, "0123c")],
)
def test_an_event_comes_before_all_that_is_not_earlier(since_s: float, expected: str) -> None:
    amended = Amendments([a_pause(since_s)])

    assert "".join(order([*amended.put_into([a_run(0), ClockRecord(at(4))])])) == expected


def test_what_is_not_due_yet_waits_for_the_items_that_follow() -> None:
    stop = amendment(RecordingStopped(recording_id="r", reason=EndReason.STOPPED, end_us=at(6), since_us=at(6)))
    amended = Amendments([stop, a_pause(2)])

    first, second = (amended.put_into([a_run(start_s)]) for start_s in (0, 5))

    assert "".join(order([*first])) == "01e23"
    assert "".join(order([*second])) == "0e123"
    assert amended.put_into(unchanged := [a_run(9)]) is unchanged
