"""What the HTTP plane is handed by whoever composes the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry

from wavstream.access.origin import Networks
from wavstream.catalog.dead_letters import DeadLetters
from wavstream.catalog.pages import Page
from wavstream.conversion.conversions import Conversions
from wavstream.listening.listener import Listener
from wavstream.model.call import CallFacts
from wavstream.model.hold import LegalHold
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.model.session import SessionView
from wavstream.storage.links import LinkKeys
from wavstream.storage.local import LocalStorage


class Commands(Protocol):
    """What can be asked of sessions and recordings; all of it within one app. What is another's is NotFound."""

    async def start(
        self,
        *,
        app_id: str,
        session_id: str,
        options: RecordingOptions,
        idempotency_key: str | None,
        request_digest: str,
    ) -> Recording:
        """Start a recording; a key seen before with the same digest gives that recording, as it is now.

        Raises NotFound, Conflict, LimitReached, and InvalidFields for a key seen before with another digest.
        """

    async def stop(self, *, app_id: str, recording_id: str) -> Recording:
        """Stop it and wait, within bounds, until the file is there; raises NotFound, Conflict."""

    async def pause(self, *, app_id: str, recording_id: str) -> Recording:
        """Pause it; raises NotFound, Conflict."""

    async def resume(self, *, app_id: str, recording_id: str) -> Recording:
        """Go on; raises NotFound, Conflict."""

    async def get(self, *, app_id: str, recording_id: str) -> Recording:
        """Read it; raises NotFound."""

    async def list(
        self,
        *,
        app_id: str,
        session_id: str | None,
        status: Status | None,
        from_: str | None,
        to: str | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        cursor: str | None,
    ) -> Page[Recording]:
        """A page of those that match; raises InvalidFields for a cursor that is not one of ours."""

    async def delete(self, *, app_id: str, recording_id: str) -> None:
        """Erase its file; raises NotFound, Conflict while it runs or is held."""

    async def announce(self, *, app_id: str, session_id: str, call: CallFacts) -> SessionView:
        """Make a session known before its streams, or tell more of one; raises NotFound, LimitReached."""

    def sessions(self, app_id: str) -> Sequence[SessionView]:
        """Those that are live."""

    def session(self, app_id: str, session_id: str) -> SessionView:
        """One that is live; raises NotFound."""


class Authenticate(Protocol):
    """Who is asking."""

    def __call__(
        self, bearer: str | None, *, client_is_loopback: bool, app: str | None, address: str
    ) -> str | Awaitable[str]:
        """The id of the app whose API key this is, at once where it is known; raises Unauthenticated, LimitReached.

        ``app``: the app that the client says it is, where it says so. ``address`` of the client, for counting failures.
        """


class Holds(Protocol):
    """Legal holds; all of it within one app."""

    async def put(self, *, app_id: str, recording_id: str, hold: LegalHold) -> Recording:
        """Keep it from retention and erasure from ``hold.since``, which is now; raises NotFound, Conflict."""

    async def release(self, *, app_id: str, recording_id: str) -> Recording:
        """Leave it to retention and erasure again; raises NotFound."""


class MakeToken(Protocol):
    """Makes stream tokens."""

    def __call__(self, *, app_id: str, session_id: str | None, expires_at: datetime) -> str:
        """A token that opens media streams of the app, or of one session of it, until it expires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDependencies:
    """The collaborators and the limits of the HTTP plane."""

    commands: Commands
    holds: Holds
    dead_letters: DeadLetters
    authenticate: Authenticate
    links: LinkKeys
    url_of: Callable[[Recording], str]
    """The absolute address that a recording is published with."""
    find_recording: Callable[[str], Awaitable[Recording | None]]
    """The recording of any app, by its id: for links, which name no app."""
    storage: LocalStorage
    conversions: Conversions
    listen: Callable[[str], Listener | None]
    """A listener of a recording that runs, by its id, who has to leave again; None: it is not being made here."""
    make_token: MakeToken
    readiness: Callable[[], Awaitable[Sequence[str]]]
    """Why the server cannot take calls, a sentence each; empty: it can."""
    metrics_registry: CollectorRegistry
    now: Callable[[], datetime]
    """Aware, UTC."""
    public_url: str
    """What links start with, without a slash at the end."""
    options_of: Callable[[str], Awaitable[RecordingOptions]]
    """The options of an app's recordings, for what a request leaves out; raises DependencyError."""
    body_limit_bytes: int = 65_536
    page_limit: int = 200
    """The largest ``limit`` of a list."""
    link_ttl_s: int = 600
    """Life of the signed links that are redirected to."""
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` counts."""
