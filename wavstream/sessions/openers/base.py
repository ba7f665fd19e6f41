"""The interface of an opener, whichever way it reaches the media server, and what those of switches share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from wavstream.errors import OperatorError

_VARIABLE = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class Mix(StrEnum):
    """The part of the channel that is streamed."""

    MONO = "mono"
    """The channel's party."""
    MIXED = "mixed"
    """The channel's party and what it hears, mixed."""
    STEREO = "stereo"
    """The channel's party left, what it hears right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """The session whose stream is asked for."""

    app_id: str
    session_id: str
    recording_id: str
    """The recording that waits for the stream."""
    media_url: str
    """The media WebSocket of the session, its ids percent-encoded, without the token."""
    stream_token: str | None = field(repr=False)
    """The token that the media server must present there; None where no key is needed."""
    expires_at: datetime
    """Aware, UTC: until then the token is valid and the stream is awaited."""


class Opener(Protocol):
    """Starts and stops the stream of a session on the media server."""

    @property
    def trouble(self) -> str | None:
        """Why it cannot be asked now, as it was seen last, and who has to look at what; None: it can."""

    async def open(self, request: OpenRequest) -> None:
        """Ask the media server to start the stream, and return when it has agreed; the stream itself may come later.

        Raise NotFound or another PeerError if the session cannot be streamed, OperatorError if a setting here or on
        the media server is wrong, DependencyError if the media server does not answer or refuses. After a
        DependencyError the stream may come all the same.
        """

    async def close(self, *, app_id: str, session_id: str) -> None:
        """Ask the media server to stop the stream, if there is one; raise as ``open`` does."""


def channel_pattern(text: str) -> re.Pattern[str]:
    """Return the pattern whose group ``channel`` finds the channel; raise OperatorError if it is none."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise OperatorError(f"opener.channel is not a regular expression: {error}") from error
    if "channel" not in pattern.groupindex:
        raise OperatorError("opener.channel needs a group of this name: (?P<channel>...)")
    return pattern


def variable_name(text: str | None) -> str | None:
    """Return the name of the variable that has the app's id; raise OperatorError if it cannot be one."""
    if text is not None and not _VARIABLE.fullmatch(text):
        raise OperatorError(f"opener.owner_variable: {text!r} is not the name of a channel variable")
    return text
