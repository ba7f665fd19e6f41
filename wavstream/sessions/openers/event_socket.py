"""FreeSWITCH's event socket in inbound mode: its bytes become events, commands become bytes. No IO.

A message is a head of ``Name: value`` lines, an empty line, and a body if the head has a ``Content-Length``. Three
rules that are easy to get wrong:

1. Replies carry no number. They come in the order of the commands: an ``api/response``, or a ``command/reply`` where
   FreeSWITCH does not run the command at all (``esl-allowed-api`` of a user: ``-ERR permission denied``).
2. Other messages, such as events and log lines, may come between two replies; they are ignored.
3. Nothing is read after a rejection by the ACL: FreeSWITCH writes its length without a colon
   (``Content-Length 24``), so the body cannot be told from a head.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 16_384
"""Limit of one message; those that we receive have under 200."""
MAX_BODY_BYTES = 1_048_576
"""Limit of one message; a reply to our commands is one line."""


@dataclass(frozen=True, slots=True)
class AuthRequested:
    """The greeting: FreeSWITCH asks for the password."""


@dataclass(frozen=True, slots=True)
class AuthAccepted:
    """The password is right: commands may be sent."""


@dataclass(frozen=True, slots=True)
class AuthRejected:
    """The password or this host is not accepted; nothing follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to the oldest command without one."""

    text: str
    """Without the line end that some replies have."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """FreeSWITCH said goodbye, or sent what cannot be read; nothing follows."""

    reason: str


SocketEvent = AuthRequested | AuthAccepted | AuthRejected | Reply | Disconnected


class EventSocket:
    """The receiving side of one connection, from its greeting to its end."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self._accepted = False
        self._over = False

    def feed(self, data: bytes) -> list[SocketEvent]:
        """Take the next bytes and return the events that they complete, in order, however the bytes were cut."""
        self._unread += data
        events: list[SocketEvent] = []
        while not self._over:
            message = self._next_message()
            if message is None:
                break
            event = message if isinstance(message, Disconnected) else self._event_of(*message)
            if event is not None:
                events.append(event)
                self._over = isinstance(event, AuthRejected | Disconnected)
        return events

    def _next_message(self) -> tuple[dict[str, str], str] | Disconnected | None:
        """Return the next (head, body); None while it is not complete."""
        end = self._unread.find(b"\n\n")
        if (end if end >= 0 else len(self._unread) - 1) > MAX_HEAD_BYTES:
            return Disconnected("it sent a head that is too long")
        if end < 0:
            return None
        head = _head(bytes(self._unread[:end]))
        length = head.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > MAX_BODY_BYTES:
            return Disconnected("it sent a message whose length cannot be")
        begin, stop = end + 2, end + 2 + int(length)
        if len(self._unread) < stop:
            return None
        body = self._unread[begin:stop].decode(errors="replace")
        del self._unread[:stop]
        return head, body

    def _event_of(self, head: dict[str, str], body: str) -> SocketEvent | None:
        reply = head.get("reply-text", "")
        match head.get("content-type"):
            case "auth/request":
                return AuthRequested()
            case "command/reply" if self._accepted:
                return Reply(reply)
            case "command/reply" if reply.startswith("+OK"):
                self._accepted = True
                return AuthAccepted()
            case "command/reply":
                return AuthRejected("it does not take the password")
            case "api/response":
                return Reply(body.strip())
            case "text/rude-rejection" | "rude/rejection":  # rule 3: feed reads no further
                return AuthRejected("its ACL (apply-inbound-acl) does not let this host in")
            case "text/disconnect-notice":
                return Disconnected("it said goodbye")
            case _:  # rule 2
                return None


def auth_command(password: str, user: str | None = None) -> bytes:
    """Return the bytes that send the password: the socket's own, or that of a ``user@domain`` of the directory.

    Raise ValueError if the password cannot be in a line, or the user has no domain.
    """
    if user is None:
        return _command(f"auth {password}")
    if not re.fullmatch("[^@:]+@[^@:]+", user):
        raise ValueError("a user of the event socket is written user@domain")
    return _command(f"userauth {user}:{password}")


def api_command(text: str) -> bytes:
    """Return the bytes of an API command; raise ValueError if it would be more than one command."""
    return _command(f"api {text}")


def _command(line: str) -> bytes:
    if not line.isprintable():
        raise ValueError("a command of the event socket is one line of printable characters")
    return line.encode() + b"\n\n"


def _head(raw: bytes) -> dict[str, str]:
    """Return the values by name in lower case; a line without a colon is ignored."""
    lines = (line.partition(":") for line in raw.decode(errors="replace").split("\n"))
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}
