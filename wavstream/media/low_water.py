"""When the kernel wakes us for a socket: with the first byte that comes, or with so many that a read is worth its cost.

A wake-up and a read cost ten times what a frame in it does. So the socket of a steady stream has a low-water mark
(``SO_RCVLOWAT``): it is read when some frames are there, and then all at once. Rules:

1. The mark is learnt from what came between two looks, which are a second apart: if the size of messages, and how many
   come in how much time, were the same as in the look before. It is what comes in ``batch_us``, less an eighth of a
   message, so that the last message of a batch wakes us also where sizes differ by some bytes, as those of JSON do.
2. A stream of which one message or less comes in that time has none, and neither has one that is not steady, or whose
   media time is its arrival.
3. What is below the mark waits in the kernel. So whoever needs it reads it, by ``waiting``: before a command, for a
   listener, and when nothing was read for half a message longer than a batch takes. Not earlier: a batch that is about
   to be whole would be read twice. A stream of which nothing is there when nothing was read for two batches has gone
   quiet, and loses its mark.
4. The end of a stream, and its errors, wake us whatever the mark is. They are left to the loop.

Where the system has no such option nothing is different from a setting of 0.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

_OPTION: int | None = getattr(socket, "SO_RCVLOWAT", None)
_NONE = 1
"""The mark of a socket that nobody has set one for."""
_MOST_BYTES = 65_536
"""Of a mark: what is more than that is worth a read, however little time it is."""
_READ_BYTES = 65_536
_MOST_READS = 64
"""At once, of a peer that sends as fast as we read."""
_SAME_SIZE, _SAME_RATE, _MARGIN = 1 / 8, 1 / 4, 1 / 8
_NEVER_US = 1 << 62


class LowWater:
    """The low-water mark of one socket, and what waits below it."""

    __slots__ = (
        "_batch_us",
        "_bytes",
        "_messages",
        "_per_batch",
        "_read_us",
        "_size",
        "_transport",
        "mark",
        "stale_us",
    )

    def __init__(self, transport: asyncio.Transport, *, batch_us: int, now_us: int) -> None:
        """Wait for ``batch_us`` of a steady stream that begins now; 0: for nothing, ever."""
        self._transport = transport
        has_socket = transport.get_extra_info("socket") is not None
        self._batch_us = batch_us if has_socket and _OPTION is not None else 0
        self.mark = _NONE
        """How many bytes have to be there."""
        self.stale_us = _NEVER_US
        """When nothing was read for so long, something may wait below the mark for too long (rule 3)."""
        self._messages = self._bytes = 0
        self._read_us = now_us
        """As they were at the last look."""
        self._size = self._per_batch = 0.0
        """Of messages, and how many of them came in the time of a batch, before the last look."""

    def look(self, *, messages: int, received_bytes: int, read_us: int, may_wait: bool) -> None:
        """Learn from what came since the last look (rule 1); the first two are counted from the stream's start.

        ``read_us``: when the newest of it was read. ``may_wait``: False where rule 2 forbids it.
        """
        if not self._batch_us:
            return
        came, came_bytes, time_us = messages - self._messages, received_bytes - self._bytes, read_us - self._read_us
        self._messages, self._bytes, self._read_us = messages, received_bytes, read_us
        size = came_bytes / came if came else 0.0
        per_batch = came * self._batch_us / time_us if came and time_us > 0 else 0.0
        is_steady = abs(size - self._size) <= _SAME_SIZE * size and abs(per_batch - self._per_batch) <= (
            _SAME_RATE * per_batch
        )
        self._size, self._per_batch = size, per_batch
        batch = int(per_batch + 0.25)
        if not may_wait or not is_steady or batch < 2:
            self.drop()
            return
        mark = min(int((batch - _MARGIN) * size), _MOST_BYTES)
        if abs(mark - self.mark) > size * _MARGIN / 2:
            self._set(mark)
        if self.mark != _NONE:
            self.stale_us = int((batch + 0.5) * self._batch_us / per_batch)

    def drop(self) -> None:
        """Be woken with the first byte again; what waits wakes us at once."""
        if self.mark != _NONE:
            self._set(_NONE)

    def waiting(self, now_us: int, read_us: int) -> Iterator[bytes]:
        """Yield what the kernel has, if there is a mark (rule 3); ``read_us``: when something was read last."""
        transport = self._transport
        for _ in range(_MOST_READS):
            # What was read last may have ended the connection, and then the number is no socket of ours any more.
            if self.mark == _NONE or transport.is_closing() or not transport.is_reading():
                return
            try:
                data = os.read(self._number(), _READ_BYTES)
            except BlockingIOError:
                data = b""
            except OSError:
                return  # rule 4
            if not data:
                if now_us - read_us >= 2 * self._batch_us:
                    self.drop()
                return
            read_us = now_us
            yield data
            if len(data) < _READ_BYTES:
                return

    def _number(self) -> int:
        """Return the descriptor of the socket, which the transport must not have closed."""
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    def _set(self, mark: int) -> None:
        transport = self._transport
        self.stale_us = _NEVER_US
        if _OPTION is None or transport.is_closing():
            self.mark = _NONE
            return
        # The loop's socket may have no setsockopt; a duplicate would cost a descriptor for a moment.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=self._number())
        try:
            sock.setsockopt(socket.SOL_SOCKET, _OPTION, mark)
            self.mark = mark
        except OSError:  # not a system that can do it
            self._batch_us, self.mark = 0, _NONE
        finally:
            sock.detach()
