"""Parts of the server, put together from its settings: the media plane, the gateway's API, and the app ``default``."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from urllib.parse import urlsplit

import structlog

from wavstream.access.app_cache import AppCache
from wavstream.access.audiohook_signature import AudioHookClient
from wavstream.access.authenticator import Authenticator
from wavstream.access.connections import Connections, OpenConnections
from wavstream.access.keys import TOKEN_PREFIX, KeyDigests
from wavstream.access.secret_box import SecretBox
from wavstream.access.twilio_signature import TwilioAccount
from wavstream.api.facade import FacadeRules
from wavstream.api.gateway.commands import CommandRules, GatewayCommands
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.registry import VOCABULARIES
from wavstream.catalog.apps import Apps
from wavstream.dialects.base import Dialect
from wavstream.dialects.detection import AutoDialect
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import OperatorError
from wavstream.listening.live import Live
from wavstream.media.endpoint import MediaEndpoint, MediaLimits
from wavstream.media.refusals import RefusalLog
from wavstream.media.rounds import Rounds
from wavstream.media.routes import Route, Routes
from wavstream.model.app import DEFAULT_APP, App
from wavstream.model.hosts import UNIX
from wavstream.service.deadlines import HttpLimits
from wavstream.service.entrance import places_here
from wavstream.service.exposure import listens_beyond_loopback
from wavstream.service.front import Front
from wavstream.sessions.quotas import Quotas
from wavstream.sessions.registry import Sessions
from wavstream.settings import Settings
from wavstream.settings.tables import MediaSettings
from wavstream.workers.boundary import Boundary
from wavstream.workers.shared_counts import SharedCounts

_READ_BYTES = 256 * 1024
"""The most that the event loop reads of a socket at once."""

log = structlog.get_logger(__name__)


def media_endpoint(
    settings: Settings,
    *,
    quotas: Quotas,
    authenticator: Authenticator,
    app_cache: AppCache,
    sessions: Sessions,
    boundary: Boundary,
    now_us: Callable[[], int],
) -> MediaEndpoint:
    """Return what every media WebSocket shares."""
    media = settings.media
    limits = MediaLimits(
        max_message_bytes=media.max_message_bytes,
        max_text_bytes=media.max_text_bytes,
        handshake_timeout_s=media.handshake_timeout_s,
        ping_interval_s=media.ping_interval_s,
        ping_timeout_s=media.ping_timeout_s,
        close_timeout_s=media.close_timeout_s,
        introduction_timeout_s=media.introduction_timeout_s,
        early_audio_s=media.early_audio_s,
        message_timeout_s=media.message_timeout_s,
        frames_per_second=media.frames_per_second,
        bytes_per_second=media.bytes_per_second,
        reads_at_visits=media.reads_at_visits,
        # A tenth of the places is left to requests: who records has to be able to stop.
        sockets=min(settings.limits.streams, settings.http.connections * 9 // 10),
        sockets_here=places_here(settings.http) * 9 // 10,
    )
    return MediaEndpoint(
        routes=media_routes(settings.media),
        authenticator=authenticator,
        app_cache=app_cache,
        sessions=sessions,
        boundary=boundary,
        now_us=now_us,
        trusted_proxies=settings.trusted_proxies,
        allowed_origins=frozenset((*settings.allowed_origins, *_own_origins(settings))),
        key_header=media.key_header,
        quotas=quotas,
        limits=limits,
        rounds=Rounds(limits.watch_interval_s),
    )


def media_routes(media: MediaSettings) -> Routes:
    """Return the paths of media streams; raise OperatorError for a dialect that does not exist."""
    known: dict[str, type[Dialect]] = {**DIALECTS, AutoDialect.name: AutoDialect}
    routes: dict[str, Route] = {}
    for path, said in media.routes.items():
        named = (said.dialect, said.parameters.get("dialect", said.dialect))
        unknown = next((name for name in named if name not in known), None)
        if unknown is not None:
            raise OperatorError(
                f"media.routes {path}: there is no dialect {unknown!r}; there are: {', '.join(sorted(known))}"
            )
        routes[path] = Route(
            dialect=known[said.dialect], parameters=said.parameters, ping_interval_s=said.ping_interval_s
        )
    return Routes(DIALECTS, auto=AutoDialect, routes=routes)


def _own_origins(settings: Settings) -> Iterator[str]:
    """Yield what our own pages, and media servers that name us as their origin, call us."""
    for url in (settings.base_url, settings.media_url):
        authority = urlsplit(url or "").netloc.lower()
        if authority:
            yield from (f"http://{authority}", f"https://{authority}", authority)


def http_front(settings: Settings, *, refusal_log: RefusalLog, boundary: Boundary) -> Front:
    """Return what all HTTP connections share."""
    http, shared = settings.http, boundary.shared
    waiting = None if shared is None else shared.of("waiting", by_address=True)
    return Front(
        limits=HttpLimits(
            head_bytes=http.head_bytes,
            head_lines=http.head_lines,
            head_timeout_s=http.head_timeout_s,
            body_timeout_s=http.body_timeout_s,
            write_timeout_s=http.write_timeout_s,
        ),
        connections=Connections(per_address=http.waiting_per_address, shared=waiting),
        open=OpenConnections(None if shared is None else shared.of("connections")),
        refusal_log=refusal_log,
        trusted_proxies=settings.trusted_proxies,
        boundary=boundary,
        unanswered_bytes=http.head_bytes + settings.limits.body_bytes + 2 * _READ_BYTES,
    )


def twilio_account(settings: Settings) -> TwilioAccount | None:
    """Return whose signature opens streams; None: nobody's."""
    twilio = settings.twilio
    if twilio.auth_token is None:
        return None
    token = twilio.auth_token.get_secret_value()
    return TwilioAccount(auth_token=token, app_id=twilio.app, public_url=settings.base_url)


def audiohook_client(settings: Settings) -> AudioHookClient | None:
    """Return whose API key opens streams beside the keys of apps; None: nobody's."""
    hook = settings.audiohook
    if hook.api_key is None:
        return None
    secret = None if hook.client_secret is None else base64.b64decode(hook.client_secret.get_secret_value())
    api_key = hook.api_key.get_secret_value()
    return AudioHookClient(api_key=api_key, secret=secret, app=hook.app, public_url=settings.base_url)


def command_rules(settings: Settings) -> CommandRules:
    """Return what the settings say of the gateway's commands."""
    return CommandRules(has_media_url=bool(settings.media_url), stop_is_heavy=settings.gateway.stop_cooldown == "heavy")


def gateway_dependencies(
    settings: Settings,
    *,
    quotas: Quotas,
    commands: GatewayCommands,
    apps: Apps,
    app_cache: AppCache,
    authenticator: Authenticator,
    live: Live,
    secret_box: SecretBox,
    digests: KeyDigests,
    now: Callable[[], datetime],
    shared: SharedCounts | None,
) -> GatewayDependencies:
    """Return what the gateway's API needs."""
    admin_key = settings.admin_api_key
    return GatewayDependencies(
        commands=commands,
        authenticator=authenticator,
        apps=apps,
        app_cache=app_cache,
        live=live,
        secret_box=secret_box,
        digests=digests,
        admin_key=admin_key.get_secret_value() if admin_key is not None else None,
        vendors=tuple(VOCABULARIES),
        wrong_event=VOCABULARIES.wrong_event,
        now=now,
        clock=time.monotonic,
        take_request=quotas.take_request,
        give_back_request=quotas.give_back_request,
        shared=shared,
        body_limit_bytes=settings.limits.body_bytes,
        strict_body=settings.gateway.strict_body,
        requests_per_s=settings.gateway.requests_per_s,
        stranger_requests_per_s=settings.gateway.stranger_requests_per_s,
        allow_http_webhooks=settings.webhooks.allow_http,
        allow_localhost_webhooks=settings.webhooks.allow_localhost,
    )


def facade_rules(settings: Settings) -> FacadeRules:
    """Return what the settings say of the APIs of vendors."""
    return FacadeRules(
        refuse_unavailable=settings.facades.unavailable == "refuse",
        transcribes=settings.transcription.is_on,
        wait_for_calls=settings.facades.unknown_calls == "wait" or settings.opener.kind != "none",
        public_links=settings.facades.public_links,
    )


async def make_default_app(settings: Settings, apps: Apps, *, digests: KeyDigests, now: datetime) -> None:
    """Make the app, or give it the key that is set now; raise OperatorError if anybody could record."""
    if settings.api_key is None:
        if (open_to_others := listens_beyond_loopback(settings)) and not await apps.any():
            only_unix = all(each.startswith(UNIX) for each in open_to_others)
            others = "by way of a proxy" if only_unix else "from other machines"
            raise OperatorError(
                f"{', '.join(open_to_others)} can be reached {others} and there is no app, so anyone could "
                "record: add one with 'wavstream apps add', or set WAVSTREAM_API_KEY, or listen on 127.0.0.1"
            )
        return
    if settings.api_key.get_secret_value().startswith(TOKEN_PREFIX):
        raise OperatorError(f"WAVSTREAM_API_KEY begins with {TOKEN_PREFIX}, as stream tokens do: choose another key")
    kept = digests.kept(settings.api_key.get_secret_value())
    found = await apps.find_by_lookup(kept["key_lookup"])
    if found is not None and found[0].name != DEFAULT_APP:
        raise OperatorError(f"WAVSTREAM_API_KEY is the key of app {found[0].name}: choose another for app default")
    # A weak one is put again: the row may be of a version that did not note it.
    if found is not None and found[1] == kept["key_hash"] and not kept["is_weak"]:
        return
    app = await apps.find(DEFAULT_APP)
    if app is None:
        await apps.add(App(DEFAULT_APP, created_at=now), **kept)
    else:
        await apps.replace_key(app.id, **kept, now=now)
        # The same key, whose digest an earlier version made, has changed for nobody.
        if found is None:
            log.warning("default_key_replaced", app_id=app.id)
