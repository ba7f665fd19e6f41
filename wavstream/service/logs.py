"""Logging: structlog on standard error, for people or for machines; whoever says something, it is one event.

1. All lines take one way: structlog hands its events to the standard library's logging, whose one handler formats them,
   and what libraries log, by structlog's ``ProcessorFormatter``. So a line is a JSON object whatever it comes from.
2. What would be printed elsewhere is an event too: warnings, and exceptions that nobody caught, in the main thread, in
   another one, in a callback of the event loop, or where Python can raise none.
3. Lines that a peer can bring about once a call or once a request are summed up, as refusals are, whichever room writes
   them: who makes a million calls or requests of that kind writes a few lines.
4. Where the text of an error tells all there is (``WavstreamError.is_known``), the line has that text and no traceback,
   whichever room writes it: a disk that refuses is met in a hundred places, and none of them is wrong.
5. A thread writes the lines (``log_queue``): the event loop does not wait for whoever reads them.
6. Keys of files are in no line where the operator's template puts into them who called: what is erased would stay in
   the log. The line has the recording's id.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from wavstream.errors import WavstreamError
from wavstream.media.refusals import RefusalLog
from wavstream.service.log_queue import LogQueue
from wavstream.settings import LogSettings

LIBRARY_LINE = "library_line"
"""The event of what a library logs, from warnings on; ``logger`` says which, ``message`` what."""
_MANY = frozenset(("call_facts_left_out", "key_refused", "request_failed", "stream_events_left_out"))

log = structlog.get_logger(__name__)


class Summary:
    """A structlog processor and a filter of the standard library's logging that drop what is summed up.

    Threads log too, so it has a lock; the line that sums up comes from within.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = RefusalLog(clock)
        self._lock = threading.RLock()

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Return the event, or raise DropEvent."""
        if event["event"] in _MANY and not self._tells(event["event"]):
            raise structlog.DropEvent
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record of uvicorn is written, which has one for each request of some kinds."""
        return self._tells(str(record.msg).split("\n", 1)[0][:80])  # its own words: what they are about is in the args

    def end_period(self) -> None:
        """Write how many lines were not written, if the period is over; to be called now and then."""
        with self._lock:
            self._lines.end_period()

    def _tells(self, kind: str) -> bool:
        with self._lock:
            return self._lines.tells(kind)


def tell_known(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Return the event of an error that tells all by itself with its text, in place of its traceback (rule 4)."""
    given = event.get("exc_info")
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given is True else None
    if isinstance(error, WavstreamError) and error.is_known:
        del event["exc_info"]
        event.setdefault("error", str(error))
    return event


SUMMARY = Summary()
"""Of the process, as its logging is."""
_WORKER: dict[str, int] = {}
"""What is in each line of a worker. Not part of a configuration: a logger that the supervisor has used keeps that."""
_KEYS = ("object_key", "some")
"""Fields that have keys of files."""
_KEY_IN_TEXT = re.compile(r"[^\s'\"(]*/[^\s'\"(/]*[0-9a-f]{32}[^\s'\":,)]*")
"""A path, or an address, whose last part has an id of ours: what disks and stores say of a file begins so."""
_hidden: set[str] = set()


def configure(settings: LogSettings, *, worker: int | None = None) -> None:
    """Set up the logging of this process; libraries that use the standard one are logged from warnings on.

    ``worker``: its number, where the server is several processes; in each of its lines.
    """
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _of_worker,
        _without_hidden,
    ]
    _WORKER.clear()
    if worker is not None:
        _WORKER["worker"] = worker
    structlog.configure(
        processors=[SUMMARY, *common, tell_known, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    formatter = ProcessorFormatter(
        foreign_pre_chain=[*common, structlog.stdlib.add_logger_name, _of_library],
        processors=[ProcessorFormatter.remove_processors_meta, *_rendering(settings)],
    )
    handler, root = LogQueue(sys.stderr, formatter), logging.getLogger()
    for before in [each for each in root.handlers if isinstance(each, LogQueue)]:
        before.flush()
        root.removeHandler(before)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("wavstream").setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(SUMMARY)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _ended_thread


def hide_keys(*, hidden: bool) -> None:
    """Write null in the place of keys of files from now on, or the keys (rule 6)."""
    _hidden.clear()
    if hidden:
        _hidden.update(_KEYS)


def flush() -> None:
    """Wait, for two seconds at most, until what was logged is written; the thread then holds nothing."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def log_refusal(error: str) -> None:
    """Log why a command cannot be done, for machines that read the log and not what is printed."""
    log.error("command_refused", error=error)


def loop_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what the event loop tells of: a callback that failed, or a task whose exception nobody has asked for."""
    what = context.get("future") or context.get("task") or context.get("handle")
    log.error(
        "loop_exception",
        message=str(context.get("message", "")),
        what=None if what is None else repr(what),
        exc_info=context.get("exception"),
    )


def _rendering(settings: LogSettings) -> list[Processor]:
    if settings.format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The rich formatters print the values of locals, and keys are among them.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _of_worker(_logger: object, _method: str, event: EventDict) -> EventDict:
    event.update(_WORKER)
    return event


def _without_hidden(_logger: object, _method: str, event: EventDict) -> EventDict:
    if _hidden:
        event.update((each, None) for each in _hidden if each in event)
        if isinstance(error := event.get("error"), str):
            event["error"] = _KEY_IN_TEXT.sub("***", error)
    return event


def _of_library(_logger: object, _method: str, event: EventDict) -> EventDict:
    event["message"], event["event"] = event["event"], LIBRARY_LINE
    return event


def _uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    log.error("uncaught_exception", exc_info=(kind, error, traceback))


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    error = unraisable.exc_value
    log.error("unraisable_exception", message=unraisable.err_msg, what=repr(unraisable.object), exc_info=error)


def _ended_thread(ended: threading.ExceptHookArgs) -> None:
    name = None if ended.thread is None else ended.thread.name
    log.error("thread_exception", thread=name, exc_info=ended.exc_value)
