"""The body of the journals: segments that are sealed go to the bucket, and from there when nobody needs them.

1. A segment is sealed after ``segment_s``: short calls upload nothing. It is uploaded once all of it is in the tail: so
   what the bucket has of a node that was fenced is never more than whoever took the session has read.
2. The oldest goes first, a few at a time; what fails is tried again, ever more slowly, for as long as it is needed.
3. A segment leaves the bucket when no recording needs it any more: the file of each is in the bucket, or there will be
   none, or it was erased. The last to go are those of a session that is over (``clear``), before its entry, and not
   while one is on its way: once the entry is gone, nobody looks for what a node that dies has left.
4. Once all that earlier owners of a session had is in the bucket, its entry says so: their tails are read no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from wavstream.cluster.copier import Copier
from wavstream.cluster.engine import EngineAway, EntryChanged
from wavstream.cluster.joining import Stored, folder_of
from wavstream.cluster.owners import Owners
from wavstream.errors import StoreError
from wavstream.journal.journal import Journal
from wavstream.journal.raw_batches import Numbers, numbers_of
from wavstream.journal.segments import segment_path, segments_of
from wavstream.recorder.journal_leases import JournalLeases
from wavstream.storage.object_store import ObjectStore

LOOK_S = 1.0
AT_ONCE = 4
FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0
CLEAR_WAIT_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Kept:
    """A journal whose segments go to the bucket."""

    journal: Journal
    segment: int
    """That is written now, as far as was looked."""
    begun_s: float
    session_id: str
    looked_at: int = 1
    """The segment that was written when it was looked for sealed ones last."""
    sealed: dict[int, Numbers] = field(default_factory=dict)
    """What waits to be uploaded."""
    stored: dict[int, list[str]] = field(default_factory=dict)
    """Names of what the bucket has, by segment."""
    before: int = 0
    """Segments below this one are of earlier owners."""


class Body:
    """The body of the journals of one node. Lives on the event loop."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        node: str,
        folder: Path,
        segment_s: float,
        leases: JournalLeases,
        copier: Copier,
        owners: Owners,
    ) -> None:
        self._store = store
        self._node = node
        self._folder = folder
        self._segment_s = segment_s
        self._leases = leases
        self._copier = copier
        self._owners = owners
        self._kept: dict[str, _Kept] = {}
        self._doomed: dict[str, None] = {}
        """Keys of objects that are to go, oldest first."""
        self._on_their_way: set[str] = set()
        """Keys of objects that are being put."""
        self._may_have_more: set[str] = set()
        """Sessions of which earlier processes or owners may have put something that is not known here."""
        self.is_awaited: Callable[[str], bool] = lambda _session_id: True
        """Whether recordings of a session are still to be brought back, so that they will need its journals."""
        self._failures = 0
        self._try_at_s = 0.0
        self.uploaded = 0
        self.uploaded_bytes = 0

    @property
    def waiting(self) -> int:
        """Segments that wait to be uploaded."""
        return sum(len(kept.sealed) for kept in self._kept.values())

    @property
    def is_failing(self) -> bool:
        """Whether the bucket takes nothing now."""
        return self._failures > 0

    async def run(self) -> None:
        """Upload and delete what there is, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Exception:
                log.exception("journal_parts_failed")

    async def look(self) -> None:
        """Seal, upload and delete what is due."""
        now_s = asyncio.get_running_loop().time()
        self._look_at_journals(now_s)
        self._copier.look_after_lost()
        for kept in list(self._kept.values()):
            if kept.journal.written.segment > kept.looked_at:
                await self._look_for_sealed(kept)
        if now_s < self._try_at_s:
            return
        try:
            await self._upload()
            await self._delete()
        except (StoreError, OSError) as error:
            if not self._failures:
                log.warning("journal_parts_wait", store=self._store.url, error=str(error))
            self._failures += 1
            self._try_at_s = now_s + min(FIRST_RETRY_S * 2.0 ** (self._failures - 1), LAST_RETRY_S)
        else:
            if self._failures:
                log.info("journal_parts_go_on", store=self._store.url)
            self._failures = 0

    def goes_on(self, journal_key: str, session_id: str, stored: Sequence[Stored], *, before: int) -> None:
        """Note what the bucket has of a journal that goes on here; segments below ``before`` are of earlier owners."""
        self._may_have_more.add(session_id)
        prefix = folder_of(session_id)
        kept = self._kept.get(journal_key)
        if kept is None:
            kept = self._kept[journal_key] = _Kept(_NOTHING, 0, asyncio.get_running_loop().time(), session_id)
        kept.before, kept.looked_at = before, 1  # of one that has gone on before, what it lacked is here now
        for each in stored:
            if each.key == journal_key:
                names = kept.stored.setdefault(each.segment, [])
                names += [name for name in (prefix + each.name,) if name not in names]

    def lost(self, session_id: str) -> None:
        """Upload and delete nothing of a session that another has."""
        self._kept = {key: kept for key, kept in self._kept.items() if kept.session_id != session_id}
        prefix = folder_of(session_id)
        self._doomed = {key: None for key in self._doomed if not key.startswith(prefix)}
        self._may_have_more.discard(session_id)

    async def clear(self, session_id: str) -> bool:
        """Delete all that the bucket has of a session that is over (rule 3); return False if it is to be done later."""
        prefix = folder_of(session_id)
        if any(key.startswith(prefix) for key in self._on_their_way):
            return False
        doomed = [key for key in self._doomed if key.startswith(prefix)]
        if session_id not in self._may_have_more and not doomed:
            return True
        try:
            async with asyncio.timeout(CLEAR_WAIT_S):
                await self._store.delete({*doomed, *await self._store.list(prefix)})
        except (StoreError, TimeoutError) as error:
            log.warning("journal_parts_not_deleted", session_id=session_id, error=str(error) or "it is too slow")
            return False
        for key in doomed:
            self._doomed.pop(key, None)
        self._may_have_more.discard(session_id)
        return True

    def may_have_more(self, session_id: str) -> None:
        """Note that the bucket may have something of a session that is not known here."""
        self._may_have_more.add(session_id)

    # ---- what is due -----------------------------------------------------------------------------------------------

    def _look_at_journals(self, now_s: float) -> None:
        needed = {journal.key: journal for journal in self._leases.journals()}
        for key, journal in needed.items():
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _Kept(journal, journal.segment, now_s, journal.session_id)
            elif kept.journal is not journal:
                kept.journal, kept.segment, kept.begun_s = journal, journal.segment, now_s
            if kept.segment != journal.segment:
                kept.segment, kept.begun_s = journal.segment, now_s
            elif now_s - kept.begun_s >= self._segment_s:
                kept.segment, kept.begun_s = journal.rotate(), now_s  # rule 1
            least = self._leases.first_segment(key)
            for segment in [each for each in kept.stored if each < least]:  # rule 3
                self._doomed |= dict.fromkeys(kept.stored.pop(segment))
            for segment in [each for each in kept.sealed if each < least]:
                del kept.sealed[segment]
        over = [
            key
            for key, kept in self._kept.items()
            if key not in needed and (kept.journal is not _NOTHING or not self.is_awaited(kept.session_id))
        ]
        for key in over:
            for names in self._kept.pop(key).stored.values():
                self._doomed |= dict.fromkeys(names)
        self._copier.closed(over)

    async def _look_for_sealed(self, kept: _Kept) -> None:
        key, written, before = kept.journal.key, kept.journal.written.segment, kept.before
        try:
            sealed = await asyncio.to_thread(_sealed, self._folder, key, written, {*kept.stored, *kept.sealed})
        except OSError as error:
            log.warning("journal_segment_not_read", journal=key, error=str(error))
            return
        kept.sealed |= sealed
        if kept.before == before:  # else what was before our part has come meanwhile, and is looked for again
            kept.looked_at = written

    async def _upload(self) -> None:
        ready = [
            (numbers.first, segment, kept)
            for kept in self._kept.values()
            for segment, numbers in kept.sealed.items()
            if self._copier.copied_through(kept.journal.key) >= numbers.below - 1  # rule 1
        ]
        ready.sort(key=lambda each: each[:2])
        for start in range(0, len(ready), AT_ONCE):
            some = ready[start : start + AT_ONCE]
            results = await asyncio.gather(
                *(self._upload_one(kept, segment) for _, segment, kept in some), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def _upload_one(self, kept: _Kept, segment: int) -> None:
        journal, numbers = kept.journal, kept.sealed[segment]
        owned = self._owners.owner(journal.session_id)
        if owned is None or owned.node != self._node:
            return
        stored = Stored(journal.key, segment, owned.epoch, *numbers)
        key, path = folder_of(journal.session_id) + stored.name, segment_path(self._folder, journal.key, segment)
        self._on_their_way.add(key)
        try:
            await self._store.put(key, path, attributes={"Content-Type": "application/octet-stream"}, is_checked=False)
            size_bytes = (await asyncio.to_thread(path.stat)).st_size
        except FileNotFoundError:  # nobody needs it any more
            kept.sealed.pop(segment, None)
            self._doomed[key] = None
            return
        except BaseException:  # it may be there none the less
            self._may_have_more.add(journal.session_id)
            raise
        finally:
            self._on_their_way.discard(key)
        self.uploaded += 1
        self.uploaded_bytes += size_bytes
        kept.sealed.pop(segment, None)
        kept.stored.setdefault(segment, []).append(key)
        if self._kept.get(journal.key) is not kept:  # it has ended meanwhile
            self._doomed[key] = None
            return
        self._copier.stored(journal.key, segment, numbers.below - 1)
        if kept.before and kept.looked_at >= kept.before and all(each >= kept.before for each in kept.sealed):
            kept.before = 0
            await self._note_stored(journal.session_id)

    async def _note_stored(self, session_id: str) -> None:
        """Say that all of earlier owners is in the bucket, where that holds of each journal (rule 4)."""
        if not any(kept.before for kept in self._kept.values() if kept.session_id == session_id):
            with suppress(EngineAway, EntryChanged):
                await self._owners.note_stored(session_id)

    async def _delete(self) -> None:
        for key in list(self._doomed):
            await self._store.delete([key])
            self._doomed.pop(key, None)


_NOTHING = Journal(key="none", app_id="", session_id="")
"""In the place of a journal that is known, and that no recording has asked for yet."""


def _sealed(folder: Path, key: str, written: int, known: set[int]) -> dict[int, Numbers]:
    found = {}
    for segment in segments_of(folder, key):
        if segment < written and segment not in known:
            with suppress(FileNotFoundError):
                numbers = numbers_of(segment_path(folder, key, segment), key, segment)
                if numbers is not None:
                    found[segment] = numbers
    return found
