"""Which facts are announced by a server that is set as it comes."""

from __future__ import annotations

from wavstream.service.webhook_service import wanted_facts
from wavstream.settings import WebhookSettings

USUAL = wanted_facts(WebhookSettings())
"""For ``Catalog.open`` and ``Catalog.over``."""
