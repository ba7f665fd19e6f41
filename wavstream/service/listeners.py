"""The sockets that the server listens on: one for each host, TCP or unix.

1. All hosts have one port. Where it is 0, the first TCP host is given a free one, and the others take the same.
2. ``::`` takes IPv4 too, whatever the machine's own default is, unless an address of IPv4 is listened on beside it.
3. The file of a unix socket stays when its server is killed. Nobody listens there if a connection to it is refused:
   then it is removed. Whatever else is there is somebody's, and is left alone.
4. Two servers that start at once could each remove what the other has just made. So the folder is locked meanwhile.
5. A unix socket has its mode from its first moment: whoever may connect before it is closed to others, could go on.
6. At the end the file is removed, if it is still the one that was made here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from wavstream.errors import OperatorError
from wavstream.settings import Settings
from wavstream.settings.hosts import UNIX, is_ipv4

BACKLOG = 4096
"""Connections that may wait to be accepted: a switch that restarts opens all its streams in the same second."""
_LOOK_S = 1.0
"""For the answer of who listens at a path; a kernel gives it at once."""


class AddressTaken(OperatorError):
    """Somebody listens there."""


class Listeners:
    """The sockets of one server, which listen; connections wait in the kernel until they are accepted."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.port = 0
        """Of all that are TCP; 0: none is."""
        self._files: dict[Path, tuple[int, int]] = {}
        """Of each unix socket, device and inode."""

    @classmethod
    def open(cls, settings: Settings) -> Listeners:
        """Listen on all hosts; raise OperatorError, and listen on none, if one cannot be had."""
        listeners = cls()
        try:
            for host in settings.hosts:
                if host.startswith(UNIX):
                    listeners._listen_at(Path(host.removeprefix(UNIX)), int(settings.unix_mode, 8))
                else:
                    listeners._listen_on(host, listeners.port or settings.port, settings.hosts)
        except BaseException:
            listeners.close()
            raise
        return listeners

    @property
    def places(self) -> list[str]:
        """Where it listens: the TCP port, and the paths of unix sockets as ``unix:/path``."""
        return [str(self.port)] * bool(self.port) + [f"{UNIX}{path}" for path in self._files]

    def close(self) -> None:
        """Listen no more, and remove the files of unix sockets (rule 6)."""
        for each in self.sockets:
            each.close()
        for path, made in self._files.items():
            with contextlib.suppress(OSError):
                if _identity(path) == made:
                    path.unlink()
        self._files = {}

    def _listen_on(self, host: str, port: int, hosts: tuple[str, ...]) -> None:
        is_ipv6 = ":" in host
        try:
            listener = socket.create_server(
                (host, port),
                family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
                backlog=BACKLOG,
                dualstack_ipv6=host == "::" and not any(map(is_ipv4, hosts)),  # rule 2
            )
        except (OSError, ValueError) as error:  # ValueError: the machine has no IPv6
            where = f"[{host}]:{port}" if is_ipv6 else f"{host}:{port}"
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise AddressTaken(f"{where} is taken: stop what listens there, or set WAVSTREAM_PORT") from error
            reason = getattr(error, "strerror", None) or error
            raise OperatorError(
                f"cannot listen on {where} ({reason}): set WAVSTREAM_HOST to an address of this machine"
            ) from error
        self.sockets.append(listener)
        self.port = listener.getsockname()[1]

    def _listen_at(self, path: Path, mode: int) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets.append(listener)
        try:
            with _locked(path.parent):  # rule 4
                _remove_stale(path)
                with _umask(0o777 & ~mode):  # rule 5
                    listener.bind(str(path))
                listener.listen(BACKLOG)
                self._files[path] = _identity(path)
        except OSError as error:
            raise OperatorError(
                f"cannot listen on {UNIX}{path} ({error.strerror}): its folder must be there, and this user be allowed "
                "to write in it; or set WAVSTREAM_HOST to another"
            ) from error


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that is gone (rule 3); raise OperatorError if something else is there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OperatorError(f"{UNIX}{path}: a file is there that is no socket: move it away, or set WAVSTREAM_HOST")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_LOOK_S)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except (TimeoutError, BlockingIOError):  # there is somebody, who has too many waiting
            pass
    raise AddressTaken(f"{UNIX}{path} is taken: stop what listens there, or set WAVSTREAM_HOST")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
