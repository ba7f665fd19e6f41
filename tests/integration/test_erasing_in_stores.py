"""Erasures of what was uploaded, or is being uploaded, on a real catalog; the store keeps its objects in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore
from structlog.testing import capture_logs

from tests.support.erasing import an_eraser
from tests.support.recordings import a_recording
from tests.support.sessions import QuietRecorder
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.erasures import Erasing
from wavstream.catalog.uploads import Upload, queue
from wavstream.errors import NotYetRemoved, StoreError
from wavstream.model.recording import LegalHold, Receipt, Recording, Status, StoredObject
from wavstream.recorder import eraser as eraser_module
from wavstream.recorder.eraser import Eraser
from wavstream.retention.sweeper import FIRST_RETRY, Sweeper, Swept
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import sidecar_key, waveform_key
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.stores import Stores

NOW = datetime(2026, 8, 21, 12, tzinfo=UTC)
FIRST, SECOND = "s3://calls", "s3://spare"


class World:
    """Rows, files that were uploaded, and the stores that have them."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self.catalog = catalog
        self.buckets = {url: MemoryStore() for url in (FIRST, SECOND)}
        self.storage = LocalStorage(folder / "recordings")
        self.storage.prepare(folder / "spool")
        first, second = (ObjectStore(url, bucket) for url, bucket in self.buckets.items())
        self.eraser: Eraser = an_eraser(catalog, self.storage, QuietRecorder(), stores=Stores(first, second))
        self.sweeper = Sweeper(catalog, self.storage, self.eraser)

    async def row(self, name: str, *, expires_at: datetime = NOW) -> Recording:
        """Add the row of a finished recording."""
        receipt = Receipt(sample_rate=8000, channels=1, samples=2, audio_sha256="9f", size_bytes=48)
        recording = replace(a_recording(name, status=Status.AVAILABLE, expires_at=expires_at), receipt=receipt)
        await self.catalog.recordings.add(recording)
        return recording

    async def uploaded(self, name: str, url: str = FIRST, *, expires_at: datetime = NOW) -> Recording:
        """Add one whose file is in a store, with what lies beside it, and not here."""
        recording = await self.row(name, expires_at=expires_at)
        self.put(recording, url)
        stored = StoredObject(url, NOW)
        assert await self.catalog.uploads.finish(name, stored)
        return replace(recording, stored=stored)

    async def queued(self, name: str, *tried: str) -> Recording:
        """Add one that waits for its upload, of which something may be in the stores that were tried."""
        recording = await self.row(name)
        await self.catalog.database.write(lambda connection: queue(connection, recording))
        for url in tried:
            await self.catalog.uploads.note_try(await self.upload(name), url)
        return recording

    async def upload(self, name: str) -> Upload:
        (found,) = [each for each in await self.catalog.uploads.due(NOW + timedelta(days=900), 99)
                    if each.recording_id == name]  # fmt: skip
        return found

    def put(self, recording: Recording, url: str) -> None:
        for key in (recording.object_key, sidecar_key(recording.object_key), waveform_key(recording.object_key)):
            obstore.put(self.buckets[url], key, b"RIFF")

    def objects(self, url: str = FIRST) -> list[str]:
        return [each["path"] for page in obstore.list(self.buckets[url]) for each in page]

    async def unfinished(self) -> list[str]:
        return [each.id for each in await self.catalog.erasures.unfinished(99)]


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog) -> World:
    return World(tmp_path, catalog)


def refuse(monkeypatch: pytest.MonkeyPatch, *urls: str) -> list[str]:
    """Let these stores delete nothing; return the list of those that are asked."""
    delete, asked = ObjectStore.delete, list[str]()

    async def refused(store: ObjectStore, keys: Iterable[str]) -> None:
        asked.append(store.url)
        if store.url in urls:
            raise StoreError(f"{store.url}: the store refuses this", is_lasting=True)
        await delete(store, keys)

    monkeypatch.setattr(ObjectStore, "delete", refused)
    return asked


@pytest.mark.parametrize("url", [FIRST, SECOND])
async def test_the_file_goes_from_its_store_with_what_lies_beside_it(world: World, url: str) -> None:
    kept, erased = await world.uploaded("kept", url), await world.uploaded("erased", url)
    assert await world.eraser.begin([erased], Status.DELETED, by="key", now=NOW) == {"erased"}
    await world.eraser.remove(Erasing("erased", erased.object_key))

    assert set(world.objects(url)) == {kept.object_key, *(f(kept.object_key) for f in (sidecar_key, waveform_key))}
    assert await world.unfinished() == []


async def test_a_row_that_was_read_before_the_upload_ended_forgets_no_object(world: World) -> None:
    before = await world.row("rec")
    world.put(before, FIRST)
    assert await world.catalog.uploads.finish("rec", StoredObject(FIRST, NOW))
    await world.eraser.begin([before], Status.DELETED, by="key", now=NOW)
    await world.eraser.remove(Erasing("rec", before.object_key))

    assert world.objects() == []


async def test_a_hold_keeps_the_object(world: World) -> None:
    over = NOW + timedelta(hours=1)
    recording = await world.uploaded("rec", expires_at=over)
    assert await world.catalog.holds.put("rec", "default", LegalHold("legal", "case 1", NOW))
    assert await world.eraser.begin([recording], Status.DELETED, by="key", now=NOW) == set()
    assert await world.sweeper.sweep(over) == Swept(erased=0, failed=0)
    assert len(world.objects()) == 3


async def test_what_a_store_does_not_delete_stays_unfinished_and_is_tried_again_until_it_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.uploaded("rec")
    with monkeypatch.context() as away:
        refuse(away, FIRST)
        with capture_logs() as logs:
            swept = await world.sweeper.sweep(NOW)
            again = await world.sweeper.sweep(NOW + FIRST_RETRY)
        assert (swept, again) == (Swept(erased=0, failed=1), Swept(erased=0, failed=1))
        assert (world.sweeper.failing, await world.unfinished()) == (1, ["rec"])
        failures = [line for line in logs if line["event"] == "erased_recording_remove_failed"]
        assert [("the store refuses" in line["error"]) for line in failures] == [True]  # logged once

    assert await world.sweeper.sweep(NOW + FIRST_RETRY * 2) == Swept(erased=0, failed=1)  # not yet
    assert await world.sweeper.sweep(NOW + FIRST_RETRY * 4) == Swept(erased=1, failed=0)
    assert (world.objects(), await world.unfinished(), world.sweeper.failing) == ([], [], 0)


async def test_the_row_of_one_that_the_store_keeps_hands_out_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = await world.uploaded("rec")
    refuse(monkeypatch, FIRST)
    await world.eraser.begin([recording], Status.DELETED, by="key", now=NOW)
    with pytest.raises(NotYetRemoved, match="refuses this"):
        await world.eraser.remove(Erasing("rec", recording.object_key))

    row = await world.catalog.recordings.get("rec")
    assert row is not None
    assert (row.status, row.stored) == (Status.DELETED, recording.stored)


async def test_a_store_that_is_away_is_asked_once_in_a_sweep_and_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        await world.uploaded(f"rec{number}", SECOND if number == 2 else FIRST)
    asked = refuse(monkeypatch, FIRST)

    assert await world.sweeper.sweep(NOW) == Swept(erased=1, failed=3)
    assert sorted(asked) == [FIRST, SECOND]
    assert (len(world.objects(FIRST)), world.objects(SECOND)) == (9, [])


async def test_a_store_that_hangs_is_given_up_for_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(store: ObjectStore, keys: Iterable[str]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ObjectStore, "delete", hangs)
    monkeypatch.setattr(eraser_module, "STORE_WAIT_S", 0.01)
    recording = await world.uploaded("rec")
    await world.eraser.begin([recording], Status.DELETED, by="key", now=NOW)
    with pytest.raises(NotYetRemoved, match="has not deleted within"):
        await world.eraser.remove(Erasing("rec", recording.object_key))


async def test_one_that_waits_for_its_upload_is_not_uploaded_any_more(world: World) -> None:
    recording = await world.queued("rec")
    await world.eraser.begin([recording], Status.DELETED, by="key", now=NOW)
    await world.eraser.remove(Erasing("rec", recording.object_key))

    assert (await world.catalog.uploads.backlog()).count == 0
    assert await world.unfinished() == []


async def test_one_that_is_being_uploaded_stays_unfinished_until_what_was_put_is_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eraser_module, "UPLOAD_WAIT_S", 0.0)
    recording = await world.queued("rec", SECOND)
    world.put(recording, SECOND)
    await world.catalog.uploads.fail("rec", "away", next_at=NOW + timedelta(hours=1))
    await world.eraser.begin([recording], Status.DELETED, by="key", now=NOW)
    with pytest.raises(NotYetRemoved, match="taken back"):
        await world.eraser.remove(Erasing("rec", recording.object_key))
    assert (await world.unfinished(), (await world.upload("rec")).due <= NOW) == (["rec"], True)

    # What who uploads does with it.
    assert not await world.catalog.uploads.finish("rec", StoredObject(SECOND, NOW))
    obstore.delete(world.buckets[SECOND], world.objects(SECOND))
    await world.catalog.uploads.forget("rec")
    await world.eraser.remove(Erasing("rec", recording.object_key))
    assert await world.unfinished() == []


async def test_a_try_that_begins_as_its_recording_is_erased_is_known_afterwards(world: World) -> None:
    recording = await world.queued("rec")
    read_before = await world.upload("rec")
    await world.eraser.begin([recording], Status.DELETED, by="key", now=NOW)
    await world.catalog.uploads.note_try(read_before, FIRST)

    assert (await world.upload("rec")).tried == (FIRST,)


async def test_bytes_count_for_the_app_until_the_file_has_left_this_machine(world: World) -> None:
    bytes_of: Any = world.catalog.recordings.stored_bytes
    first = await bytes_of()
    await world.row("here")
    await world.uploaded("there")
    there = await bytes_of()
    await world.catalog.recordings.sum_stored()
    summed = await bytes_of()
    await world.sweeper.sweep(NOW)  # both are due

    assert (first["default"], there["default"], summed["default"], (await bytes_of())["default"]) == (0, 48, 48, 0)
