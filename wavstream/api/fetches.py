"""Who was given which file: one line of the log for each run of requests for it.

A player asks for a file in ranges, dozens of them, and comes back for more when its user jumps. So the requests for one
file of a recording are told together, when none has come for ``QUIET_S``; one that goes on and on is told every
``LONGEST_S``, and when there are too many at once, the one that began first is told early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from wavstream.model.recording import Recording

QUIET_S = 10.0
LONGEST_S = 600.0
MOST = 1_000
"""Runs at once: more files than are sent at once (``limits.downloads``)."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Run:
    """The requests for one file, so far."""

    recording: Recording
    file_format: str
    began: float
    """By the loop's clock, in seconds, as the next."""
    last: float
    open: int = 0
    requests: int = 0
    sent_bytes: int = 0


class Fetches:
    """The runs of requests that are not told yet. Lives on the event loop."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._runs: dict[tuple[str, str], _Run] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def fetching(self, recording: Recording, file_format: str) -> Iterator[Callable[[int], None]]:
        """Count the body as a request for the file in this format; yield what is to be told of bytes that were sent."""
        loop = asyncio.get_running_loop()
        key = (recording.id, file_format)
        run = self._runs.get(key)
        if run is None:
            over = (each for each, run in self._runs.items() if not run.open)
            if len(self._runs) >= MOST and (oldest := next(over, None)):
                self._tell(oldest)
            run = self._runs[key] = _Run(recording, file_format, began=loop.time(), last=loop.time())
        run.open += 1
        run.requests += 1

        def sent(length_bytes: int) -> None:
            run.sent_bytes += length_bytes

        try:
            yield sent
        finally:
            run.open -= 1
            run.last = loop.time()
            if self._timer is None:
                self._timer = loop.call_later(self._quiet_s, self._look)

    def end(self) -> None:
        """Tell all that is not told: the server stops."""
        if self._timer is not None:
            self._timer.cancel()
        for key in list(self._runs):
            self._tell(key)

    def _look(self) -> None:
        """Tell the runs that are over."""
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        for key, run in list(self._runs.items()):
            if (not run.open and now - run.last >= self._quiet_s) or now - run.began >= LONGEST_S:
                self._tell(key)
        if self._runs:
            self._timer = loop.call_later(self._quiet_s / 2, self._look)

    def _tell(self, key: tuple[str, str]) -> None:
        run = self._runs[key]
        log.info(
            "recording_fetched",
            recording_id=run.recording.id,
            session_id=run.recording.session_id,
            app_id=run.recording.app_id,
            format=run.file_format,
            requests=run.requests,
            sent_bytes=run.sent_bytes,
        )
        if run.open:
            run.began, run.requests, run.sent_bytes = asyncio.get_running_loop().time(), 0, 0
        else:
            del self._runs[key]
