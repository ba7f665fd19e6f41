"""Files go to the store behind their rows, whole, once, the oldest first, whatever fails in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.faulty_database import FOREVER, FaultyDatabase
from tests.support.memory_store import MemoryStore
from tests.support.recordings import START, a_recording
from tests.support.waiting import until
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.errors import DiskFull
from wavstream.model.fact import Fact, stored_fact
from wavstream.model.recording import EndReason, Integrity, Receipt, Recording, Status, StoredObject
from wavstream.removals import Removals
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import copy_key, sidecar_key, waveform_key
from wavstream.storage.probe import MARKER, claim
from wavstream.storage.reserve_file import ReserveFile
from wavstream.storage.sidecar import write_sidecar
from wavstream.storage.stores import Stores
from wavstream.uploads.objects import file_attributes
from wavstream.uploads.schedule import Pace, Schedule
from wavstream.uploads.uploader import Uploader

QUICK = Pace(first_s=0.01, last_s=0.04, last_probe_s=0.02)
NOW = START + timedelta(minutes=1)
CONTENT = b"RIFF and what was said"


class Place:
    """A catalog with a store, a folder, and an uploader between."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self.catalog = catalog
        self.removals = Removals()
        self.local = LocalStorage(folder / "recordings", removals=self.removals)
        self.local.prepare(folder / "spool")
        self.store = MemoryStore("s3://first")
        self.backup = MemoryStore("s3://second")
        self.reserve = ReserveFile(folder / "reserve")
        self._begun_s = time.monotonic()
        self.later = timedelta(0)
        self.stored: list[str] = []

    def uploader(
        self, *, at_once: int = 4, with_backup: bool = False, backup_after: timedelta = timedelta(0)
    ) -> Uploader:
        backup = self.backup if with_backup else None
        return Uploader(
            catalog=self.catalog,
            local=self.local,
            stores=Stores(self.store, backup),
            schedule=Schedule(self.store.url, backup.url if backup else None, backup_after=backup_after, pace=QUICK),
            at_once=at_once,
            facts_of=self._facts_of,
            reserve_file=self.reserve,
            now=self.now,
            on_stored=lambda: self.stored.append("one"),
        )

    def now(self) -> datetime:
        return NOW + self.later + timedelta(seconds=time.monotonic() - self._begun_s)

    def _facts_of(self, recording: Recording) -> Sequence[Fact]:
        assert recording.stored is not None
        return [stored_fact(recording, url="https://rec.example.com/f", at=self.now())]

    @asynccontextmanager
    async def running(
        self, *, at_once: int = 4, with_backup: bool = False, backup_after: timedelta = timedelta(0)
    ) -> AsyncIterator[Uploader]:
        uploader = self.uploader(at_once=at_once, with_backup=with_backup, backup_after=backup_after)
        uploader.start()
        try:
            yield uploader
        finally:
            await uploader.stop()

    async def publish(self, name: str = "1", *, at: datetime = START, content: bytes = CONTENT) -> Recording:
        """Publish a file, and save its row as the recorder does."""
        recording_id = name * 32
        receipt = Receipt(8000, 1, 100, "9f" * 32, len(content))
        recording = replace(
            a_recording(recording_id, status=Status.AVAILABLE), receipt=receipt, ended_at=at, kept_since=at
        )
        path = self.local.path(recording.object_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.local.path(sidecar_key(recording.object_key)).write_bytes(b"{}")
        self.local.path(waveform_key(recording.object_key)).write_bytes(b"points")
        await self.catalog.recordings.save(recording)
        return recording

    def here(self) -> list[str]:
        return sorted(self.local.walk_everything())

    async def row(self, recording: Recording) -> Recording:
        found = await self.catalog.recordings.get(recording.id)
        assert found is not None
        return found

    async def until_done(self) -> None:
        """Return when nothing waits to be uploaded, and nothing is left here of what was."""

        async def is_done() -> bool:
            return (await self.catalog.uploads.backlog()).count == 0 and not self.here()

        await until(is_done)


@pytest.fixture
async def place(database: FaultyDatabase, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(await Catalog.over(database, is_wanted=USUAL, has_store=True), tmp_path)
    yield place
    place.removals.close()


@pytest.fixture(autouse=True)
def _quick_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavstream.uploads.uploader._CATALOG_WAIT_S", 0.01)
    monkeypatch.setattr("wavstream.uploads.uploader.RESCAN_S", 0.1)


async def test_a_file_goes_to_the_store_with_what_lies_beside_it_and_leaves_this_machine(place: Place) -> None:
    recording = await place.publish()
    copy = place.local.path(copy_key(recording.object_key, "mp3"))
    copy.write_bytes(b"mp3")

    async with place.running():
        await place.until_done()

    key = recording.object_key
    assert place.store.objects == {
        key: CONTENT,
        sidecar_key(key): b"{}",
        waveform_key(key): b"points",
        MARKER: place.store.objects[MARKER],
    }
    assert place.store.puts[-1] == key, "where the file is, what lies beside it is"
    row = await place.row(recording)
    assert row.stored is not None
    assert row.stored.url == "s3://first"
    assert row.status is Status.AVAILABLE
    assert not copy.exists()
    assert place.stored == ["one"]


async def test_what_is_said_of_an_object_is_plain_text_of_known_names(place: Place) -> None:
    recording = replace(await place.publish(), session_id="büro/77", file_name="büro 77.wav")
    await place.catalog.recordings.save(recording)

    async with place.running():
        await place.until_done()

    told = place.store.attributes[recording.object_key]
    assert all(text.isascii() for text in told.values())
    assert all(name.isalnum() for name in told if not name.startswith("Content-"))
    assert told["Content-Type"] == "audio/wav"
    assert "filename*=UTF-8''b%C3%BCro%2077.wav" in told["Content-Disposition"]
    assert (told["recording"], told["session"], told["sha256"]) == (recording.id, "b%C3%BCro%2F77", "9f" * 32)


async def test_what_is_published_while_it_runs_is_uploaded_at_once(place: Place) -> None:
    async with place.running():
        recording = await place.publish()
        await place.until_done()
    assert recording.object_key in place.store.objects


async def test_without_a_store_nothing_is_queued(database: FaultyDatabase, tmp_path: Path) -> None:
    place = Place(await Catalog.over(database, is_wanted=USUAL), tmp_path)
    await place.publish()
    assert (await place.catalog.uploads.backlog()).count == 0


async def test_so_many_are_uploaded_at_once_and_the_oldest_first(place: Place) -> None:
    names = "7b3a5c19"
    for minute, name in enumerate(names):
        await place.publish(name, at=START - timedelta(minutes=minute))
    place.store.gate = asyncio.Event()

    async with place.running(at_once=2):
        await until(lambda: place.store.at_once == 2)
        place.store.gate.set()
        await place.until_done()

    assert place.store.most_at_once == 2
    files = [key for key in place.store.puts if key.endswith(".wav")]
    assert {files[0][-8:-4], files[1][-8:-4]} == {names[-1] * 4, names[-2] * 4}
    assert len(files) == len(names)


async def test_a_store_that_is_away_is_probed_and_takes_all_when_it_is_back(place: Place) -> None:
    place.store.away = "the store cannot be reached"
    for name in "123456789":
        await place.publish(name)

    async with place.running() as uploader:
        await until(lambda: bool(uploader.failing))
        await until(lambda: uploader.backlog.error is not None or uploader.counts.failed > 5)
        backlog = await place.catalog.uploads.backlog()
        assert backlog.count == 9
        assert backlog.error == "the store cannot be reached"
        assert len(place.here()) > 0
        place.store.away = None
        await place.until_done()
        assert not uploader.failing

    assert sum(key.endswith(".wav") for key in place.store.objects) == 9


async def test_a_file_that_is_never_taken_holds_up_none_of_the_others(place: Place) -> None:
    bad = await place.publish("0", at=START - timedelta(days=1))
    place.store.refuses_keys.add(bad.object_key)

    async with place.running(at_once=1):
        for name in "123456":
            await place.publish(name)
        await until(lambda: sum(key.endswith(".wav") for key in place.store.objects) == 6)

        async def is_alone() -> bool:
            backlog = await place.catalog.uploads.backlog()
            return (backlog.count, backlog.error) == (1, f"{bad.object_key} is not taken")

        await until(is_alone)
        place.store.refuses_keys.clear()
        await place.until_done()


async def test_what_the_store_has_already_is_not_sent_again(place: Place) -> None:
    place.store.loses_answers = True
    recording = await place.publish()
    async with place.running():
        await until(lambda: recording.object_key in place.store.objects)
        place.store.loses_answers = False
        await place.until_done()
    assert place.store.puts.count(recording.object_key) == 1


async def test_another_content_at_the_key_is_replaced(place: Place) -> None:
    recording = await place.publish()
    place.store.objects[recording.object_key] = b"x" * len(CONTENT)
    async with place.running():
        await place.until_done()
    assert place.store.objects[recording.object_key] == CONTENT


# ---- the backup ------------------------------------------------------------------------------------------------------


async def test_what_the_first_store_does_not_take_in_time_goes_to_the_second(place: Place) -> None:
    place.store.away = "away"
    recording = await place.publish()

    async with place.running(with_backup=True) as uploader:
        await until(lambda: recording.object_key in place.backup.objects)
        place.store.away = None  # what may be left there is removed
        await place.until_done()
        assert uploader.counts.in_backup == 1

    row = await place.row(recording)
    assert row.stored is not None
    assert row.stored.url == "s3://second"


async def test_a_young_file_waits_for_the_first_store(place: Place) -> None:
    place.store.away = "away"
    recording = await place.publish(at=NOW)
    async with place.running(with_backup=True, backup_after=timedelta(hours=1)) as uploader:
        await until(lambda: uploader.counts.failed > 3)
        assert place.backup.objects == {}
        place.later += timedelta(hours=1)
        uploader.wake()
        await until(lambda: recording.object_key in place.backup.objects)


async def test_what_the_first_store_took_without_saying_so_is_not_left_there(place: Place) -> None:
    place.store.loses_answers = place.store.goes_away_then = True
    recording = await place.publish()

    async with place.running(with_backup=True):
        await until(lambda: recording.object_key in place.backup.objects)
        assert recording.object_key in place.store.objects
        place.store.away = None
        await place.until_done()

    assert [key for key in place.store.objects if key != MARKER] == []
    assert recording.object_key in place.backup.objects


# ---- whose store it is -----------------------------------------------------------------------------------------------


async def test_a_store_of_another_installation_is_given_nothing(place: Place) -> None:
    await claim(place.store, "somebody else")
    recording = await place.publish()
    async with place.running() as uploader:
        await until(lambda: bool(uploader.failing) and uploader.counts.failed > 1)
        assert [*place.store.objects] == [MARKER]
        backlog = await place.catalog.uploads.backlog()
        assert backlog.error is not None
        assert "another installation" in backlog.error
    assert place.local.path(recording.object_key).exists()


# ---- erasing ---------------------------------------------------------------------------------------------------------


async def erase(place: Place, recording: Recording) -> None:
    erased = await place.catalog.erasures.begin([recording], Status.DELETED, by="app", now=NOW)
    assert erased == {recording.id}
    place.local.delete(recording.object_key)


async def test_a_recording_that_is_erased_while_it_is_uploaded_is_taken_back(place: Place) -> None:
    recording = await place.publish()
    place.store.gate = asyncio.Event()

    async with place.running() as uploader:
        await place.store.waiting.wait()
        await erase(place, recording)
        await uploader.recording_removed(recording.id)
        place.store.gate.set()
        await place.until_done()
        assert uploader.counts.taken_back == 1

    assert [*place.store.objects] == [MARKER]
    assert (await place.row(recording)).status is Status.DELETED


async def test_what_cannot_be_taken_back_yet_is_tried_until_it_is_gone(place: Place) -> None:
    recording = await place.publish()
    place.store.loses_answers = True
    async with place.running() as uploader:
        await until(lambda: recording.object_key in place.store.objects)
        place.store.refuses = {"delete"}
        await erase(place, recording)
        await uploader.recording_removed(recording.id)
        await until(lambda: uploader.counts.failed > 3)
        assert recording.object_key in place.store.objects
        assert (await place.catalog.uploads.backlog()).count == 1
        place.store.refuses = set()
        await place.until_done()
    assert recording.object_key not in place.store.objects


async def test_a_recording_that_was_erased_before_anything_was_put_is_forgotten(place: Place) -> None:
    recording = await place.publish()
    await erase(place, recording)
    async with place.running():
        await place.until_done()
    assert place.store.puts == []


async def test_an_upload_that_another_process_has_ended_meanwhile_leaves_its_object(place: Place) -> None:
    recording = await place.publish()
    place.store.gate = asyncio.Event()
    async with place.running() as uploader:
        await place.store.waiting.wait()
        assert await place.catalog.uploads.finish(recording.id, StoredObject("s3://first", NOW))
        place.store.gate.set()
        await place.until_done()
        await until(lambda: recording.object_key in place.store.objects)
        assert uploader.counts.taken_back == 0
    assert place.store.objects[recording.object_key] == CONTENT


# ---- a process that is ended -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["before", "noted", "beside", "put", "row"])
async def test_an_upload_that_was_ended_anywhere_ends_as_one_object_and_one_row(place: Place, stage: str) -> None:
    recording = await place.publish()
    key, uploads = recording.object_key, place.catalog.uploads
    (upload,) = await uploads.due(NOW, 9)
    if stage != "before":
        await uploads.note_try(upload, place.store.url)
    if stage in ("beside", "put", "row"):
        await place.store.put(sidecar_key(key), b"{}", attributes={})
    if stage in ("put", "row"):
        async with place.running():
            await place.until_done()
        # As it was before the row: the file is here, and the row does not say where it lies.
        await place.publish()
        if stage == "put":
            await place.catalog.database.write(
                lambda connection: connection.exec_driver_sql("UPDATE recordings SET stored_json = NULL")
            )
            await place.catalog.recordings.save(recording)

    async with place.running():
        await place.until_done()

    assert sorted(place.store.objects) == sorted([MARKER, key, sidecar_key(key), waveform_key(key)])
    assert place.store.objects[key] == CONTENT
    assert (await place.row(recording)).stored is not None
    assert (await uploads.backlog()).count == 0


async def test_a_row_of_before_the_upload_finds_its_file_in_the_store(place: Place) -> None:
    recording = await place.publish()
    async with place.running():
        await place.until_done()
    await place.catalog.database.write(  # as a catalog that was restored has it
        lambda connection: connection.exec_driver_sql("UPDATE recordings SET stored_json = NULL")
    )
    await place.catalog.recordings.save(recording)
    (upload,) = await place.catalog.uploads.due(NOW, 9)
    await place.catalog.uploads.note_try(upload, place.store.url)

    async with place.running():
        await place.until_done()

    assert (await place.row(recording)).stored is not None
    assert place.store.puts.count(recording.object_key) == 1


async def test_a_file_that_is_nowhere_is_told_and_stays_queued(place: Place) -> None:
    recording = await place.publish()
    place.local.delete(recording.object_key)
    async with place.running() as uploader:
        await until(lambda: uploader.counts.failed > 1)
    backlog = await place.catalog.uploads.backlog()
    assert backlog.error is not None
    assert "neither here nor in a store" in backlog.error
    assert (await place.row(recording)).status is Status.AVAILABLE


async def test_a_file_that_was_cut_is_not_uploaded(place: Place) -> None:
    recording = await place.publish()
    place.local.path(recording.object_key).write_bytes(CONTENT[:-1])
    async with place.running() as uploader:
        await until(lambda: uploader.counts.failed > 1)
        assert recording.object_key not in place.store.objects
        assert not uploader.failing, "that is nothing of the store's"


# ---- the catalog -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["Uploads.due", "Uploads.note_try", "Uploads.finish", "Uploads.fail"])
async def test_a_catalog_that_fails_for_a_while_is_a_pause(place: Place, database: FaultyDatabase, method: str) -> None:
    recording = await place.publish()
    if method == "Uploads.fail":
        place.store.refuses_keys.add(recording.object_key)
    database.faults[method] = 3
    async with place.running():
        await until(lambda: database.faults[method] == 0)
        place.store.refuses_keys.clear()
        await place.until_done()
    assert place.store.puts.count(recording.object_key) == 1


async def test_on_a_full_disk_uploads_take_the_room_of_the_reserve(place: Place, database: FaultyDatabase) -> None:
    await place.publish()
    assert await asyncio.to_thread(place.reserve.make, 1 << 40)
    database.failure = DiskFull
    database.faults["Uploads.note_try"] = 2
    async with place.running() as uploader:
        await place.until_done()
        assert uploader.counts.failed == 0


async def test_while_the_catalog_is_away_the_store_is_not_asked_without_end(
    place: Place, database: FaultyDatabase
) -> None:
    await place.publish()
    database.faults["Uploads.note_try"] = FOREVER
    async with place.running():
        await until(lambda: database.asked.count("Uploads.note_try") > 5)
        assert place.store.puts == [MARKER]


# ---- what is older than the store ------------------------------------------------------------------------------------


async def test_what_is_here_of_a_file_that_another_node_has_uploaded_goes_when_it_is_looked_for_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.uploads.uploader.RESCAN_S", 0.01)
    recording = await place.publish()
    async with place.running() as uploader:
        await place.until_done()
        await until(lambda: uploader.are_copies_removed)
        path = place.local.path(recording.object_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
        uploader.are_copies_removed = False
        uploader.wake()
        await until(lambda: not place.here())
    assert recording.object_key in place.store.objects


async def test_a_copy_that_was_left_stays_until_its_store_says_that_it_has_the_file(place: Place) -> None:
    recording = await place.publish()
    async with place.running():
        await place.until_done()
    path = place.local.path(recording.object_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    place.store.away = "away"

    async with place.running() as uploader:
        await until(lambda: place.store.asked > 0 and uploader.backlog.count == 0)
        assert path.exists()
        place.store.away = None
        await until(lambda: not path.exists())


async def test_a_file_that_the_store_has_lost_and_somebody_has_put_back_here_is_uploaded_again(place: Place) -> None:
    recording = await place.publish()
    async with place.running():
        await place.until_done()
    key = recording.object_key
    place.store.objects.pop(key)
    place.local.path(key).parent.mkdir(parents=True, exist_ok=True)
    place.local.path(key).write_bytes(CONTENT)

    async with place.running():
        await place.until_done()

    assert place.store.objects[key] == CONTENT
    row = await place.row(recording)
    assert row.stored is not None


async def test_what_was_recovered_from_an_older_journal_does_not_write_over_what_the_store_has(place: Place) -> None:
    whole, short = await ended_and_recovered(place)
    key = whole.object_key

    async with place.running():
        await place.until_done()

    assert place.store.objects[key] == WHOLE
    assert place.store.puts.count(key) == 1
    row = await place.row(short)
    assert (row.end_reason, row.receipt) == (whole.end_reason, whole.receipt)
    assert row.stored is not None


async def test_a_file_of_another_moment_without_a_sidecar_is_not_written_over_and_told(place: Place) -> None:
    whole, _ = await ended_and_recovered(place)
    place.store.objects.pop(sidecar_key(whole.object_key))
    async with place.running() as uploader:
        await until(lambda: uploader.counts.failed > 1)
    backlog = await place.catalog.uploads.backlog()
    assert "no sidecar" in str(backlog.error)
    assert place.store.objects[whole.object_key] == WHOLE
    assert place.local.path(whole.object_key).exists()


WHOLE = CONTENT * 5


async def ended_and_recovered(place: Place) -> tuple[Recording, Recording]:
    """Put the file of a recording into the store, and the row and file here that a restart made of an older journal."""
    short = await place.publish()
    whole = replace(
        short,
        end_reason=EndReason.STOPPED,
        started_at=START,
        receipt=Receipt(8000, 1, 500, "8e" * 32, len(WHOLE), integrity=Integrity(samples=500)),
    )
    short = replace(short, end_reason=EndReason.RECOVERED)
    await place.catalog.recordings.save(short)
    store, key = place.store, whole.object_key
    await store.put(sidecar_key(key), write_sidecar(whole, url="https://rec.example.com/f"), attributes={})
    await store.put(key, WHOLE, attributes=file_attributes(whole))
    return whole, short
