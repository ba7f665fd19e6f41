"""A call from its first stream to its end, as its journal and its recorder see it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.support.sessions import (
    ANNOUNCED_WAIT_S,
    RECONNECT_WAIT_S,
    START_WAIT_S,
    Handle,
    LiveCall,
    a_recording,
    at,
    journaled,
    restore,
    talk,
)
from wavstream.journal.events import (
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    ServerStarted,
    ServerStopped,
    SessionState,
    StreamClosed,
    StreamOpened,
)
from wavstream.journal.journal import Journal
from wavstream.model.audio import Track
from wavstream.model.call import CallFacts
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.recording import EndReason, Status
from wavstream.model.times import utc
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.deadlines import LOOK_WAIT_US

GIVEN_UP_S = RECONNECT_WAIT_S + 1


def only_stop(call: LiveCall) -> RecordingStopped:
    (stop,) = [event for event in call.events if isinstance(event, RecordingStopped)]
    return stop


# ---- how it ends ---------------------------------------------------------------------------------------------------


async def test_recordings_end_as_hangup_when_the_last_stream_ends() -> None:
    call = LiveCall()
    a, b = call.open("a"), call.open("b")
    recording = call.start(1.0)

    a.closed(True, at(5.0))
    still = dict(call.running)
    b.closed(True, at(6.0))

    assert list(still) == [recording]
    assert only_stop(call) == RecordingStopped(recording_id=recording, reason=EndReason.HANGUP, end_us=at(6.0))
    assert call.recorder.ended[recording].status is Status.COMPLETED
    assert call.recorder.ended[recording].ended_at == utc(at(6.0))
    assert call.session.is_over


async def test_recordings_end_as_disconnected_where_the_last_stream_did_when_no_leg_comes_back() -> None:
    call = LiveCall()
    a = call.open("a")
    recording = call.start()
    a.closed(False, at(5.0))

    call.session.tick(at(5.0 + RECONNECT_WAIT_S - 0.1))
    waited = list(call.running)
    call.session.tick(at(5.0 + RECONNECT_WAIT_S))

    assert waited == [recording]
    assert only_stop(call) == RecordingStopped(recording_id=recording, reason=EndReason.DISCONNECTED, end_us=at(5.0))
    assert call.session.is_over


async def test_a_leg_that_comes_back_in_time_goes_on_as_the_same_leg() -> None:
    call = LiveCall()
    a = call.open("a")
    recording = call.start()
    a.closed(False, at(5.0))

    again = call.open("a", at_s=20.0)
    talk(again, from_s=20.02)
    call.session.tick(at(5.0 + GIVEN_UP_S))

    assert list(call.running) == [recording]
    assert call.session.legs.names == ["a"]
    assert [type(event) for event in call.events] == [RecordingStarted, StreamClosed, StreamOpened]
    assert call.events[2] == StreamOpened(facts=again.facts)
    assert ("frame", 1, 0) in call.journal


async def test_a_dropped_leg_is_waited_for_after_the_other_hung_up() -> None:
    call = LiveCall()
    a, b = call.open("a"), call.open("b")
    recording = call.start()
    a.closed(False, at(5.0))

    b.closed(True, at(6.0))
    call.session.tick(at(7.0))
    waited = list(call.running)
    call.session.tick(at(5.0 + GIVEN_UP_S))

    assert waited == [recording]
    assert only_stop(call) == RecordingStopped(recording_id=recording, reason=EndReason.DISCONNECTED, end_us=at(6.0))


async def test_a_leg_that_is_given_up_ends_nothing_while_another_streams() -> None:
    call = LiveCall()
    a, b = call.open("a"), call.open("b")
    recording = call.start()
    a.closed(False, at(5.0))

    call.session.tick(at(5.0 + GIVEN_UP_S))
    running = list(call.running)
    b.closed(True, at(60.0))

    assert running == [recording]
    assert call.recorder.ends == [EndReason.HANGUP]


async def test_a_stop_ends_one_recording_and_leaves_the_other_running() -> None:
    call = LiveCall()
    stream = call.open()
    first, second = call.start(), call.start(0.5)

    call.session.recordings.stop(call.live(first), EndReason.STOPPED, at(1.0))
    talk(stream, from_s=1.02)

    assert call.recorder.ends == [EndReason.STOPPED]
    assert list(call.running) == [second]
    assert call.journal[-1] == ("frame", 0, 0)


async def test_nothing_is_journaled_after_the_last_recording_was_stopped() -> None:
    call = LiveCall()
    stream = call.open()
    call.session.recordings.stop(call.live(call.start()), EndReason.STOPPED, at(1.0))

    talk(stream, from_s=1.02)
    call.session.tick(at(2.0))
    call.open("b", at_s=2.0)
    stream.closed(True, at(3.0))

    assert [type(event) for event in call.journal] == [RecordingStarted, RecordingStopped]


async def test_a_session_outlives_a_lost_leg_though_nothing_is_recorded_so_that_a_stop_stays_a_stop() -> None:
    call = LiveCall()
    stream = call.open()
    call.session.recordings.stop(call.live(call.start()), EndReason.STOPPED, at(1.0))

    stream.closed(False, at(2.0))

    assert not call.session.is_over
    call.session.tick(at(2.0 + GIVEN_UP_S))
    assert call.session.is_over


# ---- streams of one leg --------------------------------------------------------------------------------------------


async def test_a_newer_stream_of_the_same_track_takes_the_place_of_the_older() -> None:
    call = LiveCall()
    old_handle = Handle()
    old = call.open("a", handle=old_handle)
    recording = call.start()

    new = call.open("a", at_s=1.0)
    old.closed(False, at(1.1))
    talk(old, from_s=1.2)

    assert call.session.streams == [new]
    assert old_handle.closed == [(1008, "leg: a newer stream of leg 'a' took over")]
    assert call.events[1:] == [StreamClosed(stream=1, clean=False), StreamOpened(facts=new.facts)]
    assert (list(call.running), call.session.legs.away) == ([recording], {})


async def test_a_stream_stands_beside_one_with_another_id_and_takes_the_place_of_one_with_its_own() -> None:
    call = LiveCall()
    handles = [Handle(), Handle()]
    first, second = (
        call.open("a", handle=handle, stream_id=stream_id)
        for handle, stream_id in zip(handles, ("MZ1", "MZ2"), strict=True)
    )
    assert call.session.streams == [first, second]
    assert [handle.closed for handle in handles] == [[], []]

    again = call.open("a", stream_id="MZ1")

    assert call.session.streams == [second, again]
    assert [len(handle.closed) for handle in handles] == [1, 0]


async def test_a_stream_without_an_id_takes_the_place_of_one_that_has_one() -> None:
    call = LiveCall()
    call.open("a", stream_id="MZ1")
    new = call.open("a")
    assert call.session.streams == [new]


async def test_inbound_and_outbound_streams_of_one_leg_are_side_by_side() -> None:
    call = LiveCall()
    handle = Handle()
    said = call.open("a", handle=handle, tracks=(Track.INBOUND,))
    heard = call.open("a", tracks=(Track.OUTBOUND,))
    call.start()

    said.closed(False, at(1.0))

    assert call.session.streams == [heard]
    assert call.session.legs.away == {}
    assert (handle.closed, call.session.legs.names) == ([], ["a"])


async def test_a_leg_is_away_when_the_last_of_its_streams_is_lost() -> None:
    call = LiveCall()
    said = call.open("a", tracks=(Track.INBOUND,))
    heard = call.open("a", tracks=(Track.OUTBOUND,))
    call.start()
    said.closed(False, at(1.0))

    heard.closed(False, at(2.0))

    assert list(call.session.legs.away) == ["a"]


async def test_legs_without_names_get_letters() -> None:
    call = LiveCall()

    assert [call.open(None).facts.leg for _ in range(3)] == ["a", "b", "c"]


async def test_a_leg_without_a_name_that_was_lost_is_the_same_leg_when_it_is_back() -> None:
    call = LiveCall()
    a, b = call.open(None), call.open(None)
    call.start()
    b.closed(False, at(1.0))
    a.closed(False, at(2.0))

    back = [call.open(None, at_s=3.0).facts.leg, call.open(None, at_s=4.0).facts.leg]

    assert (back, call.session.legs.names, call.session.legs.away) == (["b", "a"], ["a", "b"], {})


async def test_a_leg_without_a_name_that_hung_up_does_not_come_back() -> None:
    call = LiveCall()
    a, _ = call.open(None), call.open(None)
    call.start()
    a.closed(True, at(1.0))

    assert call.open(None, at_s=2.0).facts.leg == "c"


async def test_streams_send_silence_for_as_long_as_a_recording_runs_if_they_asked_for_it() -> None:
    call = LiveCall()
    asked, other = Handle(), Handle()
    call.open("a", handle=asked, keepalive=True)
    call.open("b", handle=other)
    recording = call.start()
    while_running = asked.alive

    call.session.recordings.stop(call.live(recording), EndReason.STOPPED, at(1.0))

    assert (while_running, asked.alive, other.alive) == (True, False, False)


async def test_a_recording_that_the_gateway_started_plays_silence_to_all_streams_but_those_that_refused_it() -> None:
    call = LiveCall()
    early, late, refused = Handle(), Handle(), Handle()
    call.open("a", handle=early)
    call.open("c", handle=refused, keepalive=False)
    recording = replace(a_recording(), request_id="rec-1", keepalive=True)
    call.session.start(recording, at(0.0))
    other = call.start(0.1)
    call.open("b", at_s=0.2, handle=late)
    while_running = (early.alive, late.alive, refused.alive)

    call.session.recordings.stop(call.live(recording.id), EndReason.STOPPED, at(1.0))

    assert list(call.running) == [other]
    assert (while_running, early.alive, late.alive) == ((True, True, False), False, False)


# ---- starts --------------------------------------------------------------------------------------------------------


async def test_a_start_record_tells_all_that_a_fold_must_know() -> None:
    call = LiveCall()
    call.open("b", call=CallFacts(from_="+4930", vendor_ids={"sid": "CA1"}))
    gone = call.open("a")
    a = call.open("a", at_s=0.5)
    talk(a, from_s=0.52)

    recording = call.start(1.0)

    started = call.events[0]
    assert isinstance(started, RecordingStarted)
    assert started.recording == call.running[recording]
    assert (started.recording.status, started.recording.started_at) == (Status.ONGOING, utc(at(1.0)))
    assert started.recording.call == CallFacts(from_="+4930", vendor_ids={"sid": "CA1"})
    assert started.leg_order == ("b", "a")
    assert [snapshot.facts.stream for snapshot in started.streams] == [1, 3]
    assert started.streams[1].position == 160
    assert gone not in call.session.streams
    assert call.recorder.begun == [(recording, 1)]


async def test_a_recording_of_a_session_that_was_recorded_before_starts_in_a_fresh_segment() -> None:
    call = LiveCall()
    call.open()
    first = call.start()
    call.session.recordings.stop(call.live(first), EndReason.STOPPED, at(1.0))

    second = call.start(2.0)
    beside = call.start(3.0)

    assert call.recorder.begun == [(first, 1), (second, 2), (beside, 2)]
    assert len(call.writer.journals) == 1


async def test_waiting_recordings_start_with_the_first_stream() -> None:
    call = LiveCall()
    recordings = [call.start(), call.start(1.0)]
    waiting = list(call.waiting)

    stream = call.open(at_s=2.0)

    assert waiting == recordings
    assert (call.waiting, list(call.running)) == ({}, recordings)
    assert [(each.id, each.status) for each in call.recorder.changed] == [(id, Status.ONGOING) for id in recordings]
    starts = [event for event in call.events if isinstance(event, RecordingStarted)]
    assert [start.streams[0].facts for start in starts] == [stream.facts, stream.facts]


async def test_a_waiting_recording_is_absent_when_no_stream_comes_in_time() -> None:
    call = LiveCall()
    recording = call.start()

    call.session.tick(at(START_WAIT_S - 0.1))
    waited = list(call.waiting)
    call.session.tick(at(START_WAIT_S))

    assert waited == [recording]
    (absent,) = call.recorder.changed
    assert (absent.id, absent.status, absent.end_reason, absent.ended_at) == (
        recording, Status.ABSENT, EndReason.NO_STREAM, utc(at(START_WAIT_S)),
    )  # fmt: skip
    assert (call.session.is_over, call.writer.journals) == (True, [])


async def test_one_whose_app_cannot_look_for_similar_ids_yet_waits_a_little_and_is_told_so() -> None:
    call, in_vain = LiveCall(), Counter[str]()
    call.session._similar, call.session._in_vain = lambda *_: None, in_vain
    recording = call.start()
    call.session.tick(at(START_WAIT_S))
    waited = list(call.waiting)
    call.session.tick(at(START_WAIT_S) + LOOK_WAIT_US)

    assert waited == [recording]
    (absent,) = call.recorder.changed
    assert (absent.status, "was not looked at" in str(absent.error)) == (Status.ABSENT, True)
    assert in_vain == {"not_looked": 1}


async def test_an_announced_session_outlives_a_recording_that_no_stream_came_for() -> None:
    call = LiveCall()
    call.session.announce(at(0))
    first = call.start(1000.0)
    call.session.tick(at(1000.0 + START_WAIT_S))
    second = call.start(ANNOUNCED_WAIT_S - 1)

    call.session.tick(at(ANNOUNCED_WAIT_S))
    waits_on = list(call.waiting)
    call.session.tick(at(ANNOUNCED_WAIT_S - 1 + START_WAIT_S))

    assert waits_on == [second]
    assert [(each.id, each.status) for each in call.recorder.changed] == [
        (first, Status.ABSENT), (second, Status.ABSENT),
    ]  # fmt: skip
    assert call.session.is_over


async def test_a_session_that_was_announced_is_over_when_its_stream_has_hung_up() -> None:
    call = LiveCall()
    call.session.announce(at(0))

    call.open().closed(True, at(1.0))

    assert call.session.is_over


async def test_a_waiting_recording_can_be_cancelled() -> None:
    call = LiveCall()

    cancelled = call.session.cancel(call.live(call.start()), at(1.0))

    assert str(cancelled.error).startswith("no stream of session 'call-77' came within 1 s")
    assert (cancelled.status, cancelled.end_reason, cancelled.ended_at) == (
        Status.ABSENT, EndReason.STOPPED, utc(at(1.0)),
    )  # fmt: skip
    assert call.waiting == {}


async def test_a_recording_that_is_asked_for_while_every_leg_is_away_starts_when_one_comes_back() -> None:
    call = LiveCall()
    stream = call.open()
    first = call.start()
    stream.closed(False, at(1.0))

    second = call.start(2.0)
    waiting = list(call.waiting)
    call.open(at_s=3.0)

    assert waiting == [second]
    assert list(call.running) == [first, second]


# ---- pauses --------------------------------------------------------------------------------------------------------


async def test_a_pause_is_journaled_with_whether_the_audio_goes_on() -> None:
    call = LiveCall()
    call.open()
    first, second = call.start(), call.start()

    call.session.recordings.pause(call.live(first), at(1.0))
    call.session.recordings.pause(call.live(second), at(2.0))
    call.session.recordings.resume(call.live(second), at(3.0))
    call.session.recordings.resume(call.live(first), at(4.0))

    assert call.events[2:] == [
        RecordingPaused(recording_id=first, journaled=True, behavior=PauseBehavior.SKIP, begins=True),
        RecordingPaused(recording_id=second, journaled=False, behavior=PauseBehavior.SKIP, begins=True),
        RecordingResumed(recording_id=second),
        RecordingPaused(recording_id=first, journaled=True, behavior=PauseBehavior.SKIP),
        RecordingResumed(recording_id=first),
    ]


async def test_a_recording_that_starts_in_the_pause_of_another_is_told_to_that_one() -> None:
    call = LiveCall()
    call.open()
    paused = call.start()
    call.session.recordings.pause(call.live(paused), at(1.0))

    call.start(2.0)

    assert call.events[-1] == RecordingPaused(recording_id=paused, journaled=True, behavior=PauseBehavior.SKIP)


async def test_a_peer_that_pauses_twice_is_heard_once() -> None:
    call = LiveCall()
    call.open()
    call.start()

    call.session.recordings.pause_all(at(1.0), leg="a")
    call.session.recordings.pause_all(at(2.0), leg="a")
    call.session.recordings.resume_all(at(3.0), leg="a")
    call.session.recordings.resume_all(at(4.0), leg="a")

    assert [type(event) for event in call.events] == [RecordingStarted, RecordingPaused, RecordingResumed]


def status_of(recording: LiveRecording) -> Status:
    return recording.row.status


async def test_a_leg_does_not_end_the_pause_of_a_command() -> None:
    call = LiveCall()
    call.open()
    recording = call.live(call.start())
    call.session.recordings.pause(recording, at(1.0))

    call.session.recordings.resume_all(at(2.0), leg="a")
    assert status_of(recording) is Status.PAUSED
    call.session.recordings.pause_all(at(3.0), leg="a")
    call.session.recordings.resume_all(at(4.0), leg="a")
    assert status_of(recording) is Status.PAUSED

    call.session.recordings.resume(recording, at(5.0))
    assert status_of(recording) is Status.ONGOING


async def test_a_pause_that_a_leg_began_and_a_command_took_over_is_the_commands() -> None:
    call = LiveCall()
    call.open()
    recording = call.live(call.start())
    call.session.recordings.pause_all(at(1.0), leg="a")
    call.session.recordings.pause(recording, at(2.0))

    call.session.recordings.resume_all(at(3.0), leg="a")

    assert status_of(recording) is Status.PAUSED
    assert recording.row.changed_at == utc(at(1.0))  # it is the same pause
    holders = [event.held_by for event in call.events if isinstance(event, RecordingPaused)]
    assert holders == [("leg:a",), ("api", "leg:a"), ("api",)]


async def test_each_leg_ends_its_own_pause_and_a_command_that_of_all() -> None:
    call = LiveCall()
    call.open()
    recording = call.live(call.start())
    for at_s in (1.0, 5.0):
        call.session.recordings.pause_all(at(at_s), leg="a")
        call.session.recordings.pause_all(at(at_s), leg="b")
        call.session.recordings.resume_all(at(at_s + 1), leg="a")
        assert status_of(recording) is Status.PAUSED
        if at_s == 1.0:
            call.session.recordings.resume_all(at(at_s + 2), leg="b")
        else:
            call.session.recordings.resume(recording, at(at_s + 2))
        assert status_of(recording) is Status.ONGOING


# ---- time ----------------------------------------------------------------------------------------------------------


async def test_time_is_journaled_while_a_recording_runs_and_every_leg_is_away() -> None:
    call = LiveCall()
    call.session.tick(at(0.45))
    stream = call.open(at_s=0.5)
    call.start(0.5, RecordingOptions(max_length_s=600))
    stream.closed(False, at(0.6))

    folds = [visit for visit in range(1, 40) if call.session.tick(at(0.5 + visit * 0.15))]

    clocks = [row for row in call.journal if isinstance(row, tuple)]
    assert [at_s for _, at_s in clocks] == pytest.approx([0.5 + number * 0.45 for number in range(1, 14)])
    assert folds == [21, 33], "the first when the tracks can be placed, which takes 2 s of them"


def clocks_of(call: LiveCall, visits: range) -> list[float]:
    """Let the session be visited, and return when it wrote clock records, in seconds."""
    before = len(call.journal)
    for visit in visits:
        call.session.tick(at(visit * 0.15))
    return [round(row[1], 3) for row in call.journal[before:] if isinstance(row, tuple)]


async def test_while_nobody_waits_for_the_fold_clock_records_are_rare() -> None:
    call = LiveCall()
    call.open("a")
    call.start(0.0)

    assert clocks_of(call, range(1, 40)) == [0.45, 1.35, 2.25, 3.15, 4.05, 4.95, 5.85]


@pytest.mark.parametrize(
    "options",
    [
        RecordingOptions(max_length_s=600),
        RecordingOptions(initial_timeout_s=30),
        RecordingOptions(end_silence_timeout_s=30),
        RecordingOptions(terminators="#"),
    ],
)
async def test_what_the_fold_may_end_has_clock_records_as_often_as_it_decides(options: RecordingOptions) -> None:
    call = LiveCall()
    call.open("a")
    call.start(0.0)
    call.start(0.0, options)

    assert clocks_of(call, range(1, 13)) == [0.45, 0.9, 1.35, 1.8]


class Followed:
    is_followed = True


async def test_a_listener_has_a_clock_record_with_the_next_visit() -> None:
    call = LiveCall()
    call.open("a")
    recording_id = call.start(0.0)
    clocks_of(call, range(1, 8))
    call.live(recording_id).job = Followed()  # type: ignore[assignment]

    assert clocks_of(call, range(8, 15)) == [1.2, 1.65, 2.1]


# ---- restarts ------------------------------------------------------------------------------------------------------


def restored(
    call: LiveCall, *, lost: list[str], last_s: float = 9.0, now_s: float = 10.0, is_named: bool = True
) -> Journal:
    journal = Journal(key="k", app_id="default", session_id="call-77", segment=3)
    call.writer.journals.append(journal)
    recording = a_recording()
    restore(
        call.session,
        call.recorder,
        recording,
        journal=journal,
        legs=["a", "b"],
        lost=lost,
        next_stream=7,
        next_track=9,
        last_us=at(last_s),
        now_us=at(now_s),
        is_named=is_named,
    )
    return journal


async def test_what_lasts_is_said_again_in_each_segment_and_once_a_minute() -> None:
    call = LiveCall()
    stream = call.open("a")
    recording = call.start()
    for at_s in (0.5, 1.0, 59.0, 61.0, 62.0):
        call.session.tick(at(at_s))
    assert call.session.notes.journal is not None
    call.session.notes.journal.rotate()
    call.session.tick(at(63.0))

    said = [row for row in call.journal if isinstance(row, SessionState)]
    assert len(said) == 3
    assert [each.id for each in said[0].recordings] == [recording]
    assert [each.facts for each in said[0].streams] == [stream.facts]
    assert said[0].leg_order == ("a",)


async def test_a_restored_session_goes_on_with_the_leg_that_comes_back() -> None:
    call = LiveCall()
    journal = restored(call, lost=["a"])

    stream = call.open("a", at_s=11.0)
    talk(stream, from_s=11.02)
    call.session.tick(at(10.0 + GIVEN_UP_S))

    assert (stream.facts.stream, stream.facts.first_track) == (7, 9)
    assert [row for row in journaled(journal) if not isinstance(row, tuple | SessionState)] == [
        ServerStarted(), StreamOpened(facts=stream.facts),
    ]  # fmt: skip
    assert ("frame", 9, 0) in journaled(journal)
    assert call.recorder.ended == {}


@pytest.mark.parametrize(("is_named", "back"), [(False, ["a", "b"]), (True, ["c", "d"])])
async def test_legs_that_named_themselves_before_a_restart_come_back_by_name_only(
    is_named: bool, back: list[str]
) -> None:
    call = LiveCall()
    restored(call, lost=["a", "b"], is_named=is_named)

    assert [call.open(None, at_s=11.0 + number).facts.leg for number in range(2)] == back


async def test_a_restored_session_ends_as_recovered_at_the_last_that_it_has_when_nobody_comes_back() -> None:
    call = LiveCall()
    journal = restored(call, lost=["a", "b"])

    call.session.tick(at(10.0 + GIVEN_UP_S))

    stop = journaled(journal)[-1]
    assert isinstance(stop, RecordingStopped)
    assert (stop.reason, stop.end_us) == (EndReason.RECOVERED, at(9.0))


async def test_a_restored_session_without_legs_to_wait_for_ends_at_once() -> None:
    call = LiveCall()

    restored(call, lost=[])

    assert call.recorder.ends == [EndReason.RECOVERED]
    assert call.session.is_over


async def test_a_leg_that_came_back_after_a_restart_and_dropped_ends_the_session_as_disconnected() -> None:
    call = LiveCall()
    restored(call, lost=["a", "b"])
    stream = call.open("a", at_s=12.0)
    stream.closed(False, at(13.0))

    call.session.tick(at(13.0 + GIVEN_UP_S))

    assert call.recorder.ends == [EndReason.DISCONNECTED]


async def test_a_restored_session_knows_the_call_of_its_recordings() -> None:
    call = LiveCall()
    call.open(call=CallFacts(from_="+4930"))
    started = call.start()
    running = call.running[started]
    other = LiveCall()

    journal = other.writer.open(key="k", app_id="default", session_id="call-77")
    restore(other.session, other.recorder, running, journal=journal, lost=["a"], last_us=at(1), now_us=at(2))

    assert other.session.call.from_ == "+4930"


async def test_a_session_that_is_detached_notes_it_and_takes_in_nothing_more() -> None:
    call = LiveCall()
    stream = call.open()
    call.start()

    was_running = call.session.recordings.detach(at(1.0))
    talk(stream, from_s=1.02)
    stream.closed(True, at(2.0))

    assert was_running
    assert call.journal[1:] == [ServerStopped()]
    assert call.recorder.ended == {}


async def test_a_session_that_records_nothing_has_nothing_to_note_when_it_is_detached() -> None:
    call = LiveCall()
    call.start()

    assert not call.session.recordings.detach(at(1.0))
    assert (call.writer.journals, call.waiting) == ([], {})
