"""The entries of a bucket whose keys begin alike, told one after the other, over all that happens to NATS.

1. What is there comes first, the last of each key; then each change, in order. When NATS stops to hand out, all is told
   again: a key that was told before and is not there any more is looked at, and then told as deleted.
2. Nothing is told that is older than what this node has written itself and was answered: it is known already.
3. Where NATS has lost what it had, the bucket is another one, whose revisions begin anew: of a key that is in both the
   old entry is told as deleted first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from wavstream.cluster.engine import EngineAway, Entry
from wavstream.cluster.nats_connection import RETRY_S
from wavstream.cluster.nats_delivery import Delivered, Delivery

_TURN = 64
"""So many are told before others have their turn on the loop."""

log = structlog.get_logger(__name__)


class Watch:
    """One watch, for as long as the connection lives."""

    def __init__(
        self,
        deliver: Callable[[str], Awaitable[tuple[Delivery, str]]],
        get: Callable[[str], Awaitable[Entry]],
        *,
        prefix: str,
        keys: str,
        on_change: Callable[[Entry], None],
    ) -> None:
        """``deliver`` says of which bucket it is, too; ``keys``: what the subject of an entry has before its key."""
        self._deliver = deliver
        self._get = get
        self._prefix = prefix
        self._keys = keys
        self._on_change = on_change
        self._known: set[str] = set()
        """What is there, as far as was told."""
        self._written: dict[str, int] = {}
        """What this node wrote and has not been handed out yet (rule 2)."""
        self._bucket = ""
        self._of_another: set[str] = set()
        """What is known of another bucket than the one that is read now (rule 3)."""
        self.why = "NATS has not told what there is"
        """What kept it from beginning."""
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Watch; return when all that is there was told."""
        self._task = asyncio.create_task(self._keep(), name=f"watch of {self._prefix}")
        await self._told.wait()

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wrote(self, key: str, revision: int, *, is_there: bool) -> None:
        """Note what this node has written, and was answered; not ``is_there``: it was a deletion."""
        if key.startswith(self._prefix) and revision > self._written.get(key, 0):
            self._written[key] = revision
            if is_there:
                self._known.add(key)

    async def _keep(self) -> None:
        while True:
            try:
                delivery, bucket = await self._deliver(self._prefix)
                if self._bucket not in ("", bucket):  # rule 3
                    self._written.clear()
                    self._of_another |= self._known
                self._bucket = bucket
                try:
                    await self._read(delivery)
                finally:
                    await delivery.close()
            except EngineAway as error:
                self.why = str(error)
                log.debug("cluster_watch_begins_anew", prefix=self._prefix, error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _read(self, delivery: Delivery) -> None:
        seen: set[str] = set()
        is_all = not delivery.at_first
        if is_all:
            await self._all_were_told(seen)
        count = 0
        while True:
            message = await delivery.next()
            if message is not None:
                key = message.subject.removeprefix(self._keys)
                self._take(key, message)
                if not is_all:
                    seen.add(key)
                count += 1
                if count % _TURN == 0:
                    await asyncio.sleep(0)
            if not is_all and (message is None or not message.behind):
                is_all = True
                await self._all_were_told(seen)
                seen.clear()

    async def _all_were_told(self, seen: set[str]) -> None:
        for key in self._known - seen:  # rule 1
            entry = await self._get(key)
            if not entry.revision and key in self._known:
                self._known.discard(key)
                self._tell(entry)
        self._of_another.clear()
        self._told.set()

    def _take(self, key: str, message: Delivered) -> None:
        written = self._written.get(key)
        if written is not None:
            if message.sequence < written:  # rule 2
                return
            del self._written[key]
        if key in self._of_another:  # rule 3
            self._of_another.discard(key)
            self._tell(Entry(key, b"", 0))
        if not message.is_deletion:
            self._known.add(key)
            self._tell(Entry(key, message.payload, message.sequence))
        elif key in self._known:
            self._known.discard(key)
            self._tell(Entry(key, b"", 0))

    def _tell(self, entry: Entry) -> None:
        try:
            self._on_change(entry)
        except Exception:
            log.exception("cluster_watch_failed", key=entry.key)
