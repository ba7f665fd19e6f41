"""That this node lives, told to the others, and which of the others do: what `membership` decides is done here.

1. The node changes its entry ``node.<name>`` every ``BEAT_S``, and hands what the watch brings to `membership`, its own
   beats too: only when those come back do writing and watching both work. A watch whose server has died hears nothing
   for a second or two while writes go on, and nobody may be taken for dead because of that.
2. Two nodes cannot have one name. At a start an entry of another installation is waited for, for as long as a lease:
   if it changes, the start is refused. So is one beside a living node of another protocol, database, bucket or master
   key. The own installation may be there twice, where a machine was copied with its disk: an entry of it that another
   process has made is waited for, for two beats, as this start may be what follows on a crash and is to be quick.
3. A beat whose answer did not come may count. The entry is read then, and the next beat goes on behind what is there.
4. Clocks are compared by what each node's entry says of its own. An entry can only be late, by no more than what the
   entries of both need to NATS and back; so the least difference of a few beats is taken, less that. It is a warning
   and nothing else, as no clock of another machine decides anything.
5. Who has stood still (a snapshot, a frozen machine) for half a lease may have been taken for dead, and does not know
   it when it goes on. It is noticed by whoever asks first, as a request may be read before the watch is.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog

from wavstream.cluster.engine import EngineAway, Entry, EntryChanged, Table
from wavstream.cluster.membership import PREFIX, Membership, NodeState, decode_node, encode_node, node_key
from wavstream.cluster.node_clock import NodeClock, OwnWay
from wavstream.errors import OperatorError

PROTOCOL = 1
"""What nodes of one cluster must share: how they write entries and tails, and what they say to each other."""
BEAT_S = 0.5
LOOK_S = 0.1
"""How often it is looked whether somebody has become silent: the death of a node is noticed so much later at most."""
LEAVE_S = 2.0
START_S = 30.0
_COPY_BEATS = 2
_SAID_AGAIN_S = 60.0

log = structlog.get_logger(__name__)

NodeCallback = Callable[[str], None]
"""Is told the name of a node, on the loop; it must not wait."""


class NodeLife:
    """The life of this node and of the others, for as long as the server runs."""

    def __init__(
        self,
        table: Table,
        *,
        state: NodeState,
        lease_s: float,
        load: Callable[[], float],
        is_draining: Callable[[], bool],
        now_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """``state``: what the entry says that never changes; ``load`` and ``is_draining`` are asked at each beat."""
        self._table = table
        self._state = msgspec.structs.replace(state, protocol=PROTOCOL, process=uuid.uuid4().hex)
        self._lease_s = lease_s
        self._load = load
        self._is_draining = is_draining
        self._now_us = now_us
        self._wall_us = wall_us
        self._membership = Membership(state.name, lease_us=round(lease_s * 1e6))
        self._states: dict[str, NodeState] = {}
        self._clocks: dict[str, NodeClock] = {}
        self._way = OwnWay()
        self._unreadable: set[str] = set()
        self._alive: set[str] = set()
        self._dead: set[str] = set()
        self._on_dead: list[NodeCallback] = []
        self._on_alive: list[NodeCallback] = []
        self._on_standstill: list[Callable[[], None]] = []
        self._looked_us: int | None = None
        """When this process was known to run last (rule 5); None: it has not begun to look."""
        self._told = asyncio.Event()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._revision = 0
        self._beat = 0
        self._said_taken_s: float | None = None
        self._has_left = False

    # ---- what is known -----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of this node."""
        return self._state.name

    @property
    def has_left(self) -> bool:
        """Whether ``leave`` was called: this node owns nothing new."""
        return self._has_left

    @property
    def is_first(self) -> bool:
        """Whether this is the live node with the lowest name: it does what is done once."""
        return not self._has_left and self.live()[:1] == (self.name,)

    def is_alive(self, name: str) -> bool:
        """Return whether a node lives, as far as this one can know."""
        return self._membership.is_alive(name)

    def live(self) -> tuple[str, ...]:
        """Return the names of all that live, this one among them, sorted."""
        return self._membership.live()

    @property
    def is_cut_off(self) -> bool:
        """Whether the own beats have not come back for a lease: others may take this node for dead."""
        return self._membership.is_cut_off(self._now_us())

    def state_of(self, name: str) -> NodeState | None:
        """Return what a node said of itself last, dead or alive; None: it is not known, or has left."""
        return self._states.get(name)

    def states(self) -> tuple[NodeState, ...]:
        """Return what each node said of itself last, dead ones too, sorted by name."""
        return tuple(self._states[name] for name in sorted(self._states))

    def refused(self, name: str) -> None:
        """Note that nobody listens at a node's address, and beat when that makes it dead (``membership``, rule 5)."""
        if (dead_us := self._membership.refused(name)) is not None:
            asyncio.get_running_loop().call_later(max(dead_us - self._now_us(), 0) / 1e6, self.beat_now)

    def on_dead(self, callback: NodeCallback) -> None:
        """Call this when a node is dead or has left; for those that are dead already, a lease after the start."""
        self._on_dead.append(callback)

    def on_alive(self, callback: NodeCallback) -> None:
        """Call this when another node is alive, for the first time or again."""
        self._on_alive.append(callback)

    def on_standstill(self, callback: Callable[[], None]) -> None:
        """Call this when this process goes on after it has stood still (rule 5); it must not wait."""
        self._on_standstill.append(callback)

    def notice_standstill(self) -> None:
        """Tell who asked for it, if this process has stood still since it was looked last (rule 5)."""
        now_us, before_us = self._now_us(), self._looked_us
        if before_us is None:
            return
        self._looked_us = now_us
        if (still_us := now_us - before_us) <= self._lease_s * 1e6 / 2:
            return
        if still_us >= self._lease_s * 1e6:
            log.warning("node_stood_still", node=self.name, seconds=round(still_us / 1e6, 1))
        for callback in self._on_standstill:
            callback()

    # ---- its course --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Join the others; raise OperatorError if this node may not (rule 2), EngineAway."""
        await self._table.watch(PREFIX, self._changed)
        await self._refuse_another()
        await self._put_first()
        self._looked_us = self._now_us()
        self._tasks = [
            asyncio.create_task(self._keep_beating(), name="node beats"),
            asyncio.create_task(self._keep_looking(), name="node watch"),
        ]

    async def _put_first(self) -> None:
        """Make the entry; where NATS has just been started, too, whose first answers take longer than others."""
        give_up = asyncio.get_running_loop().time() + START_S
        while True:
            try:
                await self._put()
            except EngineAway:
                if asyncio.get_running_loop().time() >= give_up:
                    raise
                await asyncio.sleep(BEAT_S)
            else:
                return

    def beat_now(self) -> None:
        """Tell the others at once what has changed of this node."""
        self._woken.set()

    async def leave(self) -> None:
        """Be a member no more, and say so: the others take what is this node's at once. Watching goes on."""
        if self._has_left:
            return
        self._has_left = True
        await self._end(self._tasks[:1])
        with suppress(EngineAway, EntryChanged, TimeoutError):  # then the others wait for a lease
            async with asyncio.timeout(LEAVE_S):
                await self._delete()

    async def stop(self) -> None:
        """Leave, and watch no more."""
        if self._tasks:
            await self.leave()
        await self._end(self._tasks)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refuse_another(self) -> None:
        """Raise OperatorError if an entry that speaks against this start still changes (rule 2)."""
        against = {name: state for name, state in self._states.items() if self._complaint(state) is not None}
        is_copy = all(self._is_of_own_disk(state) for state in against.values())
        wait_s = _COPY_BEATS * BEAT_S if is_copy else self._lease_s + BEAT_S
        give_up = asyncio.get_running_loop().time() + wait_s
        is_last = False
        while against and not is_last:
            self._told.clear()
            try:
                async with asyncio.timeout_at(give_up):
                    await self._told.wait()
            except TimeoutError:
                is_last = True  # a start is busy, and what the watch has brought may not be told yet: it is read
            for name, before in against.items():
                now = await self._look_at(name) if is_last else self._states.get(name)
                if now is not None and now.beat != before.beat and (complaint := self._complaint(now)) is not None:
                    raise OperatorError(complaint)

    async def _look_at(self, name: str) -> NodeState | None:
        entry = await self._table.get(node_key(name))
        return self._read(entry) if entry.revision else None

    def _complaint(self, other: NodeState) -> str | None:
        if other.name == self.name:
            if self._is_of_own_disk(other):
                return self._complaint_of_a_copy(other)
            return (
                f"another node is called {self.name} and runs"
                f"{f' at {other.address}' if other.address else ''}: give each node a name of its own "
                "(WAVSTREAM_CLUSTER__NODE), or stop that one"
            )
        if other.protocol != PROTOCOL:
            return (
                f"node {other.name} runs version {other.version or 'unknown'}, which speaks protocol "
                f"{other.protocol} between nodes, and this one speaks {PROTOCOL}: drain and stop the nodes of one of "
                "the versions first (docs/cluster.md)"
            )
        for setting, digest in self._state.common.items():
            if other.common.get(setting, digest) != digest:  # the master key first: all digests are made with it
                return (
                    f"{setting} is another one than that of node {other.name}, and all nodes must have the same: set "
                    "it to that"
                )
        return None

    def _complaint_of_a_copy(self, other: NodeState) -> str | None:
        if not self._is_a_copy(other):
            return None
        return (
            f"another node is called {self.name} and runs with a copy of this data folder"
            f"{f' at {other.address}' if other.address else ''}: start this one with an empty data folder and a name "
            "of its own (WAVSTREAM_DATA_DIR, WAVSTREAM_CLUSTER__NODE), or stop that one"
        )

    def _is_of_own_disk(self, other: NodeState) -> bool:
        return other.name == self.name and other.installation == self._state.installation

    def _is_of_us(self, other: NodeState) -> bool:
        """Return whether it is ours: of this process, or of an earlier one on this disk that does not say which."""
        return self._is_of_own_disk(other) and not self._is_a_copy(other)

    def _is_a_copy(self, other: NodeState) -> bool:
        """Return whether another process wrote it; a version before this one does not say."""
        return bool(other.process) and other.process != self._state.process

    # ---- beats -------------------------------------------------------------------------------------------------

    async def _keep_beating(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._woken.wait()
            self._woken.clear()
            with suppress(EngineAway):  # who has the connection logs that
                await self._put()

    async def _put(self) -> None:
        self._beat += 1
        state = msgspec.structs.replace(
            self._state,
            load=round(self._load(), 3),
            is_draining=self._is_draining(),
            beat=self._beat,
            wall_us=self._wall_us(),
            way_us=self._way.least_us,
        )
        key, value = node_key(self.name), encode_node(state)
        try:
            self._revision = await self._table.put(key, value, after=self._revision)
        except (EntryChanged, EngineAway):
            self._take_up(await self._table.get(key))  # rule 3

    def _take_up(self, entry: Entry) -> None:
        if entry.revision and entry.revision == self._revision:
            return  # nobody has written since
        state = self._read(entry) if entry.revision else None
        if state is None or self._is_of_us(state):
            self._revision = entry.revision
            self._beat = max(self._beat, state.beat if state is not None else 0)
            return
        # It started while this one was silent for longer than a lease.
        now_s = asyncio.get_running_loop().time()
        if self._said_taken_s is None or now_s - self._said_taken_s >= _SAID_AGAIN_S:
            self._said_taken_s = now_s
            log.error("node_name_taken", node=self.name, address=state.address)

    async def _delete(self) -> None:
        try:
            await self._table.delete(node_key(self.name), after=self._revision)
        except EngineAway:
            entry = await self._table.get(node_key(self.name))
            if entry.revision and self._is_own(entry):
                await self._table.delete(entry.key, after=entry.revision)

    def _is_own(self, entry: Entry) -> bool:
        state = self._read(entry)
        return state is not None and state.installation == self._state.installation

    # ---- watching ----------------------------------------------------------------------------------------------

    def _changed(self, entry: Entry) -> None:
        name = entry.key.removeprefix(PREFIX)
        now_us = self._now_us()
        if not entry.revision:
            self._states.pop(name, None)
            self._clocks.pop(name, None)
            if name != self.name:
                self._membership.gone(name, now_us)
        elif (state := self._read(entry)) is not None:
            self._states[name] = state
            if name != self.name:
                self._membership.saw(state, now_us)
                self._compare_clocks(state)
            elif not self._tasks:  # of before this start: the first beat goes on behind it
                self._revision, self._beat = entry.revision, state.beat
            elif self._is_of_us(state):
                self._membership.saw(state, now_us)  # rule 1
                self._way.saw(self._wall_us() - state.wall_us)
        self._told.set()

    def _read(self, entry: Entry) -> NodeState | None:
        try:
            return decode_node(entry.value)
        except msgspec.DecodeError as error:
            if entry.key not in self._unreadable:
                self._unreadable.add(entry.key)
                log.error("cluster_entry_unreadable", key=entry.key, error=str(error))
            return None

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.notice_standstill()
            self._look()

    def _look(self) -> None:
        if not self._tasks:
            return
        alive, dead = set(self._membership.live()) - {self.name}, set(self._membership.dead())
        came, went = sorted(alive - self._alive), sorted(dead - self._dead)
        self._alive, self._dead = alive, dead
        for name in came:
            log.info("node_alive", node=name, address=(state.address if (state := self._states.get(name)) else None))
            _call(self._on_alive, name)
        for name in went:
            if name in self._states:
                log.warning("node_dead", node=name, lease_s=self._lease_s)
            else:
                log.info("node_left", node=name)
            _call(self._on_dead, name)

    def _compare_clocks(self, state: NodeState) -> None:
        clock = self._clocks.setdefault(state.name, NodeClock())
        on_the_way_us = self._way.least_us + state.way_us
        if (by_us := clock.saw(self._wall_us() - state.wall_us, on_the_way_us=on_the_way_us)) is not None:
            log.warning("node_clock_differs", node=state.name, behind_s=round(by_us / 1e6, 1))


def _call(callbacks: list[NodeCallback], name: str) -> None:
    for callback in callbacks:
        try:
            callback(name)
        except Exception:
            log.exception("node_callback_failed", node=name)
