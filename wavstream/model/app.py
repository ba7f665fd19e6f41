"""A tenant, and where it wants to be told what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wavstream.model.options import RecordingOptions

DEFAULT_APP = "default"
"""The app of those who run wavstream for themselves."""


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """One secret that webhooks are signed with."""

    sealed: str
    """Encrypted under the master key."""
    made_at: datetime
    """Aware, UTC."""


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """Where an app's webhooks go, and which."""

    url: str
    events: tuple[str, ...] = ()
    """The names of the events that it asked for, in the vendor's words, known to us or not; none: it did not choose."""
    vendor: str = "gateway"
    """In whose words it is told, by the name of a vendor; targets of before there was a choice have none."""
    secrets: tuple[SigningSecret, ...] = ()
    """The newest first; none: webhooks are not signed."""
    failover_url: str | None = None
    """Where they go while ``url`` does not take them; None: they wait."""


@dataclass(frozen=True, slots=True)
class App:
    """Who owns sessions and recordings. Its key is kept apart, hashed."""

    id: str
    created_at: datetime
    """Aware, UTC."""
    retention_hours: int | None = None
    """Hours that its recordings are kept; None: the server's setting."""
    webhook: WebhookTarget | None = None
    """None: it is told nothing."""
    rate_limit: int = 0
    """Requests to the gateway's API that it may make in a minute from one address; 0: as many as anybody."""
    recording: Mapping[str, Any] = field(default_factory=dict)
    """Options of its recordings, where they are not the server's: names and values of ``RecordingOptions``, as JSON has
    them. Valid."""
    vendor_accounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The account ids by which vendors know it, by the name of the vendor's API; none: any id is taken with its key."""

    def options(self, server: RecordingOptions) -> RecordingOptions:
        """Return the options of a recording of which nothing else is said; ``server`` are the server's."""
        return server.changed(self.recording)
