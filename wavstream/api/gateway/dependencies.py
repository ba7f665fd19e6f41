"""What the gateway's API is handed by whoever composes the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from wavstream.access.app_cache import AppCache
from wavstream.access.secret_box import SecretBox
from wavstream.catalog.apps import Apps
from wavstream.listening.listener import Listener
from wavstream.model.operation import Operation
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording


class Commands(Protocol):
    """The commands to sessions. All raise NotFound, Forbidden and LimitReached; what else, their errors tell."""

    async def start(
        self, *, app_id: str, session_id: str, command_uid: str | None, options: RecordingOptions
    ) -> Operation:
        """Start a recording."""

    async def stop(self, *, app_id: str, session_id: str, command_uid: str | None) -> Operation:
        """Stop it."""

    def newest(self, *, app_id: str, session_id: str) -> Recording | None:
        """The running recording that began last."""


class Authenticate(Protocol):
    """Who is asking."""

    def __call__(self, bearer: str | None, *, client_is_loopback: bool, app: str, address: str) -> str | Awaitable[str]:
        """The id of ``app`` if this is its key; raises Unauthenticated, LimitReached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDependencies:
    """The collaborators and the limits of the gateway's API."""

    commands: Commands
    authenticate: Authenticate
    apps: Apps
    known_apps: AppCache
    forget_app: Callable[[str], None]
    """Its key was changed: believe no older one."""
    listen: Callable[[str], Listener | None]
    """A listener of a recording that runs, by its id, who has to leave again; None: it is not being made here."""
    seal: SecretBox
    master: bytes = field(repr=False)
    admin_key: str | None = field(repr=False)
    """None: apps cannot be administered here."""
    now: Callable[[], datetime]
    """Aware, UTC."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    body_limit_bytes: int = 65_536
    strict_body: bool = True
    """Whether a field that is not known is refused."""
    requests_per_s: int = 10_000
    """Of one app, from one address."""
    stranger_requests_per_s: int = 10
    """From one address, without a valid key."""
    allow_http_webhooks: bool = False
    allow_localhost_webhooks: bool = False
