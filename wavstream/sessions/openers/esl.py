"""The opener ``esl``: has FreeSWITCH stream a channel, by commands over its event socket.

The channel is the part of the session id that ``channel`` finds, by default the UUID at its end: gateways put the node
in front of it (``acW68-f47ac10b-...``). FreeSWITCH splits an API command at spaces, quotes and backslashes, and the
event socket splits at line ends, so an id or a URL with such a character is never put into a command.

The answers of ``mod_commands`` and of both modules mean:

- ``-ERR Operation Failed`` of a start: no such channel, or one that streams already, or one that is not answered yet;
  ``uuid_exists`` tells the first from the others. Of a stop: there is nothing to stop.
- ``-ERR no reply`` is what the event socket says for a command that printed nothing; a ``uuid_break`` that worked
  prints nothing.
"""

from __future__ import annotations

import asyncio
import re
import weakref
from enum import StrEnum

import structlog

from wavstream.errors import (
    FieldError,
    InvalidFields,
    NotFound,
    OpenerFailed,
    OperatorError,
    WavstreamError,
)
from wavstream.sessions.openers.base import Mix, OpenRequest, channel_pattern, variable_name
from wavstream.sessions.openers.switch_link import SwitchLink

UUID_AT_THE_END = r"(?:.*-)?(?P<channel>[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"
"""Finds the channel in a session id: the whole id must match, ``channel`` is the channel's UUID."""
_CHANNEL = re.compile(r"[A-Za-z0-9._:@+-]{1,256}")
_URL = re.compile(r"wss?://[A-Za-z0-9._~:/?@!&()*+,;=%\[\]-]{1,4000}")
"""What RFC 3986 allows, without ``'``, ``$`` and ``#``; the modules take 4,096 bytes."""
_ANSWER_SHOWN = 200

log = structlog.get_logger(__name__)


class StreamCommand(StrEnum):
    """The API command of the module that streams."""

    AUDIO_STREAM = "uuid_audio_stream"
    AUDIO_FORK = "uuid_audio_fork"


class SilencePlayback(StrEnum):
    """The parties that are played silence while the channel is streamed, so that the channel stays alive."""

    NONE = "none"
    ALEG = "aleg"
    """The channel's party; while it is bridged, it may not hear the other party."""
    BOTH = "both"
    """The channel's party and the one that it is bridged to."""


class EslOpener:
    """Starts and stops ``mod_audio_stream`` or ``mod_audio_fork`` on a channel."""

    def __init__(
        self,
        switch: SwitchLink,
        *,
        command: StreamCommand = StreamCommand.AUDIO_STREAM,
        mix: Mix = Mix.STEREO,
        rate_hz: int = 8_000,
        silence: SilencePlayback = SilencePlayback.NONE,
        channel: str = UUID_AT_THE_END,
        owner_variable: str | None = None,
    ) -> None:
        """Stream channels whose ``owner_variable`` is the id of the app that asks; None: any channel."""
        self._switch = switch
        self._command = command
        self._mix = mix
        self._rate_hz = rate_hz
        self._silence = silence
        self._channel = channel_pattern(channel)
        self._owner_variable = variable_name(owner_variable)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        """By channel: a stop waits until the start before it has finished."""

    @property
    def trouble(self) -> str | None:
        """Why FreeSWITCH cannot be asked now; None: it can."""
        return self._switch.trouble

    async def open(self, request: OpenRequest) -> None:
        """Start the stream, and return when FreeSWITCH says that it has been started."""
        channel = self._channel_of(request.session_id)
        url = self._url(request)
        rate = f"{self._rate_hz // 1_000}k" if self._rate_hz in (8_000, 16_000) else str(self._rate_hz)
        async with self._lock(channel):
            await self._check_owner(channel, request.app_id)
            answer = await self._switch.api(f"{self._command} {channel} start {url} {self._mix} {rate}")
            if not answer.startswith("+OK"):
                raise await self._not_started(channel, answer)
            await self._play_silence(channel)

    async def close(self, *, app_id: str, session_id: str) -> None:
        """Stop the stream and the silence; a channel that is gone or does not stream is left as it is."""
        channel = self._channel_of(session_id)
        async with self._lock(channel):
            self._check_allowed(await self._switch.api(f"{self._command} {channel} stop", repeatable=True))
            if self._silence is not SilencePlayback.NONE:
                both = " both" if self._silence is SilencePlayback.BOTH else ""
                self._check_allowed(await self._switch.api(f"uuid_break {channel}{both}", repeatable=True))

    async def _check_owner(self, channel: str, app_id: str) -> None:
        if self._owner_variable is None:
            return
        owner = await self._switch.api(f"uuid_getvar {channel} {self._owner_variable}")
        self._check_allowed(owner)
        if owner != app_id:  # another app's, or nobody's: for this app there is no such channel
            raise NotFound("the media server has no channel of this session")

    def _lock(self, channel: str) -> asyncio.Lock:
        return self._locks.setdefault(channel, asyncio.Lock())

    def _channel_of(self, session_id: str) -> str:
        found = self._channel.fullmatch(session_id)
        channel = found["channel"] if found else None
        if channel is None or not _CHANNEL.fullmatch(channel):
            detail = "does not name a channel of FreeSWITCH: the channel's UUID must be where the server expects it"
            raise InvalidFields((FieldError("/session_id", detail),))
        return channel

    def _url(self, request: OpenRequest) -> str:
        channels = 2 if self._mix is Mix.STEREO else 1
        query = f"rate={self._rate_hz}&channels={channels}"
        if request.stream_token is not None:
            query += f"&token={request.stream_token}"
        url = f"{request.media_url}{'&' if '?' in request.media_url else '?'}{query}"
        if not _URL.fullmatch(url):
            raise OperatorError("the media URL is not one that FreeSWITCH takes: ws or wss, no quotes or spaces")
        return url

    async def _not_started(self, channel: str, answer: str) -> WavstreamError:
        self._check_allowed(answer)
        if answer.startswith("-USAGE"):
            return OperatorError(f"FreeSWITCH's {self._command} is one that takes other arguments: {_shown(answer)}")
        if await self._switch.api(f"uuid_exists {channel}") == "false":
            return NotFound("the media server has no channel of this session")
        return OpenerFailed(
            f"FreeSWITCH did not start the stream ({_shown(answer)}): the channel streams already, or it is not "
            "answered yet; FreeSWITCH's log says which"
        )

    def _check_allowed(self, answer: str) -> None:
        if answer.lower().endswith("command not found!"):
            raise OperatorError(f"FreeSWITCH does not know {self._command}: load its module, or set the other command")
        if answer.startswith("-ERR permission denied"):
            raise OperatorError("FreeSWITCH does not let this user of the event socket run the command: allow it")

    async def _play_silence(self, channel: str) -> None:
        """Play silence to the chosen parties; a failure is logged only, since the stream is there without it too."""
        if self._silence is SilencePlayback.NONE:
            return
        try:
            answer = await self._switch.api(f"uuid_broadcast {channel} silence_stream://-1 {self._silence}")
        except (OpenerFailed, OperatorError) as error:
            answer = str(error)
        if not answer.startswith("+OK"):
            log.warning("opener_silence_not_played", channel=channel, reason=_shown(answer))


def _shown(answer: str) -> str:
    return answer[:_ANSWER_SHOWN]
