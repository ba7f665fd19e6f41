"""What a reader learns from a session's state that the events before did not tell it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.journals import a_leg, a_started_recording
from tests.support.sessions import at
from wavstream.journal.events import (
    JournalEvent,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    ServerStarted,
    SessionState,
    StreamClosed,
    StreamOpened,
    StreamSnapshot,
)
from wavstream.journal.records import Damage, EventRecord, Item
from wavstream.journal.restated import Restated
from wavstream.model.recording import Recording, Status
from wavstream.model.times import utc

A, B = a_leg("a"), a_leg("b", stream=2)


def snapshot(facts: object = A, *, joined_s: float = 0.0, position: int = 80_000) -> StreamSnapshot:
    return StreamSnapshot(facts=facts, joined_us=at(joined_s), position=position, floor_us=None)  # type: ignore[arg-type]


def state(*recordings: Recording, streams: tuple[StreamSnapshot, ...] = (snapshot(),)) -> SessionState:
    return SessionState(recordings=recordings, streams=streams, leg_order=("a",))


def started(recording: Recording) -> RecordingStarted:
    return RecordingStarted(recording=recording, streams=(snapshot(),), leg_order=("a",))


def told(*happened: JournalEvent, at_s: float = 10.0) -> list[Item]:
    """Return what the last of these events tells."""
    restated = Restated()
    found: list[Item] = []
    for event in happened:
        found = [*restated.take(EventRecord(at(at_s), event))]
    return found


def events_of(items: list[Item]) -> list[JournalEvent]:
    return [item.event for item in items if isinstance(item, EventRecord)]


def test_whoever_has_read_all_learns_nothing_new() -> None:
    recording = a_started_recording()
    paused = replace(recording, status=Status.PAUSED)
    pause = RecordingPaused(recording_id=recording.id, journaled=False)
    resumed = RecordingResumed(recording_id=recording.id)
    both = (snapshot(), snapshot(B))

    assert told(started(recording), state(recording)) == []
    assert told(started(recording), pause, state(paused)) == []
    assert told(started(recording), pause, resumed, state(recording)) == []
    assert told(started(recording), StreamOpened(facts=B), state(recording, streams=both)) == []
    assert told(started(recording), StreamClosed(stream=1, clean=True), state(recording, streams=())) == []
    assert told(started(recording), ServerStarted(), state(recording, streams=())) == []
    assert told(state(recording), state(recording)) == []


def test_a_recording_whose_start_was_not_read_started_when_it_did_and_what_came_till_now_is_damage() -> None:
    recording = replace(a_started_recording(), started_at=utc(at(4.0)))

    start, damage = told(ServerStarted(), StreamOpened(facts=A), state(recording))

    # 6 s of the stream are missing: its position was lower by as much.
    was = snapshot(position=80_000 - 6 * 8000)
    assert start == EventRecord(at(4.0), RecordingStarted(recording=recording, streams=(was,), leg_order=("a",)))
    assert damage == Damage(at(4.0), at(10.0))


def test_a_recording_whose_start_was_not_read_and_that_is_paused_is_paused() -> None:
    recording = replace(a_started_recording(), status=Status.PAUSED)

    _, event = events_of(told(StreamOpened(facts=A), state(recording)))

    assert isinstance(event, RecordingPaused)
    assert event.recording_id == recording.id


@pytest.mark.parametrize("is_paused", [True, False])
def test_a_pause_or_its_end_that_was_not_read_counts_from_here(is_paused: bool) -> None:
    recording = a_started_recording()
    pause = RecordingPaused(recording_id=recording.id, journaled=False)
    before = [started(recording)] if is_paused else [started(recording), pause]
    now = replace(recording, status=Status.PAUSED if is_paused else Status.ONGOING)

    (event,) = events_of(told(*before, state(now)))

    assert isinstance(event, RecordingPaused if is_paused else RecordingResumed)


def test_streams_that_were_not_read_to_open_or_close_have() -> None:
    recording = a_started_recording()
    (closed, opened) = events_of(told(started(recording), state(recording, streams=(snapshot(B),))))
    assert (closed, opened) == (StreamClosed(stream=1, clean=False), StreamOpened(facts=B))


def test_a_known_recording_starts_where_the_damage_is_that_took_its_start_and_only_there() -> None:
    recording = replace(a_started_recording(), started_at=utc(at(4.0)))
    restated = Restated([recording])
    restated.take(EventRecord(at(1.0), StreamOpened(facts=A)))

    assert restated.after_damage(Damage(at(2.0), at(3.0))) == []
    start, stream = restated.after_damage(Damage(at(3.5), at(5.0)))
    assert start == EventRecord(at(4.0), RecordingStarted(recording=recording, streams=(), leg_order=()))
    assert stream == EventRecord(at(4.0), StreamOpened(facts=A))
    assert restated.after_damage(Damage(at(3.5), at(5.0))) == []
