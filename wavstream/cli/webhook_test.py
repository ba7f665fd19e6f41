"""``wavstream webhooks test``: a webhook that tells of nothing, sent now as real ones are, and what it was answered."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from rich.console import Console

from wavstream.access.secret_box import SecretBox
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.registry import VOCABULARIES
from wavstream.cli.apps import find_app
from wavstream.cli.data_folder import found_folder
from wavstream.errors import OperatorError, WavstreamError
from wavstream.model.app import App
from wavstream.model.fact import Announcement, recording_fact
from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.origin import NATIVE, Origin
from wavstream.model.recording import EndReason, Integrity, Receipt, Recording, Status
from wavstream.settings import Settings
from wavstream.webhooks.client import DeliveryFailed, WebhookClient
from wavstream.webhooks.message import TRIES_PER_URL, MessageBuilder
from wavstream.webhooks.resolver import PublicResolver

SESSION = "webhook-test"
"""The session of the recording that it tells of, by which a receiver knows that it is a test."""


class NotTaken(WavstreamError):
    """A receiver did not take the test: the text says why."""


async def send_test_webhook(app_name: str, settings: Settings, console: Console) -> None:
    """Send it to each URL of the app and print the answers; raise OperatorError, or NotTaken if one refused."""
    folder = found_folder(settings)
    async with folder.open_catalog() as catalog:
        app = await find_app(catalog, app_name)
        master = await folder.load_master_key(settings.master_key, catalog.app_keys)
    if app.webhook is None:
        raise OperatorError(f"app {app_name} has no webhook URL: it is set by POST /admin/apps/{app_name}")
    box = SecretBox(master)
    builder = MessageBuilder(
        vocabularies=VOCABULARIES,
        open_secret=lambda sealed, app_id: box.open(sealed, owner=app_id),
        key_of=SigningKeys(master).of,
        file_url=lambda recording, _ext, _now, _ttl_s: recording["url"],
    )
    refused = 0
    resolver = PublicResolver()
    async with WebhookClient(
        resolver=resolver,
        tls=ssl.create_default_context(),
        allow_http=settings.webhooks.allow_http,
        allow_localhost=settings.webhooks.allow_localhost,
        max_connections=1,
    ) as client:
        for turn in range(1 if app.webhook.failover_url is None else 2):
            now = datetime.now(UTC)
            message = builder.make(app, _announcement(app, now, base_url=settings.base_url, turn=turn), now)
            assert message is not None
            _say(f"POST {message.url}, {len(message.body)} bytes, as {app.webhook.vendor} signs them", console)
            try:
                await client.post(message.url, message.headers, message.body)
            except DeliveryFailed as error:
                refused += 1
                _say(f"  not taken: {error}", console)
            else:
                _say("  taken: answered 2xx", console)
    await resolver.close()
    if refused:
        raise NotTaken(f"{refused} of the URLs of app {app_name} did not take the test webhook")


def _announcement(app: App, now: datetime, *, base_url: str, turn: int) -> Announcement:
    """Return the news of a recording that there never was; every vendor has words for that."""
    recording_id = new_id()
    recording = Recording(
        id=recording_id,
        app_id=app.id,
        session_id=SESSION,
        status=Status.AVAILABLE,
        options=RecordingOptions(),
        object_key=f"{app.id}/{recording_id}.wav",
        file_name=f"{SESSION}.wav",
        created_at=now,
        end_reason=EndReason.STOPPED,
        started_at=now,
        ended_at=now,
        receipt=Receipt(8_000, 1, 8_000, "0" * 64, 16_080, integrity=Integrity(samples=8_000)),
        origin=Origin(api=NATIVE),
        updated_at=now,
    )
    fact = recording_fact(recording, url=f"{base_url}/files/{recording_id}", at=now)
    return Announcement(fact=fact, sequence=1, attempts=turn * TRIES_PER_URL, begun_at=now, error=None)


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
