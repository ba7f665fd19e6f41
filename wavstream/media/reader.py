"""Bytes of one socket in, whole messages out: the only place that looks at WebSocket frames that arrive.

Two readers share the work. Nearly every frame that a media server sends is a whole message, masked, without reserved
bits and within the limit; such a frame is taken apart right here, which costs a third of what the sans-IO core of
``websockets`` takes for it. Everything else (control frames, fragments, reserved bits and opcodes, unmasked or too
large frames) is handed to that core, byte for byte as it arrives, and the core decides. Three rules keep them apart:

1. The core only ever gets bytes of frames that are its own, so it stands at a frame boundary when the fast path runs.
   It gets the header first, so it refuses a frame that is too large without its payload.
2. While a message in fragments is unfinished, every frame is the core's: a whole message there is an error of the peer.
3. Once the core has seen a close frame or an error, it gets all that follows, and throws it away.

No IO and no clock: how the bytes were cut into reads changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

_WHOLE_TEXT = 0x81
_WHOLE_BINARY = 0x82
_MASKED = 0x80
_SMALLEST_BYTES = 6
"""A header without an extended length, and its mask."""
_HEADER_BYTES = {126: 4, 127: 10}
"""By the length field; 2 for every other value. Without the mask."""


class FrameReader:
    """Calls ``on_text`` and ``on_binary`` with whole messages, and ``on_control`` with control frames.

    ``on_core`` is called after the core was fed: it may have something to send, or have given up. An exception of a
    callback passes through ``feed``; after it only ``discard`` and ``feed`` make sense.
    """

    __slots__ = (
        "_core",
        "_core_owed_bytes",
        "_finished",
        "_fragments",
        "_held",
        "_max_bytes",
        "_on_binary",
        "_on_control",
        "_on_core",
        "_on_text",
        "_text_fragments",
        "_unfinished",
        "frames",
    )

    def __init__(
        self,
        core: ServerProtocol,
        *,
        max_message_bytes: int,
        on_text: Callable[[bytes], None],
        on_binary: Callable[[bytes], None],
        on_control: Callable[[Frame], None],
        on_core: Callable[[], None],
    ) -> None:
        self._core = core
        self._max_bytes = max_message_bytes
        self._on_text = on_text
        self._on_binary = on_binary
        self._on_control = on_control
        self._on_core = on_core
        self._held = bytearray()
        self._core_owed_bytes = 0
        self._fragments: bytearray | None = None
        self._text_fragments = False
        self._finished = False
        self._unfinished = False
        self.frames = 0
        """Frames that began, of any kind."""

    def feed(self, data: bytes) -> None:
        """Read what one read of the socket gave."""
        if self._unfinished:
            self._read_on(data)
            return
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
                self.frames += 1
                offset = stop
                self._on_binary(apply_mask(data[start:stop], data[start - 4 : start]))
            elif head == _WHOLE_TEXT:
                self.frames += 1
                offset = stop
                self._on_text(apply_mask(data[start:stop], data[start - 4 : start]))
            else:
                break
        if offset < end:
            self._read_on(data[offset:])

    def mute(self) -> None:
        """From now on messages are read, counted and dropped; control frames still count."""
        self._on_text = self._on_binary = _ignore

    def discard(self) -> None:
        """From now on nothing is read: the connection has failed."""
        self.mute()
        self._held.clear()
        self._fragments = None
        self._finished = self._unfinished = True

    def _read_on(self, data: bytes) -> None:
        """The same as ``feed``, for any frame in any state, and one frame at a time."""
        held = self._held
        held += data
        while held:
            if self._finished:
                self._core.receive_data(held)
                held.clear()
            elif self._core_owed_bytes:
                taken = held[: self._core_owed_bytes]
                del held[: len(taken)]
                self._core_owed_bytes -= len(taken)
                self._feed_core(taken)
            else:
                start, stop = _extent(held)
                if not start:
                    break
                length = stop - start
                simple = held[0] in (_WHOLE_BINARY, _WHOLE_TEXT) and held[1] & _MASKED and length <= self._max_bytes
                if not simple or self._fragments is not None:
                    self.frames += 1
                    self._core_owed_bytes = stop
                elif len(held) < stop:
                    break
                else:
                    self.frames += 1
                    deliver = self._on_binary if held[0] == _WHOLE_BINARY else self._on_text
                    payload = apply_mask(held[start:stop], held[start - 4 : start])
                    del held[:stop]
                    deliver(payload)
        self._unfinished = bool(held) or self._core_owed_bytes > 0 or self._fragments is not None or self._finished

    def _feed_core(self, data: bytearray) -> None:
        core = self._core
        core.receive_data(data)
        for frame in core.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._take_fragment(frame)
            else:
                self._on_control(frame)
        if core.parser_exc is not None or core.close_rcvd is not None:
            self._finished = True
        self._on_core()

    def _take_fragment(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._fragments = bytearray()
            self._text_fragments = frame.opcode is Opcode.TEXT
        assert self._fragments is not None
        self._fragments += frame.data
        if frame.fin:
            message, self._fragments = bytes(self._fragments), None
            deliver = self._on_text if self._text_fragments else self._on_binary
            deliver(message)


def _extent(held: bytearray) -> tuple[int, int]:
    """Where the payload of the frame at the start of ``held`` begins and ends; (0, 0) while its header is not whole."""
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


def _ignore(message: bytes) -> None:
    """A message of a stream that is over."""
