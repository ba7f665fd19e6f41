"""The collaborators and the limits that the composition root hands to the HTTP plane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.console_pass import ConsolePasses
from wavstream.access.origin import Networks
from wavstream.api.fetches import Fetches
from wavstream.api.request_counts import RequestCounts
from wavstream.catalog.dead_letters import DeadLetters
from wavstream.catalog.recordings import Recordings
from wavstream.conversion.conversions import Conversions
from wavstream.conversion.waveforms import Waveforms
from wavstream.listening.live import Live
from wavstream.listening.live_pages import LivePages
from wavstream.model.recording import Recording
from wavstream.retention.holds import Holds
from wavstream.sessions.commands import Commands
from wavstream.sessions.quotas import Quotas
from wavstream.storage.links import PublicUrls
from wavstream.storage.local import LocalStorage
from wavstream.storage.open_files import OpenFiles
from wavstream.storage.stores import FinishedFiles
from wavstream.transcription.transcripts import Transcripts
from wavstream.turns.fair_pool import FairPool
from wavstream.webhooks.message import MessageBuilder
from wavstream.workers.boundary import Alone, Boundary


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDependencies:
    """The collaborators and the limits of the HTTP plane."""

    commands: Commands
    holds: Holds
    dead_letters: DeadLetters
    authenticator: Authenticator
    app_cache: AppCache
    urls: PublicUrls
    recordings: Recordings
    """The rows of all apps: links name no app."""
    storage: LocalStorage
    files: FinishedFiles
    open_files: OpenFiles
    conversions: Conversions
    downloads: FairPool
    """Reads the finished files that are sent."""
    stored_downloads: FairPool
    """Reads those of them that are in a store."""
    live: Live
    pages: LivePages
    """Who look at what is live."""
    waveforms: Waveforms
    check_missing: Callable[[Recording], Awaitable[None]]
    """Returns if a file that was not found here is missing (``MissingFiles.check``)."""
    messages: MessageBuilder
    """Makes the webhooks that are shown."""
    readiness: Callable[[], Awaitable[Sequence[str]]]
    """Return why the server cannot take calls, a sentence each; empty: it can."""
    metrics: Callable[[], Awaitable[bytes]]
    """Return what Prometheus reads."""
    now: Callable[[], datetime]
    """Aware, UTC."""
    console_passes: ConsolePasses | None = None
    """Of those who look at the console; None: there is no console."""
    boundary: Boundary = field(default_factory=Alone)
    """Says which worker has a request's session."""
    fetches: Fetches = field(default_factory=Fetches)
    """Tells the log who was given which file."""
    requests: RequestCounts = field(default_factory=RequestCounts)
    quotas: Quotas = field(default_factory=Quotas)
    losses: Callable[[], Sequence[str]] = tuple
    """Return what was lost since the start with folders that were removed, a sentence each."""
    uploads: Callable[[], Awaitable[Mapping[str, object] | None]] | None = None
    """Return what waits to be uploaded, or None where that cannot be told now; None: there is no store."""
    transcripts: Transcripts
    """Those of all apps."""
    body_limit_bytes: int = 65_536
    page_limit: int = 200
    """The largest ``limit`` of a list."""
    link_ttl_s: int = 600
    """Life of the signed links that are redirected to."""
    redirects_for: timedelta | None = None
    """Life of the addresses of the store to which a link to an uploaded file leads; None: it is sent from here."""
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` counts."""
    media_urls: Callable[[str | None], str | None] | None = None
    """Returns the start of media URLs at the node that has a session, or will; None: there is no cluster."""
    cors_origins: Sequence[str] = ()
    """Whose pages may read answers; ``*`` alone: everybody's."""

    def media_url_of(self, session_id: str | None) -> dict[str, str]:
        """Return where a session is streamed to, as a part of an answer; of a server that is alone it is known."""
        url = None if self.media_urls is None else self.media_urls(session_id)
        return {} if url is None else {"media_url": url}

    def reads(self, recording: Recording) -> FairPool:
        """Return the pool that reads the file of the recording."""
        return self.downloads if recording.stored is None else self.stored_downloads

    def check_disk_of(self, recording: Recording) -> None:
        """Raise Elsewhere if the recording's finished file lies on another node's disk."""
        if recording.stored is None:
            self.boundary.check_disk(recording.session_id)
