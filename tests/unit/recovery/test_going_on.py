"""A session that another node had goes on by the outlines of its journals; it is folded when all of them is here."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from tests.support.journals import a_started_recording, call, leave, noise
from tests.support.recorder_harness import RecorderHarness, written
from tests.support.sessions import Handle, introduction, talk
from tests.support.waiting import until
from wavstream.journal.outline import Outline, OutlinedJournal, last_arrival_us
from wavstream.journal.raw_batches import batches_from
from wavstream.journal.segments import Position, segment_path, segments_of
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.recovery.restoring import Taken
from wavstream.sessions.stream import Stream


@dataclass
class AtAnother:
    """A journal that another node has left, of which the outline is here."""

    harness: RecorderHarness
    journal: OutlinedJournal
    taken: Taken
    folder: Path

    async def go_on(self, *rows: Recording) -> frozenset[str]:
        """Go on by the outline."""
        return await self.harness.recovery.go_on([self.journal], rows, self.taken)

    async def come(self, gone_on: frozenset[str]) -> None:
        """Have what was before come into the folder, and be brought back."""
        for path in self.folder.iterdir():
            shutil.copy(path, self.harness.journals / path.name)
        keys = [self.journal.key]
        await self.harness.recovery.take_in("default", "call-77", keys, self.taken, gone_on=gone_on)


Leave = Callable[[list[bytes]], Awaitable[AtAnother]]


@pytest.fixture
async def left(harness: RecorderHarness, tmp_path: Path) -> Leave:
    """Leave a journal at another node, and defer the streams of its session here."""
    await harness.recover()

    async def leave_it(rows: list[bytes]) -> AtAnother:
        folder = tmp_path / "another"
        folder.mkdir()
        leave(folder, rows)
        (key,) = {path.name.rpartition("-")[0] for path in folder.iterdir()}
        outline = Outline()
        for each in batches_from(folder, key, 1, 0, max_bytes=1 << 30):
            assert outline.add(each.segment, each.number, each.payload, has_event=each.has_event)
            outline.last_us = last_arrival_us(each.payload)
        segment = max(segments_of(folder, key)) + 1
        journal = OutlinedJournal(key, "default", "call-77", outline, segment, outline.through + 1)
        starts = {key: Position(segment, 0, journal.number)}
        harness.sessions.defer("default", "call-77")
        taken = Taken(from_node="a", to_node="b", epoch=2, starts=starts)
        return AtAnother(harness, journal, taken, folder)

    return leave_it


async def test_what_is_said_now_is_recorded_before_what_was_said_is_here_and_is_one_file(
    harness: RecorderHarness, left: Leave
) -> None:
    recording = a_started_recording()
    await harness.catalog.recordings.add(recording)
    journal = await left(call(recording, from_s=harness.now_s - 1.5))

    gone_on = await journal.go_on(recording)
    harness.recovery.let_in("call-77")
    stream = harness.sessions.open_stream(introduction("a"), app_id="default", handle=Handle(), now_us=harness.now_us())
    assert isinstance(stream, Stream)
    harness.now_s += 1
    talk(stream, from_s=harness.now_s)
    session = harness.sessions.find("default", "call-77")
    assert session is not None
    session.recordings.stop(session.recordings.by_id[recording.id], EndReason.STOPPED, harness.now_us())
    assert session.notes.journal is not None
    await written(harness, session.notes.journal)
    for _ in range(2):
        harness.recorder.fold([session.notes.journal])
    await until(lambda: not harness.recorder.render.waiting)
    assert (await harness.row(recording)).status is not Status.AVAILABLE
    assert list(harness.spool.iterdir()) == [], "nothing is folded of a journal that lacks its begin"

    await journal.come(gone_on)
    await harness.settled()
    row = await harness.row(recording)
    assert (row.status, row.end_reason) == (Status.AVAILABLE, EndReason.STOPPED)
    assert row.receipt is not None
    assert [each.from_node for each in row.receipt.integrity.take_overs] == ["a"]
    samples, _ = soundfile.read(harness.storage.path(recording.object_key), dtype="int16")
    assert np.array_equal(samples[:8000, 0], noise(1.0))
    assert len(samples) > 16_000
    assert harness.left() == []


async def test_what_was_stopped_before_is_finished_when_it_is_here(harness: RecorderHarness, left: Leave) -> None:
    recording = a_started_recording()
    await harness.catalog.recordings.add(recording)
    journal = await left(call(recording, from_s=harness.now_s - 1.5, stop=EndReason.HANGUP))

    gone_on = await journal.go_on(replace(recording, status=Status.COMPLETED))
    assert gone_on == {journal.journal.key}
    await journal.come(gone_on)
    await harness.settled()
    row = await harness.row(recording)
    assert (row.status, row.end_reason) == (Status.AVAILABLE, EndReason.HANGUP)
    samples, _ = soundfile.read(harness.storage.path(recording.object_key), dtype="int16")
    assert np.array_equal(samples[:, 0], noise(1.0))


async def test_where_a_recording_runs_that_no_outline_tells_of_nothing_goes_on_before_all_is_here(
    harness: RecorderHarness, left: Leave
) -> None:
    recording, other = a_started_recording(), replace(a_started_recording(), id="of another journal")
    await harness.catalog.recordings.add(recording)
    journal = await left(call(recording, from_s=harness.now_s - 1.5, stop=EndReason.HANGUP))

    assert await journal.go_on(recording, other) == frozenset()
    assert not list(harness.recorder)
    await journal.come(frozenset())
    await harness.settled()
    assert (await harness.row(recording)).status is Status.AVAILABLE


async def test_of_what_has_its_file_nothing_goes_on(harness: RecorderHarness, left: Leave) -> None:
    recording = replace(a_started_recording(), status=Status.ABSENT)
    await harness.catalog.recordings.add(recording)
    journal = await left(call(recording, from_s=harness.now_s - 1.5, stop=EndReason.HANGUP))

    assert await journal.go_on(recording) == frozenset()
    await journal.come(frozenset())
    await harness.settled()
    assert harness.left() == []


async def test_each_app_of_a_session_goes_on_with_its_own_newest_journal(harness: RecorderHarness, left: Leave) -> None:
    first = a_started_recording()
    second = replace(a_started_recording(), id="of another app", app_id="other")
    for recording in (first, second):
        await harness.catalog.recordings.add(recording)
    older = await left(call(first, from_s=harness.now_s - 3.0))
    shutil.rmtree(older.folder)
    newer = await left(call(second, from_s=harness.now_s - 1.5))
    of_other = replace(newer.journal, app_id="other")

    taken = replace(newer.taken, starts={**older.taken.starts, **newer.taken.starts})
    gone_on = await harness.recovery.go_on([older.journal, of_other], [first, second], taken)

    assert gone_on == {older.journal.key, of_other.key}
    assert {(each.row.app_id, each.row.status) for each in harness.recorder} == {
        ("default", Status.ONGOING), ("other", Status.ONGOING)
    }  # fmt: skip
    assert all(harness.recorder.awaits_journal(key) for key in gone_on)


@pytest.mark.parametrize(("from_node", "told"), [("a", []), ("b", ["journal_damaged", "journal_set_aside"])])
async def test_what_is_left_of_a_journal_whose_files_are_all_there_goes_without_an_error(
    harness: RecorderHarness, from_node: str, told: list[str]
) -> None:
    await harness.recover()
    recording = replace(a_started_recording(), status=Status.ABSENT)
    await harness.catalog.recordings.add(recording)
    rows = call(recording, from_s=harness.now_s - 1.5, stop=EndReason.HANGUP)
    key = leave(harness.journals, *(rows[at : at + 10] for at in range(0, len(rows), 10)))
    segment_path(harness.journals, key, 2).unlink()

    taken = Taken(from_node=from_node, to_node="b", epoch=2, starts={})
    with capture_logs() as logs:
        await harness.recovery.take_in("default", "call-77", [key], taken)

    assert [path for path in harness.journals.iterdir() if path.is_file()] == []
    assert [line["event"] for line in logs if line["log_level"] != "info"] == told
