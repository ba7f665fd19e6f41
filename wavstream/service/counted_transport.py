"""The transport of an HTTP connection, which tells how much of what was written to it the peer has taken."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import sys
import termios
from typing import Any


class CountedTransport:
    """A transport that knows how much was written to it."""

    __slots__ = ("inner", "written_bytes")

    def __init__(self, inner: asyncio.Transport) -> None:
        self.inner = inner
        self.written_bytes = 0

    def write(self, data: bytes) -> None:
        """Send it, now or as soon as the peer takes it; not to a peer that is gone.

        uvicorn tells only the last of several requests on a connection that it is, and the one before writes on.
        """
        if self.inner.is_closing():
            return
        self.written_bytes += len(data)
        self.inner.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def taken_bytes(self) -> int:
        """Return how much the peer's side has acknowledged."""
        if self.inner.is_closing():
            return self.written_bytes
        unsent = self.inner.get_write_buffer_size()
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
