"""A message, ready to be sent: a fact in a vendor's words, signed as that vendor signs. Made for each try.

1. A fact that names its own URL goes there. Any other goes to its app's target. Where that has a second URL, the two
   take turns: each is tried ``TRIES_PER_URL`` times before the other.
2. A link in a message is signed when the message is made, so it lives as long as the vendor says from each try on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import Announcement, Fact
from wavstream.webhooks.signing import in_use, secret_key
from wavstream.webhooks.vocabularies import Vocabularies
from wavstream.webhooks.vocabulary import Keys, Occasion, Vocabulary

TRIES_PER_URL = 3

FileUrl = Callable[[Mapping[str, Any], str, datetime, int], str]
"""From the document of a recording, a file format, the time and seconds: a link that opens the file so long."""


@dataclass(frozen=True, slots=True)
class Message:
    """The parts of one POST request."""

    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class MessageBuilder:
    """How messages are made on this server."""

    vocabularies: Vocabularies
    open_secret: Callable[[str, str], str]
    """From a sealed secret and the id of its app to the secret; raises OperatorError."""
    key_of: Callable[[str, str], bytes]
    """From the id of an app and the name of an API to the key that is the app's for that API's webhooks."""
    file_url: FileUrl

    def make(self, app: App | None, announcement: Announcement, now: datetime) -> Message | None:
        """Return the message as it is sent ``now``; None: nobody wants it any more. Raise what rendering raises."""
        fact = announcement.fact
        target = app.webhook if app is not None else None
        url = fact.url or (_turn(target, announcement.attempts) if target is not None else None)
        if url is None:
            return None
        words = self.vocabularies.of(fact, target)
        occasion = self.occasion(announcement, url=url, now=now)
        body = words.render(fact, occasion)
        return Message(url, words.sign(fact.id, body, self._keys(fact, target, words, now), occasion), body)

    def occasion(self, announcement: Announcement, *, url: str, now: datetime) -> Occasion:
        """Return what is known of the try that follows those there were."""
        return Occasion(
            sequence=announcement.sequence,
            attempt=announcement.attempts + 1,
            url=url,
            now=now,
            file_url=lambda recording, ext, ttl_s: self.file_url(recording, ext, now, ttl_s),  # rule 2
        )

    def _keys(self, fact: Fact, target: WebhookTarget | None, words: Vocabulary, now: datetime) -> Keys:
        if words.key_text is not None:
            return Keys(vendor=self.key_of(fact.app_id, self.vocabularies.name_of(fact, target)))
        sealed = in_use(target.secrets, now) if target is not None else ()
        return Keys(secrets=tuple(secret_key(self.open_secret(each.sealed, fact.app_id)) for each in sealed))


def _turn(target: WebhookTarget, failed: int) -> str:
    """Return the URL whose turn it is after so many tries (rule 1)."""
    urls = [target.url] if target.failover_url is None else [target.url, target.failover_url]
    return urls[failed // TRIES_PER_URL % len(urls)]
