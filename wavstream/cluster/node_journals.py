"""The journals of one node in its cluster, put together: copied, uploaded, taken over, kept aside.

``service`` makes it before the journal's writer, which hands it what it writes (``copier``), and attaches the rest
once that is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.nodes import Nodes as Rows
from wavstream.cluster.body import Body
from wavstream.cluster.copier import Copier
from wavstream.cluster.engine import Log
from wavstream.cluster.given_rows import Ask, GivenRows
from wavstream.cluster.joiner import Joiner
from wavstream.cluster.kept_aside import KeptAside
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import shard_of
from wavstream.cluster.take_over import AskDead, TakeOvers
from wavstream.recorder.publisher import Publisher
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.removals import Removals
from wavstream.sessions.registry import Sessions
from wavstream.settings.cluster import ClusterSettings
from wavstream.storage.object_store import ObjectStore

FLUSH_S = 5.0
"""How long a stop waits for the engine to take the end of all journals."""


class NodeJournals:
    """What a node does with journals, its own and those of others. Lives on the event loop."""

    take_overs: TakeOvers
    given_rows: GivenRows

    def __init__(
        self,
        settings: ClusterSettings,
        *,
        engine_log: Log,
        node: str,
        owners: Owners,
        life: NodeLife,
        store: ObjectStore | None,
        folder: Path,
        spool: Path,
        rows: Rows,
        removals: Removals,
        kept: timedelta,
    ) -> None:
        """``folder``: of the journals; ``rows``: which recordings are this node's; ``kept``: see ``KeptAside``."""
        self._settings = settings
        self._node = node
        self._owners = owners
        self._life = life
        self._store = store
        self._folder = folder
        self._rows = rows
        self._joiner = Joiner(engine_log, node=node, store=store, folder=folder, spool=spool)
        self.aside = KeptAside(folder, rows=rows, removals=removals, kept=kept)
        self.body: Body | None = None
        self.copier = Copier(
            engine_log,
            node=node,
            owners=owners,
            folder=folder,
            tail_bytes=settings.tail_bytes,
            tail_age_s=settings.tail_age_s,
        )

    def attach(
        self,
        *,
        catalog: Catalog,
        publisher: Publisher,
        recorder: Recorder,
        sessions: Sessions,
        recovery: Recovery,
        ask_dead: AskDead,
        ask: Ask,
        now_us: Callable[[], int],
    ) -> None:
        """Be told of what is recorded here, and decide what is published; before anything is.

        ``ask_dead`` asks a node that counts as dead which sessions it has, ``ask`` one that lives.
        """
        catalog.recordings.are_of(self._rows)
        catalog.uploads.are_of(self._node)
        publisher.ask_whose(self._rows.is_ours)
        recorder.leases.copied_by(self.copier.when_copied)
        if self._store is not None:
            recorder.leases.last_until_stored()
            self.body = Body(
                self._store,
                node=self._node,
                folder=self._folder,
                segment_s=self._settings.segment_s,
                leases=recorder.leases,
                copier=self.copier,
                owners=self._owners,
            )
        self._leases = recorder.leases
        self.take_overs = TakeOvers(
            node=self._node,
            owners=self._owners,
            life=self._life,
            joiner=self._joiner,
            rows=self._rows,
            aside=self.aside,
            copier=self.copier,
            body=self.body,
            folder=self._folder,
            sessions=sessions,
            recorder=recorder,
            recovery=recovery,
            ask_dead=ask_dead,
            now_us=now_us,
        )
        if self.body is not None:
            self.body.is_awaited = lambda session_id: recovery.running or session_id in self.take_overs.busy
        self.given_rows = GivenRows(
            owners=self._owners,
            rows=self._rows,
            recovery=recovery,
            busy=lambda: self.take_overs.busy,
            ask=ask,
        )
        recovery.ask_first(self.take_overs.ask, is_joined_later=self.take_overs.is_joined_later)
        sessions.slot_of = partial(shard_of, shards=self._settings.shards)

    async def run(self) -> None:
        """Do what goes on beside everything else, until cancelled."""
        work = [self.take_overs.run, self.aside.run, *([self.body.run] if self.body is not None else [])]
        await asyncio.gather(*(each() for each in work))

    async def stop(self) -> None:
        """Copy what was written, then nothing more."""
        if hasattr(self, "take_overs"):
            await self.given_rows.stop()
            await self.take_overs.stop()
        await self.copier.flush(FLUSH_S)
        await self.copier.stop()

    @property
    def sessions(self) -> set[str]:
        """Sessions that need their entries: a recording needs their journal, or they are being taken."""
        return {journal.session_id for journal in self._leases.journals()} | self.take_overs.busy

    def brings_back(self, session_id: str) -> bool:
        """Return whether a session's recordings are being brought back here, or will be."""
        return session_id in self.take_overs.busy or session_id in self.take_overs.own_at_start

    async def clear(self, session_id: str) -> bool:
        """Delete what the bucket has of the journal of a session that is over; return False if that is for later."""
        return self.body is None or await self.body.clear(session_id)
