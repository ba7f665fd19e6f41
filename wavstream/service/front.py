"""What all HTTP connections of a process share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import structlog

from wavstream.access.connections import Connections, OpenConnections
from wavstream.access.origin import Networks
from wavstream.media.refusals import RefusalLog
from wavstream.service.deadlines import HttpLimits, Refusal
from wavstream.workers.boundary import Alone, Boundary

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What all HTTP connections share."""

    limits: HttpLimits
    connections: Connections
    refusal_log: RefusalLog
    trusted_proxies: Networks = ()
    boundary: Boundary = field(default_factory=Alone)
    """To the workers that a connection may go to."""
    unanswered_bytes: int = 1024 * 1024
    """Of a connection that may go there: a request, and what a read or two may have behind it."""
    open: OpenConnections = field(default_factory=OpenConnections)
    """Every connection that is open, as its protocol; media WebSockets too."""
    refused: Counter[Refusal] = field(default_factory=Counter)
    """Connections that were not taken, or were ended for what their peers did, since the start of the process."""

    def refuse(self, refusal: Refusal, address: str | None) -> None:
        """Count it, and log it unless there were many."""
        self.refused[refusal] += 1
        if self.refusal_log.tells(f"connection_refused {refusal.value}"):
            log.info("connection_refused", reason=refusal.value, address=address)
