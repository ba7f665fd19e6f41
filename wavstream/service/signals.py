"""SIGTERM and SIGINT, from the first moment of the process on.

1. The kernel drops signals to process 1 of a container that has no handler for them, SIGTERM first of all. So a handler
   is there before anything is imported that takes long; this module imports nothing of the kind. For SIGINT too, whose
   handler of Python's would print where the import was.
2. Handlers of Python run between two steps of the main thread, also while a step of the start keeps the event loop, and
   where a system call waits: it is interrupted.
3. Before the server starts nothing is open, so the process ends at once.
4. A start is cancelled, and what it has opened is closed. What cannot be cancelled, such as a migration on its thread,
   has a few seconds; then the process ends all the same, which a catalog and a journal are made for.
5. A server that serves stops in good order (``server``); what comes while it does is its own affair.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

NUMBERS = (signal.SIGTERM, signal.SIGINT)


def end_quietly() -> None:
    """Have a signal end this process, as it ends any other, also where it is process 1 (rule 1)."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def interrupt_on_sigint() -> None:
    """Have SIGINT raise KeyboardInterrupt after all: a command has begun that may have something to say to it."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_usual(number: int) -> bool:
    """Return whether this signal ends the process as it ends any other."""
    return signal.getsignal(number) in (signal.SIG_DFL, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # process 1 is still there; a shell tells the same of who was ended by a signal


class StopSignals:
    """The signals that stop a server: whoever has work to end says how, one after the other."""

    def __init__(self, *, start_timeout_s: float) -> None:
        """``start_timeout_s``: how long a start that was cancelled may take to end (rule 4)."""
        self.asked: int | None = None
        """The signal that came last."""
        self._timeout_s = start_timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._take: Callable[[int], None] | None = None
        self._watchdog: threading.Timer | None = None
        self._is_starting = True

    def catch(self) -> None:
        """Take the signals of this process from now on; called on the main thread."""
        for number in NUMBERS:
            signal.signal(number, self._note)

    def cancel(self, start: asyncio.Task[None]) -> None:
        """Have a signal cancel this task, the start of the server; called on its loop."""

        def end(_number: int) -> None:
            start.cancel()

        self._hand_to(end)

    def stop(self, take: Callable[[int], None]) -> None:
        """Have signals given to this function from now on, on the loop: the server is there, and ends in good order."""
        self._is_starting = False
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._hand_to(take)

    def _hand_to(self, take: Callable[[int], None]) -> None:
        self._loop, self._take = asyncio.get_running_loop(), take
        if self.asked is not None:
            take(self.asked)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.asked = number
        if self._loop is None or self._take is None:
            os._exit(0)  # rule 3
        if self._is_starting and self._watchdog is None:
            self._watchdog = threading.Timer(self._timeout_s, os._exit, (0,))
            self._watchdog.daemon = True
            self._watchdog.start()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, number)
