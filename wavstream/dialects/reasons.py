"""Why a message, or a part of one, was not used: a short fixed word, which becomes a metric label, and a sentence."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One kind of message that is counted and goes no further."""

    explanation: str
    """For the log, once a stream: what it means, and who must act."""

    def __new__(cls, word: str, explanation: str) -> Reason:
        """A member is its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.explanation = explanation
        return member

    UNKNOWN_EVENT = (
        "unknown_event",
        "an event that this dialect does not have; nobody need act unless audio is missing",
    )
    FREE_TEXT = (
        "free_text",
        "text that is not JSON, or that lost its end or its backslashes on the way: nothing is taken from it; what "
        "must be known belongs into the URL",
    )
    OTHER_FORMAT = (
        "other_format",
        "metadata with another rate or mix than the stream was taken to have, by its URL or for want of anything said: "
        "if the metadata are right, the file plays at the wrong speed; whoever starts the stream must correct the URL",
    )
    NOT_JSON = (
        "not_json",
        "text that is not one JSON object with an event; whoever runs the sender should look at what it sends",
    )
    BINARY = (
        "binary_message",
        "a binary message in a dialect whose audio is in text; its sender should use the dialect of what it sends",
    )
    BEFORE_START = (
        "before_start",
        "a message before the stream's start, when its codec and tracks are unknown; the sender must send start first",
    )
    SECOND_START = (
        "second_start",
        "a stream starts once; the sender must open another WebSocket for another stream",
    )
    BAD_MEDIA = (
        "bad_media",
        "audio whose payload is missing or not base64 in whole samples: it is lost; the sender must correct it",
    )
    UNKNOWN_TRACK = (
        "unknown_track",
        "audio of a track that start.tracks does not name: it is lost; the sender must name all of its tracks",
    )
    BAD_TIMESTAMP = (
        "bad_timestamp",
        "audio whose timestamp is not a number of milliseconds from 0 on: it follows the frame before it, and what was "
        "lost between them is not seen; the sender must correct it",
    )
    BAD_DIGIT = (
        "bad_digit",
        "a DTMF event without one of 0-9 * # A-D: no recording sees it; the sender must correct it",
    )
    BAD_MARK = (
        "bad_mark",
        "a mark without a name of 1 to 256 printable characters; the sender must correct it",
    )
