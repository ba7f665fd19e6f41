"""What every event of a journal tells of its session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.journals import a_leg, a_started_recording, call, happened, leave
from tests.support.sessions import at
from wavstream.journal import events
from wavstream.journal.reader import TRIES, read_header
from wavstream.journal.records import (
    RECORD,
    BrokenSegment,
    ClockRecord,
    EventRecord,
    RecordKind,
    SegmentHeader,
)
from wavstream.journal.segments import segment_path
from wavstream.model.audio import Track
from wavstream.model.recording import EndReason, Status
from wavstream.model.times import utc
from wavstream.recovery import journal_summary
from wavstream.recovery.journal_summary import JournalSummary, read_headers, read_summary

RECORDING = a_started_recording()
START = events.RecordingStarted(recording=RECORDING, streams=(), leg_order=("b",))


def facts_of(*told: events.JournalEvent) -> JournalSummary:
    facts = JournalSummary(SegmentHeader(key="k", app_id="default", session_id="call-77", segment=1, created_us=0))
    for second, event in enumerate(told):
        facts.take(EventRecord(at(second), event), segment=second + 1)
    return facts


def lost_legs(facts: JournalSummary) -> list[str]:
    return [stream.leg for stream in facts.lost]


def test_a_start_tells_of_the_recording_its_segment_and_the_streams_that_were_there() -> None:
    snapshot = events.StreamSnapshot(facts=a_leg("a", stream=4), joined_us=at(0), position=0, floor_us=None)

    facts = facts_of(
        events.ServerStarted(), events.RecordingStarted(recording=RECORDING, streams=(snapshot,), leg_order=("b", "a"))
    )

    assert facts.recordings == {RECORDING.id: RECORDING}
    assert facts.first_segments == {RECORDING.id: 2}
    assert (facts.legs, lost_legs(facts)) == (["b", "a"], ["a"])
    assert (facts.next_stream, facts.next_track) == (5, 9)
    assert facts.last_us == at(1)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([events.RecordingPaused(recording_id=RECORDING.id, journaled=False)], Status.PAUSED),
        (
            [
                events.RecordingPaused(recording_id=RECORDING.id, journaled=False),
                events.RecordingResumed(recording_id=RECORDING.id),
            ],
            Status.ONGOING,
        ),
        ([events.Digit(stream=1, digit="5"), events.Mark(stream=1, name="x"), events.ServerStopped()], Status.ONGOING),
    ],
    ids=["paused", "resumed", "nothing that changes it"],
)
def test_pauses_tell_of_the_state(told: list[events.JournalEvent], status: Status) -> None:
    assert facts_of(START, *told).recordings[RECORDING.id].status is status


def test_a_stop_tells_when_and_why() -> None:
    stop = events.RecordingStopped(recording_id=RECORDING.id, reason=EndReason.HANGUP, end_us=at(0))

    assert facts_of(START, stop).recordings[RECORDING.id] == replace(
        RECORDING, status=Status.COMPLETED, end_reason=EndReason.HANGUP, ended_at=utc(at(1)), updated_at=utc(at(1))
    )


def test_what_is_told_of_a_recording_whose_start_was_deleted_is_passed_over() -> None:
    stop = events.RecordingStopped(recording_id="gone", reason=EndReason.HANGUP, end_us=at(0))
    pause = events.RecordingPaused(recording_id="gone", journaled=False)

    assert facts_of(pause, stop).recordings == {}


@pytest.mark.parametrize(("clean", "lost"), [(True, []), (False, ["a"])], ids=["ended", "lost"])
def test_a_leg_whose_stream_is_over_may_come_back_only_if_it_was_lost(clean: bool, lost: list[str]) -> None:
    facts = facts_of(START, events.StreamOpened(facts=a_leg("a")), events.StreamClosed(stream=1, clean=clean))

    assert lost_legs(facts) == lost
    assert facts.legs == ["b", "a"]


def test_a_leg_that_came_back_and_then_ended_is_not_lost() -> None:
    facts = facts_of(
        events.StreamOpened(facts=a_leg("a", stream=1)),
        events.StreamClosed(stream=1, clean=False),
        events.StreamOpened(facts=a_leg("a", stream=2)),
        events.StreamClosed(stream=2, clean=True),
    )

    assert lost_legs(facts) == []


def test_a_leg_of_which_one_of_two_streams_ended_is_still_there() -> None:
    facts = facts_of(
        events.StreamOpened(facts=a_leg("a", stream=1, tracks=(Track.INBOUND,))),
        events.StreamOpened(facts=a_leg("a", stream=2, tracks=(Track.OUTBOUND,))),
        events.StreamClosed(stream=2, clean=True),
    )

    assert lost_legs(facts) == ["a"]


def test_each_leg_that_was_lost_is_told_of_once_by_its_newest_stream() -> None:
    facts = facts_of(
        START,
        events.StreamOpened(facts=a_leg("b", stream=1)),
        events.StreamOpened(facts=a_leg("a", stream=2)),
        events.StreamClosed(stream=1, clean=False),
        events.StreamOpened(facts=a_leg("b", stream=3)),
    )

    assert [(stream.leg, stream.stream) for stream in facts.lost] == [("a", 2), ("b", 3)]


def test_time_tells_when_the_journal_ends() -> None:
    facts = facts_of(START)

    facts.take(ClockRecord(at(7)), segment=1)

    assert facts.last_us == at(7)


def test_a_journal_is_read_over_all_its_segments(tmp_path: Path) -> None:
    later = a_started_recording()
    key = leave(tmp_path, call(RECORDING, stop=EndReason.STOPPED), call(later, from_s=2.0))

    facts = read_summary(tmp_path, key)

    assert facts.header.session_id == "call-77"
    assert [each.status for each in facts.recordings.values()] == [Status.COMPLETED, Status.ONGOING]
    assert facts.first_segments[RECORDING.id] == 1
    assert (facts.last_segment, facts.last_us, facts.problems) == (2, at(2.98), [])


def test_a_journal_that_is_broken_in_the_middle_tells_what_could_be_read_and_what_not(tmp_path: Path) -> None:
    later = a_started_recording()
    key = leave(tmp_path, call(RECORDING), call(later, from_s=2.0))
    with segment_path(tmp_path, key, 1).open("ab") as file:
        file.write(b"torn")

    facts = read_summary(tmp_path, key)

    assert list(facts.recordings) == [RECORDING.id, later.id]
    assert [problem[:9] for problem in facts.problems] == ["segment 1"]


def test_a_journal_with_an_event_of_a_later_version_is_refused_with_the_segment(tmp_path: Path) -> None:
    body = b'{"type":"hologram_opened"}'
    unknown = RECORD.pack(len(body), RecordKind.EVENT, 0, 0, at(1), 0) + body
    key = leave(tmp_path, [happened(0, START), unknown])

    with pytest.raises(BrokenSegment, match="segment 1"):
        read_summary(tmp_path, key)


@pytest.mark.parametrize("refused", [1, TRIES])
def test_a_header_that_the_disk_refuses_for_a_while_is_read_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    key = leave(tmp_path, call(RECORDING))
    faults = [OSError(5, "Input/output error")] * refused
    monkeypatch.setattr(journal_summary, "read_header", lambda folder, key: refusing(faults, folder, key))
    monkeypatch.setattr(journal_summary, "RETRY_S", 0)

    facts = read_summary(tmp_path, key)

    assert (faults, list(facts.recordings)) == ([], [RECORDING.id])


def test_headers_that_the_disk_never_gives_cost_their_wait_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, *bad = (leave(tmp_path, call(a_started_recording(session_id=f"call-{number}"))) for number in range(30))
    faults = [OSError(5, "Input/output error")] * 1_000
    monkeypatch.setattr(
        journal_summary, "read_header", lambda folder, key: refusing(faults if key in bad else [], folder, key)
    )
    slept: list[float] = []

    found = read_headers(tmp_path, [good, *bad, "gone"], sleep=slept.append)

    assert isinstance(found[good], SegmentHeader)
    assert all(isinstance(found[key], OSError) for key in bad)
    assert isinstance(found["gone"], BrokenSegment)
    assert len(slept) == TRIES


def refusing(faults: list[OSError], folder: Path, key: str) -> SegmentHeader:
    if faults:
        raise faults.pop()
    return read_header(folder, key)
