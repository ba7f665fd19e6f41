"""Files that are moved between places: the row is the truth, and the last copy of a file stays."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.postgres import BOTH, lent_catalog
from tests.unit.cli.test_verify import RECORDING, put
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.moves import Moves, Selection
from wavstream.catalog.uploads import queue
from wavstream.errors import StoreError
from wavstream.model.ids import new_id
from wavstream.model.recording import LegalHold, Recording, Status, StoredObject
from wavstream.model.times import utc
from wavstream.service.data_folder import DataFolder
from wavstream.service.migration import FAILED_IN_A_ROW, LEASE, Migrated, Migration
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import sidecar_key, waveform_key
from wavstream.storage.object_store import ObjectFacts, ObjectStore
from wavstream.storage.stores import Stores
from wavstream.uploads.objects import file_attributes

A, B = "s3://calls/a", "s3://calls/b"
NOW = utc(10**15)
KEEP = timedelta(0)


class MemoryStore(ObjectStore):
    """A store in memory; ``before`` is called with what is about to be done, and with which key."""

    def __init__(self, url: str) -> None:
        super().__init__(url, None)
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.before: Callable[[str, str], Awaitable[None]] | None = None

    async def _begin(self, what: str, key: str) -> None:
        if self.before is not None:
            await self.before(what, key)

    async def put(
        self, key: str, source: Path | bytes, *, attributes: Mapping[str, str], is_checked: bool = True
    ) -> str | None:
        await self._begin("put", key)
        content = source if isinstance(source, bytes) else await asyncio.to_thread(source.read_bytes)
        self.objects[key] = content, dict(attributes)
        return hashlib.md5(content).hexdigest()

    async def head(self, key: str) -> ObjectFacts | None:
        if key not in self.objects:
            return None
        content, attributes = self.objects[key]
        return ObjectFacts(len(content), None, datetime.now(UTC), attributes)

    def open(self, key: str) -> io.BufferedReader:
        if key not in self.objects:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
        return io.BufferedReader(io.BytesIO(self.objects[key][0]))

    async def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self._begin("delete", key)
            self.objects.pop(key, None)


@dataclass
class Place:
    """A data folder with its catalog, and two stores."""

    folder: DataFolder
    catalog: Catalog
    a: MemoryStore = field(default_factory=lambda: MemoryStore(A))
    b: MemoryStore = field(default_factory=lambda: MemoryStore(B))
    has_server: bool = False

    @property
    def stores(self) -> Stores:
        return Stores(self.b, self.a)

    async def add(self, count: int = 1, *, at: MemoryStore | None = None, **changes: object) -> list[Recording]:
        """Add recordings with their files, sidecars and waveforms, here or in a store."""
        added = []
        for _ in range(count):
            each = replace(RECORDING, id=(new := new_id()), object_key=f"shop/{new}.wav", **changes)  # type: ignore[arg-type]
            path = put(self.folder.recordings / each.object_key)
            path.with_name(sidecar_key(path.name)).write_text(f"sidecar of {new}")
            path.with_name(waveform_key(path.name)).write_text(f"waveform of {new}")
            if at is not None:
                for key in (each.object_key, sidecar_key(each.object_key), waveform_key(each.object_key)):
                    await at.put(key, self.folder.recordings / key, attributes=file_attributes(each))
                    (self.folder.recordings / key).unlink()
                each = replace(each, stored=StoredObject(at.url, NOW, "an etag"))
            assert await self.catalog.recordings.add(each)
            added.append(each)
        return added

    def migration(self, target: MemoryStore | None, **more: object) -> Migration:
        given: dict[str, object] = {
            "catalog": self.catalog, "folder": self.folder, "stores": self.stores, "target": target,
            "now": lambda: NOW, "keep": KEEP, "has_server": lambda: self.has_server, "first_wait_s": 0.0,
        }  # fmt: skip
        return Migration(**(given | more))  # type: ignore[arg-type]

    async def move(self, target: MemoryStore | None, **more: object) -> Migrated:
        selection = Selection(target=None if target is None else target.url)
        return await self.migration(target, **more).run(selection)

    async def url(self, recording: Recording) -> str | None:
        row = await self.catalog.recordings.get(recording.id)
        assert row is not None
        return None if row.stored is None else row.stored.url

    def holds(self, where: MemoryStore | None, recording: Recording) -> list[bool]:
        """Return which of file, sidecar and waveform are there."""
        keys = (recording.object_key, sidecar_key(recording.object_key), waveform_key(recording.object_key))
        if where is None:
            return [(self.folder.recordings / key).exists() for key in keys]
        return [key in where.objects for key in keys]

    async def noted(self) -> int:
        return (await self.catalog.uploads.backlog()).count


@pytest.fixture(params=BOTH)
async def place(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    with lent_catalog() if request.param == "postgresql" else nullcontext(folder.catalog) as database:
        folder.database = database
        catalog = await Catalog.open(database)
        yield Place(folder, catalog)
        await catalog.database.close()


ALL, NONE = [True] * 3, [False] * 3


@pytest.mark.parametrize("way", ["here to a store", "store to store", "store to here"])
async def test_files_are_moved_with_what_lies_beside_them_and_the_former_place_is_emptied(
    place: Place, way: str
) -> None:
    source = {"here to a store": None}.get(way, place.a)
    target = {"store to here": None}.get(way, place.b)
    recordings = await place.add(5, at=source)

    done = await place.move(target)

    assert (done.moved, done.left, done.not_removed, done.stopped) == (5, 0, 0, None)
    for each in recordings:
        assert await place.url(each) == (None if target is None else target.url)
        assert place.holds(target, each) == ALL
        assert place.holds(source, each) == NONE
    assert await place.noted() == 0
    assert list(place.folder.spool.iterdir()) == []
    assert (await place.move(target)).total == 0


@pytest.mark.parametrize("target", [A, None])
async def test_what_is_selected_alone_is_moved(place: Place, target: str | None) -> None:
    source = place.b if target is None else None
    old, new, others = [
        *(await place.add(at=source, created_at=NOW)),
        *(await place.add(at=source, created_at=NOW + timedelta(days=9))),
        *(await place.add(at=source, created_at=NOW, app_id="another")),
    ]
    to = None if target is None else place.a

    selection = Selection(target=target, app_id=old.app_id, before=NOW + timedelta(days=1))
    done = await place.migration(to).run(selection)

    assert done.total == done.moved == 1
    assert await place.url(old) == target
    assert {await place.url(each) for each in (new, others)} == {None if source is None else source.url}


@pytest.mark.parametrize("way", ["here to a store", "store to store", "store to here"])
async def test_a_recording_that_is_erased_while_it_is_copied_is_in_no_place(place: Place, way: str) -> None:
    source = {"here to a store": None}.get(way, place.a)
    target = {"store to here": None}.get(way, place.b)
    (recording,) = await place.add(at=source)

    async def erase(*_: str) -> None:
        await place.catalog.erasures.begin([recording], Status.DELETED, by="a test", now=NOW)

    if target is not None:
        target.before = lambda what, key: erase() if what == "put" and key == recording.object_key else _nothing()
        done = await place.move(target)
    else:
        migration = place.migration(None)
        finish = migration._moves.finish

        async def erase_first(*given: object, **named: object) -> bool:
            await erase()
            return await finish(*given, **named)  # type: ignore[arg-type]

        migration._moves.finish = erase_first  # type: ignore[method-assign]
        done = await migration.run(Selection(target=None))

    assert (done.moved, done.gone, done.left) == (0, 1, 0)
    if target is not None:
        assert place.holds(target, recording) == NONE
    else:
        assert place.holds(None, recording) == NONE
    assert await place.noted() == 0


async def _nothing() -> None:
    return


async def test_a_recording_that_is_held_stays_where_it_is_also_if_the_hold_comes_meanwhile(place: Place) -> None:
    held, later = (await place.add(hold=LegalHold("legal", "a case", NOW))) + (await place.add())

    async def hold() -> None:
        assert await place.catalog.holds.put(later.id, later.app_id, LegalHold("legal", "a case", NOW))

    place.b.before = lambda what, key: hold() if (what, key) == ("put", later.object_key) else _nothing()
    done = await place.move(place.b)

    assert (done.moved, done.held, done.left) == (0, 2, 0)
    for each in (held, later):
        assert await place.url(each) is None
        assert place.holds(None, each) == ALL
        assert place.holds(place.b, each) == NONE


async def test_a_file_that_is_not_as_it_was_recorded_stays_where_it_is_and_is_named(place: Place) -> None:
    damaged, gone, whole = await place.add(3)
    path = place.folder.recordings / damaged.object_key
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (place.folder.recordings / gone.object_key).unlink()

    done = await place.move(place.b)

    assert (done.moved, done.left) == (1, 2)
    assert set(done.failed) == {damaged.id, gone.id}
    assert "another hash" in done.failed[damaged.id]
    assert await place.url(whole) == B
    assert await place.url(damaged) is None
    assert place.holds(place.b, damaged) == NONE


async def test_a_target_that_refuses_ends_the_run_and_nothing_is_lost(place: Place) -> None:
    recordings = await place.add(20)

    async def refuse(what: str, _key: str) -> None:
        if what == "put" and len(place.b.objects) >= 9:
            raise StoreError("s3://calls/b: the store is full", is_lasting=True)

    place.b.before = refuse
    done = await place.move(place.b)

    assert done.stopped == "s3://calls/b: the store is full"
    assert done.left == 20 - done.moved > 0
    for each in recordings:
        where = place.b if await place.url(each) == B else None
        assert place.holds(where, each) == ALL
    place.b.before = None
    again = await place.move(place.b)
    assert again.moved == done.left
    assert await place.noted() == 0


async def test_a_target_that_is_away_is_tried_thrice_for_some_files_and_then_left_alone(place: Place) -> None:
    await place.add(FAILED_IN_A_ROW + 20)
    tries: list[str] = []

    async def away(_what: str, key: str) -> None:
        tries.append(key)
        raise StoreError("s3://calls/b: away")

    place.b.before = away
    done = await place.move(place.b, at_once=1)

    assert (done.moved, done.left) == (0, FAILED_IN_A_ROW + 20)
    assert len(tries) == 3 * FAILED_IN_A_ROW
    assert "files in a row" in str(done.stopped)


async def test_a_full_disk_ends_the_move_to_this_machine(place: Place) -> None:
    recordings = await place.add(5, at=place.a)

    done = await place.move(None, min_free_bytes=1 << 60)

    assert (done.moved, done.left) == (0, 5)
    assert "no room" in str(done.stopped)
    assert [place.holds(place.a, each) for each in recordings] == [ALL] * 5


async def test_a_former_object_that_cannot_be_deleted_is_counted_and_removed_by_the_next_run(place: Place) -> None:
    (recording,) = await place.add(at=place.a)

    async def refuse(what: str, _key: str) -> None:
        if what == "delete":
            raise StoreError("s3://calls/a: may not be deleted", is_refusal=True)

    place.a.before = refuse
    done = await place.move(place.b)
    assert (done.moved, done.not_removed) == (1, 1)
    assert place.holds(place.a, recording) == ALL

    place.a.before = None
    assert (await place.move(place.b)).not_removed == 0
    assert place.holds(place.a, recording) == NONE
    assert await place.noted() == 0


async def test_the_former_object_is_kept_while_addresses_open_it_that_were_handed_out(place: Place) -> None:
    (recording,) = await place.add(at=place.a)
    told: list[datetime | None] = []
    clock = itertools.count()

    def now() -> datetime:
        return NOW + timedelta(seconds=0.1) * next(clock)

    def tell(done: Migrated) -> None:
        told.append(done.waits_until)
        if done.waits_until is not None:
            assert place.holds(place.a, recording) == ALL

    await place.move(place.b, now=now, keep=timedelta(seconds=0.3), on_progress=tell)

    assert told[-1] is not None
    assert place.holds(place.a, recording) == NONE


async def test_the_last_copy_stays_where_the_new_one_is_gone(place: Place) -> None:
    to_store, to_here = await place.add(2, at=place.a)
    await place.migration(place.b).run(Selection(target=B, before=NOW + timedelta(days=999_99)))
    assert await place.url(to_store) == B
    # As after a kill before the former objects were removed, and then somebody deletes the new ones.
    moves = Moves(place.catalog.database)
    for each in (to_store, to_here):
        for key in [*place.b.objects]:
            if each.id in key:
                place.a.objects[key] = place.b.objects.pop(key)
        row = await place.catalog.recordings.get(each.id)
        assert row is not None
        await moves.begin(row, A, now=NOW, due=NOW + LEASE, has_server=False)

    done = await place.move(place.b)

    assert done.not_removed == 2
    for each in (to_store, to_here):
        assert await place.url(each) == A
        assert place.holds(place.a, each) == ALL


async def test_what_the_server_is_to_upload_is_left_to_it(place: Place) -> None:
    waits, free = await place.add(2)
    await place.catalog.database.write(lambda connection: queue(connection, waits))

    done = await place.move(place.b)

    assert (done.moved, done.queued, done.left) == (1, 1, 0)
    assert await place.url(free) == B
    assert await place.url(waits) is None
    assert place.holds(None, waits) == ALL


async def test_what_an_ended_run_has_begun_is_gone_on_with_but_not_while_a_server_looks_after_it(place: Place) -> None:
    mine, servers = await place.add(2)
    moves = Moves(place.catalog.database)
    for each, due in ((mine, NOW + LEASE), (servers, NOW)):
        await moves.begin(each, B, now=NOW, due=due, has_server=False)
    place.has_server = True

    beside = await place.move(place.b)
    assert (beside.moved, beside.queued) == (1, 1)

    place.has_server = False
    assert (await place.move(place.b)).moved == 1
    assert await place.noted() == 0


async def test_a_server_that_starts_and_removes_what_it_takes_for_a_left_copy_loses_nothing(place: Place) -> None:
    (recording,) = await place.add(at=place.a)
    migration = place.migration(None)
    finish = migration._moves.finish
    removed: list[bool] = []

    async def remove_first(*given: object, **named: object) -> bool:
        if not removed:
            removed.append(True)
            LocalStorage(place.folder.recordings).let_go(recording.object_key)
        return await finish(*given, **named)  # type: ignore[arg-type]

    migration._moves.finish = remove_first  # type: ignore[method-assign]
    done = await migration.run(Selection(target=None))

    assert (done.moved, done.left) == (1, 0)
    assert place.holds(None, recording) == ALL
    with suppress(KeyError):
        assert place.holds(place.a, recording) == NONE
