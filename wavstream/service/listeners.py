"""The sockets that the server listens on: one for each host, TCP or unix.

1. All hosts have one port. Where it is 0, the first TCP host is given a free one, and the others take the same.
2. ``::`` takes IPv4 too, whatever the machine's own default is, unless an address of IPv4 is listened on beside it.
3. The file of a unix socket stays when its server is killed. Nobody listens there if a connection to it is refused:
   then it is removed. Whatever else is there is somebody's, and is left alone.
4. Two servers that start at once could each remove what the other has just made. So the folder is locked meanwhile,
   and the second waits for the first, which takes a moment.
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
import time
from collections.abc import Iterator
from pathlib import Path

from wavstream.errors import OperatorError
from wavstream.model.hosts import UNIX, are_one, is_ipv4
from wavstream.settings import Settings

BACKLOG = 4096
"""Connections that may wait to be accepted: a switch that restarts opens all its streams in the same second."""
_LOCK_S = 2.0
"""For another server that looks at a path in the same folder, each of whose steps has at most ``_LOOK_S``."""
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

    def of_another(self) -> Listeners:
        """Return the same sockets, as those of another process, which looks after their files."""
        listeners = Listeners()
        listeners.sockets, listeners.port = self.sockets, self.port
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
                if (own := self._taken_by_us(host, port, hosts)) is not None:
                    raise OperatorError(
                        f"WAVSTREAM_HOST (in a file: host): {host!r} is {own}, which another of the hosts is too: "
                        "leave one of them out"
                    ) from error
                raise AddressTaken(f"{where} is taken: stop what listens there, or set WAVSTREAM_PORT") from error
            raise OperatorError(
                f"cannot listen on {where} ({_reason(error)}): set WAVSTREAM_HOST to an address of this machine"
            ) from error
        self.sockets.append(listener)
        self.port = listener.getsockname()[1]

    def _taken_by_us(self, host: str, port: int, hosts: tuple[str, ...]) -> str | None:
        """Return the address of a host, if one of our own sockets has it; a name's is known to the resolver alone."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with contextlib.suppress(OSError):
            address = str(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4][0])
            tcp = [each.getsockname()[0] for each in self.sockets if each.family != socket.AF_UNIX]
            if any(are_one(address, each, hosts) for each in tcp):
                return address
        return None

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
        except BlockingIOError as error:
            raise OperatorError(
                f"cannot listen on {UNIX}{path}: another program keeps the folder {path.parent} locked: end it, or set "
                "WAVSTREAM_HOST to a socket in a folder of its own"
            ) from error
        except OSError as error:
            raise OperatorError(
                f"cannot listen on {UNIX}{path} ({error.strerror}): its folder must be there, and this user be allowed "
                "to write in it; or set WAVSTREAM_HOST to another"
            ) from error


def _reason(error: OSError | ValueError) -> str:
    """Return what the system says, without the words that Python adds to it since 3.11."""
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError) or not error.errno:
        return getattr(error, "strerror", None) or str(error)
    return os.strerror(error.errno)


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that is gone (rule 3); raise OperatorError if something else is there."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise OperatorError(
                f"{UNIX}{path}: a symbolic link is there, at which no socket can be made: set WAVSTREAM_HOST to where "
                "it leads, or remove it"
            )
        if not stat.S_ISSOCK(mode):
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
    give_up = time.monotonic() + _LOCK_S
    try:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
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
