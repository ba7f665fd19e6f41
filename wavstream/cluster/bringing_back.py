"""A session whose entry has become ours: its rows, its journals, and then its recordings go on here (decisions 29, 32).

1. Its rows are made ours first, so that nothing of the earlier owner counts any more.
2. Mostly the end of its tail tells all that its recordings need to go on (``outlines``). The entry says from where on
   we write, its streams are let in, and what they say is journaled from then on. That takes as long for a call of four
   hours as for one of a minute. What was said before is joined behind; only then is anything folded.
3. Where that does not tell enough, the journals are joined first: the streams wait for that.
4. What was joined is brought back as after a crash of this machine: the same fold from the start, the same bytes.
5. Of the recoveries ``AT_ONCE`` run, and what was said before is folded ``HOLD_S`` behind the last: first all record
   what is said now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

import msgspec
import structlog

from wavstream.catalog.nodes import Nodes as Rows
from wavstream.catalog.nodes import Owner
from wavstream.cluster.body import Body
from wavstream.cluster.copier import Copier
from wavstream.cluster.engine import EngineAway
from wavstream.cluster.joiner import Found, Joiner, Outlined
from wavstream.cluster.joins import Joins
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned, Start
from wavstream.errors import DependencyError
from wavstream.journal.segments import Position
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.recovery.restoring import Taken

AT_ONCE = 8
HOLD_S = 3.0
RETRY_S = 0.5
JOIN_AGAIN_S = 10.0
"""After a mistake of ours; the bucket, the disk and NATS are waited for where they are used."""
_SAID_AGAIN_S = 60.0

T = TypeVar("T")
Rest = Callable[[], Awaitable[None]]
"""What is left to do for a session whose streams may come, to be deferred."""

log = structlog.get_logger(__name__)


class BringingBack:
    """What one node brings back of sessions that it has taken. Lives on the event loop."""

    def __init__(
        self,
        *,
        node: str,
        owners: Owners,
        joiner: Joiner,
        rows: Rows,
        copier: Copier,
        body: Body | None,
        recorder: Recorder,
        recovery: Recovery,
    ) -> None:
        """``body`` None: there is no bucket."""
        self._node = node
        self._owners = owners
        self._joins = Joins(joiner)
        self._rows = rows
        self._copier = copier
        self._body = body
        self._recorder = recorder
        self._recovery = recovery
        self._recoveries = asyncio.Semaphore(AT_ONCE)
        self._rows_said_s = -_SAID_AGAIN_S
        self.waiting = 0
        """Sessions whose streams may not come yet."""

    async def stop(self) -> None:
        """Join nothing more."""
        await self._joins.stop()

    async def begin(self, ours: Owned, *, from_node: str) -> Rest:
        """Make a session's rows and journals ours; return what brings its recordings back, when its streams may come.

        Raise EntryChanged, StoreError, OSError.
        """
        self.waiting += 1
        try:
            self._recorder.hold_backlog(HOLD_S)  # rule 5
            await self.rows_are_ours(ours)
            outlined = await self._joins.outline(ours)
            if outlined.journals:
                return await self._go_on(ours, outlined, from_node)
            joined, found = await self.join(ours)
            taken = taken_from(from_node, joined)
            return lambda: self._bring_back(joined, found, taken, gone_on=())
        finally:
            self.waiting -= 1

    async def rows_are_ours(self, ours: Owned) -> None:
        """Write into a session's rows that they are ours, however long that takes (rule 1)."""
        owner, held_by = Owner(self._node, ours.epoch), [held.node for held in ours.held]
        await self.until(lambda: self._rows.take(ours.session_id, owner, held_by=held_by), ours.session_id)

    async def join(self, ours: Owned) -> tuple[Owned, Found]:
        """Join a session's journals, and go on with them (rule 3)."""
        found = await self._joins.join(ours)
        joined = await self._note_joined(ours, found.joined.starts, found.tails)
        for journal in found.joined.journals:
            self._copier.goes_on(
                joined,
                journal.key,
                found.apps[journal.key],
                segment=journal.start.segment,
                copied=journal.start.number - 1,
            )
        self._body_goes_on(joined, found)
        return joined, found

    async def until(self, ask: Callable[[], Awaitable[T]], session_id: str) -> T:
        """Return what the catalog answers, however long that takes: nothing may be done before."""
        while True:
            try:
                return await ask()
            except DependencyError as error:
                now_s = asyncio.get_running_loop().time()
                if now_s >= self._rows_said_s + _SAID_AGAIN_S:  # all that a node had may wait
                    self._rows_said_s = now_s
                    log.warning("session_rows_wait", session_id=session_id, sessions=self.waiting, error=str(error))
                await asyncio.sleep(RETRY_S)

    # ---- what goes on first ----------------------------------------------------------------------------------------

    async def _go_on(self, ours: Owned, outlined: Outlined, from_node: str) -> Rest:
        starts = {each.key: Start(each.segment, each.number) for each in outlined.journals}
        joined = await self._note_joined(ours, starts, outlined.tails)
        for journal in outlined.journals:
            self._copier.goes_on(
                joined,
                journal.key,
                journal.app_id,
                segment=journal.segment,
                copied=journal.number - 1,
                outline=journal.outline,
            )
        taken = taken_from(from_node, joined)
        return lambda: self._join_behind(joined, outlined, taken)

    async def _join_behind(self, joined: Owned, outlined: Outlined, taken: Taken) -> None:
        gone_on: frozenset[str] = frozenset()
        try:
            async with self._recoveries:
                rows = await self.until(lambda: self._rows.of_session(joined.session_id), joined.session_id)
                gone_on = await self._recovery.go_on(outlined.journals, rows, taken)
        except msgspec.MsgspecError as error:  # an event that is not known here: the whole journal says more of it
            log.warning("outline_unreadable", session_id=joined.session_id, error=str(error))
        except DependencyError as error:  # of the catalog: what has gone on goes on, the rest comes with its journal
            log.warning("session_rows_wait", session_id=joined.session_id, sessions=1, error=str(error))
            keys = (journal.key for journal in outlined.journals)
            gone_on = frozenset(key for key in keys if self._recorder.awaits_journal(key))
        if gone_on:
            self._recovery.let_in(joined.session_id)
            log.info("taken_session_goes_on", session_id=joined.session_id, journals=len(gone_on))
            found = await self._joined_behind(joined)
        else:
            found = await self._joins.join(joined)
        starts = {**found.joined.starts, **joined.holder.starts}
        if starts != joined.holder.starts:  # journals that are over, whose files nobody has
            joined = await self._note_joined(joined, starts, {})
            taken = taken_from(taken.from_node, joined)
        self._body_goes_on(joined, found)
        await self._bring_back(joined, found, taken, gone_on=gone_on)

    async def _joined_behind(self, joined: Owned) -> Found:
        """Join what was before, however often that takes: a recording runs that is folded only then."""
        while True:
            try:
                return await self._joins.join_behind(joined)
            except Exception:
                log.exception("taken_session_not_joined", session_id=joined.session_id)
                await asyncio.sleep(JOIN_AGAIN_S)

    # ---- what was joined -------------------------------------------------------------------------------------------

    async def _bring_back(self, joined: Owned, found: Found, taken: Taken, *, gone_on: Iterable[str]) -> None:
        session_id = joined.session_id
        async with self._recoveries:
            self._recorder.hold_backlog(HOLD_S)
            rows = await self.until(lambda: self._rows.of_session(session_id), session_id)
            found.tell_holes(is_over=not rows)
            apps: dict[str, list[str]] = {row.app_id: [] for row in rows}
            for key, app_id in found.apps.items():
                apps.setdefault(app_id, []).append(key)
            for app_id, keys in apps.items():
                await self._recovery.take_in(app_id, session_id, keys, taken, gone_on=gone_on)
                log.info("taken_session_recovered", session_id=session_id, app_id=app_id, journals=len(keys))

    def _body_goes_on(self, joined: Owned, found: Found) -> None:
        if self._body is not None:
            for journal in found.joined.journals:
                before = joined.holder.starts[journal.key].segment
                self._body.goes_on(journal.key, joined.session_id, found.stored, before=before)

    async def _note_joined(
        self, ours: Owned, starts: Mapping[str, Start], tails: Mapping[int, tuple[int, int]]
    ) -> Owned:
        while True:
            try:
                return await self._owners.note_joined(ours.session_id, starts, tails)
            except EngineAway:
                await asyncio.sleep(RETRY_S)


def taken_from(from_node: str, joined: Owned) -> Taken:
    """Return what recovery is told of a session that is ours, of which the entry says from where on we write."""
    starts = {key: Position(start.segment, 0, start.number) for key, start in joined.holder.starts.items()}
    return Taken(from_node=from_node, to_node=joined.node, epoch=joined.epoch, starts=starts)
