"""When the kernel wakes us for a socket: with the first byte that comes, or not as long as a visit reads it.

A wake-up and a read cost ten times what a frame in it does. So the socket of a steady stream is read by the ticker,
with each visit of its session (every 154 ms), and the kernel wakes nobody for it: it has a low-water mark
(``SO_RCVLOWAT``) of what comes in two visits. Rules:

1. The mark is learnt from what came between two looks, which are a second apart: if the size of messages, and how many
   come in how much time, were the same as in the look before. Who sends faster than it did, or whom a late visit keeps
   waiting, comes to the mark, and wakes us.
2. A stream of which one message or less comes between two visits has none, and neither has one that is not steady, or
   whose media time is its arrival.
3. What is below the mark waits in the kernel. So whoever needs it reads it, by ``waiting``: before a command, for a
   listener, and with each visit, but for one that comes right behind another read. A stream of which nothing is there
   when nothing was read for two visits has gone quiet, and loses its mark.
4. The end of a stream, and its errors, wake us whatever the mark is. They are left to the loop.

Where the system has no such option nothing is different from a setting that turns it off.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

from wavstream.sessions.deadlines import VISIT_US

_OPTION: int | None = getattr(socket, "SO_RCVLOWAT", None)
_NONE = 1
"""The mark of a socket that nobody has set one for."""
_MOST_BYTES = 65_536
"""Of a mark: what is more than that is worth a read, however little time it is."""
_MOST_READS = 64
"""At once, of a peer that sends as fast as we read."""
_SAME_SIZE, _SAME_RATE = 1 / 8, 1 / 4
_VISITS = 2
_NEWS = 1 / 16
"""By how much a mark has to be wrong to be set anew."""
_LEAST = 1.25
"""Messages between two visits: of fewer most reads would have one."""
STALE_US = VISIT_US // 2
QUIET_US = 2 * VISIT_US
_NEVER_US = 1 << 62


class LowWater:
    """The low-water mark of one socket, and what waits below it."""

    __slots__ = (
        "_bytes",
        "_can_wait",
        "_messages",
        "_number",
        "_per_visit",
        "_read_us",
        "_size",
        "_transport",
        "mark",
        "stale_us",
    )

    def __init__(self, transport: asyncio.Transport, *, is_on: bool, now_us: int) -> None:
        """Learn of a stream that begins now; ``is_on``: False, and nothing ever waits."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        self._number: int = -1 if sock is None else sock.fileno()
        """The descriptor, which is ours as long as the transport is not closing."""
        self._can_wait = is_on and sock is not None and _OPTION is not None
        self.mark = _NONE
        """How many bytes have to be there."""
        self.stale_us = _NEVER_US
        """When nothing was read for so long, something may wait below the mark for too long (rule 3)."""
        self._messages = self._bytes = 0
        self._read_us = now_us
        """As they were at the last look."""
        self._size = self._per_visit = 0.0
        """Of messages, and how many of them came in the time between two visits, before the last look."""

    def look(self, *, messages: int, received_bytes: int, read_us: int, may_wait: bool) -> None:
        """Learn from what came since the last look (rule 1); the first two are counted from the stream's start.

        ``read_us``: when the newest of it was read. ``may_wait``: False where rule 2 forbids it.
        """
        if not self._can_wait:
            return
        came, came_bytes, time_us = messages - self._messages, received_bytes - self._bytes, read_us - self._read_us
        self._messages, self._bytes, self._read_us = messages, received_bytes, read_us
        size = came_bytes / came if came else 0.0
        per_visit = came * VISIT_US / time_us if came and time_us > 0 else 0.0
        is_steady = abs(size - self._size) <= _SAME_SIZE * size and abs(per_visit - self._per_visit) <= (
            _SAME_RATE * per_visit
        )
        self._size, self._per_visit = size, per_visit
        if not may_wait or not is_steady or per_visit < _LEAST:
            self.drop()
            return
        mark = min(int(_VISITS * per_visit * size), _MOST_BYTES)
        if abs(mark - self.mark) > mark * _NEWS:
            self._set(mark)
        if self.mark != _NONE:
            self.stale_us = STALE_US

    def drop(self) -> None:
        """Be woken with the first byte again; what waits wakes us at once."""
        if self.mark != _NONE:
            self._set(_NONE)

    def waiting(self, now_us: int, read_us: int) -> Iterator[bytes]:
        """Yield what the kernel has, if there is a mark (rule 3); ``read_us``: when something was read last."""
        transport, number, most = self._transport, self._number, 2 * self.mark
        for _ in range(_MOST_READS):
            # What was read last may have ended the connection, and then the number is no socket of ours any more.
            if self.mark == _NONE or transport.is_closing() or not transport.is_reading():
                return
            try:
                data = os.read(number, most)
            except BlockingIOError:
                data = b""
            except OSError:
                return  # rule 4
            if not data:
                if now_us - read_us >= QUIET_US:
                    self.drop()
                return
            read_us = now_us
            yield data
            if len(data) < most:
                return

    def _set(self, mark: int) -> None:
        transport = self._transport
        self.stale_us = _NEVER_US
        if _OPTION is None or transport.is_closing():
            self.mark = _NONE
            return
        # The loop's socket may have no setsockopt; a duplicate would cost a descriptor for a moment.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=self._number)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _OPTION, mark)
            self.mark = mark
        except OSError:  # not a system that can do it
            self._can_wait, self.mark = False, _NONE
        finally:
            sock.detach()
