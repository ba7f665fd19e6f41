"""Genesys AudioHook, version 2 of its protocol: JSON for the session, binary messages for the audio.

1. ``open`` is answered at once, with the form of audio that is taken: Genesys Cloud gives up after 5 s. The answer
   waits for no file, and stands before the start of the stream.
2. Media time is the samples that came and the time that the sender says it left out: ``discarded`` and ``resumed`` move
   it on, so what was left out is silence of the right length. ``position`` in each message is compared with it.
3. From ``paused`` to ``resumed`` the session's recordings pause: an agent pauses so while a customer says the number of
   a card, and it is not for us to keep. Audio that comes in between all the same is dropped here, before anything is
   written. Every ``resumed`` ends the pause, also one that an earlier connection of the leg began.
4. A probe (``audiohook_open``, rule 2) is answered as any session is. It starts no stream, so it leaves nothing.
5. Every message of ours has ``parameters``, also where they are empty: without them a client throws the message away.
6. Messages have numbers that follow each other. A number that does not follow, or one of a message that we never sent,
   is a mistake of the protocol: before the start it is refused; after it the message is used and the mistake is
   counted, for the call goes on whatever its sender counts.
7. Nothing but these answers is ever sent: the peer takes no audio, and of more messages it complains with code 429.

Sources: https://developer.genesys.cloud/devapps/audiohook and ``purecloudlabs/audiohook-reference-implementation``
(``app/audiohook/src/server/serversessionimpl.ts``, ``app/audiohook/src/client/clientsessionimpl.ts``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.audiohook_open import FORMATS, SESSION_HEADER, read_duration_ns, read_open
from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.events import (
    Event,
    Frame,
    Ignored,
    Outgoing,
    Paused,
    Reason,
    Reply,
    Resumed,
    StreamStopped,
)
from wavstream.dialects.parameters import read_id, too_deep
from wavstream.errors import BadParameter, BadPayload
from wavstream.model.audio import Codec
from wavstream.model.ids import is_customer_id

_VERSION = "2"
_COMPLETED = frozenset({1000, 1001})
"""Close codes of a stream that ends because all is done."""
_END_SAMPLES = 2**40
"""Media time ends here, after four years: a sender's mistake must not make positions that nothing can count."""
_MAX_LEFT_OUT_NS = 86_400 * 1_000_000_000
_APART_NS = 20_000_000
"""A position this far from ours is still the same: some senders round to the frame that they are about to send."""
_MAX_SEQUENCE = 2**53
_MAX_INFO = 512

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_IGNORED = {reason: (Ignored(reason),) for reason in Reason}
_BEFORE_OPEN = frozenset({"ping", "paused", "resumed", "discarded", "update", "close"})


class AudioHookDialect(Dialect):
    """The dialect of one AudioHook session."""

    name: ClassVar[str] = "audiohook"
    refuses_in_words: ClassVar[bool] = True
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever runs the AudioHook client",
        rate="media.rate",
        little_endian="byteorder=little, in the URL or in customConfig",
        big_endian="byteorder=big, in the URL or in customConfig",
        codec="media.format",
        channels="media.channels",
        codecs={codec: name for name, codec in FORMATS.items()} | {Codec.L16BE: "L16"},
    )

    __slots__ = (
        "_client_seq",
        "_id",
        "_is_closed",
        "_is_open",
        "_is_paused",
        "_origin_ns",
        "_position",
        "_rate_hz",
        "_request",
        "_rest",
        "_seq",
        "_step_bytes",
    )

    def __init__(self, request: UpgradeRequest) -> None:
        self._request = request
        self._id = request.headers.get(SESSION_HEADER, "")
        self._seq = self._client_seq = 0
        """The numbers of the newest message of ours, and of theirs."""
        self._is_open = self._is_paused = self._is_closed = False
        self._step_bytes = 0  # 0: no stream has started
        self._rate_hz = self._position = self._origin_ns = 0
        self._rest = b""

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of a message; raise BadPayload or BadParameter, after the start only for deep JSON."""
        try:
            fields = _decode(message)
        except UnicodeDecodeError:
            return self._unreadable("not UTF-8")
        except RecursionError:
            raise too_deep() from None
        except msgspec.DecodeError as error:
            return self._unreadable(f"a JSON object is expected: {error}")
        kind = fields.get("type")
        if not isinstance(kind, str):
            return self._unreadable("a message with a type is expected")
        given = fields.get("parameters")
        parameters = given if isinstance(given, dict) else {}
        if not self._is_open:
            return self._before_open(kind, fields, parameters)
        if fields.get("id") != self._id:
            return _IGNORED[Reason.OTHER_ID]
        mistakes = () if self._follows(fields) else _IGNORED[Reason.BAD_SEQUENCE]  # rule 6
        return (*mistakes, *self._in_session(kind, fields, parameters))

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return a frame; bytes of an incomplete sample wait for the next message."""
        if not self._step_bytes:
            return () if self._is_open else _IGNORED[Reason.BEFORE_START]  # rule 4
        if self._is_paused:
            return _IGNORED[Reason.WHILE_PAUSED]  # rule 3
        payload = self._rest + payload if self._rest else payload
        samples, rest = divmod(len(payload), self._step_bytes)
        self._rest = payload[len(payload) - rest :] if rest else b""
        if not samples:
            return ()
        position = self._position
        self._position = min(position + samples, _END_SAMPLES)
        return (Frame(0, position, samples, payload[: len(payload) - rest] if rest else payload),)

    def farewell(self, code: int, reason: str) -> Outgoing | None:
        """Return ``disconnect``, unless the session is closed."""
        if self._is_closed:
            return None
        self._is_closed = True
        return self._message("disconnect", _ended("completed" if code in _COMPLETED else "error", reason))

    def turn_away(self, message: bytes, reason: str) -> Outgoing | None:
        """Return ``disconnect`` with the reason ``unauthorized``, as the answer to what should be an ``open``."""
        try:
            fields = _decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fields = {}
        said = fields.get("id")
        if not self._id and isinstance(said, str) and is_customer_id(said):
            self._id = said
        self._follows(fields)
        return self._message("disconnect", _ended("unauthorized", reason))

    def _before_open(self, kind: str, fields: Mapping[str, Any], parameters: Mapping[str, Any]) -> Sequence[Event]:
        """Open the session; raise BadParameter or BadPayload."""
        follows = self._follows(fields)
        if kind in _BEFORE_OPEN:
            return _IGNORED[Reason.BEFORE_START]
        if kind != "open":
            return _IGNORED[Reason.PEER_ERROR if kind == "error" else Reason.UNKNOWN_EVENT]
        if str(fields.get("version")) != _VERSION:
            raise BadParameter("version", f"{_VERSION} is accepted")
        if not follows:  # rule 6
            raise BadPayload("seq", "the first message has seq 1 and serverseq 0, and each seq is one more")
        said = read_id(fields, "id")
        if said is None or (self._id and said != self._id):
            raise BadParameter("id", "the one in the header Audiohook-Session-Id is accepted")
        self._id = said
        opening = read_open(parameters, said, self._request)
        self._is_open = True
        self._origin_ns = read_duration_ns(fields.get("position")) or 0
        media = [] if opening.offer is None else [opening.offer.echo()]
        opened = self._reply("opened", {"startPaused": False, "media": media})  # rule 1
        started = opening.started
        if started is None:  # rule 4
            return opened
        self._step_bytes, self._rate_hz = started.format.step_bytes, started.format.rate_hz
        return (*opened, started)

    def _in_session(self, kind: str, fields: Mapping[str, Any], parameters: Mapping[str, Any]) -> Sequence[Event]:
        match kind:
            case "ping":
                return (*self._checked(fields), *self._reply("pong", {}))
            case "paused":
                return (*self._checked(fields), *self._pause())
            case "resumed":
                return self._resume(fields, parameters)
            case "discarded":
                return self._leave_out(parameters)
            case "update":
                return self._reply("updated", {})
            case "error":
                return _IGNORED[Reason.PEER_ERROR]
            case "close":
                self._is_closed = True
                closed = self._reply("closed", {})
                return (*closed, StreamStopped()) if self._step_bytes else closed
            case "open":
                return _IGNORED[Reason.SECOND_START]
            case _:
                return _IGNORED[Reason.UNKNOWN_EVENT]

    def _pause(self) -> Sequence[Event]:
        """Pause, unless it is (rule 3); what waits of a sample is of before it."""
        was_paused, self._is_paused = self._is_paused, True
        self._rest = b""
        return (Paused(),) if self._step_bytes and not was_paused else ()

    def _resume(self, fields: Mapping[str, Any], parameters: Mapping[str, Any]) -> Sequence[Event]:
        """Go on, at the end of what was left out; where its length is not said, where the message itself stands."""
        self._is_paused = False
        left_out = self._leave_out(parameters)
        position_ns = read_duration_ns(fields.get("position"))
        if left_out and position_ns is not None:
            self._move_on(position_ns - self._origin_ns - self._position_ns())
        return (*left_out, Resumed()) if self._step_bytes else left_out

    def _leave_out(self, parameters: Mapping[str, Any]) -> Sequence[Event]:
        """Move media time on by what the sender left out (rule 2)."""
        left_out_ns = read_duration_ns(parameters.get("discarded"))
        if left_out_ns is None or left_out_ns > _MAX_LEFT_OUT_NS:
            return _IGNORED[Reason.BAD_DURATION]
        self._rest = b""
        self._move_on(left_out_ns)
        return ()

    def _move_on(self, by_ns: int) -> None:
        if 0 < by_ns <= _MAX_LEFT_OUT_NS:
            samples = (by_ns * self._rate_hz + 500_000_000) // 1_000_000_000
            self._position = min(self._position + samples, _END_SAMPLES)

    def _checked(self, fields: Mapping[str, Any]) -> Sequence[Event]:
        """Return the mistake if a message stands elsewhere than its samples do (rule 2)."""
        position_ns = read_duration_ns(fields.get("position"))
        if not self._step_bytes or self._is_paused or position_ns is None:
            return ()
        apart_ns = position_ns - self._origin_ns - self._position_ns()
        return _IGNORED[Reason.BAD_POSITION] if abs(apart_ns) > _APART_NS else ()

    def _position_ns(self) -> int:
        return self._position * 1_000_000_000 // self._rate_hz if self._rate_hz else 0

    def _follows(self, fields: Mapping[str, Any]) -> bool:
        """Take the message's number; return whether it is the next one, and acknowledges what was sent (rule 6)."""
        seq, server_seq = _number(fields.get("seq")), _number(fields.get("serverseq"))
        follows = seq == self._client_seq + 1 and server_seq is not None and server_seq <= self._seq
        if seq is not None:
            self._client_seq = seq
        return follows

    def _reply(self, kind: str, parameters: Mapping[str, object]) -> tuple[Event, ...]:
        return (Reply(self._message(kind, parameters)),)

    def _message(self, kind: str, parameters: Mapping[str, object]) -> Outgoing:
        """Return the next message of ours (rule 5)."""
        self._seq += 1
        fields = {
            "version": _VERSION,
            "type": kind,
            "id": self._id,
            "seq": self._seq,
            "clientseq": self._client_seq,
            "parameters": parameters,
        }
        return Outgoing(is_text=True, data=msgspec.json.encode(fields))

    def _unreadable(self, detail: str) -> Sequence[Event]:
        if not self._is_open:
            raise BadPayload("text", detail)
        return _IGNORED[Reason.NOT_JSON]


def _ended(reason: str, info: str) -> dict[str, object]:
    return {"reason": reason, "info": info[:_MAX_INFO]}


def _number(given: object) -> int | None:
    """Return a number of a message; None: it is none."""
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= 16:
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool):
        return None
    return given if 0 <= given < _MAX_SEQUENCE else None
