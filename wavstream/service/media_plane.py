"""The media plane, put together from the settings, the access rules and the sessions."""

from __future__ import annotations

from collections.abc import Callable

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.twilio_signature import TwilioAccount
from wavstream.dialects.registry import DIALECTS
from wavstream.media.endpoint import MediaEndpoint, MediaLimits
from wavstream.sessions.registry import Sessions
from wavstream.settings import Settings


def media_endpoint(
    settings: Settings, *, access: Authenticator, known_apps: AppCache, sessions: Sessions, now_us: Callable[[], int]
) -> MediaEndpoint:
    """Return what every media WebSocket shares."""
    media = settings.media
    return MediaEndpoint(
        dialects=DIALECTS,
        authenticator=access,
        app_cache=known_apps,
        sessions=sessions,
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
    """Return whose signature opens streams; None: nobody's."""
    twilio = settings.twilio
    if twilio.auth_token is None:
        return None
    token = twilio.auth_token.get_secret_value()
    return TwilioAccount(auth_token=token, app_id=twilio.app, public_url=settings.base_url)
