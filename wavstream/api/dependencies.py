"""The collaborators and the limits that the composition root hands to the HTTP plane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.origin import Networks
from wavstream.catalog.dead_letters import DeadLetters as DeadLetterPage
from wavstream.conversion.conversions import Conversions
from wavstream.listening.listener import Listener
from wavstream.model.fact import Announcement
from wavstream.model.recording import Recording
from wavstream.retention.holds import Holds
from wavstream.sessions.commands import Commands
from wavstream.storage.links import PublicUrls
from wavstream.storage.local import LocalStorage


class DeadLetters(Protocol):
    """The catalog, as far as it keeps what apps could not be told; all of it within one app."""

    async def dead_letters(self, app_id: str, *, limit: int, cursor: str | None) -> DeadLetterPage:
        """A page of them, the last given up first; raises InvalidFields for a cursor that is not one of ours."""

    async def dead_letter(self, app_id: str, fact_id: str) -> Announcement | None:
        """One of them."""

    async def replay(self, app_id: str, fact_ids: Collection[str] | None, now: datetime) -> int:
        """Try these again, or (None) the oldest, at most ``REPLAYED_AT_ONCE`` of them; how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDependencies:
    """The collaborators and the limits of the HTTP plane."""

    commands: Commands
    holds: Holds
    dead_letters: DeadLetters
    access: Authenticator
    apps: AppCache
    urls: PublicUrls
    find_recording: Callable[[str], Awaitable[Recording | None]]
    """Return the recording of any app, by its id: for links, which name no app."""
    storage: LocalStorage
    conversions: Conversions
    listen: Callable[[str], Listener | None]
    """Return a listener of a recording that runs, by its id, who has to leave again; None: it is not made here."""
    readiness: Callable[[], Awaitable[Sequence[str]]]
    """Return why the server cannot take calls, a sentence each; empty: it can."""
    metrics_registry: CollectorRegistry
    now: Callable[[], datetime]
    """Aware, UTC."""
    body_limit_bytes: int = 65_536
    page_limit: int = 200
    """The largest ``limit`` of a list."""
    link_ttl_s: int = 600
    """Life of the signed links that are redirected to."""
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` counts."""
