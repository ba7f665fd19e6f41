"""What HTTP answers are written to: it knows how much was written, and sends an answer's head together with its body.

uvicorn writes the head of an answer and then its body. Each write would be a system call at once, which wakes the
client: for an answer of a kilobyte, with it on the other core of a virtual machine, 30 us more. So a head waits for
what is written next, and no longer than the turn of the loop lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import struct
import sys
import termios
from typing import Any

_HEAD = b"HTTP/1.1 "


class CountedTransport:
    """A transport that knows how much was written to it."""

    __slots__ = ("_head", "inner", "written_bytes")

    def __init__(self, inner: asyncio.Transport) -> None:
        self.inner = inner
        self.written_bytes = 0
        self._head = b""
        """That waits for its body."""

    def write(self, data: bytes) -> None:
        """Send it, in this turn of the loop or as soon as the peer takes it; not to a peer that is gone.

        uvicorn tells only the last of several requests on a connection that it is, and the one before writes on.
        """
        if self.inner.is_closing():
            return
        self.written_bytes += len(data)
        if self._head:
            head, self._head = self._head, b""
            self.inner.writelines((head, data))
        elif data.startswith(_HEAD):
            self._head = data
            asyncio.get_running_loop().call_soon(self.flush)
        else:
            self.inner.write(data)

    def flush(self) -> None:
        """Send a head that waits."""
        if self._head:
            self.write(b"")

    def write_eof(self) -> None:
        """End our side behind what was written."""
        self.flush()
        self.inner.write_eof()

    def close(self) -> None:
        """Close behind what was written."""
        self.flush()
        self.inner.close()

    def get_write_buffer_size(self) -> int:
        """Return how much was written that the kernel has not taken."""
        return len(self._head) + self.inner.get_write_buffer_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def taken_bytes(self) -> int:
        """Return how much the peer's side has acknowledged."""
        if self.inner.is_closing():
            return self.written_bytes
        unsent = self.get_write_buffer_size()
        # The kernel takes megabytes, and asks for more when a third of them is gone: a slow reader needs minutes for
        # that. What it has acknowledged grows whenever it reads.
        return self.written_bytes - unsent - _unacknowledged_bytes(self.inner.get_extra_info("socket"))


def _unacknowledged_bytes(sock: Any) -> int:
    """Return what the kernel keeps for the peer; 0 where it does not tell."""
    if sys.platform != "linux" or sock is None:
        return 0
    with contextlib.suppress(OSError, ValueError):
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))  # SIOCOUTQ of tcp(7)
        return int(struct.unpack("i", answer)[0])
    return 0


@functools.lru_cache(maxsize=4)
def chunk(piece: bytes) -> bytes:
    """Return a chunk of a chunked body. All who listen to a recording wait for one and the same, however many."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
