"""What a killed server left, brought back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from structlog.testing import capture_logs

from tests.support.journals import a_leg, a_started_recording, call, happened, leave, noise
from tests.support.recorder_harness import RecorderHarness, register, sidecar_of, told
from tests.support.sessions import Handle, a_recording, at, introduction, talk
from tests.unit.storage.test_sidecar import finished
from wavstream.dialects.events import Frame
from wavstream.journal import events
from wavstream.journal.segments import segment_path
from wavstream.model.fact import FactKind
from wavstream.model.recording import EndReason, LegalHold, Receipt, Recording, Status
from wavstream.model.times import utc
from wavstream.recovery import journal_summary
from wavstream.recovery.recovery import LONGEST_AWAY
from wavstream.recovery.restoring import Taken
from wavstream.sessions.deferred_stream import DeferredStream
from wavstream.sessions.stream import Stream

GIVEN_UP_S = 131.0
"""After the reconnect wait of a restart at 100 s."""


def heard(harness: RecorderHarness, recording: Recording) -> NDArray[np.int16]:
    """Return the left channel of the published file."""
    samples, _ = soundfile.read(harness.storage.path(recording.object_key), dtype="int16")
    left: NDArray[np.int16] = samples[:, 0]
    return left


def beat_round(harness: RecorderHarness, at_s: float) -> None:
    for _ in range(10):
        harness.ticker.tick(at(at_s))


# ---- what was stopped ----------------------------------------------------------------------------------------------


async def test_a_recording_that_was_stopped_is_published_and_its_journal_is_gone(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording, stop=EndReason.HANGUP))
    await harness.catalog.recordings.add(recording)

    await harness.recover()

    row = await harness.row(recording)
    assert (row.status, row.end_reason) == (Status.AVAILABLE, EndReason.HANGUP)
    assert np.array_equal(heard(harness, recording), noise(1.0))
    assert (harness.recovery.done, harness.recovery.total, harness.recovery.running) == (1, 1, False)
    assert harness.recovery.reconciled
    assert harness.left() == []


async def test_a_recording_whose_row_is_missing_is_entered_again(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording, stop=EndReason.STOPPED))

    await harness.recover()

    assert (await harness.row(recording)).status is Status.AVAILABLE


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.ABSENT, Status.EXPIRED, Status.DELETED])
async def test_a_journal_of_what_was_finished_is_deleted(harness: RecorderHarness, status: Status) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording, stop=EndReason.STOPPED))
    await harness.catalog.recordings.add(replace(recording, status=status))
    harness.spool.joinpath("file").write_bytes(b"RIFF")
    harness.storage.publish(harness.spool / "file", recording.object_key, sidecar=None)

    await harness.recover()

    assert (await harness.row(recording)).status is status
    assert harness.left() == []


@pytest.mark.parametrize("file", [None, b"RIFF"])
@pytest.mark.parametrize("stop", [EndReason.STOPPED, None])
async def test_a_file_that_is_gone_or_cut_is_made_again_from_a_journal_that_is_still_there(
    harness: RecorderHarness, stop: EndReason | None, file: bytes | None
) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording, stop=stop))
    if file is not None:
        harness.spool.joinpath("file").write_bytes(file)
        harness.storage.publish(harness.spool / "file", recording.object_key, sidecar=None)
    receipt = Receipt(sample_rate=8000, channels=2, samples=8000, audio_sha256="", size_bytes=32_044)
    row = replace(
        recording, status=Status.AVAILABLE, end_reason=EndReason.STOPPED, ended_at=utc(at(1)),
        expires_at=utc(at(1)) + harness.kept, receipt=receipt,
    )  # fmt: skip
    await harness.catalog.recordings.add(row)

    with capture_logs() as logs:
        await harness.recover()
        await harness.settled()

    done = await harness.row(recording)
    assert (done.status, done.end_reason, done.expires_at) == (Status.AVAILABLE, EndReason.STOPPED, row.expires_at)
    made = heard(harness, recording)
    # Where its stop is lost too, the last thing that the journal has is its end: the last frame is behind that.
    assert len(made) == (8000 if stop else 7840)
    assert np.array_equal(made, noise(1.0)[: len(made)])
    assert harness.left() == []
    told_of = [line["event"] for line in logs]
    assert "recording_made_again" in told_of
    assert "recording_file_gone" not in told_of


async def test_a_file_that_another_store_keeps_is_not_made_again(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording, stop=EndReason.STOPPED))
    await harness.catalog.recordings.add(replace(recording, status=Status.AVAILABLE, expires_at=None))

    await harness.recover()

    assert (await harness.row(recording)).status is Status.AVAILABLE
    assert harness.storage.stat(recording.object_key) is None
    assert harness.left() == []


async def test_a_recording_whose_row_was_stopped_is_stopped_though_its_stop_record_was_lost(
    harness: RecorderHarness,
) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    row = replace(recording, status=Status.COMPLETED, end_reason=EndReason.STOPPED, ended_at=utc(at(1)))
    await harness.catalog.recordings.add(row)

    await harness.recover()

    done = await harness.row(recording)
    assert (done.status, done.end_reason) == (Status.AVAILABLE, EndReason.STOPPED)
    assert harness.sessions.find("default", "call-77") is None


# ---- what ran ------------------------------------------------------------------------------------------------------


async def test_a_recording_that_ran_ends_as_recovered_when_nobody_comes_back(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    await harness.catalog.recordings.add(recording)

    await harness.recover()
    status = (await harness.row(recording)).status
    beat_round(harness, GIVEN_UP_S)
    await harness.settled()

    assert status is Status.ONGOING
    row = await harness.row(recording)
    assert (row.status, row.end_reason) == (Status.AVAILABLE, EndReason.RECOVERED)
    assert np.array_equal(heard(harness, recording), noise(1.0))
    assert harness.left() == []


async def test_no_recording_goes_on_after_hours_though_its_leg_comes_back(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    harness.now_s += LONGEST_AWAY.total_seconds()
    harness.recovery.defer_streams()
    harness.sessions.open_stream(introduction("a"), app_id="default", handle=Handle(), now_us=harness.now_us())

    with capture_logs() as logs:
        await harness.recovery.run()
        await harness.settled()

    assert (await harness.row(recording)).end_reason is EndReason.RECOVERED
    assert np.array_equal(heard(harness, recording), noise(1.0))
    assert [line["recording_id"] for line in logs if line["event"] == "recording_not_continued"] == [recording.id]


async def test_a_recording_that_ends_by_itself_in_recovery_is_kept_from_then(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    limited = replace(recording, options=replace(recording.options, max_length_s=1))
    leave(harness.journals, call(limited))
    await harness.catalog.recordings.add(limited)
    start = utc(at(0)) + timedelta(days=3)  # nobody knows how the clock of the earlier run was set
    harness.on_wall = lambda stamped: start
    harness.now_s = 3 * 86_400.0

    await harness.recover()

    row = await harness.row(recording)
    assert (row.end_reason, row.ended_at) == (EndReason.MAX_LENGTH, utc(at(1)))
    assert (row.kept_since, row.expires_at) == (start, start + harness.kept)


async def test_a_recording_that_ran_goes_on_with_the_leg_that_comes_back(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    harness.recovery.defer_streams()
    handle = Handle()
    held = harness.sessions.open_stream(introduction("a"), app_id="default", handle=handle, now_us=harness.now_us())
    held.frame(Frame(0, 0, 160, noise(0.02, seed=9).tobytes()), harness.now_us())

    await harness.recovery.run()
    session = harness.sessions.find("default", "call-77")
    assert session is not None
    (stream,) = session.streams
    held.closed(True, at(101.0))
    await harness.settled()

    assert isinstance(held, DeferredStream)
    assert handle.reading
    assert (stream.facts.stream, stream.facts.first_track) == (2, 3)
    assert (await harness.row(recording)).end_reason is EndReason.HANGUP
    samples = heard(harness, recording)
    assert np.array_equal(samples[: len(noise(1.0))], noise(1.0))
    later = np.flatnonzero(samples == noise(0.02, seed=9)[0])[-1]
    assert np.array_equal(samples[later : later + 160], noise(0.02, seed=9))


async def test_a_recording_that_was_paused_in_the_journal_is_paused_in_its_row(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    pause = happened(1.0, events.RecordingPaused(recording_id=recording.id, journaled=False))
    leave(harness.journals, [*call(recording), pause])
    await harness.catalog.recordings.add(recording)

    await harness.recover()

    assert (await harness.row(recording)).status is Status.PAUSED


async def test_a_server_with_fewer_sessions_allowed_than_were_live_brings_them_all_back(
    harness: RecorderHarness,
) -> None:
    recordings = [a_started_recording(session_id=f"call-{number}") for number in range(3)]
    for recording in recordings:
        leave(harness.journals, call(recording), session_id=recording.session_id)

    await harness.recover()

    assert len(harness.sessions) == 3
    assert harness.recovery.unreadable == 0


async def test_of_two_journals_of_a_session_the_newest_goes_on_and_the_other_ends(harness: RecorderHarness) -> None:
    older, newer = a_started_recording(), a_started_recording()
    for recording, from_s in ((newer, 20.0), (older, 0.0)):
        leave(harness.journals, call(recording, from_s=from_s))

    await harness.recover()

    session = harness.sessions.find("default", "call-77")
    assert session is not None
    assert [each.row.id for each in session.recordings.running] == [newer.id]
    row = await harness.row(older)
    assert (row.status, row.end_reason) == (Status.AVAILABLE, EndReason.RECOVERED)
    assert np.array_equal(heard(harness, older), noise(1.0))


async def test_a_clock_that_was_set_back_between_two_runs_loses_nothing(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording, from_s=5_000.0))

    await harness.recover()
    beat_round(harness, GIVEN_UP_S)
    await harness.settled()

    assert (await harness.row(recording)).end_reason is EndReason.RECOVERED
    assert np.array_equal(heard(harness, recording), noise(1.0))


@pytest.mark.parametrize(("ahead_s", "goes_on"), [(0.9, True), (300.0, False)])
async def test_a_node_that_had_a_clock_ahead_puts_that_of_other_calls_forward_by_a_second_at_most(
    harness: RecorderHarness, monkeypatch: pytest.MonkeyPatch, ahead_s: float, goes_on: bool
) -> None:
    put_to_us: list[int] = []
    monkeypatch.setattr(harness.recovery._clock, "not_before", put_to_us.append)
    recording = a_started_recording()
    journal_s = harness.now_s + ahead_s - 1.0
    leave(harness.journals, call(recording, from_s=journal_s))
    harness.recovery.defer_streams()
    taken = Taken(from_node="b", to_node="a", epoch=2, starts={})

    with capture_logs() as logs:
        for (app_id, session_id), keys in harness.recovery._journals.items():
            await harness.recovery.take_in(app_id, session_id, keys, taken)
        await harness.settled()

    session = harness.sessions.find("default", "call-77")
    assert (session is not None) is goes_on
    assert all(each - harness.now_us() <= 1_000_000 for each in put_to_us)
    ahead = [line["node"] for line in logs if line["event"] == "taken_journal_ahead"]
    assert ahead == ([] if goes_on else ["b"])
    if not goes_on:
        row = await harness.row(recording)
        assert (row.status, row.end_reason) == (Status.AVAILABLE, EndReason.RECOVERED)
        assert np.array_equal(heard(harness, recording), noise(1.0))


# ---- where row and journal differ ------------------------------------------------------------------------------------

WORD = 4000
"""Samples: half a second."""


def pieces(samples: NDArray[np.int16], sound: NDArray[np.int16]) -> int:
    """How many frames of the sound are in the file."""
    file = np.ascontiguousarray(samples).tobytes()
    return sum(sound[start : start + 160].tobytes() in file for start in range(0, len(sound), 160))


async def go_on_and_stop(harness: RecorderHarness, recording: Recording) -> None:
    """Let the leg come back, and be stopped a moment later."""
    stream = harness.sessions.open_stream(introduction("a"), app_id="default", handle=Handle(), now_us=harness.now_us())
    assert isinstance(stream, Stream)
    harness.now_s += 1
    talk(stream, from_s=harness.now_s)
    session = harness.sessions.find("default", "call-77")
    assert session is not None
    session.recordings.stop(session.recordings.by_id[recording.id], EndReason.STOPPED, harness.now_us())
    await harness.settled()


async def test_what_was_said_since_a_pause_that_only_the_row_has_is_not_in_the_file(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    paused = replace(recording, status=Status.PAUSED, updated_at=utc(at(0.5)))
    await harness.catalog.recordings.add(paused)

    with capture_logs() as logs:
        await harness.recover()
    assert (await harness.row(recording)).status is Status.PAUSED
    await go_on_and_stop(harness, recording)

    assert "row_and_journal_differ" in [line["event"] for line in logs]
    voice, samples = noise(1.0), heard(harness, recording)
    assert pieces(samples, voice[: WORD - 160]) == WORD // 160 - 1
    assert pieces(samples, voice[WORD:]) == 0
    receipt = (await harness.row(recording)).receipt
    assert receipt is not None
    assert receipt.integrity.paused_audio_in_journal


async def test_a_pause_that_only_the_row_had_holds_after_another_crash_though_it_was_resumed(
    harness: RecorderHarness, tmp_path: Path
) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    await harness.catalog.recordings.add(replace(recording, status=Status.PAUSED, updated_at=utc(at(0.5))))
    await harness.recover()
    session = harness.sessions.find("default", "call-77")
    assert session is not None
    live = session.recordings.by_id[recording.id]
    session.recordings.resume(live, harness.now_us())
    await live.save_journaled()
    shutil.copytree(harness.journals, tmp_path / "again" / "journal")
    again = RecorderHarness(tmp_path / "again", harness.catalog, harness.database)
    again.now_s = harness.now_s + 1

    await again.recover()
    status = (await again.row(recording)).status
    await go_on_and_stop(again, recording)

    assert status is Status.ONGOING
    samples = heard(again, recording)
    assert pieces(samples, noise(1.0)[: WORD - 160]) == WORD // 160 - 1
    assert pieces(samples, noise(1.0)[WORD:]) == 0
    await again.recorder.stop(0.0)
    again.writer.stop()


async def test_what_was_said_after_a_stop_that_only_the_row_has_is_not_in_the_file(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    row = replace(recording, status=Status.COMPLETED, end_reason=EndReason.STOPPED, ended_at=utc(at(0.5)))
    await harness.catalog.recordings.add(row)

    await harness.recover()

    done = await harness.row(recording)
    assert (done.status, done.end_reason, done.ended_at) == (Status.AVAILABLE, EndReason.STOPPED, utc(at(0.5)))
    voice, samples = noise(1.0), heard(harness, recording)
    assert pieces(samples, voice[: WORD - 320]) == WORD // 160 - 2
    assert pieces(samples, voice[WORD:]) == 0


async def test_a_recording_that_only_its_row_has_resumed_stays_paused(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    pause = happened(1.0, events.RecordingPaused(recording_id=recording.id, journaled=False))
    leave(harness.journals, [*call(recording), pause])
    await harness.catalog.recordings.add(replace(recording, updated_at=utc(at(2))))

    await harness.recover()

    assert (await harness.row(recording)).status is Status.PAUSED


async def test_a_recording_that_only_the_journal_has_resumed_goes_on(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    pause = happened(1.0, events.RecordingPaused(recording_id=recording.id, journaled=False))
    resume = happened(2.0, events.RecordingResumed(recording_id=recording.id))
    leave(harness.journals, [*call(recording), pause, resume])
    await harness.catalog.recordings.add(replace(recording, status=Status.PAUSED, updated_at=utc(at(1))))

    await harness.recover()

    assert (await harness.row(recording)).status is Status.ONGOING


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.ABSENT, Status.FAILED, Status.EXPIRED, Status.DELETED])
async def test_a_recording_whose_row_has_ended_is_not_recorded_further_though_its_journal_says_so(
    harness: RecorderHarness, status: Status
) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    row = replace(recording, status=status, ended_at=utc(at(0.5)), expires_at=utc(at(99)))
    await harness.catalog.recordings.add(row)
    if status is Status.AVAILABLE:
        harness.spool.joinpath("file").write_bytes(b"RIFF")
        harness.storage.publish(harness.spool / "file", recording.object_key, sidecar=None)

    await harness.recover()

    assert harness.recorder.get(recording.id) is None
    assert (await harness.row(recording)).status is status


# ---- what cannot be read -------------------------------------------------------------------------------------------


async def test_a_broken_journal_is_left_alone_and_its_session_is_let_in(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    broken = leave(harness.journals, [*call(recording), b"\x01\x00\x00\x00\x04" + bytes(19) + b"?"])
    good = a_started_recording(session_id="call-78")
    leave(harness.journals, call(good, stop=EndReason.HANGUP), session_id="call-78")

    await harness.recover()
    stream = harness.sessions.open_stream(introduction(), app_id="default", handle=Handle(), now_us=at(101))

    assert isinstance(stream, Stream)
    assert (harness.recovery.done, harness.recovery.unreadable) == (2, 1)
    assert (await harness.row(good)).status is Status.AVAILABLE
    assert harness.left() == [segment_path(harness.journals, broken, 1).name]


async def test_a_fault_with_one_session_does_not_keep_the_others_away(
    harness: RecorderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = [a_started_recording(session_id=f"call-{number}") for number in range(2)]
    for recording in recordings:
        leave(harness.journals, call(recording, stop=EndReason.HANGUP), session_id=recording.session_id)
        await harness.catalog.recordings.add(recording)
    read, faults = journal_summary.read_summary, [KeyError("a bug")]

    def read_facts(folder: Path, key: str) -> object:
        if faults:
            raise faults.pop()
        return read(folder, key)

    monkeypatch.setattr("wavstream.recovery.recovery.read_summary", read_facts)

    await harness.recover()

    assert sorted([(await harness.row(recording)).status for recording in recordings]) == ["available", "ongoing"]
    assert (harness.recovery.done, harness.recovery.unreadable) == (2, 1)
    assert len(harness.left()) == 1


async def test_a_journal_that_this_user_may_not_read_fails_no_recording(
    harness: RecorderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording))
    await harness.catalog.recordings.add(recording)

    def denied(folder: Path, key: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(journal_summary, "read_header", denied)
    monkeypatch.setattr(journal_summary, "RETRY_S", 0)

    await harness.recover()

    assert (await harness.row(recording)).status is Status.ONGOING
    assert harness.recovery.unreadable == 1
    assert len(harness.left()) == 1


async def test_a_journal_of_which_the_crash_left_only_the_name_is_removed(harness: RecorderHarness) -> None:
    segment_path(harness.journals, "k" * 32, 1).touch()
    headless = segment_path(harness.journals, "h" * 32, 1)
    headless.write_bytes(b"WAVS")
    stranger = harness.journals / "notes.txt"
    stranger.touch()

    await harness.recover()

    assert harness.recovery.unreadable == 1
    assert harness.left() == [stranger.name, "set-aside"]
    assert [path.name for path in (harness.journals / "set-aside").iterdir()] == [headless.name]


async def test_a_torn_journal_gives_what_is_whole_in_it_and_says_what_is_not(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    stop = events.RecordingStopped(recording_id=recording.id, reason=EndReason.STOPPED, end_us=at(1))
    key = leave(harness.journals, call(recording), [happened(1.0, stop)])
    path = segment_path(harness.journals, key, 2)
    os.truncate(path, path.stat().st_size - 1)

    with capture_logs() as logs:
        await harness.recover()

    assert (await harness.row(recording)).status is Status.ONGOING
    (said,) = [line for line in logs if line["event"] == "journal_damaged"]
    assert "torn" in said["problem"]


# ---- what is damaged -----------------------------------------------------------------------------------------------


def damage(harness: RecorderHarness, key: str, *hit: bytes, segment: int = 1) -> None:
    """Change a byte of each place of the segment that looks so."""
    path = segment_path(harness.journals, key, segment)
    content = path.read_bytes()
    for each in hit:
        assert each in content
        content = content.replace(each, bytes(len(each)))
    path.write_bytes(content)


def parts(rows: list[bytes], size: int = 10) -> list[list[bytes]]:
    """Cut into segments: each is one batch."""
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def aside(harness: RecorderHarness) -> list[str]:
    harness.left()
    return sorted(path.name for path in (harness.journals / "set-aside").iterdir())


async def test_a_damaged_recording_has_the_rest_in_place_and_a_gap_and_its_journal_is_set_aside(
    harness: RecorderHarness,
) -> None:
    recording, samples = a_started_recording(), noise(1.0)
    rows = call(recording, samples=samples, stop=EndReason.HANGUP)
    key = leave(harness.journals, *parts(rows))
    await harness.catalog.recordings.add(recording)
    damage(harness, key, samples[20 * 160 : 20 * 160 + 8].tobytes(), segment=3)
    names = sorted(path.name for path in harness.journals.iterdir())

    await harness.recover()
    await harness.settled()

    row = await harness.row(recording)
    assert row.status is Status.AVAILABLE
    assert row.receipt is not None
    (gap,) = row.receipt.integrity.gaps
    assert gap.cause == "damage"
    left = heard(harness, recording)
    start, end = gap.start_ms * 8, (gap.start_ms + gap.length_ms) * 8
    assert start <= 20 * 160 < end <= start + 10 * 160
    assert not left[start:end].any()
    assert np.array_equal(left[:start], samples[:start])
    assert np.array_equal(left[end:], samples[end:])
    assert aside(harness) == names


async def test_a_segment_that_is_missing_is_a_gap_and_fails_nothing(harness: RecorderHarness) -> None:
    recording, samples = a_started_recording(), noise(1.0)
    key = leave(harness.journals, *parts(call(recording, samples=samples, stop=EndReason.HANGUP)))
    await harness.catalog.recordings.add(recording)
    for number in (3, 4):
        segment_path(harness.journals, key, number).unlink()

    await harness.recover()
    await harness.settled()

    row = await harness.row(recording)
    assert row.status is Status.AVAILABLE
    assert row.receipt is not None
    assert [gap.cause for gap in row.receipt.integrity.gaps] == ["damage"]
    left = heard(harness, recording)
    assert len(left) == len(samples)
    assert np.array_equal(left[-800:], samples[-800:])


async def test_a_recording_whose_start_is_lost_starts_where_its_session_says_it_again(harness: RecorderHarness) -> None:
    recording, samples = a_started_recording(), noise(2.0)
    rows = call(recording, samples=samples, stop=EndReason.HANGUP)
    stream = events.StreamSnapshot(facts=a_leg("a"), joined_us=at(0), position=50 * 160, floor_us=at(0.02))
    state = events.SessionState(recordings=(recording,), streams=(stream,), leg_order=("a",))
    key = leave(harness.journals, rows[:40], [*rows[40:54], happened(1.0, state), *rows[54:]])
    await harness.catalog.recordings.add(recording)
    segment_path(harness.journals, key, 1).unlink()

    await harness.recover()
    await harness.settled()

    row = await harness.row(recording)
    assert row.status is Status.AVAILABLE
    assert row.receipt is not None
    (gap,) = row.receipt.integrity.gaps
    assert (gap.cause, gap.leg) == ("damage", "a")
    left = heard(harness, recording)
    assert len(left) == len(samples)
    assert np.array_equal(left[-8000:], samples[-8000:])
    assert not left[:6000].any()


async def test_a_recording_whose_start_is_lost_and_not_said_again_starts_as_its_row_says(
    harness: RecorderHarness,
) -> None:
    recording, samples = a_started_recording(), noise(1.0)
    other = a_started_recording()
    rows = call(other, samples=samples, stop=EndReason.HANGUP)
    lost = happened(0.2, events.RecordingStarted(recording=recording, streams=(), leg_order=()))
    stop = happened(1.0, events.RecordingStopped(recording_id=recording.id, reason=EndReason.HANGUP, end_us=at(1)))
    key = leave(harness.journals, rows[:12], [lost], [*rows[12:-1], stop, rows[-1]])
    await harness.catalog.recordings.add(replace(recording, started_at=utc(at(0.2))))
    await harness.catalog.recordings.add(other)
    segment_path(harness.journals, key, 2).unlink()

    await harness.recover()
    await harness.settled()

    rows_of = [await harness.row(each) for each in (recording, other)]
    assert [row.status for row in rows_of] == [Status.AVAILABLE] * 2
    left = heard(harness, recording)
    assert np.array_equal(left[-4000:], samples[-4000:])


@pytest.mark.parametrize("shown_by", ["state", "resume", "pause", "stop"])
@pytest.mark.parametrize("hit", ["pause", "start and pause"])
async def test_what_is_said_in_a_pause_whose_record_is_lost_is_not_in_the_file(
    harness: RecorderHarness, shown_by: str, hit: str
) -> None:
    recording, samples = replace(a_started_recording(), started_at=utc(at(0))), noise(2.0)
    other = a_started_recording()
    (first, second, opened, *frames), end = call(recording, other, samples=samples), at(2.0)
    paused = events.RecordingPaused(recording_id=recording.id, journaled=True)
    stream = events.StreamSnapshot(facts=a_leg("a"), joined_us=at(0), position=78 * 160, floor_us=at(0))
    state = events.SessionState(
        recordings=(replace(recording, status=Status.PAUSED), other), streams=(stream,), leg_order=("a",)
    )
    showing: dict[str, events.JournalEvent] = {
        "state": state, "resume": events.RecordingResumed(recording_id=recording.id), "pause": paused,
        "stop": events.RecordingStopped(recording_id=recording.id, reason=EndReason.STOPPED, end_us=end, paused=True),
    }  # fmt: skip
    stops = [
        happened(2.0, events.RecordingStopped(recording_id=each.id, reason=EndReason.STOPPED, end_us=end))
        for each in (recording, other)
    ]
    # The pause begins at 0.5 s, the damage a little before, and what shows it comes 1 s later.
    lost = [happened(0.5, paused), *frames[26:30]]
    if hit == "pause":
        key = leave(harness.journals, [first, second, opened, *frames[:24]], [*frames[24:26], *lost],
                    [*frames[30:78], happened(1.5, showing[shown_by]), *frames[78:], *stops])  # fmt: skip
    else:
        key = leave(harness.journals, [second, opened], [first, *frames[:24], *lost],
                    [*frames[30:78], happened(1.5, showing[shown_by]), *frames[78:], *stops])  # fmt: skip
    await harness.catalog.recordings.add(recording)
    await harness.catalog.recordings.add(other)
    segment_path(harness.journals, key, 2).unlink()

    await harness.recover()
    await harness.settled()

    in_pause = samples[30 * 160 : 75 * 160]
    assert pieces(heard(harness, other), in_pause) == 45
    row = await harness.row(recording)
    if hit == "start and pause" and row.status is Status.ABSENT:  # nothing else was left of it
        return
    assert row.status is Status.AVAILABLE
    file = heard(harness, recording)
    assert pieces(file, in_pause) == 0
    if hit == "pause":
        assert pieces(file, samples[: 20 * 160]) == 20
    if shown_by == "resume":
        assert pieces(file, samples[80 * 160 :]) >= 18


async def test_a_damaged_journal_of_what_was_finished_is_set_aside(harness: RecorderHarness) -> None:
    recording, samples = a_started_recording(), noise(1.0)
    key = leave(harness.journals, *parts(call(recording, samples=samples, stop=EndReason.STOPPED)))
    await harness.catalog.recordings.add(replace(recording, status=Status.ABSENT))
    damage(harness, key, samples[20 * 160 : 20 * 160 + 8].tobytes(), segment=3)

    with capture_logs() as logs:
        await harness.recover()

    assert len(aside(harness)) == len(parts(call(recording, samples=samples, stop=EndReason.STOPPED)))
    assert harness.writer.set_aside.count == len(aside(harness))
    assert [line["journal"] for line in logs if line["event"] == "journal_set_aside"] == [key]


async def test_a_segment_that_the_disk_does_not_give_is_tried_again_and_then_a_gap(
    harness: RecorderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.recovery.journal_summary.RETRY_S", 0.0)
    recording, samples = a_started_recording(), noise(1.0)
    key = leave(harness.journals, *parts(call(recording, samples=samples, stop=EndReason.HANGUP)))
    await harness.catalog.recordings.add(recording)
    bad, opened, tries = segment_path(harness.journals, key, 3), os.open, 0

    def denied(path: str | Path, flags: int, *more: object, **named: object) -> int:
        nonlocal tries
        if str(path) == str(bad):
            tries += 1
            raise OSError(5, "Input/output error")
        return opened(path, flags, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", denied)
    await harness.recover()
    await harness.settled()

    row = await harness.row(recording)
    assert row.status is Status.AVAILABLE
    assert tries > 20
    assert row.receipt is not None
    assert [gap.cause for gap in row.receipt.integrity.gaps] == ["damage"]
    monkeypatch.undo()
    assert bad.name in aside(harness)


async def test_odd_things_in_the_folder_neither_fail_nor_stop_a_start(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    key = leave(harness.journals, *parts(call(recording, stop=EndReason.HANGUP)))
    await harness.catalog.recordings.add(recording)
    first, second = (segment_path(harness.journals, key, number) for number in (1, 2))
    other = first.with_name("other-000001.wsj")
    other.write_bytes(first.read_bytes())
    first.rename(first.with_name("moved"))
    second.rename(first)
    first.with_name("moved").rename(second)
    os.mkfifo(segment_path(harness.journals, "fifo", 1))
    segment_path(harness.journals, "folder", 1).mkdir()
    segment_path(harness.journals, "link", 1).symlink_to(first)

    with capture_logs() as logs:
        await harness.recover()
        await harness.settled()

    assert np.array_equal(heard(harness, recording), noise(1.0))
    assert len([line for line in logs if line["event"] == "journal_odd"]) == 6
    assert aside(harness) == ["fifo-000001.wsj", "folder-000001.wsj", "link-000001.wsj", "other-000001.wsj"]
    assert harness.left() == ["set-aside"]


# ---- what failed ---------------------------------------------------------------------------------------------------


async def failed(harness: RecorderHarness, **changed: object) -> Recording:
    recording = a_started_recording()
    leave(harness.journals, call(recording, stop=EndReason.HANGUP))
    row = replace(recording, status=Status.FAILED, error="IndexError: a bug", expires_at=utc(at(200)))
    row = replace(row, **changed)  # type: ignore[arg-type]
    await harness.catalog.recordings.add(row)
    return row


@pytest.mark.parametrize(
    "changed",
    [{}, {"expires_at": None}, {"expires_at": utc(at(100)), "hold": LegalHold("legal", "case 4711", utc(at(0)))}],
    ids=["with an end of retention", "without", "held beyond it"],
)
async def test_the_journal_of_a_failed_recording_is_kept_over_a_restart(
    harness: RecorderHarness, changed: dict[str, object]
) -> None:
    row = await failed(harness, **changed)

    with capture_logs() as logs:
        await harness.recover()

    assert "failed_recording_kept" in [line["event"] for line in logs]
    assert (await harness.row(row), harness.recorder.failed) == (row, 1)
    assert len(harness.left()) == 1


async def test_the_journal_of_a_failed_recording_goes_when_the_recording_is_deleted_after_a_restart(
    harness: RecorderHarness,
) -> None:
    row = await failed(harness)
    await harness.recover()

    harness.recorder.release_failed(row.id)

    assert harness.left() == []


async def test_the_journal_of_a_failed_recording_whose_retention_has_ended_is_deleted(harness: RecorderHarness) -> None:
    await failed(harness, expires_at=utc(at(100)))

    with capture_logs() as logs:
        await harness.recover()

    assert [line["log_level"] for line in logs] == ["info"]
    assert harness.left() == []


async def test_a_failed_recording_keeps_the_journal_while_the_others_in_it_are_finished(
    harness: RecorderHarness, broken_fold: Callable[[str], None]
) -> None:
    bad, good = a_started_recording(), a_started_recording()
    leave(harness.journals, call(bad, good, stop=EndReason.HANGUP))
    broken_fold(bad.id)

    await harness.recover()

    assert ((await harness.row(bad)).status, (await harness.row(good)).status) == (Status.FAILED, Status.AVAILABLE)
    assert len(harness.left()) == 1


# ---- rows without a journal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.ONGOING, Status.PAUSED, Status.COMPLETED])
async def test_an_unfinished_row_without_a_journal_has_failed_and_says_why(
    harness: RecorderHarness, status: Status
) -> None:
    recording = replace(a_started_recording(), status=status)
    await harness.catalog.recordings.add(recording)

    await harness.recover()

    row = await harness.row(recording)
    assert (row.status, row.end_reason, row.ended_at) == (Status.FAILED, EndReason.FAILED, utc(at(100)))
    assert row.error is not None
    assert "journal is gone" in row.error


async def test_a_row_that_was_taken_from_another_node_without_its_journal_has_failed_and_says_why(
    harness: RecorderHarness,
) -> None:
    await harness.recover()
    taken, other = a_started_recording(), replace(a_started_recording(), session_id="another")
    for recording in (taken, other):
        await harness.catalog.recordings.add(recording)

    from_dead = Taken(from_node="a", to_node="b", epoch=2, starts={})
    await harness.recovery.take_in(taken.app_id, taken.session_id, [], from_dead)

    row = await harness.row(taken)
    assert (row.status, row.end_reason) == (Status.FAILED, EndReason.FAILED)
    assert row.error is not None
    assert "journal is gone" in row.error
    assert (await harness.row(other)).status is Status.ONGOING


async def test_a_row_that_another_node_gives_begins_where_its_session_streams_and_fails_if_it_had_begun(
    harness: RecorderHarness,
) -> None:
    await harness.recover()
    stream = harness.sessions.open_stream(introduction(), app_id="default", handle=Handle(), now_us=at(101))
    assert isinstance(stream, Stream)
    asked, begun = a_recording(), replace(a_started_recording(), id="begun", session_id="call-77")
    for recording in (asked, begun):
        await harness.catalog.recordings.add(recording)

    for _ in range(2):  # the answer to the first was lost
        await harness.recovery.take_rows([asked.id, begun.id, "unknown"])
        await harness.settled()

    assert (await harness.row(asked)).status is Status.ONGOING
    row = await harness.row(begun)
    assert (row.status, row.end_reason) == (Status.FAILED, EndReason.FAILED)


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.ONGOING, Status.PAUSED, Status.COMPLETED])
async def test_a_row_that_is_older_than_its_file_is_available_as_the_sidecar_tells(
    harness: RecorderHarness, status: Status
) -> None:
    ended = replace(finished(), expires_at=utc(at(200)), hold=LegalHold("legal", "case 4711", utc(at(1))))
    row = replace(ended, status=status, receipt=None, end_reason=None, ended_at=None, expires_at=None, hold=None)
    row = replace(row, request_id="r-1", opened=True, options=replace(row.options, file_name="asked"))
    await harness.catalog.recordings.add(row)
    assert ended.receipt is not None
    (harness.spool / "file").write_bytes(bytes(ended.receipt.size_bytes))
    harness.storage.publish(harness.spool / "file", row.object_key, sidecar=sidecar_of(ended))

    await harness.recover()

    options = replace(ended.options, file_name="asked")
    assert await harness.row(row) == replace(ended, request_id="r-1", opened=True, options=options)
    assert len(harness.sessions) == 0


@pytest.mark.parametrize("kinds", [(FactKind.RECORDING_FAILED,), None], ids=["wants to know", "does not"])
async def test_an_app_that_wants_to_know_is_told_once_that_a_journal_is_gone(
    harness: RecorderHarness, kinds: tuple[FactKind, ...] | None
) -> None:
    await register(harness.catalog, kinds)
    recording = a_started_recording()
    await harness.catalog.recordings.add(recording)

    for _ in range(2):
        await harness.recover()

    fact = (FactKind.RECORDING_FAILED, recording.id, (await harness.row(recording)).error)
    assert await told(harness.catalog) == ([fact] if kinds else [])


async def test_an_accepted_recording_waits_for_its_first_stream_again(harness: RecorderHarness) -> None:
    recording = a_recording()
    await harness.catalog.recordings.add(recording)

    await harness.recover()
    stream = harness.sessions.open_stream(introduction(), app_id="default", handle=Handle(), now_us=at(101))
    await harness.settled()

    assert isinstance(stream, Stream)
    talk(stream, from_s=101.02)
    assert (await harness.row(recording)).status is Status.ONGOING


async def test_recordings_that_began_since_the_start_are_left_to_those_who_make_them(harness: RecorderHarness) -> None:
    live = replace(a_started_recording(), created_at=utc(at(100)) + timedelta(microseconds=1))
    asked = replace(a_recording(), created_at=live.created_at)
    for recording in (replace(live, status=Status.COMPLETED), asked):
        await harness.catalog.recordings.add(recording)

    await harness.recover()

    assert (await harness.row(live)).status is Status.COMPLETED
    assert (await harness.row(asked)).status is Status.ACCEPTED
    assert len(harness.sessions) == 0


async def test_a_catalog_that_fails_leaves_the_journals_for_the_next_start(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    leave(harness.journals, call(recording, stop=EndReason.HANGUP))
    await harness.catalog.recordings.add(recording)
    harness.database.faults = {"Recordings.get": 1}

    await harness.recover()

    assert (await harness.row(recording)).status is Status.ONGOING
    assert harness.recovery.unreadable == 1
    assert len(harness.left()) == 1


async def test_a_leg_that_ended_before_the_crash_is_not_waited_for(harness: RecorderHarness) -> None:
    recording = a_started_recording()
    ended = happened(1.0, events.StreamClosed(stream=a_leg().stream, clean=True))
    leave(harness.journals, [*call(recording), ended])

    await harness.recover()

    assert (await harness.row(recording)).end_reason is EndReason.RECOVERED
