"""The close frame of a stream: its code, which an error's class says, and its reason.

Whether a stream was hung up or lost is one rule, ``is_hang_up``: it was hung up where the side that ended it said that
all is done, and lost, so that it may come back, in every other case. To take a hang-up for a loss costs the reconnect
wait; to take a loss for a hang-up costs the rest of the call.

The reason is for the person who configures the media server, so it says what to change. Our own faults and those
of the machine are not the peer's business: it gets no details, and the log gets them all.
"""

from __future__ import annotations

from typing import NamedTuple

from wavstream.errors import DependencyError, InternalError, PeerError

NORMAL = 1000
GOING_AWAY = 1001
NO_CODE = 1005
"""A close frame without a code, as browsers and Node send where ``close()`` is given none."""
ABNORMAL = 1006
SERVICE_RESTART = 1012


_DONE_BY_PEER = frozenset({NORMAL, NO_CODE})
"""Not 1001: proxies that are reloaded, and pages that are left, close so in the middle of a call."""
_DONE_BY_US = frozenset({NORMAL, GOING_AWAY})
"""With 1001 the ticker closes streams of a session whose files are finished."""
_POLICY = 1008
_INTERNAL_ERROR = 1011
_COUNTED = frozenset({*range(1000, 1004), *range(1005, 1016)})
"""The codes that RFC 6455 and IANA's registry have a meaning for."""
_OTHER = "other"
COUNTED_CODES = (*sorted(_COUNTED), _OTHER)
"""All that closes are counted as."""

_MAX_REASON_BYTES = 123
"""A control frame has 125 bytes, the code takes two (RFC 6455, 5.5)."""


class Closing(NamedTuple):
    """The content of a close frame."""

    code: int
    reason: str
    """At most 123 bytes of UTF-8."""
    ours: bool = False
    """Whether we or the machine are to blame: then it must be logged with its traceback."""


IDLE = Closing(_POLICY, "idle: no message for too long")
NO_PONG = Closing(_INTERNAL_ERROR, "keepalive ping timeout")


def over_limit(limit: str, most: int, what: str) -> Closing:
    """Return how a stream ends that sent more than ``most`` a second; ``limit`` is the setting."""
    return Closing(_POLICY, f"{limit}: more than {most} {what} a second, the limit of this server")


def out_of_time(limit: str, most_s: float, what: str) -> Closing:
    """Return how a stream ends that did not do in time what it has to; ``limit`` is the setting."""
    return Closing(_POLICY, f"{limit}: {what} after {most_s:g} s, the limit of this server")


def counted_code(code: int) -> int | str:
    """Return what a close code is counted as: a peer may choose among thousands, which would each be a metric."""
    return code if code in _COUNTED else _OTHER


def is_hang_up(code: int | None, *, by_peer: bool) -> bool:
    """Return whether a stream that ended so is over, not lost; ``code`` of the first close frame, None: there was none.

    ``by_peer``: whether that frame was the peer's.
    """
    return code in (_DONE_BY_PEER if by_peer else _DONE_BY_US)


def closing_for(error: Exception) -> Closing:
    """Return how the stream ends in whose processing ``error`` was raised."""
    if isinstance(error, PeerError):
        return Closing(error.close_code, fitting_reason(str(error)))
    if isinstance(error, DependencyError):
        return Closing(error.close_code, "temporary failure", ours=True)
    return Closing(InternalError.close_code, "internal error", ours=True)


def fitting_reason(text: str) -> str:
    """Return the text, cut to what a close frame holds, never within a character."""
    return text.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore")
