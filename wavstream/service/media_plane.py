"""The media plane, put together from the settings, the access rules and the sessions."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.twilio_signature import TwilioAccount
from wavstream.dialects.events import StreamStarted
from wavstream.dialects.registry import DIALECTS
from wavstream.media.endpoint import MediaCredentials, MediaEndpoint, MediaLimits
from wavstream.media.stream import StreamHandle, StreamSink
from wavstream.sessions.registry import Sessions
from wavstream.settings import Settings


def media_endpoint(
    settings: Settings, *, access: Authenticator, known_apps: AppCache, sessions: Sessions, now_us: Callable[[], int]
) -> MediaEndpoint:
    """What every media WebSocket shares."""

    async def authenticate(credentials: MediaCredentials) -> str:
        found = access.authenticate_stream(
            credentials.token,
            client_is_loopback=credentials.client_is_loopback,
            app=credentials.app,
            session_id=credentials.session_id,
            signed=credentials.signed,
            address=credentials.address,
        )
        app_id = await found if inspect.isawaitable(found) else found
        await known_apps.get(app_id)  # what the stream may ask for by and by has the app's options
        return app_id

    def open_stream(started: StreamStarted, handle: StreamHandle, app_id: str) -> StreamSink:
        return sessions.open_stream(started, app_id=app_id, handle=handle, now_us=now_us())

    media = settings.media
    return MediaEndpoint(
        dialects=DIALECTS,
        authenticate=authenticate,
        open_stream=open_stream,
        now_us=now_us,
        trusted_proxies=settings.trusted_proxies,
        limits=MediaLimits(
            max_message_bytes=media.max_message_bytes,
            handshake_timeout_s=media.handshake_timeout_s,
            ping_interval_s=media.ping_interval_s,
            ping_timeout_s=media.ping_timeout_s,
            close_timeout_s=media.close_timeout_s,
            frames_per_second=media.frames_per_second,
        ),
    )


def twilio_account(settings: Settings) -> TwilioAccount | None:
    """Whose signature opens streams; None: nobody's."""
    twilio = settings.twilio
    if twilio.auth_token is None:
        return None
    token = twilio.auth_token.get_secret_value()
    return TwilioAccount(auth_token=token, app_id=twilio.app, public_url=settings.base_url)
