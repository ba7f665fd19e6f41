"""Bytes of one socket in, whole messages out: the only place that looks at WebSocket frames that arrive.

Two readers share the work. Nearly every frame that a media server sends is a whole message, masked, without reserved
bits and within the limit. Such a frame is taken apart right here, which costs a third of what the sans-IO core of
``websockets`` takes for it. Everything else (control frames, fragments, reserved bits and opcodes, unmasked or too
large frames) is handed to that core, byte for byte as it arrives, and the core decides. Five rules keep them apart:

1. The core only ever gets bytes of frames that are its own, so it stands at a frame boundary when the fast path runs.
   It gets the header first, so it refuses a frame that is too large without its payload.
2. While a message in fragments is unfinished, every frame is the core's: a whole message there is an error of the peer.
3. Once the core has seen a close frame or an error, it gets all that follows, and throws it away.
4. The core gets a frame when the messages before it have been taken, not earlier: if one of them makes us close the
   connection, the core must not have answered a close frame behind it.

Where binary messages are samples and nothing else, those of one size that stand in one read one behind the other are
given as one (``step_bytes``): what is done for a message is then done once for all of them, but for the mask.

No IO and no clock: how the bytes were cut into reads changes only how many messages are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from wavstream.dialects.events import MAX_JOINED

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask


class Kind(Enum):
    """What a message is."""

    TEXT = "text"
    BINARY = "binary"
    PING = "ping"
    PONG = "pong"
    CLOSE = "close"
    BROKEN = "broken"
    """No message: the peer broke the protocol. The core has its close frame ready, and nothing follows."""


Message = tuple[Kind, bytes, int]
"""A whole message or a control frame: its kind, its payload, and how many messages of one size that is. A plain tuple
is the cheapest value that there is."""

# Names of this module: reading a member of an Enum takes 0.07 us, and there would be one a frame.
TEXT, BINARY = Kind.TEXT, Kind.BINARY

_WHOLE_TEXT = 0x81
_WHOLE_BINARY = 0x82
_MASKED = 0x80
_SMALLEST_BYTES = 6
"""A header without an extended length, and its mask."""
_HEADER_BYTES = {126: 4, 127: 10}
"""By the length field; 2 for every other value. Without the mask."""
_CONTROL = {Opcode.PING: Kind.PING, Opcode.PONG: Kind.PONG, Opcode.CLOSE: Kind.CLOSE}


class FrameReader:
    """Takes what was read from the socket, and gives the messages in it."""

    __slots__ = (
        "_core",
        "_core_owed_bytes",
        "_fragmented",
        "_fragments",
        "_held",
        "_is_over",
        "_max_bytes",
        "_unfinished",
        "_whole",
        "frames",
        "step_bytes",
    )

    def __init__(self, core: ServerProtocol, *, max_message_bytes: int) -> None:
        self._core = core
        self._max_bytes = max_message_bytes
        self._held = bytearray()
        """What came of a frame that is not whole yet."""
        self._core_owed_bytes = 0
        """What is still to come of a frame that is the core's."""
        self._fragments: bytearray | None = None
        """What came of a message in fragments."""
        self._fragmented = BINARY
        """The kind of that message."""
        self._is_over = False
        """Whether rule 3 holds."""
        self._unfinished = False
        """Whether the next read goes on with something: then it is not for the fast path."""
        self._whole = 0
        """Messages that an earlier read began and a later one ended, and some more."""
        self.frames = 0
        """Frames that began, of any kind."""
        self.step_bytes = 0
        """Binary messages that are each a whole number of these may be joined; 0: none."""

    def feed(self, data: bytes) -> Iterable[Message]:
        """Return the messages that are complete with this read of the socket, in order.

        They are to be taken before the next read. Who does not take them all must ``discard``.
        """
        if self._unfinished:
            return self._read_on([], data)
        messages = []
        offset = 0
        end = len(data)
        while end - offset >= _SMALLEST_BYTES:
            head = data[offset]
            length = data[offset + 1] - _MASKED
            if length < 126:
                start = offset + 6
            elif length == 126 and end - offset >= 8:
                length = data[offset + 2] << 8 | data[offset + 3]
                start = offset + 8
            else:
                break
            stop = start + length
            if stop > end or length > self._max_bytes or length < 0:
                break
            if head == _WHOLE_BINARY:
                kind = BINARY
            elif head == _WHOLE_TEXT:
                kind = TEXT
            else:
                break
            payload = apply_mask(data[start:stop], data[start - 4 : start])
            joined = 1
            if kind is BINARY and stop != end and length and (step := self.step_bytes) and not length % step:
                # With vectors of numpy this is as fast for five messages, and a third faster for ten.
                header, head_bytes = data[offset : start - 4], start - offset
                pieces = [payload]
                while end - stop >= head_bytes + length and data.startswith(header, stop) and joined < MAX_JOINED:
                    start = stop + head_bytes
                    stop = start + length
                    pieces.append(apply_mask(data[start:stop], data[start - 4 : start]))
                    joined += 1
                payload = b"".join(pieces)
            self.frames += joined
            messages.append((kind, payload, joined))
            if stop == end:
                return messages
            offset = stop
        return self._read_on(messages, data[offset:])

    def unfinished(self) -> int | None:
        """Return a number that the message has which has begun and is not whole; None: there is none."""
        return self._whole if self._unfinished and not self._is_over else None

    def discard(self) -> None:
        """Read nothing from now on: the connection has failed."""
        self._held.clear()
        self._fragments = None
        self._is_over = self._unfinished = True

    def _read_on(self, messages: list[Message], data: bytes) -> Iterator[Message]:
        """Yield the messages, then those of any frame in any state, one frame at a time (rule 4)."""
        yield from messages
        held = self._held
        held += data
        while held:
            if self._is_over:  # rule 3
                self._core.receive_data(held)
                held.clear()
            elif self._core_owed_bytes:
                taken = held[: self._core_owed_bytes]
                del held[: len(taken)]
                self._core_owed_bytes -= len(taken)
                yield from self._feed_core(taken)
            else:
                start, stop = _extent(held)
                if not start:
                    break
                length = stop - start
                simple = held[0] in (_WHOLE_BINARY, _WHOLE_TEXT) and held[1] & _MASKED and length <= self._max_bytes
                if not simple or self._fragments is not None:  # rules 1 and 2
                    if held[0] & 0x0F == Opcode.CLOSE and self._fragments is not None:  # rule 5
                        self._fragments = self._core.current_size = None
                    self.frames += 1
                    self._core_owed_bytes = stop
                elif len(held) < stop:
                    break
                else:
                    self.frames += 1
                    kind = BINARY if held[0] == _WHOLE_BINARY else TEXT
                    payload = apply_mask(held[start:stop], held[start - 4 : start])
                    del held[:stop]
                    self._whole += 1
                    yield kind, payload, 1
        self._unfinished = bool(held) or self._core_owed_bytes > 0 or self._fragments is not None or self._is_over

    def _feed_core(self, data: bytearray) -> Iterator[Message]:
        core = self._core
        core.receive_data(data)
        for frame in core.events_received():
            assert isinstance(frame, Frame)
            control = _CONTROL.get(frame.opcode)
            if control is not None:
                self._whole += self._fragments is None  # one within a message leaves that unfinished
                yield control, bytes(frame.data), 1
                continue
            if frame.opcode is not Opcode.CONT:
                self._fragments = bytearray()
                self._fragmented = TEXT if frame.opcode is Opcode.TEXT else BINARY
            assert self._fragments is not None
            self._fragments += frame.data
            if frame.fin:
                payload, self._fragments = bytes(self._fragments), None
                self._whole += 1
                yield self._fragmented, payload, 1
        if core.parser_exc is not None:
            yield Kind.BROKEN, b"", 1
        if core.parser_exc is not None or core.close_rcvd is not None:
            self._is_over = True


def _extent(held: bytearray) -> tuple[int, int]:
    """Return where the payload of the first frame begins and ends; (0, 0) while its header is not whole."""
    if len(held) < 2:
        return 0, 0
    length = held[1] & 0x7F
    start = _HEADER_BYTES.get(length, 2)
    if length >= 126:
        length = int.from_bytes(held[2:start])
    if held[1] & _MASKED:
        start += 4
    if len(held) < start:
        return 0, 0
    return start, start + length
