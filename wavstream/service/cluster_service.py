"""A server as one node of a cluster: its engine, its life among the others, and whose each session is, put together.

Imported only where ``cluster.nats_url`` is set. In this order: ``connect`` when the data folder is claimed, so that the
others know that this node is back and leave it what it had; ``open`` when requests are served; ``leave`` when all that
it had is written; ``stop``.

1. A session of which nothing is left here is let go of (``unused_claims``): it is over, and the files of all its
   recordings are in the bucket; or it was claimed for a start that was refused, or a stream that was turned away.
2. What is done once is begun by the live node with the lowest name, and ended where it is another one
   (``do_once``). Whoever begins has the database's lock for it, so that never two do it.
3. A node that the others cannot hear of by NATS is asked at its door what it still has, and keeps that (``orphans``).
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import msgspec
import structlog

from wavstream import __version__
from wavstream.access.secret_box import derive
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.nodes import Nodes as Rows
from wavstream.catalog.nodes import Owner
from wavstream.catalog.once_lock import OnceLock
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.cluster import preamble
from wavstream.cluster.engine import EngineAway
from wavstream.cluster.given_rows import ROWS_GIVEN
from wavstream.cluster.hand_overs import NodeUnavailable, number_of
from wavstream.cluster.jetstream import JetStream
from wavstream.cluster.load import NodeLoad, place_for
from wavstream.cluster.membership import NodeState
from wavstream.cluster.node_journals import NodeJournals
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.nodes import Nodes
from wavstream.cluster.owners import Owners
from wavstream.cluster.start_checks import check_driver, check_settings, common_of
from wavstream.cluster.unused_claims import UnusedClaims
from wavstream.errors import OperatorError
from wavstream.metrics import MetricSample
from wavstream.recorder.publisher import Publisher
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.removals import Removals
from wavstream.service.cluster_metrics import cluster_metrics
from wavstream.service.data_folder import DataFolder
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.load import Load
from wavstream.sessions.registry import Sessions
from wavstream.settings import Settings
from wavstream.storage.links import LinkKeys, derived_link_keys
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.secret_file import read_or_create

COPIED_S = 5.0
"""How long a node that goes waits until NATS has what it wrote: it may be without a leader for so long."""
SESSIONS_HERE = "sessions here"
"""The question which sessions a node has."""
DEAD_WAIT_S = 1.0
"""How long a node that counts as dead may take for its answer."""
_FIRST_LOOK_S = 1.0

_encode_sessions = msgspec.msgpack.Encoder().encode
_decode_sessions = msgspec.msgpack.Decoder(set[str]).decode

log = structlog.get_logger(__name__)


class ClusterService:
    """What makes a server a node. Lives on the event loop."""

    def __init__(self, settings: Settings) -> None:
        """Prepare it; nothing is looked at or connected yet."""
        self._settings = settings
        machine = socket.gethostname()
        self.node = settings.cluster.node_name(machine)
        self._reached_at = settings.cluster.reached_at(machine)
        self.nodes = Nodes(self.node)
        self.load: Callable[[], float] = lambda: 0.0
        self.is_draining: Callable[[], bool] = lambda: False
        self.engine: JetStream
        self.life: NodeLife
        self.owners: Owners
        self.journals: NodeJournals
        self.unused_claims: UnusedClaims

    def check(self) -> None:
        """Raise OperatorError if the settings do not make a node."""
        check_settings(self._settings)
        check_driver()

    def link_keys(self) -> LinkKeys:
        """Return the keys of links: of the master key, so that they are the same on all nodes."""
        assert self._settings.master_key is not None  # rule of ``check``
        return derived_link_keys(
            derive(self._settings.master_key.get_secret_value().strip().encode(), "links of a cluster")
        )

    async def connect(self, folder: DataFolder, *, master: bytes, database: str) -> None:
        """Be one of the nodes; raise OperatorError with what is to be done where that cannot be.

        ``database``: what the catalog is called in itself.
        """
        settings = self._settings
        installation = await asyncio.to_thread(_installation, folder)
        await self.nodes.listen(settings.cluster.listen, key=preamble.key_of(master))
        try:
            self.engine = await JetStream.connect(settings.cluster, node=self.node)
        except OperatorError as error:
            if isinstance(error.__cause__, EngineAway):
                _tried_again(error)
            raise
        state = NodeState(
            name=self.node,
            installation=installation,
            address=self._reached_at,
            url=settings.media_url,
            version=__version__,
            common=common_of(database=database, bucket=settings.storage.url or "", master=master),
        )
        self.owners = Owners(
            self.engine.table,
            node=self.node,
            shards=settings.cluster.shards,
            claim_wait_s=settings.cluster.claim_wait_s,
        )
        self.unused_claims = UnusedClaims(self.owners, node=self.node)
        self._handed_over = folder.root / "handed-over"
        self.owners.handed_over = await asyncio.to_thread(_took_away, self._handed_over)
        self.life = NodeLife(
            self.engine.table,
            state=state,
            lease_s=settings.cluster.lease_s,
            load=lambda: self.load(),
            is_draining=lambda: self.is_draining(),
        )
        self.nodes.join(self.life, self.owners, wait_s=settings.cluster.claim_wait_s)
        try:
            await self.owners.start()
            await self.life.start()
        except EngineAway as error:
            raise _tried_again(
                OperatorError(f"NATS does not answer ({error}): look at its servers, then start again")
            ) from error

    def make_journals(self, folder: DataFolder, *, rows: Rows, store: ObjectStore | None, removals: Removals) -> None:
        """Make what copies the journals; what is written from now on may be handed to it."""
        self.journals = NodeJournals(
            self._settings.cluster,
            engine_log=self.engine.log,
            node=self.node,
            owners=self.owners,
            life=self.life,
            store=store,
            folder=folder.journal,
            spool=folder.spool,
            rows=rows,
            removals=removals,
            kept=timedelta(hours=self._settings.retention.hours),
        )

    def attach(
        self,
        *,
        catalog: Catalog,
        publisher: Publisher,
        recorder: Recorder,
        sessions: Sessions,
        recovery: Recovery,
        used: Callable[[], set[str]],
        now_us: Callable[[], int],
    ) -> None:
        """Have sessions of dead nodes recorded on here; ``used`` returns the sessions that live here."""
        self._used = used
        self.nodes.answers(SESSIONS_HERE, self._answer_sessions_here)
        self.journals.attach(
            catalog=catalog,
            publisher=publisher,
            recorder=recorder,
            sessions=sessions,
            recovery=recovery,
            ask_dead=self._ask_dead,
            ask=lambda name, question, body: self.nodes.ask(number_of(name), question, body),
            now_us=now_us,
        )
        self.nodes.answers(ROWS_GIVEN, self.journals.given_rows.answer)
        self.nodes.takes_over_by(self.journals.take_overs.take)

    async def _ask_dead(self, name: str) -> set[str] | None:
        if self.life.state_of(name) is None:
            return None  # it has left
        try:
            answer = await self.nodes.ask_dead(name, SESSIONS_HERE, wait_s=DEAD_WAIT_S)
            return _decode_sessions(answer)
        except (NodeUnavailable, msgspec.MsgspecError):
            return None

    async def _answer_sessions_here(self, _body: bytes) -> bytes:
        """Return which sessions are this node's, and live here (rule 3)."""
        if self.life.has_left:
            return _encode_sessions([])
        return _encode_sessions([each for each in self._used() if self.owners.is_own(each)])

    def owner_of(self, session_id: str) -> Owner | None:
        """Return who has a session, as rows know it."""
        owned = self.owners.owner(session_id)
        return None if owned is None else Owner(owned.node, owned.epoch)

    def media_url_of(self, session_id: str | None) -> str | None:
        """Return the start of media URLs at the node that has a session, or this one's if none has; None: none opens.

        So what is streamed by that URL comes to its node by itself.
        """
        owned = None if session_id is None else self.owners.owner(session_id)
        state = None if owned is None else self.life.state_of(owned.node)
        return (self._settings.media_url if state is None else state.url) or None

    def spreads(self, of_sessions: Load, reserve: DiskReserve, *, journal_refused: Callable[[], str | None]) -> None:
        """Tell the others how loaded this node is, and have them take new sessions while it takes none."""
        load = NodeLoad(of_sessions, reserve=reserve, journal_refused=journal_refused)

        def place(session_id: str) -> str | None:
            if not load.refuses_new:
                return None
            states = (self.life.state_of(name) for name in self.life.live())
            return place_for(session_id, filter(None, states), but=self.node)

        self.load = lambda: load.ratio
        self.is_draining = lambda: load.is_draining
        self.nodes.places_new_by(place)
        self.nodes.on_refused(self.unused_claims.refused)

    def read_metrics(self) -> Callable[[], Iterator[MetricSample]]:
        """Return what reads the metrics of the cluster."""
        return cluster_metrics(
            engine=self.engine, life=self.life, owners=self.owners, nodes=self.nodes, journals=self.journals
        )

    def open(self) -> None:
        """Take what other nodes ask and relay, from now on."""
        self.nodes.open()

    async def do_once(self, work: Callable[[], Awaitable[None]], database: PostgresPlace) -> None:
        """Do what one node does for all for as long as that is this one, until cancelled (rule 2)."""
        lock, doing = OnceLock(database), None
        try:
            while True:
                if doing is None and self.life.is_first and await lock.take():
                    log.info("does_what_is_done_once", node=self.node)
                    doing = asyncio.create_task(_ignoring_cancel(work), name="done once")
                elif doing is not None and not (self.life.is_first and await lock.has()):
                    await _end(doing)
                    await lock.release()
                    doing = None
                await asyncio.sleep(_FIRST_LOOK_S)
        finally:
            if doing is not None:
                await _end(doing)
            await lock.release()

    async def leave(self) -> None:
        """Say that this node takes nothing any more, so that others take what it had at once: NATS has all of it."""
        if not hasattr(self, "life") or self.life.has_left:
            return
        if hasattr(self, "journals"):
            self.owners.hands_over = await self.journals.copier.flush(COPIED_S)
            if not self.owners.hands_over:
                log.warning("node_leaves_uncopied", waiting_bytes=self.journals.copier.waiting_bytes)
            else:
                with suppress(OSError):  # the next start says more than it need
                    await asyncio.to_thread(self._handed_over.touch)
        await self.life.leave()

    async def stop(self) -> None:
        """Let go of everything; also after a start that failed."""
        await self.leave()
        if hasattr(self, "journals"):
            await self.journals.stop()
        await self.nodes.close()
        if hasattr(self, "life"):
            await self.life.stop()
            await self.owners.stop()
        if hasattr(self, "engine"):
            await self.engine.close()

    async def release_unused(self, has_rows: Callable[[str], Awaitable[bool]]) -> None:
        """Let go of sessions of which nothing is left here, until cancelled (rule 1).

        ``has_rows``: whether recordings of one are not in the bucket.
        """
        await self.unused_claims.run(self._used, has_rows=has_rows, clear=self.journals.clear)


def _tried_again(error: OperatorError) -> OperatorError:
    """Have whoever starts servers try again by himself: what is started with NATS need not wait for it."""
    error.exit_code = 1
    return error


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _ignoring_cancel(work: Callable[[], Awaitable[None]]) -> None:
    with suppress(asyncio.CancelledError):
        await work()


def _installation(folder: DataFolder) -> str:
    """Return what tells this data folder from another one that was given the node's name."""
    return read_or_create(folder.root / "node-id", uuid.uuid4().hex.encode()).decode().strip()


def _took_away(mark: Path) -> bool:
    """Return whether there was this mark, which is of one start alone. Blocks."""
    try:
        mark.unlink()
    except OSError:
        return False
    return True
