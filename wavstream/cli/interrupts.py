"""SIGTERM and SIGHUP for a command that works for a while: they end it as Ctrl-C does.

So a load is taken back, an unfinished backup or download is removed, whoever ends the command: a person, a service
manager, or a terminal that is closed. ``serve`` has signals of its own (``service.signals``).

What comes a second time does not break the removal off; Ctrl-C does, and SIGKILL.
"""

from __future__ import annotations

import signal
from types import FrameType

from wavstream.service.signals import is_usual


class Interrupts:
    """The signals that end a command."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The one that did; None: none."""

    def catch(self) -> None:
        """Take the signals from now on, but for one that whoever started us has switched off (nohup)."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            if is_usual(number):
                signal.signal(number, self._end)

    @property
    def exit_code(self) -> int:
        """Of a command that was ended so, as a shell tells it."""
        return 128 + (self.number or signal.SIGINT)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            return
        self.number = number
        as_ctrl_c = signal.getsignal(signal.SIGINT)  # asyncio has one of its own while a loop runs
        if callable(as_ctrl_c):
            as_ctrl_c(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt
