"""Claims of this node of which nothing is left here, or never was: they are let go of, and the session is nobody's.

1. It is let go of once nothing of it lives here, none of its recordings waits here for a file or the bucket, and the
   bucket has nothing of its journal any more.
2. What was claimed may be on its way still: its request is read, its key is looked up. So it stays for ``UNUSED_S``.
3. Where what was to begin of it was refused (a full disk, a quota), it is let go of at once: whoever dials again may be
   sent to another node, which would only relay to the one that refuses.
4. What is let go of is nobody's here already (rule 6 of ``owners``): who begins something of it meanwhile has it
   claimed anew. Between the last look whether it is used and that nothing else runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from wavstream.cluster.engine import EngineAway
from wavstream.cluster.owners import Owners
from wavstream.errors import DependencyError

UNUSED_S = 10.0
"""How long a claim may be without anything of its session (rule 2)."""
LOOK_S = 5.0


class UnusedClaims:
    """Lets go of them. Lives on the event loop."""

    def __init__(self, owners: Owners, *, node: str, look_s: float = LOOK_S) -> None:
        """``node``: whose claims; ``look_s``: how often all of them are looked at."""
        self._owners = owners
        self._node = node
        self._look_s = look_s
        self._unused_since: dict[str, float] = {}
        self._refused: set[str] = set()
        self._was_refused = asyncio.Event()

    def refused(self, session_id: str) -> None:
        """Note that something which was to begin of a session was refused (rule 3)."""
        self._refused.add(session_id)
        self._was_refused.set()

    async def run(
        self,
        used: Callable[[], set[str]],
        *,
        has_rows: Callable[[str], Awaitable[bool]],
        clear: Callable[[str], Awaitable[bool]],
    ) -> None:
        """Let go of them, until cancelled.

        ``used`` returns the sessions that live here, ``has_rows`` whether recordings of one are not in the bucket;
        ``clear`` deletes what the bucket has of its journal, and returns False if that is for later.
        """

        async def let_go(session_id: str) -> None:
            owned = self._owners.owner(session_id)
            if owned is None or owned.node != self._node or session_id in used():
                return
            with suppress(EngineAway, DependencyError):  # the next look tries again
                if await has_rows(session_id) or not await clear(session_id) or session_id in used():
                    return
                await self._owners.release(session_id)

        async with asyncio.TaskGroup() as both:
            both.create_task(self._look(used, let_go))
            both.create_task(self._take_refused(let_go))

    async def _look(self, used: Callable[[], set[str]], let_go: Callable[[str], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            now_s, in_use = asyncio.get_running_loop().time(), used()
            unused = [each.session_id for each in self._owners.of_node(self._node) if each.session_id not in in_use]
            self._unused_since = {each: self._unused_since.get(each, now_s) for each in unused}
            for session_id in unused:
                if now_s - self._unused_since[session_id] >= UNUSED_S:
                    await let_go(session_id)

    async def _take_refused(self, let_go: Callable[[str], Awaitable[None]]) -> None:
        while True:
            await self._was_refused.wait()
            self._was_refused.clear()
            refused, self._refused = self._refused, set()
            for session_id in refused:
                await let_go(session_id)
