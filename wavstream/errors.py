"""The exception tree, sorted by who must act.

    WavstreamError
      PeerError             the caller or the media server must change what it sends
        Unauthenticated       no key, or a wrong one
        Forbidden             the key is right, the thing is not yours to use
        NotFound              no such thing, or none that you may know of
        Conflict              the thing is not in a state that allows this
        InvalidFields         one or more named fields are wrong
        BadBody               the body of a request is not in the format that it should be in
        TooLarge              the body of a request is larger than is taken
        NoSuchMethod          the address takes other methods
        LimitReached          a limit of the server is reached; try again later
          TooSoon               the caller alone asks too much or too often
            QuotaReached          its app has as much of something as it may
        MediaError            what arrived on a media stream cannot be used
          BadPayload            bytes or text that do not have the agreed form
          BadParameter          a stream parameter with a value we do not accept
          TooLong               a text message that is longer than is taken
      OperatorError         whoever runs the server must change a setting or the machine
      DependencyError       the disk, the database or the store failed; we may try again
        NotYetSafe            the disk has not taken a command's record; it is being tried
        TakenElsewhere        another node of the cluster has taken the session
        CatalogLocked         another program holds the catalog's lock
        CatalogDamaged        the catalog's file is broken, gone or another one
        CatalogAway           the catalog's database server cannot be reached, or refuses
         DiskRefused           the disk under the catalog fails
           DiskFull              it is full
           DiskReadOnly          it takes no writes at all
         NotYetRemoved         an erased recording's file stays for a while
         OpenerFailed          whoever opens streams cannot be reached, or does not answer
         StoreError            the store of finished files cannot be reached, or refuses
           FileReplaced          a file in the store is another one than was uploaded
      InternalError         wavstream is wrong; report it

Every class says itself which status answers it over HTTP and which close code ends the media stream that it befell.
The HTTP APIs (``api.problems``, ``api.gateway.answers``), the refusal of a media WebSocket (``media.request``) and its
close frame (``media.closing``) give that a shape; they do not decide.

The text of a PeerError is for the caller. The text of any other error is for the log alone: the caller, who cannot mend
it, reads ``public_text``.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import ClassVar, Literal


class WavstreamError(Exception):
    """The root; its text is one sentence that a person can act on."""

    http_status: int = 500
    """The status of an HTTP answer."""
    exit_code: int = 1
    """Of a command that ends with it: it was tried and failed."""
    close_code: ClassVar[int] = 1011
    """The code of a WebSocket close frame (RFC 6455, 7.4.1)."""
    retry_after_s: int | None = None
    """Seconds after which the caller may try again; None: it has to change something first, or somebody else has."""
    public_text: ClassVar[str] = "The server made a mistake; its log says more"
    """What a caller reads that cannot mend it."""
    is_known: ClassVar[bool] = False
    """Whether its text tells the log all that there is: where it came up does not matter, and many may come at once."""


class PeerError(WavstreamError):
    """The caller or the media server must change what it sends."""

    http_status = 400
    close_code = 1008


class Unauthenticated(PeerError):
    """No key was given, or it is not a valid one: send a valid key."""

    http_status = 401


class Forbidden(PeerError):
    """The key is valid but does not open this: use the key, link or token of the owner."""

    http_status = 403


class NotFound(PeerError):
    """There is no such thing, or none that the caller may know of."""

    http_status = 404


class Conflict(PeerError):
    """The thing is in a state that does not allow the request: read ``state`` and decide again."""

    http_status = 409

    def __init__(self, message: str, *, state: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of a request."""

    pointer: str
    """JSON pointer of the field, such as ``/channels``; for a query parameter its name."""
    detail: str
    """What is wrong and what is accepted."""
    kind: Literal["invalid", "missing", "unknown"] = "invalid"
    """Whether it is there and wrong, is not there and must be, or is none that is known."""


class InvalidFields(PeerError):
    """One or more fields are wrong: every one of them is in ``fields``."""

    http_status = 422

    def __init__(self, fields: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(f"{field.pointer}: {field.detail}" for field in fields))
        self.fields = fields


class BadBody(PeerError):
    """The body of a request cannot be read at all: it is not in the format that it should be in."""


class TooLarge(PeerError):
    """The body of a request is larger than is taken."""

    http_status = 413


class NoSuchMethod(PeerError):
    """The address takes other methods: those in ``allow``."""

    http_status = 405

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class LimitReached(PeerError):
    """A limit of the server is reached: try again after ``retry_after_s`` seconds."""

    http_status = 503
    close_code = 1013
    retry_after_s: int

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooSoon(LimitReached):
    """The caller alone asks too much or too often: try again after ``retry_after_s`` seconds."""

    http_status = 429


class QuotaReached(TooSoon):
    """The app has as much of something as it may: the text names the quota. End something, or try again later."""


class MediaError(PeerError):
    """What arrived on a media stream cannot be used: ``field`` names the part that is wrong."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field


class BadPayload(MediaError):
    """A message does not have the form that its type or the stream's parameters promise."""

    close_code = 1007


class BadParameter(MediaError):
    """A stream parameter has a value that is not accepted."""


class TooLong(MediaError):
    """A text message is longer than is taken: ``field`` names the setting."""

    close_code = 1009


class OperatorError(WavstreamError):
    """Whoever runs the server must change a setting or the machine; the text says what."""

    http_status = 503
    exit_code = 2
    is_known = True
    public_text = "Whoever runs the server has to change something first; its log says what"


class DependencyError(WavstreamError):
    """The disk, the database or the store failed: the cause is chained."""

    http_status = 503
    close_code = 1013
    retry_after_s: int | None = 5
    public_text = "A part that the server depends on failed; try again"


class NotYetSafe(DependencyError):
    """The disk has not taken the record of a command: what was asked is done, and a crash could still undo it."""

    is_known = True
    public_text = (
        "The server's disk has not taken this in time, so a crash could still undo it: try again, or look how it is; "
        "whoever runs the server has to look at the disk"
    )


class TakenElsewhere(DependencyError):
    """Another node of the cluster has taken the session: what this one still does with it does not count."""

    is_known = True
    public_text = "Another node has this session now: try again"


class CatalogLocked(DependencyError):
    """Another program has held the catalog's lock for too long: end it."""

    is_known = True
    public_text = (
        "Another program on the server's machine holds the lock of the catalog: whoever runs the server has to end it; "
        "try again"
    )


class CatalogDamaged(DependencyError):
    """The catalog's file is broken, gone, or not the one that was opened: stop the server and restore it."""

    is_known = True
    public_text = "The server's catalog is damaged: whoever runs the server has to restore it; its log says how"


class CatalogAway(DependencyError):
    """The catalog's database server cannot be reached, or refuses: look at it, and at the settings `[catalog]`."""

    is_known = True
    public_text = (
        "The server's database cannot be reached, or refuses: whoever runs the server has to look at it; try again"
    )


class DiskRefused(DependencyError):
    """The disk under the catalog fails, is full or read-only: look at the disk."""

    is_known = True
    public_text = "The server's disk refuses to be written: whoever runs the server has to look at it; try again"


class DiskFull(DiskRefused):
    """The disk under the catalog is full: free space."""

    public_text = "The server's disk is full: whoever runs the server has to free space; try again"


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What an OSError says of a disk that is full, or on which this user may have no more."""


class DiskReadOnly(DiskRefused):
    """The disk under the catalog takes no writes at all: mount it for writing again."""

    public_text = (
        "The server's disk is read-only: whoever runs the server has to look why (a disk that failed is made so) and "
        "mount it for writing again; nothing was changed"
    )


class NotYetRemoved(DependencyError):
    """A recording is erased, and disk or store keep its file still: look at them; it is tried again."""

    is_known = True
    public_text = (
        "The recording is erased, and nobody is given it any more; what is left of it on the server's disk, or in its "
        "store, could not be removed yet, and is as soon as that allows it. Whoever runs the server has to look at it; "
        "a second DELETE tells whether it is gone"
    )


class OpenerFailed(DependencyError):
    """Whoever opens streams cannot be reached, or does not answer: look at it, and at the settings `[opener]`."""

    is_known = True
    public_text = (
        "The media server could not be asked for the call's stream: whoever runs the server has to look at the opener; "
        "try again"
    )


class StoreError(DependencyError):
    """The store of finished files cannot be reached, or refuses: look at it, and at the settings `[storage]`."""

    is_known = True
    public_text = "The store of the recordings cannot be reached, or refuses: whoever runs the server has to look at it"

    def __init__(self, message: str, *, is_lasting: bool = False, is_refusal: bool = False) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting or is_refusal
        """Whether waiting alone will not help: a name or a right is wrong."""
        self.is_refusal = is_refusal
        """Whether it is a right that lacks, and all else is as it should be."""


class FileReplaced(StoreError):
    """A file in the store is not the one that was uploaded: put that one back, or look who writes there."""

    http_status = 502
    retry_after_s = None
    public_text = (
        "The file in the store is not the one that was recorded, so it is not handed out: whoever runs the server has "
        "to look who has changed it there"
    )

    def __init__(self, message: str) -> None:
        super().__init__(message, is_lasting=True)


class InternalError(WavstreamError):
    """wavstream is wrong: please report it with the log."""
