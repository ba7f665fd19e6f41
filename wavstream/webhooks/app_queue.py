"""The deliveries of one app: in order within a session, sessions beside each other, 32 at a time.

What is to be told is in the outbox alone; here are only the tries that run and a batch of what comes next, so that it
does not matter how much waits. The outbox gives one announcement of each session, the first that is not told yet, and
a session that is being told is left out until the outcome is in the outbox. So a receiver never hears of a session's
fact before it has taken, or we have given up, the one before.

A try ends with its outcome in the outbox. Whatever ends the process before that leaves the row pending: the message is
sent again, with the same id.

The log has a line when an app's deliveries begin to fail and one when they work again, and none of what is tried in
between: both are about the first webhook that failed, so that one which is refused for good, among others that are
taken, does not write a line with each of its tries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import structlog

from wavstream.catalog.outbox import Due
from wavstream.errors import DependencyError, OperatorError
from wavstream.model.app import App
from wavstream.model.fact import Announcement
from wavstream.webhooks.backoff import next_try
from wavstream.webhooks.client import KEPT_S, DeliveryFailed
from wavstream.webhooks.message import MessageBuilder

log = structlog.get_logger()

MAX_CONCURRENT_DELIVERIES = 32
"""Messages on their way to one app at the same time, and so its connections."""
UNSETTLED = 2 * MAX_CONCURRENT_DELIVERIES
"""Tries of one app that are under way or whose outcome is on its way into the outbox, which takes as long again where
much is written: a receiver is not to wait for our disk."""
BATCH = 2 * UNSETTLED
"""Announcements that are read at once; all that is unsettled may be among them."""
APP_CACHE_TTL = timedelta(seconds=1)
"""How long the app's row is believed: a changed URL or secret is used that soon."""
RETRY_S = 1.0

T = TypeVar("T")


class Outbox(Protocol):
    """The catalog, as one app's deliveries need it; all of it raises DependencyError."""

    async def get_app(self, app_id: str) -> App | None:
        """The app, if there is one of that id."""

    async def due_announcements(self, app_id: str, now: datetime, limit: int) -> Due:
        """What the app can be told now, one announcement of each session."""

    async def note_delivered(self, done: Announcement, now: datetime) -> Announcement | None:
        """It has arrived; whose turn it is now in its session."""

    async def note_failed(self, failed: Announcement, why: str, next_at: datetime) -> None:
        """A try has failed; the next is at ``next_at``."""

    async def mark_dead(self, dead: Announcement, why: str, now: datetime) -> Announcement | None:
        """It is given up; whose turn it is now in its session."""


class Receiver(Protocol):
    """`Exchanges`, as deliveries need them."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Return when the receiver has taken the message; raises NotTaken."""


Connect = Callable[[], AbstractAsyncContextManager[Receiver]]


class Timer(Protocol):
    """Something that happens later."""

    def cancel(self) -> None:
        """It shall not happen."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, and being woken when it has come."""

    now: Callable[[], datetime]
    """Aware UTC."""
    call_later: Callable[[float, Callable[[], None]], Timer]
    """Seconds, and what to call."""


@dataclass(slots=True)
class Outcomes:
    """How tries ended so far."""

    delivered: int = 0
    failed: int = 0
    """Each try that failed, the last before a message was given up too."""
    dead: int = 0


class AppQueue:
    """Tells one app what there is to tell; `run` ends when there has been nothing for a while."""

    def __init__(
        self, app_id: str, *, outbox: Outbox, connect: Connect, messages: MessageBuilder, clock: Clock,
        outcomes: Outcomes,
    ) -> None:  # fmt: skip
        self._app_id = app_id
        self._outbox = outbox
        self._connect = connect
        self._messages = messages
        self._clock = clock
        self._outcomes = outcomes
        self._ready: deque[Announcement] = deque()
        self._running: dict[str, asyncio.Task[None]] = {}
        """Unsettled tries, by session."""
        self._sending = 0
        self._next_at: datetime | None = None
        self._idle_since: datetime | None = None
        self._app: App | None = None
        self._app_until: datetime | None = None
        self._failing: str | None = None
        """The webhook whose failure is in the log, until its turn is over."""
        self._woken = asyncio.Event()
        self._timer: Timer | None = None
        self._ending = False
        self.look = True
        """Whether the outbox may have more that is due."""

    def wake(self) -> None:
        """There may be more to tell."""
        self.look = True
        self._woken.set()

    def end(self) -> None:
        """Begin no more tries; `run` ends with those that are running."""
        self._ending = True
        self._woken.set()

    async def run(self) -> None:
        """Tell what is due when it is due; cancelled, it leaves the tries that are running to the next start."""
        async with self._connect() as receiver:
            try:
                while not self._is_over():
                    self._woken.clear()
                    await self._begin_tries(receiver)
                    self._set_timer()
                    await self._woken.wait()
            finally:
                self._cancel_timer()
                for task in self._running.values():
                    task.cancel()
                await asyncio.gather(*self._running.values(), return_exceptions=True)

    # ---- what to do next ---------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._ending:
            return not self._running
        if self._running or self._ready or self.look or self._next_at is not None:
            self._idle_since = None
            return False
        now = self._clock.now()
        self._idle_since = self._idle_since or now
        # As long as its connections are kept.
        return now >= self._idle_since + timedelta(seconds=KEPT_S)

    async def _begin_tries(self, receiver: Receiver) -> None:
        try:
            while not self._ending and self._sending < MAX_CONCURRENT_DELIVERIES and len(self._running) < UNSETTLED:
                if not self._ready:
                    if not self.look:
                        return
                    await self._read_outbox()
                    continue
                await self._read_app()
                announcement = self._ready.popleft()
                task = asyncio.create_task(self._deliver(receiver, self._app, announcement))
                self._running[announcement.fact.session_id] = task
                self._sending += 1
        except DependencyError as error:
            log.warning("the outbox cannot be read, trying again", app=self._app_id, error=str(error))
            self.look = False
            self._wait_until(self._clock.now() + timedelta(seconds=RETRY_S))

    async def _read_outbox(self) -> None:
        self.look = False
        self._next_at = None
        # What these have by the time of the answer is not known to the answer.
        busy = set(self._running)
        due = await self._outbox.due_announcements(self._app_id, self._clock.now(), BATCH)
        self._ready.extend(each for each in due.announcements if each.fact.session_id not in busy)
        self._wait_until(due.next_at)
        if len(due.announcements) == BATCH:
            self.look = True

    async def _read_app(self) -> None:
        now = self._clock.now()
        # Without a URL a message is given up at once, also one that is replayed right after the URL was put back.
        has_url = self._app is not None and self._app.webhook is not None
        if not has_url or self._app_until is None or now >= self._app_until:
            self._app = await self._outbox.get_app(self._app_id)
            self._app_until = now + APP_CACHE_TTL

    def _wait_until(self, moment: datetime | None) -> None:
        known = [each for each in (self._next_at, moment) if each is not None]
        self._next_at = min(known, default=None)

    def _set_timer(self) -> None:
        self._cancel_timer()
        if self.look:  # as soon as a try has ended: then this is run again
            return
        if self._next_at is not None:
            wait_s = (self._next_at - self._clock.now()).total_seconds()
            self._timer = self._clock.call_later(max(wait_s, 0.0), self.wake)
        elif not self._running:
            self._timer = self._clock.call_later(KEPT_S, self._woken.set)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- one try -----------------------------------------------------------------------------------------------

    async def _deliver(self, receiver: Receiver, app: App | None, announcement: Announcement) -> None:
        try:
            try:
                why = await self._send(receiver, app, announcement)
                after = await self._note(announcement, why, gone=app is None or app.webhook is None)
            finally:
                del self._running[announcement.fact.session_id]
                self._woken.set()
            if after is not None:
                self._ready.append(after)
        except Exception:  # ours: the row stays as it is, and is tried when the outbox is looked through again
            log.exception("a webhook could not be handled", app=self._app_id, webhook=announcement.fact.id)

    async def _send(self, receiver: Receiver, app: App | None, announcement: Announcement) -> str | None:
        """None: it was taken; else why not."""
        try:
            message = None if app is None else self._messages.make(app, announcement, self._clock.now())
            if message is None:
                return "the app has no webhook URL"
            await receiver.post(message.url, message.headers, message.body)
        except (DeliveryFailed, OperatorError) as error:
            return str(error)
        except Exception as error:
            log.exception("a webhook could not be made", app=self._app_id, webhook=announcement.fact.id)
            return f"it could not be made: {error}"
        finally:
            self._sending -= 1
            self._woken.set()
        return None

    async def _note(self, announcement: Announcement, why: str | None, *, gone: bool) -> Announcement | None:
        now = self._clock.now()
        if why is None:
            self._outcomes.delivered += 1
            if self._end_failing(announcement):
                log.info("webhooks of an app arrive again", app=self._app_id, webhook=announcement.fact.id)
            return await self._retry_forever(lambda: self._outbox.note_delivered(announcement, now))
        then = None if gone else next_try(announcement.attempts + 1, begun_at=announcement.begun_at, now=now)
        self._outcomes.failed += 1
        if then is None:
            self._outcomes.dead += 1
            self._end_failing(announcement)
            log.warning("a webhook is given up", app=self._app_id, webhook=announcement.fact.id, error=why)
            return await self._retry_forever(lambda: self._outbox.mark_dead(announcement, why, now))
        if self._failing is None:
            self._failing = announcement.fact.id
            log.warning("webhooks of an app fail, trying again", app=self._app_id, webhook=self._failing, error=why)
        await self._retry_forever(lambda: self._outbox.note_failed(announcement, why, then))
        self._wait_until(then)
        return None

    def _end_failing(self, announcement: Announcement) -> bool:
        """It is not tried again; whether it was its failure that is in the log."""
        if self._failing != announcement.fact.id:
            return False
        self._failing = None
        return True

    async def _retry_forever(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write until it works: what is not written down is sent again."""
        while True:
            try:
                return await write()
            except DependencyError as error:
                log.warning("the outbox cannot be written, trying again", app=self._app_id, error=str(error))
                await asyncio.sleep(RETRY_S)
