"""FreeSWITCH's event socket, inbound mode: what its bytes mean and how a command is written. No IO.

A message is a head of ``Name: value`` lines, an empty line, and a body if the head has a ``Content-Length``. Three
rules that are easy to get wrong:

1. Answers carry no number. They come in the order of the commands: an ``api/response``, or a ``command/reply`` where
   FreeSWITCH does not run the command at all (``esl-allowed-api`` of a user: ``-ERR permission denied``).
2. Anything else may come between two answers and is none: events, log lines.
3. Nothing is read after a rejection by the ACL: FreeSWITCH has written its length without a colon
   (``Content-Length 24``), so that what follows cannot be told from a head.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 16_384
"""Of one message; those that we are sent have under 200."""
MAX_BODY_BYTES = 1_048_576
"""Of one message; an answer to our commands is one line."""


@dataclass(frozen=True, slots=True)
class PasswordWanted:
    """The greeting: send the password."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The password is right: commands may be sent."""


@dataclass(frozen=True, slots=True)
class Refused:
    """We are not let in; nothing follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the oldest command without one."""

    text: str
    """Without the line end that some answers have."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is of no more use; nothing follows."""

    reason: str


Happening = PasswordWanted | Accepted | Refused | Answer | Ended


class EventSocket:
    """What comes in on one connection, from its greeting to its end."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self._accepted = False
        self._over = False

    def feed(self, data: bytes) -> list[Happening]:
        """Take the next bytes; gives what they complete, in order. Cutting the bytes otherwise changes nothing."""
        self._unread += data
        happenings: list[Happening] = []
        while not self._over:
            message = self._next_message()
            if message is None:
                break
            happening = message if isinstance(message, Ended) else self._happening(*message)
            if happening is not None:
                happenings.append(happening)
                self._over = isinstance(happening, Refused | Ended)
        return happenings

    def _next_message(self) -> tuple[dict[str, str], str] | Ended | None:
        """(head, body); None while it is not all there."""
        end = self._unread.find(b"\n\n")
        if (end if end >= 0 else len(self._unread) - 1) > MAX_HEAD_BYTES:
            return Ended("it sent a head that is too long")
        if end < 0:
            return None
        head = _head(bytes(self._unread[:end]))
        length = head.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > MAX_BODY_BYTES:
            return Ended("it sent a message whose length cannot be")
        begin, stop = end + 2, end + 2 + int(length)
        if len(self._unread) < stop:
            return None
        body = self._unread[begin:stop].decode(errors="replace")
        del self._unread[:stop]
        return head, body

    def _happening(self, head: dict[str, str], body: str) -> Happening | None:
        reply = head.get("reply-text", "")
        match head.get("content-type"):
            case "auth/request":
                return PasswordWanted()
            case "command/reply" if self._accepted:
                return Answer(reply)
            case "command/reply" if reply.startswith("+OK"):
                self._accepted = True
                return Accepted()
            case "command/reply":
                return Refused("it does not take the password")
            case "api/response":
                return Answer(body.strip())
            case "text/rude-rejection" | "rude/rejection":
                return Refused("its ACL (apply-inbound-acl) does not let this host in")
            case "text/disconnect-notice":
                return Ended("it said goodbye")
            case _:
                return None


def auth_command(password: str, user: str | None = None) -> bytes:
    """The bytes that send the password: the socket's own, or that of a ``user@domain`` of the directory.

    Raises ValueError for a password that cannot be in a line, and for a user without a domain.
    """
    if user is None:
        return _command(f"auth {password}")
    if not re.fullmatch("[^@:]+@[^@:]+", user):
        raise ValueError("a user of the event socket is written user@domain")
    return _command(f"userauth {user}:{password}")


def api_command(text: str) -> bytes:
    """The bytes of an API command; raises ValueError for one that would be more than one command."""
    return _command(f"api {text}")


def _command(line: str) -> bytes:
    if not line.isprintable():
        raise ValueError("a command of the event socket is one line of printable characters")
    return line.encode() + b"\n\n"


def _head(raw: bytes) -> dict[str, str]:
    """By name in lower case; a line without a colon is passed over."""
    lines = (line.partition(":") for line in raw.decode(errors="replace").split("\n"))
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}
