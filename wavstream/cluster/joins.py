"""Joins the journals of many sessions at once: who is asked for together is read together (``joiner`` reads).

When a node dies, its legs come back one by one within a second or two, to each of the others. A tail has the young part
of all sessions of its shard, so what one join costs is the audio of them all, and a join for each leg would cost the
square of them.

1. Those that are asked for within ``GATHER_S``, or while others are being joined, are joined together: each tail is
   fenced once and read once for all of them. Each goes on as soon as its own journal is there.
2. Nobody waits for others longer than ``JOIN_S``: a bucket that does not answer holds up those alone who had asked.
3. A join that fails is tried again for ever, each session by itself from then on: one that fails holds up none, and
   only one that fails by itself waits for the bucket.
4. Where sessions go on by their outlines, they are joined behind: once none has asked for its outline or gone on by it
   for ``BEHIND_S``, and those of one tail after those of another. So joining what was said keeps nobody from recording
   what is said, and memory has the audio of one tail, not that of all calls of a node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from wavstream.cluster.joiner import STORE_SOON_S, STORE_WAIT_S, Found, Joiner, Outlined
from wavstream.cluster.ownership import Owned
from wavstream.errors import DependencyError

GATHER_S = 0.02
JOIN_S = 0.5
BEHIND_S = 1.0
BEHIND_MOST_S = 5.0
"""The tails of a dead node do not last for ever."""
TURN_S = 10.0
"""How long those of the next tail wait for those of one that are tried again, since the bucket is away."""
RETRY_S = 0.5

log = structlog.get_logger(__name__)

_Asked = tuple[Owned, "asyncio.Future[Found]"]


class Joins:
    """All joins of one node. Lives on the event loop."""

    def __init__(self, joiner: Joiner) -> None:
        self._joiner = joiner
        self._to_outline: list[tuple[Owned, asyncio.Future[Outlined]]] = []
        self._went_on_s = -BEHIND_S
        """When one asked for its outline last, or went on by it."""
        self._behind: list[_Asked] = []
        self._asked: list[_Asked] = []
        self._next: asyncio.TimerHandle | None = None
        """The join of those that have asked."""
        self._not_before_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Join nothing more."""
        if self._next is not None:
            self._next.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.remove_done_callback(self._ended)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def outline(self, ours: Owned) -> Outlined:
        """Return with what a session that is this node's now can go on before it is joined."""
        loop = asyncio.get_running_loop()
        outlined: asyncio.Future[Outlined] = loop.create_future()
        self._to_outline.append((ours, outlined))
        self._went_on_s = loop.time()
        if len(self._to_outline) == 1:
            loop.call_later(GATHER_S, self._outline_all)
        return await outlined

    async def join_behind(self, ours: Owned) -> Found:
        """Return what ``join`` does, when its turn comes (rule 4)."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Found] = loop.create_future()
        self._behind.append((ours, found))
        self._went_on_s = loop.time()
        if len(self._behind) == 1:
            self._spawn(self._join_all_behind(), "join journals behind")
        return await found

    async def join(self, ours: Owned) -> Found:
        """Return what there is of a session that is this node's now, once it lies in its folder."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Found] = loop.create_future()
        self._asked.append((ours, found))
        if self._next is None:
            self._next = loop.call_at(max(loop.time() + GATHER_S, self._not_before_s), self._begin)
        return await found

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _join_all_behind(self) -> None:
        loop = asyncio.get_running_loop()
        latest_s = loop.time() + BEHIND_MOST_S
        while self._behind:
            while (left_s := min(self._went_on_s + BEHIND_S, latest_s) - loop.time()) > 0:  # noqa: ASYNC110 - a time
                await asyncio.sleep(left_s)
            tail = _tail_of(self._behind[0][0])
            turn = [each for each in self._behind if _tail_of(each[0]) == tail]
            await asyncio.wait((self._spawn(self._join(turn), "join journals"),), timeout=TURN_S)
            self._behind = [each for each in self._behind if each not in turn]

    def _outline_all(self) -> None:
        asked, self._to_outline = self._to_outline, []
        self._spawn(self._outline(asked), "outline journals")

    async def _outline(self, asked: Sequence[tuple[Owned, asyncio.Future[Outlined]]]) -> None:
        futures = {ours.session_id: future for ours, future in asked}

        def outlined(ours: Owned, found: Outlined) -> None:
            if not (future := futures[ours.session_id]).done():
                future.set_result(found)

        try:
            await self._joiner.outline([ours for ours, _ in asked], on_outlined=outlined)
        except Exception as error:  # noqa: BLE001 - who asked is told
            for future in futures.values():
                if not future.done():
                    future.set_exception(error)

    def _begin(self) -> None:
        asked, self._asked, self._next = self._asked, [], None
        self._not_before_s = asyncio.get_running_loop().time() + JOIN_S  # rule 2
        task = asyncio.create_task(self._join(asked), name="join journals")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._not_before_s = 0.0
        if self._next is not None:  # rule 1
            self._next.cancel()
            self._begin()

    async def _join(self, asked: Sequence[_Asked]) -> None:
        store_wait_s = STORE_SOON_S
        futures = {ours.session_id: future for ours, future in asked}

        def joined(found: Found) -> None:
            if not (future := futures[found.owned.session_id]).done():
                future.set_result(found)

        while waiting := [each for each in asked if not each[1].done()]:
            try:
                taken = [ours for ours, _ in waiting]
                await self._joiner.join(taken, store_wait_s=store_wait_s, on_joined=joined)
            except (DependencyError, OSError) as error:  # of the engine, the bucket or the disk
                log.warning("journals_not_joined", sessions=len(waiting), error=str(error))
                if len(waiting) > 1:  # rule 3
                    await asyncio.gather(*(self._join([each]) for each in waiting))
                else:
                    store_wait_s = STORE_WAIT_S
                    await asyncio.sleep(RETRY_S)
            except Exception as error:  # noqa: BLE001 - who asked is told
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(error)


def _tail_of(ours: Owned) -> tuple[str, int]:
    """Return which tail has most of what a session lacks here."""
    before = ours.held[-2]
    return before.node, before.shard
