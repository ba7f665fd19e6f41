"""The deliveries of one app: in order within a line (``Fact.line``), lines beside each other, 32 at a time.

1. What is to be told is in the outbox alone. Here are only the tries that run and a batch of what comes next, so it
   does not matter how much waits.
2. The outbox gives one announcement of each line, the first that is not told yet, and a line that is being told is
   left out until the outcome is in the outbox. So a receiver never hears of a line's fact before it has taken, or we
   have given up, the one before.
3. A try ends with its outcome in the outbox. Whatever ends the process before that leaves the row pending: the message
   is sent again, with the same id.
4. The log has a line when an app's deliveries begin to fail and one when they work again, and none of what is tried in
   between. Both are about the first webhook that failed, so that one which is refused for good, among others that are
   taken, does not write a line with each of its tries.
5. A delivery that failed is tried again when its vendor's ``Retries`` say. No part of it is random: the tries of
   different sessions are as far apart as their facts were.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog

from wavstream.catalog.apps import Apps
from wavstream.catalog.database import retry_forever
from wavstream.catalog.outbox import Outbox
from wavstream.errors import DependencyError, OperatorError
from wavstream.metrics import Histogram
from wavstream.model.app import App
from wavstream.model.fact import Announcement
from wavstream.webhooks.client import KEEPALIVE_S, DeliveryFailed, WebhookClient
from wavstream.webhooks.message import MessageBuilder

log = structlog.get_logger(__name__)

MAX_CONCURRENT_DELIVERIES = 32
"""Messages on their way to one app at the same time, and so its connections."""
MAX_UNSETTLED = 2 * MAX_CONCURRENT_DELIVERIES
"""Tries of one app that are under way or whose outcome is on its way into the outbox, which takes as long again where
much is written: a receiver is not to wait for our disk."""
BATCH = 2 * MAX_UNSETTLED
"""Announcements that are read at once; all that is unsettled may be among them."""
APP_CACHE_TTL = timedelta(seconds=1)
"""How long the app's row is believed: a changed URL or secret is used that soon."""

DELIVERY_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
"""Of the histogram of deliveries: a second try comes after seconds, the last after a day."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, and being woken when it has come."""

    now: Callable[[], datetime]
    """Aware UTC."""
    call_later: Callable[[float, Callable[[], None]], Callable[[], None]]
    """Seconds, and what to call; returns what cancels it."""


def _machine_now() -> datetime:
    return datetime.now(UTC)


def system_clock(now: Callable[[], datetime] = _machine_now) -> Clock:
    """Return the clock that facts are stamped with (the machine's), with the timers of the running loop."""
    loop = asyncio.get_running_loop()
    return Clock(now=now, call_later=lambda delay_s, call: loop.call_later(delay_s, call).cancel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the server's webhooks are delivered: the same for all apps."""

    outbox: Outbox
    apps: Apps
    connect: Callable[[], WebhookClient]
    """Opens connections of their own for one app, whose queue closes them."""
    messages: MessageBuilder
    clock: Clock = field(default_factory=system_clock)
    retry_s: float = 1.0
    """Seconds until an outbox that failed is asked again."""


@dataclass(slots=True)
class Outcomes:
    """How tries ended so far."""

    delivered: int = 0
    failed: int = 0
    """Each try that failed, the last before a message was given up too."""
    dead: int = 0
    times: Histogram = field(default_factory=lambda: Histogram(DELIVERY_BOUNDS_S), compare=False)
    """Seconds from a fact, or the wish for its replay, until its receiver has taken it."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How one try ended."""

    url: str
    why: str | None
    """Why the receiver did not take the message; None: it did."""
    is_final: bool = False
    """Whether another try could not end otherwise."""


class AppQueue:
    """Tells one app what there is to tell; `run` ends when there has been nothing for a while."""

    def __init__(self, app_id: str, delivery: Delivery, outcomes: Outcomes) -> None:
        self._app_id = app_id
        self._outbox = delivery.outbox
        self._apps = delivery.apps
        self._connect = delivery.connect
        self._messages = delivery.messages
        self._clock = delivery.clock
        self._retry_s = delivery.retry_s
        self._outcomes = outcomes
        self._ready: deque[Announcement] = deque()
        self._running: dict[str, asyncio.Task[None]] = {}
        """Unsettled tries, by line."""
        self._sending = 0
        self._next_at: datetime | None = None
        self._idle_since: datetime | None = None
        self._app: App | None = None
        self._app_until: datetime | None = None
        self._failing: str | None = None
        """The webhook whose failure is in the log, until its turn is over."""
        self._woken = asyncio.Event()
        self._take_back: Callable[[], None] | None = None
        self._ending = False
        self._jumped = timedelta(0)
        """By how much the clock was put forth, in all."""
        self.look = True
        """Whether the outbox may have more that is due."""

    def wake(self) -> None:
        """Look into the outbox: there may be more to tell."""
        self.look = True
        self._woken.set()

    def forget(self, recording_id: str) -> None:
        """Begin no try to tell of this recording any more; one that is under way is not broken off."""
        kept = [each for each in self._ready if each.fact.recording_id != recording_id]
        if len(kept) < len(self._ready):
            self._ready = deque(kept)
            self.wake()

    def clock_jumped(self, by: timedelta) -> None:
        """Forget what goes by the clock as it was set before; the outbox tells it anew."""
        self._jumped += by
        self._ready.clear()
        self._next_at = self._idle_since = self._app_until = None
        self.look = True

    def end(self) -> None:
        """Begin no more tries; `run` ends with those that are running."""
        self._ending = True
        self._woken.set()

    async def run(self) -> None:
        """Tell what is due when it is due; cancelled, leave the tries that are running to the next start."""
        async with self._connect() as client:
            try:
                while not self._is_over():
                    self._woken.clear()
                    await self._begin_tries(client)
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
        return now >= self._idle_since + timedelta(seconds=KEEPALIVE_S)

    async def _begin_tries(self, client: WebhookClient) -> None:
        try:
            while not self._ending and self._sending < MAX_CONCURRENT_DELIVERIES and len(self._running) < MAX_UNSETTLED:
                if not self._ready:
                    if not self.look:
                        return
                    await self._read_outbox()
                    continue
                await self._read_app()
                announcement = self._ready.popleft()
                task = asyncio.create_task(self._deliver(client, self._app, announcement))
                self._running[announcement.fact.line] = task
                self._sending += 1
        except DependencyError as error:
            log.warning("webhook_outbox_read_failed", app_id=self._app_id, error=str(error))
            self.look = False
            self._wait_until(self._clock.now() + timedelta(seconds=self._retry_s))

    async def _read_outbox(self) -> None:
        self.look = False
        self._next_at = None
        # rule 2: what these lines have by the time of the answer is not known to the answer.
        busy = set(self._running)
        due = await self._outbox.due(self._app_id, self._clock.now(), BATCH)  # rule 1
        self._ready.extend(each for each in due.announcements if each.fact.line not in busy)
        self._wait_until(due.next_at)
        if len(due.announcements) == BATCH:
            self.look = True

    async def _read_app(self) -> None:
        now = self._clock.now()
        # Without a URL a message is given up at once, also one that is replayed right after the URL was put back.
        has_url = self._app is not None and self._app.webhook is not None
        if not has_url or self._app_until is None or now >= self._app_until:
            self._app = await self._apps.get(self._app_id)
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
            self._take_back = self._clock.call_later(max(wait_s, 0.0), self.wake)
        elif not self._running:
            self._take_back = self._clock.call_later(KEEPALIVE_S, self._woken.set)

    def _cancel_timer(self) -> None:
        if self._take_back is not None:
            self._take_back()
            self._take_back = None

    # ---- one try -----------------------------------------------------------------------------------------------

    async def _deliver(self, client: WebhookClient, app: App | None, announcement: Announcement) -> None:
        before = self._jumped
        try:
            try:
                outcome = await self._try(client, app, announcement)
                begun_at = announcement.begun_at + self._jumped - before
                after = await self._note(replace(announcement, begun_at=begun_at), outcome, app)
            finally:
                del self._running[announcement.fact.line]
                self._woken.set()
            if after is not None:
                self._ready.append(after)
        except Exception:  # ours: the row stays as it is, and is tried when the outbox is looked through again
            log.exception("webhook_handling_failed", app_id=self._app_id, webhook_id=announcement.fact.id)

    async def _try(self, client: WebhookClient, app: App | None, announcement: Announcement) -> _Outcome:
        url = ""
        try:
            message = self._messages.make(app, announcement, self._clock.now())
            if message is None:
                return _Outcome(url, "the app has no webhook URL", is_final=True)
            url = message.url
            await client.post(url, message.headers, message.body)
        except (DeliveryFailed, OperatorError) as error:
            return _Outcome(url, str(error))
        except Exception as error:
            log.exception("webhook_render_failed", app_id=self._app_id, webhook_id=announcement.fact.id)
            return _Outcome(url, f"it could not be made: {error}")
        finally:
            self._sending -= 1
            self._woken.set()
        return _Outcome(url, None)

    async def _note(self, announcement: Announcement, outcome: _Outcome, app: App | None) -> Announcement | None:
        """Write the outcome into the outbox; return the next announcement of the line."""
        now, url, why = self._clock.now(), outcome.url, outcome.why
        webhook_id = announcement.fact.id
        if why is None:
            self._outcomes.delivered += 1
            self._outcomes.times.observe((now - announcement.begun_at).total_seconds())
            if self._end_failing(announcement):
                log.info("webhooks_recovered", app_id=self._app_id, webhook_id=webhook_id)
            return await self._write(lambda: self._outbox.mark_delivered(announcement, now, url=url))
        then = None
        if not outcome.is_final:
            words = self._messages.vocabularies.of(announcement.fact, app.webhook if app is not None else None)
            retries = words.retries
            then = retries.next_at(announcement.attempts + 1, begun_at=announcement.begun_at, now=now)  # rule 5
        self._outcomes.failed += 1
        if then is None:
            self._outcomes.dead += 1
            self._end_failing(announcement)
            log.warning("webhook_given_up", app_id=self._app_id, webhook_id=webhook_id, error=why)
            return await self._write(lambda: self._outbox.mark_dead(announcement, why, now, url=url))
        if self._failing is None:  # rule 4
            self._failing = webhook_id
            log.warning("webhooks_failing", app_id=self._app_id, webhook_id=webhook_id, error=why)
        await self._write(lambda: self._outbox.mark_failed(announcement, why, then, now=now, url=url))
        self._wait_until(then)
        return None

    def _end_failing(self, announcement: Announcement) -> bool:
        """End the state of failing if this announcement began it; return whether it did."""
        if self._failing != announcement.fact.id:
            return False
        self._failing = None
        return True

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        # rule 3: what is not written down is sent again.
        return await retry_forever(write, on_first_failure=self._log_write_failure, delay_s=self._retry_s)

    def _log_write_failure(self, error: Exception) -> None:
        log.warning("webhook_outcome_write_failed", app_id=self._app_id, error=str(error))
