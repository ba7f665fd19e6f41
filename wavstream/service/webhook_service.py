"""What apps are told: the outbox's facts, rendered, signed and delivered for as long as the server runs."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from wavstream.access.secret_box import SecretBox
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.registry import VOCABULARIES
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.outbox import IsWanted
from wavstream.model.fact import ANNOUNCED, Fact, FactKind, recording_fact, stored_fact, transcribed_fact
from wavstream.model.origin import GATEWAY
from wavstream.model.recording import Recording, Status
from wavstream.settings import WebhookSettings
from wavstream.storage.links import PublicUrls
from wavstream.webhooks.app_queue import MAX_CONCURRENT_DELIVERIES, Delivery, system_clock
from wavstream.webhooks.client import WebhookClient
from wavstream.webhooks.dispatcher import Dispatcher
from wavstream.webhooks.message import MessageBuilder
from wavstream.webhooks.resolver import PublicResolver

STOP_S = 5.0
"""How long a shutdown waits for deliveries that are under way; the rest is delivered at the next start."""


def wanted_facts(settings: WebhookSettings) -> IsWanted:
    """Return what tells which facts are announced, as these settings have it for apps that name no events."""
    usual = set(VOCABULARIES[GATEWAY].usual)
    if settings.recording_started:
        usual.add(FactKind.RECORDING_STARTED)
    if settings.recording_failed:
        usual |= {FactKind.RECORDING_ABSENT, FactKind.RECORDING_FAILED}
    return functools.partial(VOCABULARIES.is_wanted, usual_of_first=usual)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return how receivers are connected to; the system's certificates take 50 ms to load."""
    return ssl.create_default_context()


class WebhookService:
    """The dispatcher of webhooks with all that it needs; lives on the event loop."""

    def __init__(
        self,
        catalog: Catalog,
        settings: WebhookSettings,
        *,
        secret_box: SecretBox,
        signing_keys: SigningKeys,
        public_urls: PublicUrls,
        now: Callable[[], datetime],
    ) -> None:
        self._catalog = catalog
        self._public_urls = public_urls
        self._now = now
        self._resolver = PublicResolver()
        connect = functools.partial(
            WebhookClient,
            resolver=self._resolver,
            tls=_tls(),
            allow_http=settings.allow_http,
            allow_localhost=settings.allow_localhost,
            max_connections=MAX_CONCURRENT_DELIVERIES,
        )
        self.messages = messages = MessageBuilder(
            vocabularies=VOCABULARIES,
            open_secret=lambda sealed, app_id: secret_box.open(sealed, owner=app_id),
            key_of=signing_keys.of,
            file_url=public_urls.signed,
        )
        delivery = Delivery(
            outbox=catalog.outbox, apps=catalog.apps, connect=connect, messages=messages, clock=system_clock(now)
        )
        self.dispatcher = Dispatcher(delivery)

    def start(self) -> None:
        """Deliver what was left and what comes; in one worker, for all."""
        self.dispatcher.start()

    def facts_of(self, recording: Recording) -> Sequence[Fact]:
        """Return what is to be announced when the recording is saved as it is."""
        if not self._is_told(recording) or recording.status not in ANNOUNCED or self._waits_for_store(recording):
            return ()
        url = self._public_urls.of(recording)
        return (recording_fact(recording, url=url, at=self._now()),)

    def facts_of_stored(self, recording: Recording) -> Sequence[Fact]:
        """Return what is to be announced when a recording's file has come to a store of ours."""
        if not self._is_told(recording):
            return ()
        url, now = self._public_urls.of(recording), self._now()
        stored = stored_fact(recording, url=url, at=now)
        return (recording_fact(recording, url=url, at=now), stored) if self._links_lead_there else (stored,)

    def facts_of_transcribed(self, recording: Recording, transcription: dict[str, Any]) -> Sequence[Fact]:
        """Return what is to be announced when a recording has a transcript, or will have none."""
        if not self._is_told(recording):
            return ()
        return (transcribed_fact(recording, transcription, url=self._public_urls.of(recording), at=self._now()),)

    @property
    def _links_lead_there(self) -> bool:
        """Whether the link of a recording opens nothing before its file is in our store."""
        return self._public_urls.store_url is not None and self._public_urls.behind is not None

    def _waits_for_store(self, recording: Recording) -> bool:
        return recording.status is Status.AVAILABLE and recording.stored is None and self._links_lead_there

    def _is_told(self, recording: Recording) -> bool:
        return recording.origin.status_url is not None or recording.app_id in self._catalog.apps.with_webhook

    async def stop(self) -> None:
        """End what is under way, within ``STOP_S``."""
        await self.dispatcher.stop(STOP_S)
        await self._resolver.close()
