"""A tenant, and where it wants to be told what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wavstream.model.options import RecordingOptions

DEFAULT_APP = "default"
"""The app of those who run wavstream for themselves."""
MAIN_KEY = "main"
"""The name of the key that an app is added with."""


def app_id_of(name: str, generation: int) -> str:
    """Return the id of the app of that name, the first of which has its name for an id.

    No name has a dot. So an app whose name was used before has another id than that one, and what belongs to the id
    (rows, sessions, journals, tokens, signing keys) is not its own.
    """
    return name if generation == 1 else f"{name}.{generation}"


def app_name(app_id: str) -> str:
    """Return the name of the app: what its callers, and everybody else outside, know it by."""
    return app_id.partition(".")[0]


def app_generation(app_id: str) -> int:
    """Return which of the apps of its name this is: the first is 1."""
    return int(app_id.partition(".")[2] or 1)


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
    """Who owns sessions and recordings. Its keys are kept apart, hashed."""

    id: str
    """Its name, with a generation where an app of that name was removed before: see ``app_id_of``."""
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

    @property
    def name(self) -> str:
        """What it is called."""
        return app_name(self.id)

    def options(self, server: RecordingOptions) -> RecordingOptions:
        """Return the options of a recording of which nothing else is said; ``server`` are the server's."""
        hours = {} if self.retention_hours is None else {"retention_hours": self.retention_hours}
        return server.changed({**self.recording, **hours})


@dataclass(frozen=True, slots=True)
class AppKey:
    """One key of an app, without the key itself."""

    id: str
    """What stream tokens and listeners carry that it opened."""
    app_id: str
    name: str
    """Tells the keys of an app apart."""
    key_lookup: str = field(repr=False)
    key_hash: str = field(repr=False)
    created_at: datetime
    """Aware, UTC."""
    expires_at: datetime | None = None
    """None: it does not expire."""
    is_weak: bool = False
    """Whether it is easy to guess; of one that an earlier version kept that is not known."""

    def is_good(self, now: datetime) -> bool:
        """Return whether it has not expired."""
        return self.expires_at is None or now < self.expires_at
