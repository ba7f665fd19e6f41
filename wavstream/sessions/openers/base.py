"""What an opener is asked, whatever it asks the media server with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A session whose stream is wanted."""

    app_id: str
    session_id: str
    recording_id: str
    """The recording that waits for the stream."""
    media_url: str
    """The media WebSocket of the session, its ids percent-encoded, without the token."""
    stream_token: str | None = field(repr=False)
    """What the media server must show there; None where no key is asked for."""
    expires_at: datetime
    """Aware, UTC: until then the token is good, and the stream wanted."""


class Opener(Protocol):
    """Makes the media server stream a session, and end that."""

    async def open(self, request: OpenRequest) -> None:
        """Ask for the stream. Returns when the media server has agreed; the stream itself comes when it comes.

        Raises NotFound or another PeerError where the session cannot be streamed, OperatorError where a setting or
        the media server's is wrong, DependencyError where it does not answer or refuses. After a DependencyError the
        stream may come all the same.
        """

    async def close(self, *, app_id: str, session_id: str) -> None:
        """Ask for its end; without effect on a session that does not stream. Raises as ``open`` does."""
