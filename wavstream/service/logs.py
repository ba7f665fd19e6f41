"""Logging: structlog on standard error, for people or for machines.

Lines that a peer can bring about once a call or once a request are summed up, as refusals are, whichever room writes
them: who makes a million calls or requests of that kind writes a few lines.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable

import structlog

from wavstream.media.refusals import RefusalLog
from wavstream.settings import LogSettings

_MANY = frozenset(("call_facts_left_out", "request_failed", "stream_events_left_out"))
_OF_UVICORN = "Exception in ASGI application"
"""How a traceback of uvicorn begins, behind an answer of 500."""


class Summary:
    """A structlog processor and a filter of the standard library's logging that drop what is summed up.

    Threads log too, so it has a lock; the line that sums up comes from within.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = RefusalLog(clock)
        self._lock = threading.RLock()

    def __call__(self, _logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Return the event, or raise DropEvent."""
        if event["event"] in _MANY and not self._tells(event["event"]):
            raise structlog.DropEvent
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        return not str(record.msg).startswith(_OF_UVICORN) or self._tells("exception_in_application")

    def end_period(self) -> None:
        """Write how many lines were not written, if the period is over; to be called now and then."""
        with self._lock:
            self._lines.end_period()

    def _tells(self, kind: str) -> bool:
        with self._lock:
            return self._lines.tells(kind)


SUMMARY = Summary()
"""Of the process, as its logging is."""


def configure(settings: LogSettings) -> None:
    """Set up the logging of this process; libraries that use the standard one are logged from warnings on."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The rich formatters print the values of locals, and keys are among them.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[
            SUMMARY,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if settings.format == "json" else _unchanged,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("uvicorn.error").addFilter(SUMMARY)
    logging.basicConfig(
        stream=sys.stderr, level=max(level, logging.WARNING), format="%(levelname)s %(name)s %(message)s"
    )


def _unchanged(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event
