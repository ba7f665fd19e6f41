"""Gets the journals of sessions that were taken over: the shell of ``joining`` (docs/decisions/0029, steps 2 and 3).

1. Sessions whose tails are in the same subjects are joined together (``tail_reading``).
2. Where the bucket does not answer soon, the tails have to be enough. Where they are not, of every journal that the
   entry names, the bucket is asked again, and waited for.
3. What is joined is written beside the journals first, then moved among them: a crash leaves either nothing of it, or
   segments that are whole.
4. A journal that is here already (of before a restart, or of an earlier time with the session) is one more source, as
   long as the last who had the session is this node; else it is removed: what it has more does not count.
5. Who goes on first and joins behind (``outline``) has fenced the tail, and read the end of it alone. Then what he
   writes himself meanwhile lies in the segments from his start on: nothing of those is joined, or touched.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from wavstream.cluster.engine import Log
from wavstream.cluster.joining import FOLDER, Joined, JoinedJournal, Stored, folder_of, plan, stored_of
from wavstream.cluster.outlines import read_outlines
from wavstream.cluster.ownership import Owned, hash_of
from wavstream.cluster.tail_message import TailBatch
from wavstream.cluster.tail_reading import Tail, TailReader
from wavstream.errors import StoreError
from wavstream.journal.outline import OutlinedJournal
from wavstream.journal.raw_batches import RawBatch, numbers_of, raw_batches
from wavstream.journal.records import BrokenSegment
from wavstream.journal.segment_reader import read_header_of
from wavstream.journal.segments import SegmentFile, journals_in, segment_path, segments_of
from wavstream.storage.object_store import ObjectStore

AT_ONCE = 8
"""Sessions whose journals are fetched and written beside each other."""
STORE_SOON_S = 0.5
"""How long a bucket may take to list a session the first time: legs wait for it, and mostly the tail has all."""
STORE_WAIT_S = 5.0
"""How long where the tail alone was not enough."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Found:
    """What there is of a session, and what was made of it."""

    owned: Owned
    joined: Joined
    stored: tuple[Stored, ...]
    """What the bucket has."""
    apps: dict[str, str] = field(default_factory=dict)
    """The app of each journal, by key."""
    tails: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Which part of the tail of each epoch was read, as ``note_joined`` takes it."""

    def tell_holes(self, *, is_over: bool) -> None:
        """Tell the log of what nobody has of journals; ``is_over``: each recording has its file.

        Then nothing is lost: who had the session has died after the bucket's part had gone, before its entry.
        """
        for journal in () if is_over else self.joined.journals:
            for hole in journal.holes:
                log.error(
                    "journal_has_hole",
                    session_id=self.owned.session_id,
                    journal=journal.key,
                    first=hole.first,
                    below=hole.below,
                )


@dataclass(frozen=True, slots=True)
class Outlined:
    """What a session can go on with before its journals are joined (rule 5)."""

    journals: tuple[OutlinedJournal, ...] = ()
    """None: they have to be joined first."""
    tails: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Which part of the tail of each epoch is to be read behind it, as ``note_joined`` takes it."""


class Joiner:
    """Joins journals into the folder of this node. Lives on the event loop."""

    def __init__(self, engine_log: Log, *, node: str, store: ObjectStore | None, folder: Path, spool: Path) -> None:
        """``folder``: of the journals; ``spool``: where segments are written before they are moved there."""
        self._reader = TailReader(engine_log, node=node)
        self._node = node
        self._store = store
        self._folder = folder
        self._spool = spool

    async def join(
        self,
        taken: Sequence[Owned],
        *,
        store_wait_s: float = STORE_WAIT_S,
        on_joined: Callable[[Found], None] = lambda _: None,
    ) -> list[Found]:
        """Write the journals of sessions that are this node's now into its folder; tell of each when it is there.

        ``store_wait_s``: how long the bucket may take to say what it has; without that the tail has to be enough.
        Raise StoreError, OSError; then try again. While the engine is away that is done here.
        """
        lists = await asyncio.gather(*(self._list(owned, store_wait_s) for owned in taken))
        tails = self._tails_of(taken, from_begin=None in lists)
        at_once = asyncio.Semaphore(AT_ONCE)

        async def join_one(owned: Owned, stored: tuple[Stored, ...] | None) -> Found:
            its_tails = await readings.of(owned)
            async with at_once:
                found = await self._join_one(owned, stored, its_tails)
            on_joined(found)
            return found

        async with self._reader.whole(tails) as readings:
            results = await asyncio.gather(*map(join_one, taken, lists), return_exceptions=True)
        for result in results:  # when none of them is under way any more: who tries again writes the same files
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, Found)]

    async def outline(self, taken: Sequence[Owned], *, on_outlined: Callable[[Owned, Outlined], None]) -> None:
        """Tell of each session that is this node's now with what it can go on before its journals are joined.

        While the engine is away that is tried again here.
        """
        lists = await asyncio.gather(*(self._list(owned, STORE_SOON_S) for owned in taken))
        tails: dict[tuple[str, int], Tail] = {}
        for owned, stored in zip(taken, lists, strict=True):
            if stored is not None and len(to_fence := owned.to_fence()) == 1:
                (held,) = to_fence
                tails.setdefault((held.node, held.shard), Tail(held.node, held.shard)).fence_for(owned)

        async def outline_one(owned: Owned, stored: tuple[Stored, ...] | None) -> None:
            outlined = Outlined()
            for tail in await readings.of(owned):
                journals = read_outlines(owned, tail.batches, stored or ())
                if not any(journal.key in here for journal in journals):
                    outlined = Outlined(journals, {owned.held[-2].epoch: tail.through})
            on_outlined(owned, outlined)

        here = (await asyncio.to_thread(journals_in, self._folder)).journals  # of an earlier time: rule 4

        async with self._reader.ends(tails.values()) as readings:
            await asyncio.gather(*map(outline_one, taken, lists))

    # ---- what there is ---------------------------------------------------------------------------------------------

    async def _list(self, owned: Owned, wait_s: float) -> tuple[Stored, ...] | None:
        """Return which segments of a session the bucket has; None: it does not answer."""
        if self._store is None:
            return ()
        prefix = folder_of(owned.session_id)
        try:
            async with asyncio.timeout(wait_s):
                names = await self._store.list(prefix)
        except (StoreError, TimeoutError) as error:
            log.warning("journal_parts_not_listed", session_id=owned.session_id, error=str(error) or "it is too slow")
            return None
        found = (stored_of(name.rpartition("/")[2]) for name in names if f"{FOLDER}/" in name)
        return tuple(each for each in found if each is not None)

    def _tails_of(self, taken: Sequence[Owned], *, from_begin: bool) -> list[Tail]:
        """Return the tails of all who had these sessions, as they are to be fenced or read."""
        tails: dict[tuple[str, int], Tail] = {}
        for owned in taken:
            to_fence = owned.to_fence()
            for held in owned.held[:-1]:
                if held not in to_fence and (held.tail_below is None or held.tail_from + 1 >= held.tail_below):
                    continue
                tail = tails.setdefault((held.node, held.shard), Tail(held.node, held.shard, from_begin))
                if held in to_fence:
                    tail.fence_for(owned)
                else:
                    tail.sessions.add(owned.session_id)
                    tail.fenced.append(held)
        return [*tails.values()]

    # ---- one session -----------------------------------------------------------------------------------------------

    async def _join_one(self, owned: Owned, stored: tuple[Stored, ...] | None, tails: Sequence[Tail]) -> Found:
        batches = [batch for tail in tails for batch in tail.batches if batch.session_id == owned.session_id]
        sources = list(stored or ())
        if len(owned.held) > 1 and owned.held[-2].node == self._node:  # rule 4
            keys = {batch.key for batch in batches} | {each.key for each in sources}
            sources += await asyncio.to_thread(local_segments, self._folder, keys, owned.held[-2].epoch)
        if owned.holder.is_joined:  # rule 5
            starts = owned.holder.starts
            sources = [each for each in sources if each.key not in starts or each.segment < starts[each.key].segment]
        joined = plan(owned, sources, batches)
        if stored is None and not _is_all_of(owned, joined):
            raise StoreError(f"the bucket does not answer, and the tail has not all of session {owned.session_id}")
        found = Found(owned, joined, stored or ())
        through = {(tail.node, tail.shard): tail.through for tail in tails}
        found.tails |= {held.epoch: through[held.node, held.shard] for held in owned.to_fence()}
        stage = self._spool / f"joining-{hash_of(owned.session_id)}"
        try:
            for journal in joined.journals:
                fetched = await self._fetch(owned, journal, stage)
                found.apps[journal.key] = await asyncio.to_thread(self._write, owned, journal, fetched, stage)
        finally:
            await asyncio.to_thread(shutil.rmtree, stage, ignore_errors=True)
        return found

    async def _fetch(self, owned: Owned, journal: JoinedJournal, stage: Path) -> dict[Stored, Path]:
        """Read the segments of the bucket that a journal needs."""
        await asyncio.to_thread(stage.mkdir, mode=0o700, parents=True, exist_ok=True)
        fetched: dict[Stored, Path] = {}
        for piece in journal.pieces:
            if piece.stored is None or piece.stored in fetched:
                continue
            if piece.stored.is_local:
                fetched[piece.stored] = segment_path(self._folder, journal.key, piece.segment)
                continue
            assert self._store is not None
            key = folder_of(owned.session_id) + piece.stored.name
            content = await self._store.read(key)
            if content is None:
                raise StoreError(f"{key} was listed and is gone")
            path = stage / piece.stored.name
            await asyncio.to_thread(path.write_bytes, content)
            fetched[piece.stored] = path
        return fetched

    def _write(self, owned: Owned, journal: JoinedJournal, fetched: Mapping[Stored, Path], stage: Path) -> str:
        """Write a journal's segments, then move them among the others (rule 3); return the journal's app."""
        app_id = journal.batches[0].app_id if journal.batches else _app_of(fetched.values(), owned)
        by_number = {batch.number: batch for batch in journal.batches}
        made: dict[int, Path] = {}
        segments = sorted({piece.segment for piece in journal.pieces})
        for segment in segments:
            pieces = [piece for piece in journal.pieces if piece.segment == segment]
            only = pieces[0].stored if len(pieces) == 1 and pieces[0].is_whole else None
            if only is not None:
                made[segment] = fetched[only]
                continue
            folder = stage / "made"
            folder.mkdir(mode=0o700, exist_ok=True)
            file = SegmentFile(folder, key=journal.key, app_id=app_id, session_id=owned.session_id, segment=segment)
            for piece in pieces:
                batches: Iterable[RawBatch | TailBatch]
                if piece.stored is None:
                    batches = [by_number[number] for number in range(piece.first, piece.below) if number in by_number]
                else:
                    batches = raw_batches(fetched[piece.stored], journal.key, segment)
                file.write_all(
                    (batch.number, batch.payload, batch.has_event)
                    for batch in batches
                    if piece.first <= batch.number < piece.below
                )
            file.close()
            made[segment] = file.path
        below = owned.holder.starts[journal.key].segment if journal.key in owned.holder.starts else None
        for segment in segments_of(self._folder, journal.key):
            if segment not in made and (below is None or segment < below):  # what it has does not count
                segment_path(self._folder, journal.key, segment).unlink(missing_ok=True)
        for segment in segments:
            target = segment_path(self._folder, journal.key, segment)
            if made[segment] != target:
                os.replace(made[segment], target)
        return app_id


def _app_of(parts: Iterable[Path], owned: Owned) -> str:
    """Return whose a journal is, by the first of its parts that tells it: one that somebody has changed does not."""
    for part in parts:
        with suppress(BrokenSegment):
            return read_header_of(part).app_id
    return owned.app_id or ""


def _is_all_of(owned: Owned, joined: Joined) -> bool:
    """Return whether the tails alone have all that there is of a session (rule 2).

    Once a journal is in the bucket its tail is read no more: what the entry names and no tail has is there. What goes
    on here already (rule 5) is named by our own part.
    """
    named = {key for held in owned.held for key in held.starts}
    return named <= joined.starts.keys() and not any(journal.begins or journal.holes for journal in joined.journals)


def local_segments(folder: Path, keys: Iterable[str], epoch: int) -> list[Stored]:
    """Return the segments of journals that are here, as sources of a join. Blocks; raise OSError."""
    found = []
    for key in sorted(keys):
        for segment in segments_of(folder, key):
            numbers = numbers_of(segment_path(folder, key, segment), key, segment)
            if numbers is not None:
                found.append(Stored(key, segment, epoch, *numbers, is_local=True))
    return found
