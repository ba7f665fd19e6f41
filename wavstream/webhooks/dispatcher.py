"""Delivers the outbox: a queue for each app that something waits for, so that no app waits for another's receiver.

A queue begins when a fact of its app is written, and at the start for all that was left. Every ``RESCAN_S`` the outbox
is asked for apps that something is due for: what another process wrote, or a write whose caller was cancelled, is
found then. What was delivered or given up long ago is deleted every ``PRUNE_INTERVAL``.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from wavstream.errors import DependencyError
from wavstream.webhooks.app_queue import AppQueue, Delivery, Outcomes

log = structlog.get_logger(__name__)

RESCAN_S = 10.0
PRUNE_INTERVAL = timedelta(hours=1)


class Dispatcher:
    """Delivers for as long as the server runs. Lives on the event loop."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._outbox = delivery.outbox
        self._clock = delivery.clock
        self._queues: dict[str, AppQueue] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._rescans: asyncio.Task[None] | None = None
        self._stopping = False
        self._prune_at = self._clock.now()
        self.outcomes = Outcomes()
        self.pending = 0
        """Announcements that waited when they were last counted, at most ``RESCAN_S`` ago."""

    def start(self) -> None:
        """Deliver what was left and what comes."""
        self._outbox.on_announced(self.wake)
        self._rescans = asyncio.create_task(self._rescan_forever(), name="outbox")

    def wake(self, app_id: str) -> None:
        """Look into the outbox for this app."""
        queue = self._queues.get(app_id)
        if queue is not None:
            queue.wake()
        elif not self._stopping:
            self._begin(app_id)

    async def forget(self, recording_id: str) -> None:
        """Begin no try to tell of a recording that is erased: the outbox has nothing of it any more."""
        for queue in self._queues.values():
            queue.forget(recording_id)

    def clock_jumped(self, by: timedelta) -> None:
        """Move moments: the clock was put forth, or back; ``look_again`` once the outbox is corrected for it."""
        self._prune_at += by
        for queue in self._queues.values():
            queue.clock_jumped(by)

    def look_again(self) -> None:
        """Let every queue look into the outbox: what is due when may have changed."""
        for queue in self._queues.values():
            queue.wake()

    async def stop(self, timeout_s: float) -> None:
        """End with the tries that are running, within the time given; all else stays pending."""
        self._stopping = True
        if self._rescans is not None:
            self._rescans.cancel()
        for queue in self._queues.values():
            queue.end()
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *filter(None, [self._rescans]), return_exceptions=True)

    def _begin(self, app_id: str) -> None:
        queue = AppQueue(app_id, self._delivery, self.outcomes)
        self._queues[app_id] = queue
        self._tasks[app_id] = task = asyncio.create_task(queue.run(), name=f"webhooks of {app_id}")
        task.add_done_callback(lambda done: self._queue_ended(app_id, queue, done))

    def _queue_ended(self, app_id: str, queue: AppQueue, task: asyncio.Task[None]) -> None:
        del self._queues[app_id], self._tasks[app_id]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:  # ours: the next look through the outbox begins another
            log.error("webhook_queue_failed", app_id=app_id, exc_info=error)
        elif queue.look:  # woken while it ended
            self.wake(app_id)

    async def _rescan_forever(self) -> None:
        tick = asyncio.Event()
        while True:
            try:
                await self._rescan()
                now = self._clock.now()
                if now >= self._prune_at:
                    while await self._outbox.prune(now):
                        pass
                    self._prune_at = now + PRUNE_INTERVAL
            except DependencyError as error:
                log.warning("webhook_outbox_scan_failed", error=str(error))
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
