"""Delivers the outbox: a queue for each app that something waits for, so that no app waits for another's receiver.

A queue begins when a fact of its app is written, and at the start for all that was left. Every ``RESCAN_S`` the outbox
is asked for apps that something is due for: what another process wrote, or a write whose caller was cancelled, is
found then. What was delivered or given up long ago is deleted every ``PRUNE_INTERVAL``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from wavstream.catalog.outbox import Backlog
from wavstream.errors import DependencyError
from wavstream.webhooks.app_queue import AppQueue, Clock, Connect, Outbox, Outcomes
from wavstream.webhooks.message import MessageBuilder

log = structlog.get_logger()

RESCAN_S = 10.0
PRUNE_INTERVAL = timedelta(hours=1)


class WholeOutbox(Outbox, Protocol):
    """The catalog, as the dispatcher needs it; all of it raises DependencyError."""

    def on_announced(self, wake: Callable[[str], None]) -> None:
        """Have ``wake`` called with an app's id whenever there is more to tell it."""

    async def backlog(self) -> list[Backlog]:
        """The apps that something waits for."""

    async def prune_outbox(self, now: datetime) -> bool:
        """Delete what was delivered or given up long ago; whether there may be more of it."""


class Dispatcher:
    """Delivers for as long as the server runs. Lives on the event loop."""

    def __init__(
        self, outbox: WholeOutbox, *, connect: Connect, messages: MessageBuilder, clock: Clock | None = None
    ) -> None:  # fmt: skip
        """``connect`` is called for each queue, which closes what it got."""
        loop = asyncio.get_running_loop()
        self._outbox = outbox
        self._connect = connect
        self._messages = messages
        self._clock = clock or Clock(now=lambda: datetime.now(UTC), call_later=loop.call_later)
        self._queues: dict[str, AppQueue] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self.outcomes = Outcomes()
        self.pending = 0
        """Announcements that waited when they were last counted, at most ``RESCAN_S`` ago."""

    def start(self) -> None:
        """Deliver what was left and what comes."""
        self._outbox.on_announced(self.wake)
        self._watch = asyncio.create_task(self._keep_watch(), name="outbox")

    def wake(self, app_id: str) -> None:
        """There is more to tell this app."""
        queue = self._queues.get(app_id)
        if queue is not None:
            queue.wake()
        elif not self._stopping:
            self._begin(app_id)

    async def stop(self, timeout_s: float) -> None:
        """End with the tries that are running, within the time given; all else stays pending."""
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
        for queue in self._queues.values():
            queue.end()
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *filter(None, [self._watch]), return_exceptions=True)

    def _begin(self, app_id: str) -> None:
        queue = AppQueue(
            app_id, outbox=self._outbox, connect=self._connect, messages=self._messages,
            clock=self._clock, outcomes=self.outcomes,
        )  # fmt: skip
        self._queues[app_id] = queue
        self._tasks[app_id] = task = asyncio.create_task(queue.run(), name=f"webhooks of {app_id}")
        task.add_done_callback(lambda done: self._ended(app_id, queue, done))

    def _ended(self, app_id: str, queue: AppQueue, task: asyncio.Task[None]) -> None:
        del self._queues[app_id], self._tasks[app_id]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:  # ours: the next look through the outbox begins another
            log.error("the webhooks of an app have stopped", app=app_id, exc_info=error)
        elif queue.look:  # woken while it ended
            self.wake(app_id)

    async def _keep_watch(self) -> None:
        tick = asyncio.Event()
        prune_at = self._clock.now()
        while True:
            try:
                await self._rescan()
                now = self._clock.now()
                if now >= prune_at:
                    while await self._outbox.prune_outbox(now):
                        pass
                    prune_at = now + PRUNE_INTERVAL
            except DependencyError as error:
                log.warning("the outbox cannot be read, trying again", error=str(error))
            tick.clear()
            self._clock.call_later(RESCAN_S, tick.set)
            await tick.wait()

    async def _rescan(self) -> None:
        backlog = await self._outbox.backlog()
        self.pending = sum(each.pending for each in backlog)
        now = self._clock.now()
        for each in backlog:
            if each.due_at <= now or each.app_id not in self._queues:
                self.wake(each.app_id)
