"""What the server and its worker program say to each other, over pipes: messages with their length in front.

A message is four bytes of its length, big-endian, one of its kind, and the rest. Of the kinds one is bytes of a file,
all others are JSON. Both sides are of one version: the server starts the program.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

LONGEST_BYTES = 4_194_304
"""Of a message. A stretch of speech is half a minute, so what an engine says of one is far less."""
_HEAD = struct.Struct("!IB")


class Kind(IntEnum):
    """What a message is."""

    JOB = 1
    """To the program: transcribe the file that follows. ``Job``."""
    FILE = 2
    """To the program: a piece of the file; an empty one is its end."""
    PROGRESS = 3
    """To the server: it works. ``Progress``."""
    SPAN = 4
    """To the server: what was heard in a stretch of speech. ``HeardSpan``."""
    DONE = 5
    """To the server: that was all. ``Done``."""
    FAILED = 6
    """To the server: there is no transcript. ``Failed``."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be transcribed."""

    language: str | None
    folder: str
    """Where the program may keep the file while it works; nothing of it stays."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    percent: int
    """Of the speech in the file."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished job took."""

    language: str | None
    """What the engine took it for."""
    timing: str
    work_ms: int
    """Of CPU, in the program."""
    speech_ms: int
    """What the engine was given."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no transcript."""

    error: str
    is_lasting: bool
    """Whether it will fail the next time too."""


class BrokenOff(Exception):
    """The other side has ended, or says what cannot be: there is nothing more to be read."""


def message(kind: Kind, content: bytes) -> bytes:
    """Return a message as it is sent."""
    return _HEAD.pack(len(content), kind) + content


def write(pipe: BinaryIO, kind: Kind, content: bytes) -> None:
    """Write a message, all of it; raise OSError if the other side has ended."""
    pipe.write(message(kind, content))
    pipe.flush()


def read_head(head: bytes) -> tuple[int, Kind]:
    """Return the length and the kind that a head says; raise BrokenOff."""
    length, number = _HEAD.unpack(head)
    if length > LONGEST_BYTES or number not in Kind._value2member_map_:
        raise BrokenOff("a message that cannot be")
    return length, Kind(number)


HEAD_BYTES = _HEAD.size


def read(pipe: BinaryIO) -> tuple[Kind, bytes] | None:
    """Return the next message; None: the other side has ended between two. Raise BrokenOff."""
    head = pipe.read(HEAD_BYTES)
    if not head:
        return None
    if len(head) < HEAD_BYTES:
        raise BrokenOff("it ended within a message")
    length, kind = read_head(head)
    content = pipe.read(length)
    if len(content) < length:
        raise BrokenOff("it ended within a message")
    return kind, content
