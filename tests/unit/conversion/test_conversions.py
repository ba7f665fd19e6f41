"""Conversions that are shared, wait, fail, are overtaken by an erasure, and are broken off."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from tests.support.files import recorded_file
from tests.support.sessions import a_recording
from tests.support.waiting import begun
from wavstream.conversion.conversion import Conversion
from wavstream.conversion.conversions import THREADS_OF_APP, Conversions
from wavstream.errors import InternalError, LimitReached, NotFound, QuotaReached, TooSoon
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import copy_key
from wavstream.turns.fair_pool import Places

Write = Callable[[Conversion, Path, Path, Callable[[int], None]], None]


class ConversionsHarness:
    """Conversions between real folders."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / "spool"
        self.storage = LocalStorage(folder / "recordings")
        self.storage.prepare(self.spool)
        self.conversions = self.new()

    def new(self, *, reserve: DiskReserve | None = None, max_bytes: int = 1 << 40) -> Conversions:
        return Conversions(
            storage=self.storage,
            spool=self.spool,
            reserve=reserve or DiskReserve(self.spool, 0),
            places=Places(in_all=5, of_app=4, setting="limits.conversions"),
            max_bytes=max_bytes,
        )

    def recorded(self, recording_id: str = "0d6c", app_id: str = "shop") -> Recording:
        """Return an available recording of 30 s, with its file."""
        said = np.random.default_rng(1).normal(0, 3000, (240_000, 1)).astype(np.int16)
        file, receipt = recorded_file(said, 8000, FileFormat.WAV)
        recording = replace(
            a_recording(),
            id=recording_id,
            app_id=app_id,
            status=Status.AVAILABLE,
            receipt=receipt,
            object_key=f"a/{recording_id}.wav",
        )
        path = self.storage.path(recording.object_key)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file)
        return recording

    def copy(self, recording: Recording) -> Path:
        return self.storage.path(copy_key(recording.object_key, "mp3"))

    async def ended(self) -> None:
        """Wait until nothing is converted any more."""
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("convert ")]
        await asyncio.gather(*tasks)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ConversionsHarness]:
    harness = ConversionsHarness(tmp_path)
    yield harness
    await harness.conversions.stop()


@pytest.fixture
def replace_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Write], None]:
    """Let conversions be written otherwise."""

    def do(write: Write) -> None:
        def called(self: Conversion, source: Path, target: Path, *, grown: Callable[[int], None]) -> None:
            write(self, source, target, grown)

        monkeypatch.setattr(Conversion, "write", called)

    return do


class Gate:
    """Holds conversions back when their first bytes are there, until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[Path] = []
        self._write = Conversion.write

    def __call__(self, conversion: Conversion, source: Path, target: Path, grown: Callable[[int], None]) -> None:
        def wait(made_bytes: int) -> None:
            grown(made_bytes)
            self.open.wait(60)

        self.begun.append(target)
        self._write(conversion, source, target, grown=wait)


async def test_all_who_ask_meanwhile_share_one_conversion(
    harness: ConversionsHarness, replace_write: Callable[[Write], None]
) -> None:
    gate, recording = Gate(), harness.recorded()
    replace_write(gate)
    size_bytes = Conversion.of(recording).size_bytes

    one, other = harness.conversions.begin(recording), harness.conversions.begin(recording)
    there = await asyncio.gather(one.past(0), other.past(100))
    gate.open.set()

    assert 100 < there[0] < size_bytes
    assert await other.past(size_bytes - 1) == size_bytes
    await harness.ended()
    assert len(gate.begun) == 1
    assert harness.copy(recording).stat().st_size == size_bytes
    assert list(harness.spool.iterdir()) == []


async def test_those_beyond_the_first_few_wait_for_their_turn(
    harness: ConversionsHarness, replace_write: Callable[[Write], None]
) -> None:
    gate = Gate()
    replace_write(gate)
    recordings = [harness.recorded(f"{number}") for number in range(THREADS_OF_APP + 1)]

    *first, last = [harness.conversions.begin(recording) for recording in recordings]
    await asyncio.gather(*(growing.past(0) for growing in first))
    begun = len(gate.begun)
    gate.open.set()
    await last.past(0)
    await harness.ended()

    assert begun == THREADS_OF_APP
    assert all(harness.copy(recording).exists() for recording in recordings)


async def test_one_apps_conversions_leave_a_thread_for_anothers(
    harness: ConversionsHarness, replace_write: Callable[[Write], None]
) -> None:
    gate = Gate()
    replace_write(gate)
    flood = [harness.conversions.begin(harness.recorded(f"{number}")) for number in range(THREADS_OF_APP + 2)]
    await asyncio.gather(*(growing.past(0) for growing in flood[:THREADS_OF_APP]))

    await harness.conversions.begin(harness.recorded("other", app_id="other")).past(0)

    assert len(gate.begun) == THREADS_OF_APP + 1
    gate.open.set()
    await harness.ended()


async def test_what_is_converted_or_waits_is_bounded_for_an_app_in_all_and_in_bytes(
    harness: ConversionsHarness, replace_write: Callable[[Write], None]
) -> None:
    gate = Gate()
    replace_write(gate)
    first = harness.recorded("0")
    for number in range(4):
        harness.conversions.begin(harness.recorded(f"{number}"))
    with pytest.raises(TooSoon, match=r"limits\.conversions_per_app is 4"):
        harness.conversions.begin(harness.recorded("4"))
    harness.conversions.begin(first)  # under way already: the same
    harness.conversions.begin(harness.recorded("a", app_id="other"))
    with pytest.raises(LimitReached, match=r"limits\.conversions is") as refused:
        harness.conversions.begin(harness.recorded("b", app_id="third"))
    assert (refused.value.http_status, refused.value.retry_after_s) == (503, 1)
    gate.open.set()
    await harness.ended()

    small = harness.new(max_bytes=Conversion.of(first).size_bytes)
    gate.open.clear()
    small.begin(harness.recorded("c"))
    with pytest.raises(LimitReached, match=r"limits\.conversion_bytes is"):
        small.begin(harness.recorded("d"))
    gate.open.set()
    await harness.ended()
    await small.begin(harness.recorded("d")).past(0)
    await harness.ended()
    await small.stop()


async def test_a_full_disk_is_told_once_leaves_nothing_and_the_next_request_succeeds(
    harness: ConversionsHarness, monkeypatch: pytest.MonkeyPatch, replace_write: Callable[[Write], None]
) -> None:
    def fill(_: Conversion, __: Path, target: Path, grown: Callable[[int], None]) -> None:
        target.write_bytes(b"half of it")
        grown(10)
        raise OSError(errno.ENOSPC, "No space left on device")

    recording = harness.recorded()
    with capture_logs() as logs:
        replace_write(fill)
        growing = harness.conversions.begin(recording)
        assert await growing.past(0) == 10
        for _ in range(2):
            with pytest.raises(LimitReached):
                await growing.past(10)
    await harness.ended()
    monkeypatch.undo()

    assert [(line["log_level"], line["recording_id"]) for line in logs] == [("error", recording.id)]
    assert list(harness.spool.iterdir()) == []
    assert not harness.copy(recording).exists()
    await harness.conversions.begin(recording).past(0)
    await harness.ended()
    assert harness.copy(recording).exists()


async def test_a_file_that_is_not_what_its_receipt_says_is_our_mistake(harness: ConversionsHarness) -> None:
    recording = harness.recorded()
    harness.storage.path(recording.object_key).write_bytes(b"nothing of the kind")

    with capture_logs() as logs, pytest.raises(InternalError):
        await harness.conversions.begin(recording).past(0)

    assert [line["log_level"] for line in logs] == ["error"]


async def test_a_recording_that_is_erased_meanwhile_leaves_no_copy(
    harness: ConversionsHarness, replace_write: Callable[[Write], None]
) -> None:
    gate, recording = Gate(), harness.recorded()
    replace_write(gate)
    growing = harness.conversions.begin(recording)
    await growing.past(0)

    harness.storage.delete(recording.object_key)
    gate.open.set()
    await harness.ended()

    # Of one that is not broken off: who had begun to fetch it gets it whole.
    assert await growing.past(0) == Conversion.of(recording).size_bytes
    assert not harness.copy(recording).parent.exists()
    assert list(harness.spool.iterdir()) == []


async def test_a_conversion_is_broken_off_where_its_recording_is_erased_and_nothing_of_it_is_left(
    harness: ConversionsHarness, replace_write: Callable[[Write], None]
) -> None:
    gate, recording = Gate(), harness.recorded()
    replace_write(gate)
    growing = harness.conversions.begin(recording)
    await growing.past(0)

    harness.storage.delete(recording.object_key)
    ending = await begun(harness.conversions.end(recording.id))
    gate.open.set()
    await ending

    with pytest.raises(NotFound):
        await growing.past(Conversion.of(recording).size_bytes - 1)
    assert list(harness.spool.iterdir()) == []
    assert not harness.copy(recording).parent.exists()


async def test_a_recording_that_is_erased_before_its_turn_is_not_found(harness: ConversionsHarness) -> None:
    recording = harness.recorded()
    harness.storage.delete(recording.object_key)

    with capture_logs() as logs, pytest.raises(NotFound):
        await harness.conversions.begin(recording).past(0)

    assert logs == []


async def test_the_reserve_of_the_disk_is_not_for_copies(tmp_path: Path) -> None:
    harness = ConversionsHarness(tmp_path)
    reserve = DiskReserve(harness.spool, 1 << 60)
    await reserve.look()

    with pytest.raises(LimitReached, match="no room"):
        harness.new(reserve=reserve).begin(harness.recorded())


async def test_a_stop_breaks_off_what_is_under_way_and_what_waits(
    harness: ConversionsHarness, replace_write: Callable[[Write], None]
) -> None:
    gate = Gate()
    replace_write(gate)
    recordings = [harness.recorded(f"{number}") for number in range(THREADS_OF_APP + 1)]
    *first, last = [harness.conversions.begin(recording) for recording in recordings]
    await asyncio.gather(*(growing.past(0) for growing in first))

    stopping = await begun(harness.conversions.stop())
    gate.open.set()
    await stopping

    for growing in (*first, last):
        with pytest.raises(LimitReached, match="shutting down"):
            await growing.past(1 << 40)
    with pytest.raises(LimitReached, match="shutting down"):
        harness.conversions.begin(recordings[0])
    assert list(harness.spool.iterdir()) == []
    assert not any(harness.copy(recording).exists() for recording in recordings)


async def test_an_app_has_as_many_conversions_as_its_quota_and_the_server_as_many_as_it_may(
    tmp_path: Path, replace_write: Callable[[Write], None]
) -> None:
    gate = Gate()
    replace_write(gate)
    harness = ConversionsHarness(tmp_path)
    conversions = Conversions(
        storage=harness.storage,
        spool=harness.spool,
        reserve=DiskReserve(harness.spool, 0),
        places=Places(in_all=2, of_app=2, setting="limits.conversions"),
        max_bytes=1 << 40,
        quotas=Quotas(of_apps={"loud": {Quota.CONVERSIONS: 1}}),
    )
    first, second = (replace(harness.recorded(f"{number}"), app_id="loud") for number in range(2))
    third, fourth = (harness.recorded(f"{number}") for number in (3, 4))

    conversions.begin(first)
    conversions.begin(first)  # the same one
    with pytest.raises(QuotaReached, match=r"quotas\.conversions is 1"):
        conversions.begin(second)
    conversions.begin(third)
    with pytest.raises(LimitReached, match=r"limits\.conversions"):
        conversions.begin(fourth)
    gate.open.set()
    await harness.ended()

    conversions.begin(second)
    await harness.ended()
    await conversions.stop()
