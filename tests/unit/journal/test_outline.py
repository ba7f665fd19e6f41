"""The outline of a journal: its events alone, without a hole, and as it was at any of its batches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.journals import a_started_recording
from tests.support.records import frame_record
from tests.unit.journal.support import record
from wavstream.journal.events import Digit, Mark, RecordingStarted, ServerStarted, ServerStopped, SessionState
from wavstream.journal.outline import MOST_BYTES, Outline, last_arrival_us, unpack_outline
from wavstream.journal.records import clock_record, event_record

STOPPED, STARTED = event_record(3, ServerStopped()), event_record(7, ServerStarted())


def outline_of(*payloads: bytes) -> Outline:
    outline = Outline()
    for number, payload in enumerate(payloads):
        assert outline.add(1 + number // 2, number, payload, has_event=True)
    return outline


def test_an_outline_has_the_events_and_nothing_of_the_audio() -> None:
    outline = outline_of(record(1) + STOPPED + record(4), record(5), clock_record(6) + STARTED)
    assert [(each.number, each.segment, each.record) for each in outline.told] == [(0, 1, STOPPED), (2, 2, STARTED)]
    assert (outline.through, outline.segment) == (2, 2)


def test_what_recovery_learns_nothing_from_is_left_out_and_words_that_look_like_it_are_not() -> None:
    digit = event_record(1, Digit(stream=1, digit="7"))
    mark = event_record(2, Mark(stream=1, name="x"))
    again = event_record(3, SessionState(recordings=(), streams=(), leg_order=("a",)))
    assert outline_of(digit + mark + again).told == []
    words = frame_record(track=0, arrival_us=1, position=0, payload=b'{"type":"mark"')
    assert [each.record for each in outline_of(words + STOPPED).told] == [STOPPED]
    recording = a_started_recording()
    recording = replace(recording, options=replace(recording.options, metadata={"type": "mark"}))
    start = event_record(4, RecordingStarted(recording=recording, streams=(), leg_order=()))
    assert [each.record for each in outline_of(start).told] == [start]


def test_one_is_packed_as_it_was_at_an_earlier_batch() -> None:
    outline = outline_of(STOPPED, record(5), STARTED)
    earlier = unpack_outline(outline.packed(1, 1, 5))
    assert (earlier.through, earlier.segment, earlier.last_us) == (1, 1, 5)
    assert [each.record for each in earlier.told] == [STOPPED]
    assert earlier.add(2, 2, STARTED, has_event=True)
    assert earlier.told == outline.told


def test_a_copy_is_passed_over_and_behind_a_hole_there_is_none() -> None:
    outline = outline_of(STOPPED, record(5))
    assert outline.add(1, 0, STARTED, has_event=True)
    assert len(outline.told) == 1
    assert not outline.add(2, 3, STARTED, has_event=True)


def test_a_long_one_is_none() -> None:
    outline = Outline()
    count = 0
    while outline.add(1, count, STOPPED * 100, has_event=True):
        count += 1
    assert count == MOST_BYTES // (len(STOPPED) * 100)


@pytest.mark.parametrize("payload", [record(9), record(8) + clock_record(9), clock_record(9), STOPPED + record(9)])
def test_the_last_arrival_of_a_batch_is_that_of_its_last_record(payload: bytes) -> None:
    assert last_arrival_us(payload) == 9
