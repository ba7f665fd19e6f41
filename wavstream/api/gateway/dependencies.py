"""The collaborators and the limits that the composition root hands to the gateway's API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.keys import KeyDigests
from wavstream.access.secret_box import SecretBox
from wavstream.api.gateway.commands import GatewayCommands
from wavstream.catalog.apps import Apps
from wavstream.listening.live import Live
from wavstream.workers.shared_counts import SharedCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDependencies:
    """The collaborators and the limits of the gateway's API."""

    commands: GatewayCommands
    authenticator: Authenticator
    apps: Apps
    app_cache: AppCache
    live: Live
    secret_box: SecretBox
    digests: KeyDigests
    admin_key: str | None = field(repr=False)
    """None: apps cannot be administered here."""
    vendors: tuple[str, ...]
    """The names of the APIs at which an app may have account ids."""
    wrong_event: Callable[[str], str | None]
    """Returns what is wrong with the name of an event that an app asks for; None: nothing."""
    now: Callable[[], datetime]
    """Aware, UTC."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    take_request: Callable[[str, float], None] = lambda app_id, now: None
    """Counts a request of an app; raises TooSoon for one too many."""
    give_back_request: Callable[[str, float], None] = lambda app_id, now: None
    """Takes it back, for it counts where it is answered."""
    shared: SharedCounts | None = None
    """What other workers count; None: there are none."""
    body_limit_bytes: int = 65_536
    strict_body: bool = True
    """Whether a field that is not known is refused."""
    requests_per_s: int = 10_000
    """Of one app, from one address."""
    stranger_requests_per_s: int = 10
    """From one address, without a valid key."""
    allow_http_webhooks: bool = False
    allow_localhost_webhooks: bool = False
