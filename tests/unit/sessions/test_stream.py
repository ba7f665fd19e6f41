"""Which rule a frame meets, and what a stream tells a recording that starts late."""

from __future__ import annotations

import pytest

from tests.support.records import rows_of
from tests.support.sessions import FRAME, LiveCall, at, talk
from wavstream.dialects import events as said
from wavstream.dialects.events import Dtmf, Ignored, Paused, Reason, Resumed
from wavstream.journal.events import Digit, Mark, RecordingPaused, RecordingResumed
from wavstream.journal.frame_run import FrameRun
from wavstream.journal.records import items
from wavstream.model.audio import TrackClock
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import Status


def frames_of(call: LiveCall) -> list[object]:
    return [row for row in call.journal if isinstance(row, tuple) and row[0] != "clock"]


async def test_a_frame_is_counted_and_forgotten_while_no_recording_runs() -> None:
    call = LiveCall()
    stream = call.open()

    talk(stream, from_s=0.02, frames=5)

    assert call.writer.journals == []
    assert (stream.frames, stream.position, stream.last_arrival_us) == (5, 800, at(0.1))


async def test_a_frame_goes_to_the_journal_whole_while_a_recording_runs() -> None:
    call = LiveCall()
    stream = call.open()
    talk(stream, from_s=0.02)
    call.start(0.03)

    talk(stream, from_s=0.04, frames=2)

    assert frames_of(call) == [("frame", 0, 160), ("frame", 0, 320)]
    (run,) = [item for item in items(call.writer.journals[0].queue[-1][1]) if isinstance(item, FrameRun)]  # type: ignore[index]
    assert rows_of(run) == [("frame", 0, at(0.04), 160, FRAME), ("frame", 0, at(0.06), 320, FRAME)]


async def test_the_second_stream_has_tracks_of_its_own() -> None:
    call = LiveCall()
    a, b = call.open("a"), call.open("b")
    call.start()

    talk(b, from_s=0.02)
    talk(a, from_s=0.02)

    assert frames_of(call) == [("frame", 1, 0), ("frame", 0, 0)]


async def test_a_frame_leaves_its_length_alone_while_every_recording_is_paused() -> None:
    call = LiveCall()
    stream = call.open()
    recording = call.start()
    call.session.recordings.pause(call.live(recording), at(0.01))

    talk(stream, from_s=0.02, frames=2)

    assert frames_of(call) == [("withheld", 0, 0, 160), ("withheld", 0, 160, 160)]
    assert FRAME not in b"".join(entry[1] for entry in call.writer.journals[0].queue if isinstance(entry, tuple))


async def test_a_frame_goes_to_the_journal_while_one_of_two_recordings_is_paused() -> None:
    call = LiveCall()
    stream = call.open()
    paused, other = call.start(), call.start()
    call.session.recordings.pause(call.live(paused), at(0.01))

    talk(stream, from_s=0.02)
    call.session.recordings.pause(call.live(other), at(0.03))
    talk(stream, from_s=0.04)

    assert frames_of(call) == [("frame", 0, 0), ("withheld", 0, 160, 160)]
    pauses = [event for event in call.events if isinstance(event, RecordingPaused)]
    assert pauses == [
        RecordingPaused(recording_id=paused, journaled=True, behavior=PauseBehavior.SKIP, begins=True),
        RecordingPaused(recording_id=other, journaled=False, behavior=PauseBehavior.SKIP, begins=True),
    ]


async def test_what_was_said_in_a_pause_and_comes_after_it_is_withheld() -> None:
    call = LiveCall()
    stream = call.open()
    recording = call.start()
    talk(stream, from_s=0.02, frames=50)  # said from 0 to 1 s
    call.session.recordings.pause(call.live(recording), at(1.0))
    call.session.recordings.resume(call.live(recording), at(2.0))

    talk(stream, from_s=0, frames=60, arrivals_s=[2.1] * 60)  # said from 1.0 to 2.2 s

    withheld = [row for row in frames_of(call) if row[0] == "withheld"]  # type: ignore[index]
    assert [row[2] / 8000 for row in withheld] == pytest.approx([1.0 + number * 0.02 for number in range(50)])  # type: ignore[index]
    assert frames_of(call)[-1] == ("frame", 0, 109 * 160)


async def test_of_a_long_frame_in_which_the_pause_ends_what_was_said_behind_it_goes_to_the_journal() -> None:
    call = LiveCall()
    stream = call.open()
    recording = call.start()
    stream.frame(said.Frame(0, 0, 1600, bytes(1600) * 2), at(0.2))
    call.session.recordings.pause(call.live(recording), at(0.205))
    call.session.recordings.resume(call.live(recording), at(1.205))  # 5 ms late: its sender went on at 1.2 s

    stream.frame(said.Frame(0, 9600, 1600, b"ab" * 1600), at(1.4))

    assert frames_of(call) == [("frame", 0, 0), ("withheld", 0, 9600, 40), ("frame", 0, 9640)]
    runs = [item for item in items(call.writer.journals[0].queue[-1][1]) if isinstance(item, FrameRun)]  # type: ignore[index]
    assert rows_of(runs[-1])[-1] == ("frame", 0, at(1.4), 9640, b"ab" * 1560)
    assert (stream.frames, stream.position) == (2, 11_200)


async def test_what_arrives_after_a_pause_was_said_after_it_where_silence_is_suppressed() -> None:
    call = LiveCall()
    stream = call.open(clock=TrackClock.ARRIVAL)
    recording = call.start()
    talk(stream, from_s=0.02)
    call.session.recordings.pause(call.live(recording), at(1.0))
    call.session.recordings.resume(call.live(recording), at(2.0))

    talk(stream, from_s=2.1)

    assert frames_of(call) == [("frame", 0, 0), ("frame", 0, 160)]


async def test_a_recording_that_starts_within_a_guarded_moment_does_not_lift_the_guard() -> None:
    call = LiveCall()
    stream = call.open()
    recording = call.start()
    talk(stream, from_s=0.02, frames=50)
    call.session.recordings.pause(call.live(recording), at(1.0))
    call.session.recordings.resume(call.live(recording), at(2.0))

    call.start(2.05)
    talk(stream, from_s=2.1)

    assert frames_of(call)[-1] == ("withheld", 0, 8000, 160)


async def test_a_snapshot_has_the_smallest_lag_of_the_stream_so_far() -> None:
    call = LiveCall()
    stream = call.open(at_s=1.0)

    talk(stream, from_s=0, frames=3, arrivals_s=[1.5, 1.49, 1.7])

    # Frames that end at 20, 40 and 60 ms: the second came with the least lag, of which 20 ms are its own length.
    snapshot = stream.snapshot()
    assert (snapshot.joined_us, snapshot.position) == (at(1.0), 480)
    assert snapshot.floor_us == at(1.49) - 40_000 + 20_000


async def test_a_snapshot_of_a_stream_that_has_sent_nothing_has_no_lag() -> None:
    assert LiveCall().open().snapshot().floor_us is None


async def test_a_lag_is_forgotten_after_two_windows() -> None:
    call = LiveCall()
    stream = call.open()
    talk(stream, from_s=0.02)
    stream.turn_window()
    talk(stream, from_s=0.5)
    early = stream.snapshot().floor_us
    stream.turn_window()

    late = stream.snapshot().floor_us

    assert (early, late) == (at(0.02), at(0.5) - 40_000 + 20_000)


async def test_a_window_without_frames_keeps_the_lag_of_the_one_before() -> None:
    call = LiveCall()
    stream = call.open()
    talk(stream, from_s=0.02)

    for _ in range(3):
        stream.turn_window()

    assert stream.snapshot().floor_us == at(0.02)


async def test_digits_and_marks_are_journaled_while_a_recording_runs() -> None:
    call = LiveCall()
    stream = call.open()
    stream.event(Dtmf("1"), at(0.1))
    call.start(0.2)

    stream.event(Dtmf("5"), at(0.3))
    stream.event(said.Mark("transfer"), at(0.4))
    stream.event(Ignored(Reason.UNKNOWN_EVENT), at(0.5))

    assert call.events[1:] == [Digit(stream=1, digit="5"), Mark(stream=1, name="transfer")]


async def test_a_peer_pauses_and_resumes_every_recording_of_its_session() -> None:
    call = LiveCall()
    stream = call.open()
    first, second = call.start(), call.start()

    stream.event(Paused(), at(0.1))
    paused = [recording.status for recording in call.recorder.changed]
    stream.event(Paused(), at(0.2))
    stream.event(Resumed(), at(0.3))

    assert paused == [Status.PAUSED, Status.PAUSED]
    assert [recording.status for recording in call.recorder.changed[2:]] == [Status.ONGOING, Status.ONGOING]
    assert [event for event in call.events if isinstance(event, RecordingResumed)] == [
        RecordingResumed(recording_id=first),
        RecordingResumed(recording_id=second),
    ]
