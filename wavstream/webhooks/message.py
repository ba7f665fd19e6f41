"""A message, ready to be sent: a fact in a vendor's words, signed with the secrets of its app. Made for each try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from wavstream.model.app import App
from wavstream.model.fact import Announcement
from wavstream.webhooks.registry import vocabulary_of
from wavstream.webhooks.signing import in_use, secret_key, signed_headers


@dataclass(frozen=True, slots=True)
class Message:
    """The parts of one POST request."""

    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class MessageBuilder:
    """How messages are made on this server."""

    open_secret: Callable[[str, str], str]
    """From a sealed secret and the id of its app to the secret; raises OperatorError."""

    def make(self, app: App, announcement: Announcement, now: datetime) -> Message | None:
        """Return the message as it is sent ``now``; None: the app wants none any more. Raise what rendering raises."""
        if app.webhook is None:
            return None
        fact = announcement.fact
        body = vocabulary_of(app).render(fact, announcement.sequence)
        keys = [secret_key(self.open_secret(each.sealed, app.id)) for each in in_use(app.webhook.secrets, now)]
        return Message(app.webhook.url, signed_headers(fact.id, body, keys, now), body)
