"""Which session, leg and track a stream is of: one order of precedence for every dialect.

1. The path, ``/media/{dialect}/{session}/{leg}``: whoever routes streams sees it, and nothing on the way changes it.
2. The query: ``session_id``, ``leg``, ``track``.
3. Headers of the upgrade: ``X-Session-Id``, ``X-Leg``, ``X-Track``.
4. What the stream says itself: its first message, or the custom parameters in it, under the names of the query.
5. The vendor's own id of the call, and of the leg. Streams that name the same call meet in one session.
6. What the route sets for its streams: a track, never an id.

What is named and makes no sense is refused: a stream that goes on under another name is in no recording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.parameters import read_id
from wavstream.errors import BadParameter
from wavstream.model.audio import Track

SESSION_HEADER, LEG_HEADER, TRACK_HEADER = "x-session-id", "x-leg", "x-track"
_SESSION = ("session_id",)
TRACKS: Mapping[str, Track] = {
    "inbound": Track.INBOUND,
    "inbound_track": Track.INBOUND,
    "outbound": Track.OUTBOUND,
    "outbound_track": Track.OUTBOUND,
}
"""Tracks by the names that vendors have for them."""


class Identity(NamedTuple):
    """Where a stream belongs."""

    session_id: str | None
    """None: nothing says it, and the stream cannot start."""
    leg: str | None
    """None: the session gives it one."""


def identify(
    request: UpgradeRequest,
    said: Mapping[str, Any] = {},
    *,
    session_names: Sequence[str] = _SESSION,
    call_id: str | None = None,
    leg_id: str | None = None,
) -> Identity:
    """Return where the stream belongs; raise BadParameter for an id that cannot be one.

    ``said``: what its first message says (4), in which ``session_names`` are names of the session's id, the most
    specific first. ``call_id``, ``leg_id``: of the vendor (5); what is no id counts as none.
    """
    return Identity(
        request.session_id
        or _first(request.query, session_names)
        or read_id(request.headers, SESSION_HEADER)
        or _first(said, session_names)
        or call_id
        or None,
        request.leg
        or read_id(request.query, "leg")
        or read_id(request.headers, LEG_HEADER)
        or read_id(said, "leg")
        or leg_id
        or None,
    )


def named_track(request: UpgradeRequest, said: Mapping[str, Any] = {}) -> Track | None:
    """Return the track that a stream of one track is said to be of; None: nothing says it; raise BadParameter."""
    places = ((request.query, "track"), (request.headers, TRACK_HEADER), (said, "track"), (request.defaults, "track"))
    for fields, name in places:
        text = fields.get(name)
        if text is not None:
            track = TRACKS.get(text) if isinstance(text, str) else None
            if track is None:
                raise BadParameter(name, "inbound or outbound is accepted")
            return track
    return None


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((found for name in names if (found := read_id(fields, name)) is not None), None)
