"""Conversions that are shared, wait, fail, are overtaken by an erasure, and are broken off."""

from __future__ import annotations

import asyncio
import errno
import io
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import obstore
import pytest
from obstore.store import MemoryStore
from structlog.testing import capture_logs

from tests.support.files import recorded_file
from tests.support.sessions import a_recording
from tests.support.waiting import begun, until
from wavstream.conversion.conversion import Conversion
from wavstream.conversion.conversions import THREADS_OF_APP, Conversions
from wavstream.errors import InternalError, LimitReached, NotFound, QuotaReached, StoreError, TooSoon
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status, StoredObject
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import copy_key
from wavstream.storage.object_store import ObjectFile, ObjectStore
from wavstream.storage.stores import FinishedFiles, Stores
from wavstream.turns.fair_pool import Places

STORE = "s3://calls"
Write = Callable[[Conversion, io.BufferedReader, Path, Callable[[int], None]], None]


class ConversionsHarness:
    """Conversions between real folders."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / "spool"
        self.storage = LocalStorage(folder / "recordings")
        self.storage.prepare(self.spool)
        self.bucket = MemoryStore()
        self.files = FinishedFiles(self.storage, Stores(ObjectStore(STORE, self.bucket)))
        self.conversions = self.new()

    def new(self, *, reserve: DiskReserve | None = None, max_bytes: int = 1 << 40) -> Conversions:
        return Conversions(
            storage=self.storage,
            files=self.files,
            spool=self.spool,
            reserve=reserve or DiskReserve(self.spool, 0),
            places=Places(in_all=5, of_app=4, setting="limits.conversions"),
            max_bytes=max_bytes,
        )

    def recorded(self, recording_id: str = "0d6c", app_id: str = "shop", *, length_s: int = 30) -> Recording:
        """Return an available recording, with its file."""
        said = np.random.default_rng(1).normal(0, 3000, (8_000 * length_s, 1)).astype(np.int16)
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

    def upload(self, recording: Recording) -> Recording:
        """Put its file into the store, and remove it here."""
        path = self.storage.path(recording.object_key)
        done = obstore.put(self.bucket, recording.object_key, path.read_bytes())
        path.unlink()
        return replace(recording, stored=StoredObject(STORE, recording.created_at, done["e_tag"]))

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
        def called(self: Conversion, source: io.BufferedReader, target: Path, *, grown: Callable[[int], None]) -> None:
            write(self, source, target, grown)

        monkeypatch.setattr(Conversion, "write", called)

    return do


class Gate:
    """Holds conversions back when their first bytes are there, until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[Path] = []
        self._write = Conversion.write

    def __call__(
        self, conversion: Conversion, source: io.BufferedReader, target: Path, grown: Callable[[int], None]
    ) -> None:
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
    def fill(_: Conversion, __: io.BufferedReader, target: Path, grown: Callable[[int], None]) -> None:
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
        files=harness.files,
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


# ---- files in a store ----------------------------------------------------------------------------------------------


async def test_a_file_in_a_store_becomes_the_same_copy_as_one_that_is_here(harness: ConversionsHarness) -> None:
    here, there = harness.recorded("1"), harness.upload(harness.recorded("2"))
    for recording in (here, there):
        harness.conversions.begin(recording)
    await harness.ended()

    kept = harness.conversions.kept(there)
    assert kept is not None
    assert kept.read_bytes() == harness.copy(here).read_bytes()
    assert not harness.copy(there).exists()
    assert harness.conversions.kept(here) is None


async def test_it_is_read_and_converted_as_it_comes_and_not_fetched_first(
    harness: ConversionsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = harness.upload(harness.recorded(length_s=300))
    growing = harness.conversions.begin(recording)
    read_at, read = ObjectFile.read_at, list[tuple[int, int]]()

    def counted(file: ObjectFile, length_bytes: int, offset: int) -> bytes:
        read.append((offset, growing._made_bytes))
        return read_at(file, length_bytes, offset)

    monkeypatch.setattr(ObjectFile, "read_at", counted)
    await harness.ended()

    assert len({offset for offset, _ in read}) > 4
    assert len({made for _, made in read}) > 3  # parts of the copy were there before the last of the file was asked for


async def test_the_copy_goes_with_its_recording_and_with_the_server(harness: ConversionsHarness) -> None:
    erased, other = harness.upload(harness.recorded("1")), harness.upload(harness.recorded("2"))
    for recording in (erased, other):
        harness.conversions.begin(recording)
    await harness.ended()
    await harness.conversions.end(erased.id)
    assert (harness.conversions.kept(erased), harness.conversions.kept(other) is not None) == (None, True)

    await harness.conversions.stop()

    assert list(harness.spool.iterdir()) == []


async def test_one_that_is_erased_while_it_is_converted_leaves_no_copy(
    harness: ConversionsHarness, replace_write: Callable[[Write], None]
) -> None:
    gate = Gate()
    replace_write(gate)
    recording = harness.upload(harness.recorded())
    growing = harness.conversions.begin(recording)
    await until(lambda: gate.begun)
    ending = asyncio.create_task(harness.conversions.end(recording.id))
    await until(growing.is_unwanted.is_set)
    gate.open.set()
    await ending

    assert harness.conversions.kept(recording) is None
    await harness.conversions.stop()
    assert list(harness.spool.iterdir()) == []


async def test_the_copies_that_were_asked_for_last_are_kept_as_far_as_there_is_room(tmp_path: Path) -> None:
    harness = ConversionsHarness(tmp_path)
    size_bytes = Conversion.of(harness.recorded()).size_bytes
    conversions = harness.new(max_bytes=2 * size_bytes)
    first, second, third = (harness.upload(harness.recorded(str(number))) for number in range(3))
    for recording in (first, second):
        conversions.begin(recording)
        await harness.ended()
    conversions.kept(first)  # asked for again
    conversions.begin(third)
    await harness.ended()

    assert [conversions.kept(each) is not None for each in (first, second, third)] == [True, False, True]
    await conversions.stop()


@pytest.mark.parametrize("after", [0, 2])
async def test_a_store_that_fails_before_or_within_the_reading_is_told_and_leaves_nothing(
    harness: ConversionsHarness, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], after: int
) -> None:
    recording = harness.upload(harness.recorded(length_s=300))
    read_at, reads = ObjectFile.read_at, 0

    def fails(file: ObjectFile, length_bytes: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        if reads > after:
            raise StoreError("s3://calls: the store is away")
        return read_at(file, length_bytes, offset)

    monkeypatch.setattr(ObjectFile, "read_at", fails)
    growing = harness.conversions.begin(recording)
    with pytest.raises(StoreError, match="away"):
        await growing.past(1 << 40)
    await harness.ended()

    assert harness.conversions.kept(recording) is None
    assert list(harness.spool.iterdir()) == []
    assert capfd.readouterr().err == ""


async def test_a_store_that_hangs_delays_no_conversion_of_a_file_that_is_here(
    harness: ConversionsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, read_at = threading.Event(), ObjectFile.read_at

    def hangs(file: ObjectFile, length_bytes: int, offset: int) -> bytes:
        goes_on.wait(60)
        return read_at(file, length_bytes, offset)

    monkeypatch.setattr(ObjectFile, "read_at", hangs)
    for number in range(4):
        harness.conversions.begin(harness.upload(harness.recorded(str(number), f"app{number % 2}")))
    here = harness.recorded("here", "app0")
    await harness.conversions.begin(here).past(0)

    goes_on.set()
    await harness.ended()
    assert harness.copy(here).exists()
