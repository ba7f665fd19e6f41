"""Rows that a node wrote of a session that another had taken by then: they are given to that node.

Where NATS is slow for one node alone, it hears seconds late that a session is not its own any more. A start that it
answers meanwhile is a row of which the new owner has not heard: its leg streams there, and nobody records it. So:

1. Who hears that a session was taken gives its unfinished rows of it to the new owner, in the catalog, and tells that
   node which these are. What is finished here has its file here, and stays. Who had no entry of the session has
   recordings of its own (rule 6 of ``take_over``), and gives nothing.
2. The new owner brings the session back first. Then a row that waits for its first stream waits there, and begins at
   once where the session streams already. One that had begun is in no journal there: it has failed, and says so.
3. Who is not told is told again as long as he has the session. Who takes it next finds the rows by himself, since the
   entry names all who had it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from wavstream.catalog.nodes import Nodes as Rows
from wavstream.catalog.nodes import Owner
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned
from wavstream.errors import DependencyError
from wavstream.recovery.recovery import Recovery
from wavstream.workers.boundary import WorkerUnavailable

ROWS_GIVEN = "rows given"
"""Tells a node which rows are its own now; the answer is whether it has dealt with them."""
RETRY_S = 1.0

Ask = Callable[[str, str, bytes], Awaitable[bytes]]
"""Asks a node, by its name, a question with this body; raises WorkerUnavailable."""

log = structlog.get_logger(__name__)


class Given(msgspec.Struct, frozen=True):
    """What is told."""

    session_id: str
    recording_ids: list[str]


class GivenRows:
    """Gives rows, and takes those that are given. Lives on the event loop."""

    def __init__(
        self, *, owners: Owners, rows: Rows, recovery: Recovery, busy: Callable[[], set[str]], ask: Ask
    ) -> None:
        """``busy`` returns the sessions that are being taken or brought back; ``ask``: how other nodes are told."""
        self._owners = owners
        self._rows = rows
        self._recovery = recovery
        self._busy = busy
        self._ask = ask
        self._tasks: set[asyncio.Task[None]] = set()
        owners.on_lost(self.lost)

    async def stop(self) -> None:
        """Tell nobody any more."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def lost(self, owned: Owned) -> None:
        """Give what was written here to the node that has the session, as ``owned`` says (rule 1)."""
        if any(held.node == self._rows.node for held in owned.held):
            task = asyncio.create_task(self._give(owned), name="given rows")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def answer(self, body: bytes) -> bytes:
        """Deal with rows that another node has given; the answer says whether that could be done (rule 2)."""
        given = msgspec.json.decode(body, type=Given)
        owned = self._owners.owner(given.session_id)
        if owned is not None and owned.node == self._rows.node:
            is_back = owned.holder.is_joined and given.session_id not in self._busy()
            if not is_back or self._recovery.running:
                return msgspec.json.encode(False)
            await self._recovery.take_rows(given.recording_ids)
        return msgspec.json.encode(True)

    async def _give(self, owned: Owned) -> None:
        to = Owner(owned.node, owned.epoch)
        while True:
            try:
                given = await self._rows.give(owned.session_id, to)
            except DependencyError:
                await asyncio.sleep(RETRY_S)
            else:
                break
        if not given:
            return
        log.warning("session_rows_given", session_id=owned.session_id, node=owned.node, recordings=given)
        body = msgspec.json.encode(Given(owned.session_id, given))
        while self._has_it(owned):  # rule 3
            try:
                if msgspec.json.decode(await self._ask(owned.node, ROWS_GIVEN, body), type=bool):
                    return
            except (WorkerUnavailable, msgspec.MsgspecError) as error:
                log.info("session_rows_not_taken", session_id=owned.session_id, node=owned.node, error=str(error))
            await asyncio.sleep(RETRY_S)

    def _has_it(self, owned: Owned) -> bool:
        now = self._owners.owner(owned.session_id)
        return now is not None and (now.node, now.epoch) == (owned.node, owned.epoch)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("session_rows_not_given", exc_info=error)
