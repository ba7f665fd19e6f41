"""What a reader learns from a session's state that the events before did not tell it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from tests.support.journals import a_leg, a_started_recording
from tests.support.sessions import at
from wavstream.journal.events import (
    JournalEvent,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    ServerStarted,
    SessionState,
    StreamClosed,
    StreamOpened,
    StreamSnapshot,
)
from wavstream.journal.records import Damage, EventRecord, Item
from wavstream.journal.restated import Restated
from wavstream.model.recording import EndReason, Recording, Status
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


# ---- a pause that the damage took ----------------------------------------------------------------------------------

RUNNING = a_started_recording()
PAUSED = replace(RUNNING, status=Status.PAUSED)
PAUSE = RecordingPaused(recording_id=RUNNING.id, journaled=True)
BEGUN = RecordingPaused(recording_id=RUNNING.id, journaled=True, begins=True)
RESUME = RecordingResumed(recording_id=RUNNING.id)
STOP = RecordingStopped(recording_id=RUNNING.id, reason=EndReason.STOPPED, end_us=at(10.0), paused=True)
SINCE_US = at(4.0) + 1


def paused_since(*happened: JournalEvent | Damage, last: JournalEvent) -> list[int | None]:
    """Return since when the last of these tells pauses; the recording has started before them."""
    restated = Restated()
    for each in (started(RUNNING), *happened):
        if isinstance(each, Damage):
            restated.after_damage(each)
        else:
            restated.take(EventRecord(at(4.0), each))
    told = events_of([*restated.take(EventRecord(at(10.0), last))])
    return [event.since_us for event in told if isinstance(event, RecordingPaused)]


@pytest.mark.parametrize("last", [state(PAUSED), RESUME, PAUSE, STOP])
def test_who_turns_out_to_have_been_paused_was_since_the_first_damage(last: JournalEvent) -> None:
    damages = (Damage(at(4.0), at(5.0)), Damage(at(6.0), at(7.0)))
    assert paused_since(*damages, last=last) == [SINCE_US]


@pytest.mark.parametrize("last", [state(RUNNING), BEGUN, msgspec.structs.replace(STOP, paused=False)])
def test_who_was_not_paused_behind_the_damage_was_not_in_it(last: JournalEvent) -> None:
    assert [each for each in paused_since(Damage(at(4.0), at(5.0)), last=last) if each is not None] == []


@pytest.mark.parametrize("between", [state(RUNNING), RESUME, BEGUN])
def test_what_is_read_whole_behind_the_damage_ends_the_doubt(between: JournalEvent) -> None:
    found = paused_since(Damage(at(1.0), at(2.0)), between, last=state(PAUSED))
    assert found == ([] if between is BEGUN else [None])


def test_without_damage_nothing_is_dated_back() -> None:
    assert paused_since(last=state(PAUSED)) == [None]
    assert paused_since(last=PAUSE) == [None]
    assert paused_since(last=RESUME) == []


def test_a_known_recording_whose_start_and_pause_are_lost_starts_and_is_paused_since() -> None:
    recording = replace(PAUSED, started_at=utc(at(4.0)))
    restated = Restated([recording])

    (start,) = restated.after_damage(Damage(at(3.5), at(5.0)))
    _, pause = events_of([*restated.take(EventRecord(at(10.0), state(recording)))])

    assert isinstance(start, EventRecord)
    assert isinstance(start.event, RecordingStarted)
    assert start.event.recording.status is Status.ONGOING
    assert isinstance(pause, RecordingPaused)
    assert pause.since_us == SINCE_US
