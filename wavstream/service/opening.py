"""The opener that the settings choose, and what it is asked for the stream of a recording."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from wavstream.dialects.freeswitch import AudioForkDialect, AudioStreamDialect
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import OperatorError
from wavstream.model.app import app_name
from wavstream.model.recording import Recording
from wavstream.sessions.openers.ari import WHOLE_ID, AriOpener
from wavstream.sessions.openers.ari_link import AriLink
from wavstream.sessions.openers.base import Mix, Opener, OpenRequest
from wavstream.sessions.openers.esl import UUID_AT_THE_END, EslOpener, SilencePlayback, StreamCommand
from wavstream.sessions.openers.permission import OnlyFor
from wavstream.sessions.openers.switch_link import SwitchLink
from wavstream.sessions.openers.webhook import WebhookOpener
from wavstream.settings import OpenerSettings, Settings
from wavstream.webhooks.signing import secret_key, signed_headers

_FACTORY_PASSWORD = "ClueCon"
_DIALECT_OF: Mapping[str, str] = {
    StreamCommand.AUDIO_STREAM: AudioStreamDialect.name,
    StreamCommand.AUDIO_FORK: AudioForkDialect.name,
}
"""The dialect of the module, by its command."""

MakeToken = Callable[[str, str, datetime], str]
"""Makes a stream token, from (app id, session id, its end)."""


class OpenRequests:
    """Makes what an opener is asked: the address and the token that the media server has to use."""

    def __init__(self, settings: Settings, *, make_token: MakeToken, now: Callable[[], datetime]) -> None:
        self._media_url = f"{settings.media_url}/media/{settings.opener.dialect}"
        self._ttl = timedelta(seconds=settings.start_wait_s)
        self._make_token = make_token
        self._now = now

    def make(self, recording: Recording) -> OpenRequest:
        """Return the request for a stream of the recording's session."""
        app_id, session_id, expires_at = recording.app_id, recording.session_id, self._now() + self._ttl
        return OpenRequest(
            app_id=app_name(app_id),
            session_id=session_id,
            recording_id=recording.id,
            media_url=f"{self._media_url}/{quote(session_id, safe='')}",
            stream_token=self._make_token(app_id, session_id, expires_at),
            expires_at=expires_at,
        )


async def make_opener(
    settings: Settings,
    closing: AsyncExitStack,
    *,
    now: Callable[[], datetime],
    is_only_app: Callable[[str], Awaitable[bool]],
) -> Opener | None:
    """Make the opener that the settings choose, ended with ``closing``; None: nobody is asked. Raises OperatorError.

    ``is_only_app`` tells whether there is no other app than this one.
    """
    chosen = settings.opener
    if chosen.kind == "none" or not settings.media_url:
        return None
    if chosen.kind != "ari":  # which gives no URL
        _check_dialect(chosen)
    opener = await _MAKERS[chosen.kind](chosen, closing, now)
    # Whoever listens at the webhook is told the app; a switch knows whose a channel is only by a variable.
    cannot_tell = chosen.kind != "webhook" and chosen.owner_variable is None
    return OnlyFor(opener, apps=chosen.apps, is_only_app=is_only_app if cannot_tell else None)


def _check_dialect(chosen: OpenerSettings) -> None:
    """Raise OperatorError if the dialect does not exist, or is not the one of FreeSWITCH's module."""
    where = f"WAVSTREAM_OPENER__DIALECT (in a file: opener.dialect): {chosen.dialect!r}"
    if chosen.dialect not in DIALECTS:
        raise OperatorError(f"{where}: there is no such dialect; there are: {', '.join(sorted(DIALECTS))}")
    if chosen.kind == "esl" and chosen.dialect != (fitting := _DIALECT_OF[chosen.command]):
        raise OperatorError(
            f"{where}: is not what {chosen.command} speaks; set it to {fitting}, or WAVSTREAM_OPENER__COMMAND to the "
            "command of the other module"
        )


async def _webhook(chosen: OpenerSettings, closing: AsyncExitStack, now: Callable[[], datetime]) -> Opener:
    url = _url(chosen, "the opener webhook has to know where to post to")
    try:
        keys = [] if chosen.secret is None else [secret_key(chosen.secret.get_secret_value())]
    except ValueError as error:
        raise OperatorError(f"WAVSTREAM_OPENER__SECRET: {error}") from None

    def sign(message_id: str, body: bytes) -> Mapping[str, str]:
        return signed_headers(message_id, body, keys, now())

    return await closing.enter_async_context(WebhookOpener(url=url, sign=sign))


def _url(chosen: OpenerSettings, why: str) -> str:
    """Return the address that a setting has; raise OperatorError if it has none, or none that can be asked."""
    if chosen.url is None:
        raise OperatorError(f"WAVSTREAM_OPENER__URL is missing: {why}")
    parts = urlsplit(chosen.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OperatorError("WAVSTREAM_OPENER__URL (in a file: opener.url): must be http:// or https:// and a host")
    return chosen.url


async def _esl(chosen: OpenerSettings, closing: AsyncExitStack, _now: Callable[[], datetime]) -> Opener:
    password = _FACTORY_PASSWORD if chosen.password is None else chosen.password.get_secret_value()
    link = await closing.enter_async_context(
        SwitchLink(host=chosen.host, port=chosen.port, password=password, user=chosen.user)
    )
    return EslOpener(
        link,
        command=StreamCommand(chosen.command),
        mix=Mix(chosen.mix),
        rate_hz=chosen.rate,
        silence=SilencePlayback(chosen.silence),
        channel=chosen.channel or UUID_AT_THE_END,
        owner_variable=chosen.owner_variable,
    )


async def _ari(chosen: OpenerSettings, closing: AsyncExitStack, _now: Callable[[], datetime]) -> Opener:
    url = _url(chosen, "the opener ari has to know where Asterisk's ARI is, such as http://10.0.0.5:8088/ari")
    if chosen.user is None or chosen.password is None:
        raise OperatorError("WAVSTREAM_OPENER__USER or WAVSTREAM_OPENER__PASSWORD is missing: of a user in ari.conf")
    link = AriLink(url=url, user=chosen.user, password=chosen.password.get_secret_value(), app=chosen.app)
    opener = AriOpener(
        link,
        connection=chosen.connection,
        mix=Mix(chosen.mix),
        rate_hz=chosen.rate,
        channel=chosen.channel or WHOLE_ID,
        owner_variable=chosen.owner_variable,
        gives_token=chosen.token_in_uri,
    )
    await closing.enter_async_context(link)
    return await closing.enter_async_context(opener)


_MAKERS: Mapping[str, Callable[[OpenerSettings, AsyncExitStack, Callable[[], datetime]], Awaitable[Opener]]] = {
    "webhook": _webhook,
    "esl": _esl,
    "ari": _ari,
}
