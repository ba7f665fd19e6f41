"""Listening to recordings while they are made.

    render thread   fold -> file; and what went into the file, as samples
    event loop      -> the queue of each listener -> whoever sends it

While someone listens, the recording is folded when the journal has the clock record that decides something. None of
that is in the journal, so the file is the same whether or not anyone listens.

A recording waits up to 45 ms for others, to be folded one after the other: a thread that is woken for each of them
finds its caches cold, which costs more than the fold. One that is encoded does not wait: it takes longer itself.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from wavstream.errors import LimitReached
from wavstream.journal.journal import Journal
from wavstream.listening.listener import Listener
from wavstream.model.options import FileFormat
from wavstream.recorder.folding import Folding
from wavstream.recorder.render_job import RenderJob
from wavstream.recorder.render_thread import Priority

log = structlog.get_logger()

_WATCH_S = 1.0
_BEATS_TOGETHER = 3


class _Audience:
    """All who listen to one recording."""

    def __init__(self, rendering: RenderJob) -> None:
        self.rendering = rendering
        self.listeners: set[Listener] = set()

    def hear(self, chunk: bytes) -> None:
        for listener in self.listeners:
            listener.hear(chunk)


class Live:
    """Who listens to what. Lives on the event loop, but for what says otherwise."""

    def __init__(self, folding: Folding, loop: asyncio.AbstractEventLoop, *, max_listeners: int) -> None:
        self.cut_off = 0
        """Listeners that were cut off."""
        self._folding = folding
        self._loop = loop
        self._max_listeners = max_listeners
        self._audiences: dict[str, _Audience] = {}
        self._followed: dict[str, tuple[RenderJob, ...]] = {}
        self._due: deque[RenderJob] = deque()
        self._encoded_due: deque[RenderJob] = deque()
        self._beats = 0
        self._news: deque[Callable[[], None]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._is_stopping = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._all())

    def listen(self, rendering: RenderJob) -> Listener | None:
        """A listener of a recording that runs, who has to ``leave``; None: the server is going down.

        Raises LimitReached.
        """
        if self._is_stopping:
            return None
        if self.listeners >= self._max_listeners:
            raise LimitReached("as many listen live as may: try again later", retry_after_s=5)
        audience = self._audiences.get(rendering.recording.id)
        if audience is None:
            audience = self._audiences[rendering.recording.id] = _Audience(rendering)
            self._follow()
        listener = Listener(rendering, join=functools.partial(self._join, audience), left=self._left)
        audience.listeners.add(listener)
        if self._watch is None:
            self._watch = self._loop.call_later(_WATCH_S, self._check_slow_listeners)
        return listener

    def end(self, recording_id: str) -> None:
        """The recording is over: what has been heard of it is all."""
        self._take_news()
        audience = self._audiences.get(recording_id)
        for listener in audience.listeners if audience is not None else ():
            listener.end()

    def stop(self) -> None:
        """The server goes down: all leave."""
        self._is_stopping = True
        for listener in self._all():
            listener.leave()

    def follows(self, rendering: RenderJob) -> bool:
        """Whether it is folded here: someone listens."""
        return rendering.recording.id in self._audiences

    def written(self, journals: Iterable[Journal], now_us: int) -> None:
        """These journals were written up to ``now_us``: those that are listened to are due, if that brings something.

        Called on the journal's thread.
        """
        followed = self._followed
        if followed:
            for journal in journals:
                for rendering in followed.get(journal.key, ()):
                    if now_us >= rendering.next_point_us:
                        is_encoded = rendering.recording.options.format is FileFormat.MP3
                        (self._encoded_due if is_encoded else self._due).append(rendering)

    def beat(self) -> None:
        """Fold what is due; called every 15 ms."""
        self._beats += 1
        due = _taken(self._encoded_due)
        if self._beats % _BEATS_TOGETHER == 0:
            due += _taken(self._due)
        if due:
            self._folding.advance_all(due, Priority.DUE)
            self._folding.do(self._tell)

    # ---- within ------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        followed: dict[str, tuple[RenderJob, ...]] = {}
        for audience in self._audiences.values():
            key = audience.rendering.journal_key
            followed[key] = (*followed.get(key, ()), audience.rendering)
        self._followed = followed

    def _all(self) -> list[Listener]:
        return [listener for audience in self._audiences.values() for listener in audience.listeners]

    def _left(self, listener: Listener) -> None:
        audience = self._audiences.get(listener.recording.id)
        if audience is None or listener not in audience.listeners:
            return
        audience.listeners.remove(listener)
        if not audience.listeners:
            del self._audiences[listener.recording.id]
            self._follow()
            self._folding.do(functools.partial(audience.rendering.let_hear, None))

    def _join(self, audience: _Audience, listener: Listener) -> None:
        self._folding.do(functools.partial(self._look, audience, listener))

    def _look(self, audience: _Audience, listener: Listener) -> None:
        """On the render thread: see what there is so far, and hear what follows."""
        so_far = None
        try:
            so_far = audience.rendering.so_far()
        finally:
            if so_far is not None:
                audience.rendering.let_hear(functools.partial(self._heard, audience))
            self._news.append(functools.partial(listener.joined, so_far))
            self._tell()

    def _heard(self, audience: _Audience, chunk: bytes) -> None:
        self._news.append(functools.partial(audience.hear, chunk))

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self._take_news)

    def _take_news(self) -> None:
        """What the render thread has to say, in its order: who joins hears what follows, and only that."""
        while self._news:
            self._news.popleft()()

    def _check_slow_listeners(self) -> None:
        now_s = self._loop.time()
        for listener in self._all():
            if listener.is_slow(now_s):
                self.cut_off += 1
                log.warning("a live listener was cut off: it did not keep up", recording=listener.recording.id)
                listener.cut_off()
        self._watch = self._loop.call_later(_WATCH_S, self._check_slow_listeners) if self._audiences else None


def _taken(due: deque[RenderJob]) -> list[RenderJob]:
    """All that is in it; the journal's thread may be appending."""
    return [due.popleft() for _ in range(len(due))]
