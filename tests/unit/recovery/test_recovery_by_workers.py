"""Each worker brings back what is its own, wherever it was written, and touches nothing of the others'."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.journals import a_started_recording, call, leave
from tests.support.recorder_harness import RecorderHarness
from tests.support.sessions import Handle, a_recording, introduction
from tests.support.waiting import begun, until
from tests.support.workers import workers
from wavstream.journal.segments import segment_path
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.recovery.recovery import MADE_AGAIN, Recovery
from wavstream.sessions.deferred_stream import DeferredStream
from wavstream.workers.boundary import Boundary, owner_of

COUNT = 2


def session_of(worker: int) -> str:
    return next(name for name in (f"call-{number}" for number in range(100)) if owner_of(name, COUNT) == worker)


MINE, OTHER = session_of(1), session_of(0)


def be_worker(harness: RecorderHarness, boundary: Boundary, *, is_again: bool) -> None:
    harness.recovery = Recovery(
        folder=harness.journals,
        sessions=harness.sessions,
        recorder=harness.recorder,
        recordings=harness.catalog.recordings,
        storage=harness.storage,
        writer=harness.writer,
        clock=harness.recovery._clock,
        boundary=boundary,
        is_again=is_again,
    )


def left_by_a_crash(harness: RecorderHarness) -> dict[str, tuple[str, Recording]]:
    """Leave a stopped call of each worker, with no row; the journal and the recording, by session."""
    made = {}
    for session_id in (MINE, OTHER):
        recording = a_started_recording(session_id=session_id)
        key = leave(harness.journals, call(recording, stop=EndReason.STOPPED), session_id=session_id)
        made[session_id] = key, recording
    return made


@pytest.mark.parametrize("is_again", [False, True])
async def test_a_worker_brings_back_its_own_sessions_alone(harness: RecorderHarness, is_again: bool) -> None:
    made = left_by_a_crash(harness)
    async with workers(COUNT) as (_, one):
        be_worker(harness, one, is_again=is_again)
        await harness.recover()
    assert (await harness.row(made[MINE][1])).status is Status.AVAILABLE
    assert await harness.catalog.recordings.get(made[OTHER][1].id) is None
    assert harness.left() == [segment_path(Path(), made[OTHER][0], 1).name]
    assert (harness.recovery.total, harness.recovery.done, harness.recovery.reconciled) == (1, 1, True)


async def test_a_worker_that_is_started_again_leaves_what_others_have_just_begun(harness: RecorderHarness) -> None:
    empty = segment_path(harness.journals, "begun", 1)
    torn = segment_path(harness.journals, "torn", 1)
    misnamed = segment_path(harness.journals, "misnamed", 1)
    key, _ = left_by_a_crash(harness)[OTHER]
    segment_path(harness.journals, key, 1).rename(misnamed)
    empty.touch()
    torn.write_bytes(b"half a header")
    before = {each.name: each.read_bytes() for each in (empty, torn, misnamed)}
    async with workers(COUNT) as (zero, one):
        one.answers(MADE_AGAIN, harness.recovery.answer)
        await begun(harness.recovery.run())
        be_worker(harness, zero, is_again=True)
        harness.recovery.defer_streams()
    assert {name: (harness.journals / name).read_bytes() for name in before} == before


async def test_a_row_without_a_journal_is_settled_by_the_worker_that_has_its_session(harness: RecorderHarness) -> None:
    rows = [a_started_recording(session_id=name) for name in (MINE, OTHER)]
    waiting = [a_recording(session_id=name) for name in (MINE, OTHER)]
    for row in (*rows, waiting[1]):
        await harness.catalog.recordings.add(row)
    async with workers(COUNT) as (_, one):
        be_worker(harness, one, is_again=True)
        await harness.recover()
    assert [(await harness.row(row)).status for row in rows] == [Status.FAILED, Status.ONGOING]
    assert (await harness.row(waiting[1])).status is Status.ACCEPTED
    assert harness.sessions.find("default", OTHER) is None


async def test_streams_of_its_own_sessions_alone_wait_for_their_journals(harness: RecorderHarness) -> None:
    left_by_a_crash(harness)
    async with workers(COUNT) as (_, one):
        be_worker(harness, one, is_again=True)
        harness.recovery.defer_streams()
        opened = {
            name: harness.sessions.open_stream(
                introduction(session_id=name), app_id="default", handle=Handle(), now_us=harness.now_us()
            )
            for name in (MINE, OTHER)
        }
        assert [isinstance(opened[name], DeferredStream) for name in (MINE, OTHER)] == [True, False]
        await harness.recovery.run()


async def test_worker_0_takes_no_row_for_lost_whose_file_another_makes_again(harness: RecorderHarness) -> None:
    answers = [b"null", b'["made"]']
    async with workers(COUNT) as (zero, one):

        async def answer(_question: bytes) -> bytes:
            return answers.pop(0)

        one.answers(MADE_AGAIN, answer)
        be_worker(harness, zero, is_again=False)
        found = await harness.recovery._made_again_by_others()
    assert found == {"made"}
    assert not answers


async def test_worker_0_waits_for_a_worker_that_is_started_again(harness: RecorderHarness) -> None:
    async with workers(COUNT, wait_s=0.05) as (zero, one):
        be_worker(harness, zero, is_again=False)
        waiting = await begun(harness.recovery._made_again_by_others())
        await until(lambda: zero._number)
        one.answers(MADE_AGAIN, _nothing)
        async with asyncio.timeout(30):
            assert await waiting == set()


async def _nothing(_question: bytes) -> bytes:
    return b"[]"
