"""Listening to recordings while they are made.

    render thread   fold -> file; and what went into the file, as samples
    event loop      -> the queue of each listener -> whoever sends it

While someone listens, the recording is *followed*: folded as soon as its journal has the clock record that decides
something. None of that is in the journal, so the file is the same whether or not anyone listens.

A recording waits up to 45 ms for others, to be folded one after the other: a thread that is woken for each of them
finds its caches cold, which costs more than the fold. One that is encoded does not wait: it takes longer itself.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog

from wavstream.errors import LimitReached
from wavstream.journal.journal import Journal
from wavstream.listening.listener import QUEUE_BYTES, SLOW_S, Listener
from wavstream.model.options import FileFormat
from wavstream.recorder.file_snapshot import FileSnapshot, SharedFd
from wavstream.recorder.recorder import Recorder
from wavstream.recorder.recording import LiveRecording
from wavstream.recorder.render_job import RenderJob
from wavstream.recorder.render_thread import Priority
from wavstream.rendering.account import FileAccount
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.turns.fair_pool import FairPool
from wavstream.workers.shared_counts import SharedCounts
from wavstream.workers.tally import tally_of

log = structlog.get_logger(__name__)

ACCOUNT_WAIT_S = 2.0
"""For the turn in which it is made: a look at a recording must not wait long for the others."""
_CHECK_S = 1.0
_TICKS_TOGETHER = 3


class _Audience:
    """All who listen to one recording."""

    def __init__(self, recording: LiveRecording) -> None:
        assert recording.job is not None
        self.job: RenderJob = recording.job
        self.listeners: set[Listener] = set()

    def hear(self, chunk: bytes) -> None:
        for listener in self.listeners:
            listener.hear(chunk)


class Live:
    """Who listens to what. Lives on the event loop, but for what says otherwise."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        reads: FairPool,
        max_listeners: int,
        quotas: Quotas | None = None,
        queue_bytes: int = QUEUE_BYTES,
        slow_s: float = SLOW_S,
        shared: SharedCounts | None = None,
    ) -> None:
        """Bound each listener by ``queue_bytes`` and ``slow_s``, and their number by ``max_listeners``; ``reads``
        reads the files that grow, and bounds how many read a part of one."""
        self.cut_off = 0
        """Listeners that were cut off."""
        self._recorder = recorder
        self._render = recorder.render
        self._render.tell = self._tell
        self._loop = asyncio.get_running_loop()
        self._max_listeners = max_listeners
        self._reads = reads
        self._quotas = quotas or Quotas()
        self._counts = tally_of(shared, "live_listeners")
        self.queue_bytes = queue_bytes
        self.slow_s = slow_s
        self._audiences: dict[str, _Audience] = {}
        self._followed: dict[str, tuple[RenderJob, ...]] = {}
        """Jobs that somebody listens to, by the key of their journal. Replaced whole: the journal's thread reads it."""
        self._due: deque[RenderJob] = deque()
        self._encoded_due: deque[RenderJob] = deque()
        self._ticks = 0
        self._news: deque[Callable[[], None]] = deque()
        self._checking: asyncio.TimerHandle | None = None
        self._is_stopping = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._all())

    def listen(self, recording_id: str, *, key_id: str | None = None) -> Listener | None:
        """Return a listener, who has to ``leave`` again; None: the recording is not being made here.

        ``key_id``: the key that opened it, for ``end_without``. Raises LimitReached.
        """
        recording = self._recorder.get(recording_id)
        if self._is_stopping or recording is None or not recording.is_under_way:
            return None
        app_id = recording.row.app_id
        self._counts.take(app_id, functools.partial(self._check, app_id))
        audience = self._audiences.get(recording_id)
        if audience is None:
            audience = self._audiences[recording_id] = _Audience(recording)
            audience.job.is_followed = True
            recording.folded.add_done_callback(functools.partial(self._end, audience))
            self._follow()
        listener = Listener(
            recording,
            join=functools.partial(self._join, audience),
            on_left=functools.partial(self._left, audience),
            close=functools.partial(self._close, recording.row.app_id),
            reads=self._reads,
            queue_bytes=self.queue_bytes,
            slow_s=self.slow_s,
            key_id=key_id,
        )
        audience.listeners.add(listener)
        if self._checking is None:
            self._checking = self._loop.call_later(_CHECK_S, self._check_slow_listeners)
        return listener

    async def account(self, recording_id: str) -> FileAccount | None:
        """Return what there is to say of a recording that is being made here, so far; None: it is not."""
        recording = self._recorder.get(recording_id)
        if recording is None or recording.job is None or recording.finishing is not None:
            return None
        job = recording.job
        told: asyncio.Future[FileAccount] = self._loop.create_future()

        def look() -> None:
            account = job.account()
            self._loop.call_soon_threadsafe(_tell_once, told, account)

        self._render.run(look, Priority.DUE, app_id=job.app_id, job=job)
        with suppress(TimeoutError):
            async with asyncio.timeout(ACCOUNT_WAIT_S):
                return await told
        return None

    def end_without(self, is_good: Callable[[str | None], bool]) -> None:
        """End all who listen by a key that is not good any more."""
        for listener in self._all():
            if not is_good(listener.key_id):
                listener.cut_off()

    async def end(self, recording_id: str) -> None:
        """Cut off who still listens to a recording that is erased: it may have the file open."""
        audience = self._audiences.get(recording_id)
        for listener in [*audience.listeners] if audience is not None else []:
            listener.cut_off()

    def stop(self) -> None:
        """Make all listeners leave, since the server goes down."""
        self._is_stopping = True
        for listener in self._all():
            listener.leave()

    def written(self, journals: Iterable[Journal], now_us: int) -> None:
        """Note that these journals were written up to ``now_us``: jobs that this brings something are due.

        Called on the journal's thread.
        """
        followed = self._followed
        if followed:
            for journal in journals:
                for job in followed.get(journal.key, ()):
                    if now_us >= job.next_point_us:
                        (self._encoded_due if job.file_format is FileFormat.MP3 else self._due).append(job)

    def tick(self) -> None:
        """Fold what is due; called every 15 ms."""
        self._ticks += 1
        due = _taken(self._encoded_due)
        if self._ticks % _TICKS_TOGETHER == 0:
            due += _taken(self._due)
        if due:
            self._render.fold_all(due, Priority.DUE)

    # ---- within ------------------------------------------------------------------------------------------------

    def _check(self, app_id: str, of_app: int, total: int) -> None:
        """Raise LimitReached if beside so many nobody else may listen."""
        self._quotas.check(Quota.LIVE_LISTENERS, app_id, used=of_app, used_by_all=total)
        if total >= self._max_listeners:
            raise LimitReached("as many listen live as may: try again later", retry_after_s=5)

    def _follow(self) -> None:
        followed: dict[str, tuple[RenderJob, ...]] = {}
        for audience in self._audiences.values():
            key = audience.job.journal_key
            followed[key] = (*followed.get(key, ()), audience.job)
        self._followed = followed

    def _all(self) -> list[Listener]:
        return [listener for audience in self._audiences.values() for listener in audience.listeners]

    def _end(self, audience: _Audience, _: asyncio.Future[None]) -> None:
        """End all listening, since the recording is over."""
        self._take_news()
        for listener in audience.listeners:
            listener.end()

    def _left(self, audience: _Audience, listener: Listener) -> None:
        if listener in audience.listeners:
            audience.listeners.remove(listener)
            self._counts.remove(listener.recording.app_id)
        if not audience.listeners and self._audiences.get(listener.recording.id) is audience:
            del self._audiences[listener.recording.id]
            audience.job.is_followed = False
            self._follow()
            stop = functools.partial(audience.job.set_listener, None)
            self._render.run(stop, Priority.DUE, app_id=audience.job.app_id, job=audience.job)

    def _join(self, audience: _Audience, listener: Listener) -> None:
        look = functools.partial(self._look, audience, listener)
        self._render.run(look, Priority.DUE, app_id=audience.job.app_id, job=audience.job)

    def _close(self, app_id: str, file: SharedFd) -> None:
        """Close it on the render thread: the disk may make that wait."""
        self._render.run(file.close, Priority.URGENT, app_id=app_id)

    def _look(self, audience: _Audience, listener: Listener) -> None:
        """Take a snapshot of what there is so far, and hear what follows. Runs on the render thread."""
        snapshot: FileSnapshot | None = None
        try:
            snapshot = audience.job.snapshot()
        finally:
            if snapshot is not None:
                audience.job.set_listener(functools.partial(self._heard, audience))
            self._news.append(functools.partial(listener.joined, snapshot))
            self._tell()

    def _heard(self, audience: _Audience, chunk: bytes) -> None:
        self._news.append(functools.partial(audience.hear, chunk))
        self._render.tell_soon()

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self._take_news)

    def _take_news(self) -> None:
        """Apply the news of the render thread in its order: a listener that joins hears what follows, and only that."""
        while self._news:
            self._news.popleft()()

    def _check_slow_listeners(self) -> None:
        now_s = self._loop.time()
        for listener in self._all():
            if listener.is_slow(now_s):
                self.cut_off += 1
                log.warning("live_listener_cut_off", recording_id=listener.recording.id)
                listener.cut_off()
        self._checking = self._loop.call_later(_CHECK_S, self._check_slow_listeners) if self._audiences else None


def _taken(due: deque[RenderJob]) -> list[RenderJob]:
    """Take all that is in it; the journal's thread may be appending."""
    return [due.popleft() for _ in range(len(due))]


def _tell_once(told: asyncio.Future[FileAccount], account: FileAccount) -> None:
    if not told.done():
        told.set_result(account)
