"""The folds of all recordings, as jobs of the render thread.

A fold that goes wrong is left as it is: what the disk refuses is tried again with the next job, and an error of ours
is kept on the rendering for whoever ends the recording.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

import structlog

from wavstream.errors import InternalError
from wavstream.journal.events import RecordingStopped
from wavstream.model.recording import Recording
from wavstream.recorder.render_job import RenderJob
from wavstream.recorder.render_thread import Priority, RenderThread

log = structlog.get_logger()

AutomaticEnd = Callable[[Recording, RecordingStopped], None]
"""Told on the event loop that a recording that still runs has come to its end by itself."""


class Folding:
    """Advances renderings; its methods are called on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, automatic_end: AutomaticEnd, retry_s: float) -> None:
        self._loop = loop
        self._found_end = automatic_end
        self._retry_s = retry_s
        self._stopping = False
        self._thread = RenderThread()

    def advance(self, rendering: RenderJob, lane: Priority) -> None:
        """Fold what the journal has; from any thread."""
        self._thread.submit(functools.partial(self._advance, rendering), lane)

    def fold_to_end(self, rendering: RenderJob) -> asyncio.Future[None]:
        """Fold up to the stop record, which is in the journal; raises what broke the fold."""
        drained: asyncio.Future[None] = self._loop.create_future()
        self._thread.submit(functools.partial(self._fold_to_end, rendering, drained), Priority.URGENT)
        return drained

    def advance_all(self, renderings: Sequence[RenderJob], lane: Priority) -> None:
        """Fold what the journals of all these have, in one job; from any thread."""
        self._thread.submit(functools.partial(self._advance_all, renderings), lane)

    def do(self, job: Callable[[], None]) -> None:
        """Run a small job between the folds of live calls; from any thread."""
        self._thread.submit(job, Priority.DUE)

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return self._thread.waiting

    async def stop(self) -> None:
        """Run what is urgent, drop the rest, and end the thread."""
        self._stopping = True
        await asyncio.to_thread(self._thread.stop)

    # ---- on the render thread --------------------------------------------------------------------------------------

    def _advance_all(self, renderings: Sequence[RenderJob]) -> None:
        for rendering in renderings:
            self._advance(rendering)

    def _advance(self, rendering: RenderJob) -> None:
        if rendering.broken is None and self._step(rendering):
            self._thread.submit(functools.partial(self._advance, rendering), Priority.BACKLOG)
        found = rendering.take_automatic_end()
        if found is not None:
            self._loop.call_soon_threadsafe(self._found_end, rendering.recording, found)

    def _fold_to_end(self, rendering: RenderJob, drained: asyncio.Future[None]) -> None:
        again = functools.partial(self._fold_to_end, rendering, drained)
        more = rendering.broken is None and self._step(rendering)
        if rendering.broken is not None:
            self.settle(drained, rendering.broken)
        elif rendering.complete:
            self.settle(drained)
        elif self._stopping:
            return  # whoever waits is cancelled, and the journal has it
        elif more:
            self._thread.submit(again, Priority.URGENT)
        elif rendering.stuck is not None:
            later = functools.partial(self._loop.call_later, self._retry_s, self._thread.submit, again, Priority.URGENT)
            self._loop.call_soon_threadsafe(later)
        else:
            self.settle(drained, InternalError("the journal has no stop record where one was written"))

    def _step(self, rendering: RenderJob) -> bool:
        """Fold one slice; True when there is more. What goes wrong is noted on the rendering."""
        try:
            more = rendering.advance()
        except OSError as error:
            if rendering.stuck is None:
                log.warning(
                    "the spool cannot be written, trying again", recording=rendering.recording.id, error=str(error)
                )
            rendering.stuck = error
            return False
        except Exception as error:  # noqa: BLE001 - who ends it logs it; a fold that failed half-way must not go on
            rendering.broken = error
            return False
        rendering.stuck = None
        for remark in rendering.take_remarks():
            log.warning(remark, recording=rendering.recording.id, session=rendering.recording.session_id)
        return more

    def settle(self, future: asyncio.Future[None], error: Exception | None = None) -> None:
        """Resolve a future of the event loop from another thread."""

        def settle() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self._loop.call_soon_threadsafe(settle)
