"""The parts of the gateway's API, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.secret_box import SecretBox
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.catalog.catalog import Catalog
from wavstream.listening.listener import Listener
from wavstream.sessions.admission import NewRecordings
from wavstream.sessions.commands import Commands
from wavstream.sessions.gateway_commands import GatewayCommands, GatewaySettings
from wavstream.sessions.registry import Sessions
from wavstream.settings import Settings


def gateway_commands(
    settings: Settings, *, catalog: Catalog, commands: Commands, sessions: Sessions,
    new_recordings: NewRecordings, now_us: Callable[[], int],
) -> GatewayCommands:  # fmt: skip
    """The commands as the settings have them."""
    chosen = GatewaySettings(
        has_media_url=bool(settings.media_url), stop_is_heavy=settings.gateway.stop_cooldown == "heavy"
    )
    return GatewayCommands(
        commands=commands, sessions=sessions, catalog=catalog, new_recordings=new_recordings, now_us=now_us,
        settings=chosen,
    )  # fmt: skip


def gateway_parts(
    settings: Settings, *, commands: GatewayCommands, catalog: Catalog, access: Authenticator, known_apps: AppCache,
    listen: Callable[[str], Listener | None], seal: SecretBox, master: bytes, now: Callable[[], datetime],
) -> GatewayDependencies:  # fmt: skip
    """What the gateway's API needs."""
    admin_key = settings.admin_api_key
    return GatewayDependencies(
        commands=commands,
        access=access,
        apps=catalog.apps,
        known_apps=known_apps,
        listen=listen,
        seal=seal,
        master=master,
        admin_key=admin_key.get_secret_value() if admin_key is not None else None,
        now=now,
        clock=time.monotonic,
        body_limit_bytes=settings.limits.body_bytes,
        strict_body=settings.gateway.strict_body,
        requests_per_s=settings.gateway.requests_per_s,
        stranger_requests_per_s=settings.gateway.stranger_requests_per_s,
        allow_http_webhooks=settings.webhooks.allow_http,
        allow_localhost_webhooks=settings.webhooks.allow_localhost,
    )
