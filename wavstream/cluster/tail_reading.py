"""Reads the tails of nodes whose sessions were taken over: whole, or the end of each, up to a fence.

1. Sessions whose tails are in the same subjects are read together: each subject is fenced once for all of them, and
   read once.
2. All of a tail is what its last message says that is not in the bucket, up to the fence. Where the bucket does not
   answer soon, all of it is read: whoever waits for a leg waits for this.
3. The end of a tail begins where its last message says that all journals are outlined from (``outlines``).
4. An answer that is lost has one tail read again: the others do not wait for it, nor it for them.
5. Messages that have come already are read without a wait, thousands of them, and calls are recorded meanwhile: whoever
   reads lets the loop go on every few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import structlog

from wavstream.cluster.engine import ANSWER_S, EngineAway, Log
from wavstream.cluster.ownership import Held, Owned, hash_of, tail_subject
from wavstream.cluster.tail_message import (
    Contents,
    Fence,
    Pieces,
    TailBatch,
    UnknownMessage,
    pack_fence,
    told_by,
    unpack,
)

RETRY_S = 0.25
ENDS_AT_ONCE = 16
"""Ends of tails that are read beside each other. Of 1,000 calls in 32 shards each has about 3 MB, so less waits than
the 64 MiB below; with 8 each eight took 0.35 to 0.7 s behind an outage of NATS."""
TAILS_AT_ONCE = 2
"""Whole tails: NATS closes a connection for which 64 MiB wait, and sends up to 32 MiB of each that it is asked for."""

BREATH_BYTES = 1 << 18

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Tail:
    """What is read of one subject, for some sessions."""

    node: str
    shard: int
    from_begin: bool = False
    """Rule 2: the bucket does not answer."""
    sessions: set[str] = field(default_factory=set)
    to_fence: dict[str, int] = field(default_factory=dict)
    """By hash, of those that nobody has fenced yet: the epoch that begins."""
    fenced: list[Held] = field(default_factory=list)
    """Of the others."""
    batches: list[TailBatch] = field(default_factory=list)
    """And outlines, where the end of it is read."""
    through: tuple[int, int] = (0, 0)
    """Which part of it has what is needed: behind one sequence, below another."""

    def fence_for(self, owned: Owned) -> None:
        """Have it fenced for a session that was taken."""
        self.sessions.add(owned.session_id)
        self.to_fence[hash_of(owned.session_id)] = owned.epoch


class TailReader:
    """Reads tails for one node. Lives on the event loop."""

    def __init__(self, engine_log: Log, *, node: str) -> None:
        self._log = engine_log
        self._node = node
        self._whole_at_once = asyncio.Semaphore(TAILS_AT_ONCE)  # of all joins together
        self._ends_at_once = asyncio.Semaphore(ENDS_AT_ONCE)

    def whole(self, tails: Iterable[Tail]) -> Readings:
        """Read all of these tails."""
        return Readings(tails, self._read_whole, at_once=self._whole_at_once)

    def ends(self, tails: Iterable[Tail]) -> Readings:
        """Fence these tails, and read the end of each (rule 3)."""
        return Readings(tails, self._read_end, at_once=self._ends_at_once)

    async def _read_whole(self, tail: Tail) -> None:
        subject = tail_subject(tail.node, tail.shard)
        if not tail.to_fence:
            after = 0 if tail.from_begin else min(held.tail_from for held in tail.fenced)
            await self._read(subject, tail, after, max(held.tail_below or 0 for held in tail.fenced))
            return
        fence, sequence = await self._fence(subject, tail)
        await self._read(subject, tail, 0 if tail.from_begin else fence.stored_through, sequence)
        tail.through = (fence.stored_through, sequence)

    async def _read_end(self, tail: Tail) -> None:
        subject = tail_subject(tail.node, tail.shard)
        fence, sequence = await self._fence(subject, tail)
        if fence.outlined_from:
            await self._read(subject, tail, fence.outlined_from - 1, sequence, has_outlines=True)
        tail.through = (fence.stored_through, sequence)

    async def _fence(self, subject: str, tail: Tail) -> tuple[Fence, int]:
        """Fence the sessions of a tail; return the fence, and its sequence. Raise EngineAway."""
        newest = await self._log.newest(subject)
        stored_through, outlined_from = told_by(newest.payload)
        outlined_from = outlined_from or newest.sequence  # the first message tells of none before it
        fence = Fence(by=self._node, sessions=tail.to_fence, stored_through=stored_through, outlined_from=outlined_from)
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    return fence, await self._log.publish(subject, pack_fence(fence), after=None)
            except TimeoutError:  # it may be there: one more does no harm
                continue
            except EngineAway:
                await asyncio.sleep(RETRY_S)

    async def _read(self, subject: str, tail: Tail, after: int, below: int, *, has_outlines: bool = False) -> None:
        pieces, read_bytes = Pieces(), 0
        async for logged in self._log.read(subject, after=after):
            if logged.sequence >= below:
                break
            read_bytes += len(logged.payload)
            if read_bytes >= BREATH_BYTES:  # rule 5
                read_bytes = 0
                await asyncio.sleep(0)
            try:
                contents = unpack(logged.payload)
            except UnknownMessage as error:
                log.warning("tail_message_unreadable", subject=subject, sequence=logged.sequence, error=str(error))
                continue
            if isinstance(contents, Contents):
                wanted = [each for each in contents.batches if each.session_id in tail.sessions]
                tail.batches += pieces.whole(wanted)
                if has_outlines:
                    tail.batches += (each for each in contents.outlines if each.session_id in tail.sessions)


class Readings:
    """Tails that are being read: the first sessions go on while those of the last are read."""

    def __init__(
        self, tails: Iterable[Tail], read: Callable[[Tail], Awaitable[None]], *, at_once: asyncio.Semaphore
    ) -> None:
        self._at_once = at_once
        self._read = read
        self._begin = {(tail.node, tail.shard): partial(self._run, tail) for tail in tails}
        self._tasks: dict[tuple[str, int], asyncio.Task[Tail]] = {}

    async def __aenter__(self) -> Self:
        self._tasks = {place: asyncio.create_task(begin()) for place, begin in self._begin.items()}
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def of(self, owned: Owned) -> list[Tail]:
        """Return those that are read for a session, when they have been."""
        places = sorted({(held.node, held.shard) for held in owned.held[:-1]} & self._tasks.keys())
        tails = [await asyncio.shield(self._tasks[place]) for place in places]
        return [tail for tail in tails if owned.session_id in tail.sessions]

    async def _run(self, tail: Tail) -> Tail:
        while True:
            try:
                async with self._at_once:
                    await self._read(tail)
            except EngineAway:  # rule 4
                tail.batches.clear()
                await asyncio.sleep(RETRY_S)
            else:
                return tail
