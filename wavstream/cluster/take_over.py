"""Takes over the sessions of nodes that are dead, and lets go of those that others have taken (docs/decisions/0029).

1. A session is taken when one of its legs, or a request, comes here (``take``). What nobody asks for is taken some time
   after its node has died (``orphans``), by the live node whose turn it is (``ownership.heir``). Whoever changes its
   entry first has it.
2. Then it is brought back here (``bringing_back``); its streams are deferred until its recordings go on.
3. Who hears that another has a session that was ours does nothing more with it: no file, no row, no webhook. Its
   streams are closed, so that they connect again, and come to the new owner; its journal is kept aside until the file
   of each of its recordings is in the bucket.
4. After a restart a session that is still ours is taken again, with a new epoch, and goes on from the journal here:
   another node takes it only from what is in the tail. Where we died before we had joined what was before our own part,
   it is joined first (``is_whole``).
5. What was begun here while the engine was away, and another node had claimed meanwhile, nobody has taken: no tail has
   it. It ends, and stays a recording of its own beside that node's; after a restart too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from wavstream.catalog.nodes import Nodes as Rows
from wavstream.cluster.body import Body
from wavstream.cluster.bringing_back import BringingBack, Rest, taken_from
from wavstream.cluster.copier import Copier
from wavstream.cluster.engine import EngineAway, EntryChanged
from wavstream.cluster.joiner import Joiner, local_segments
from wavstream.cluster.kept_aside import KeptAside
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.orphans import Orphans
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned, Start, heir
from wavstream.errors import DependencyError, TakenElsewhere
from wavstream.model.recording import EndReason
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.recovery.restoring import Taken
from wavstream.sessions.deferred_stream import ANY
from wavstream.sessions.registry import Sessions
from wavstream.sessions.session import Session

RETRY_S = 0.5
RESTART_WAIT_S = 10.0  # for the engine; then a restart goes on with what it has
SERVICE_RESTART = 1012
_LOOK_S = 0.5
_ORPHANS_AT_ONCE = 64

AskDead = Callable[[str], Awaitable[Collection[str] | None]]
"""Asks a node that counts as dead which sessions it has; None: it does not answer."""

log = structlog.get_logger(__name__)


class TakeOvers:
    """What one node takes and lets go of. Lives on the event loop."""

    def __init__(
        self,
        *,
        node: str,
        owners: Owners,
        life: NodeLife,
        joiner: Joiner,
        rows: Rows,
        aside: KeptAside,
        copier: Copier,
        body: Body | None,
        folder: Path,
        sessions: Sessions,
        recorder: Recorder,
        recovery: Recovery,
        ask_dead: AskDead,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """``folder``: of the journals; ``body`` None: there is no bucket; ``now_us``: the time of journals."""
        self._now_us = now_us
        self._node = node
        self._owners = owners
        self._life = life
        self._back = BringingBack(
            node=node,
            owners=owners,
            joiner=joiner,
            rows=rows,
            copier=copier,
            body=body,
            recorder=recorder,
            recovery=recovery,
        )
        self._rows = rows
        self._aside = aside
        self._copier = copier
        self._body = body
        self._folder = folder
        self._sessions = sessions
        self._recorder = recorder
        self._recovery = recovery
        self._ask_dead = ask_dead
        self._taking: dict[str, asyncio.Future[None]] = {}
        """Sessions whose streams may not come yet."""
        self._restoring: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._orphans = Orphans()
        self.own_at_start = {owned.session_id for owned in owners.of_node(node)}
        """Sessions that were ours before this process began, as long as they were not looked at."""
        self.taken = 0
        """Sessions taken from others since the start."""
        self.let_go = 0
        """Sessions that others took from this one."""
        owners.on_lost(self.lost)

    @property
    def busy(self) -> set[str]:
        """Sessions that are being taken or brought back."""
        return {*self._taking, *self._restoring}

    async def stop(self) -> None:
        """Take nothing more."""
        tasks = [*self._tasks, *self._restoring.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._back.stop(), return_exceptions=True)

    # ---- taking ----------------------------------------------------------------------------------------------------

    async def take(self, owned: Owned) -> None:
        """Make a session ours that a dead node has; return when its streams may come, to be deferred (rule 2).

        Raise EntryChanged: another was first; EngineAway, StoreError, OSError: it is tried again when it is asked for.
        """
        session_id = owned.session_id
        if (taking := self._taking.get(session_id)) is not None:
            await asyncio.shield(taking)
            return
        with self._is_taking(session_id):
            await self._take(owned)

    @contextmanager
    def _is_taking(self, session_id: str) -> Iterator[None]:
        """Have whoever takes a session meanwhile wait for what comes of it."""
        taking = self._taking[session_id] = asyncio.get_running_loop().create_future()
        try:
            yield
        except BaseException as error:
            if isinstance(error, Exception):
                taking.set_exception(error)
                taking.exception()  # nobody has to wait for it
            else:
                taking.cancel()
            raise
        else:
            taking.set_result(None)
        finally:
            del self._taking[session_id]

    async def _take(self, owned: Owned) -> None:
        self._sessions.defer(ANY, owned.session_id)  # before anybody can see that it is ours
        try:
            await self._take_deferred(owned)
        except BaseException:
            self._recovery.let_in(owned.session_id)
            raise

    async def _take_deferred(self, owned: Owned) -> None:
        ours = await self._owners.take(owned)
        log.info("session_taken", session_id=ours.session_id, from_node=owned.node, epoch=ours.epoch)
        self.taken += 1
        rest = await self._back.begin(ours, from_node=owned.node)
        self._restoring[ours.session_id] = asyncio.create_task(self._restore(ours.session_id, rest), name="take over")

    async def _restore(self, session_id: str, rest: Rest) -> None:
        try:
            await rest()
        except Exception:
            log.exception("taken_session_failed", session_id=session_id)
        finally:
            self._recovery.let_in(session_id)
            del self._restoring[session_id]

    # ---- what nobody asks for --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take what is left of dead nodes, where it is this one's turn (rule 1), for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._life.has_left:
                continue
            await self._look_at_own()
            now_s, live = asyncio.get_running_loop().time(), self._life.live()
            dead = [name for name in self._owners.counts() if name != self._node and name not in live]
            self._orphans.see({name: [each.session_id for each in self._owners.of_node(name)] for name in dead}, now_s)
            to_ask = [name for name in self._orphans.to_ask(now_s) if any(self._left_by(name, live))]
            await asyncio.gather(*(self._ask_what_is_left(name) for name in to_ask))
            for name in dead:
                if not self._life.is_alive(name):
                    self._take_what_is_left(name, live)

    def _left_by(self, name: str, live: Sequence[str]) -> Iterator[Owned]:
        """Yield the sessions of a dead node that are this one's to take."""
        for owned in self._owners.of_node(name):
            if owned.session_id not in self.busy and heir(owned.session_id, live) == self._node:
                yield owned

    async def _ask_what_is_left(self, name: str) -> None:
        has = await self._ask_dead(name)
        if self._orphans.answered(name, has, asyncio.get_running_loop().time()) and has is not None:
            log.warning("node_dead_answers", node=name, sessions=len(has))

    def _take_what_is_left(self, name: str, live: Sequence[str]) -> None:
        now_s = asyncio.get_running_loop().time()
        for owned in self._left_by(name, live):
            if len(self._taking) >= _ORPHANS_AT_ONCE:
                return
            if self._orphans.may_take(name, owned.session_id, now_s):
                self._take_orphan(owned)

    async def _look_at_own(self) -> None:
        """Take again what is ours and is not here: a take-over that failed, or of before the disk was lost."""
        if self._recovery.running:
            return
        for owned in self._owners.of_node(self._node):
            session_id = owned.session_id
            is_lost = session_id in self.own_at_start and not self._is_here(session_id)
            if is_lost and self._body is not None:
                self._body.may_have_more(session_id)
            with suppress(DependencyError):
                is_lost = is_lost and bool(await self._rows.of_session(session_id))
                if (is_lost or not owned.holder.is_joined) and session_id not in self.busy:
                    self._take_orphan(owned)
        self.own_at_start.clear()

    def is_joined_later(self, session_id: str) -> bool:
        """Return whether a session is ours of which nothing is here: we died as we took it, or have lost our disk."""
        return self._owners.is_own(session_id) and not self._is_here(session_id)

    def _is_here(self, session_id: str) -> bool:
        return any(journal.session_id == session_id for journal in self._recorder.leases.journals())

    def _take_orphan(self, owned: Owned) -> None:
        async def take() -> None:
            with suppress(EntryChanged, EngineAway):
                await self.take(owned)

        task = asyncio.create_task(take(), name="take over")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("take_over_failed", exc_info=error)

    # ---- letting go ------------------------------------------------------------------------------------------------

    def lost(self, owned: Owned) -> None:
        """Do nothing more with a session that another has, as ``owned`` says (rule 3)."""
        session_id = owned.session_id
        self._copier.lost(owned)
        if all(held.node != self._node for held in owned.held):
            self._end_here(session_id)
            return
        self.let_go += 1
        if self._body is not None:
            self._body.lost(session_id)
        if (restoring := self._restoring.get(session_id)) is not None:
            restoring.cancel()
        for session in [each for each in self._sessions if each.session_id == session_id]:
            session.recordings.by_id.clear()
            session.notes.is_recording = False
            session.legs.begin_anew()
            self._send_away(session)
        recordings = self._recorder.let_go(session_id, then=lambda journal: self._aside.take(journal.key))
        self._owners.tell_let_go(owned, recordings)

    def _end_here(self, session_id: str) -> None:
        """End what was begun here while the engine was away, and another has claimed before (rule 5)."""
        now_us = self._now_us()
        self._rows.keep(session_id)
        for session in [each for each in self._sessions if each.session_id == session_id]:
            session.recordings.stop_all(EndReason.DISCONNECTED, now_us)
            self._send_away(session)

    def _send_away(self, session: Session) -> None:
        streams = [*session.streams]
        session.streams.clear()
        self._sessions.drop_if_over(session, is_lost=True)
        for stream in streams:
            stream.forget_frames()
            stream.handle.close(SERVICE_RESTART, "another node has the call: connect again")

    # ---- after a restart -------------------------------------------------------------------------------------------

    async def ask(self, app_id: str, session_id: str, keys: Sequence[str]) -> Taken | None:
        """Make a session ours that has journals here, of before a restart; raise TakenElsewhere if another has it.

        Return None where what is here is to be brought back without that: while the engine is away, and by rule 5.
        """
        give_up = asyncio.get_running_loop().time() + RESTART_WAIT_S
        while True:
            if (under_way := self._taking.get(session_id) or self._restoring.get(session_id)) is not None:
                await asyncio.wait((under_way,))  # a leg was quicker: all of it is brought back there
                raise TakenElsewhere(f"session {session_id} is brought back already")
            owned = self._owners.owner(session_id) or await self._owners.claim(session_id, None)
            if owned.node != self._node:
                if await self._is_nowhere_else(owned):
                    self._rows.keep(session_id)
                    return None
                await self._put_aside(session_id, keys, owned)
            try:
                with self._is_taking(session_id):
                    return await self._take_again(owned, app_id, keys)
            except EntryChanged:
                continue  # by whom is known now
            except EngineAway:
                if asyncio.get_running_loop().time() >= give_up:
                    return None
                await asyncio.sleep(RETRY_S)

    async def _is_nowhere_else(self, owned: Owned) -> bool:
        """Return whether what is here of a session that another has is nowhere else (rule 5).

        Who never had it by its entry may have had it by one that is gone: then the rows were taken as well.
        """
        if any(held.node == self._node for held in owned.held):
            return False
        return bool(await self._back.until(lambda: self._rows.of_session(owned.session_id), owned.session_id))

    async def _take_again(self, owned: Owned, app_id: str, keys: Sequence[str]) -> Taken:
        ours = await self._owners.take(owned)
        await self._back.rows_are_ours(ours)
        local = await asyncio.to_thread(local_segments, self._folder, keys, owned.epoch)
        here = {key: {each.segment for each in local if each.key == key} for key in keys}
        if not owned.holder.is_joined or not all(is_whole(owned, *each) for each in here.items()):
            joined, _ = await self._back.join(ours)
            return taken_from(self._node, joined)
        starts, firsts = {}, {}
        for key in keys:
            of_it = [each for each in local if each.key == key]
            starts[key] = Start(
                max((each.segment for each in of_it), default=0) + 1, max((each.below for each in of_it), default=0)
            )
            firsts[key] = min((each.segment for each in of_it), default=1)
        joined = await self._owners.note_joined(ours.session_id, starts, {})
        for key in keys:
            self._copier.goes_on(joined, key, app_id, segment=firsts[key], copied=-1)
            if self._body is not None:
                self._body.goes_on(key, ours.session_id, (), before=0)
        return taken_from(self._node, joined)

    async def _put_aside(self, session_id: str, keys: Sequence[str], owned: Owned) -> None:
        for key in keys:
            await asyncio.to_thread(self._aside.take, key)
        self._owners.tell_let_go(owned, [], of_before=True)
        raise TakenElsewhere(f"node {owned.node} has session {session_id}")


def is_whole(owned: Owned, key: str, segments: Collection[int]) -> bool:
    """Return whether a journal that is here has what was before our own part of it, or nobody needs that (rule 4).

    ``segments``: those that are here. What is joined comes in their order, so the last of them comes last.
    """
    start = owned.holder.starts.get(key)
    if start is None or start.number == 0:
        return True
    return start.segment - 1 in segments or start.segment < min(segments, default=0)
