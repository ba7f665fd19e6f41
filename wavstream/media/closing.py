"""Close codes: the one place that says with which one a stream ends for which error.

The reason is for the person who configures the media server, so it says what to change. What is our own fault or that
of the machine is not the peer's business: the log gets all details, the peer none.
"""

from __future__ import annotations

from typing import NamedTuple

from wavstream.errors import BadPayload, DependencyError, LimitReached, PeerError

NORMAL = 1000
GOING_AWAY = 1001
ABNORMAL = 1006
SERVICE_RESTART = 1012

CLEAN_CODES = frozenset({NORMAL, GOING_AWAY})
"""Closed with one of these, a stream ended by will; with any other it was lost, and may come back."""

_INVALID_PAYLOAD = 1007
_POLICY = 1008
_INTERNAL_ERROR = 1011
_TRY_AGAIN_LATER = 1013

_MAX_REASON_BYTES = 123
"""A control frame has 125 bytes, the code takes two (RFC 6455, 5.5)."""


class Closing(NamedTuple):
    """The content of a close frame."""

    code: int
    reason: str
    """At most 123 bytes of UTF-8."""
    ours: bool = False
    """Whether we or the machine are to blame: then it must be logged with its traceback."""


FRAME_RATE = Closing(_POLICY, "frame rate: more frames than the limit of this server")
IDLE = Closing(_POLICY, "idle: no message for too long")
NO_PONG = Closing(_INTERNAL_ERROR, "keepalive ping timeout")


def closing_for(error: Exception) -> Closing:
    """Return how a stream ends in whose processing ``error`` was raised."""
    match error:
        case BadPayload():
            return Closing(_INVALID_PAYLOAD, fitting_reason(str(error)))
        case LimitReached():
            return Closing(_TRY_AGAIN_LATER, fitting_reason(str(error)))
        case PeerError():
            return Closing(_POLICY, fitting_reason(str(error)))
        case DependencyError():
            return Closing(_TRY_AGAIN_LATER, "temporary failure", ours=True)
        case _:
            return Closing(_INTERNAL_ERROR, "internal error", ours=True)


def fitting_reason(text: str) -> str:
    """Return the text, cut to what a close frame holds, never within a character."""
    return text.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore")
