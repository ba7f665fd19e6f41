"""The APIs of vendors that are served beside ours: one line each, for what the vendor's folder and webhooks are."""

from __future__ import annotations

from wavstream.api.bird.mount import BIRD
from wavstream.api.facade import Facade
from wavstream.api.signalwire.mount import SIGNALWIRE
from wavstream.api.telnyx.mount import TELNYX
from wavstream.webhooks import gateway
from wavstream.webhooks.vocabularies import Vocabularies

FACADES: tuple[Facade, ...] = (TELNYX, BIRD, SIGNALWIRE)
"""No address of one begins like another's."""

VOCABULARIES = Vocabularies({"gateway": gateway.VOCABULARY} | {facade.name: facade.vocabulary for facade in FACADES})
"""In whose words apps are told; the gateway's, which came first, are those of apps that have not chosen."""
