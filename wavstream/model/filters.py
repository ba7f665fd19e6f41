"""Which recordings of an app to list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from wavstream.model.recording import EndReason, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFilters:
    """The recordings to which everything said applies; None: do not ask. Times are aware."""

    session_id: str | None = None
    statuses: frozenset[Status] | None = None
    """None: all but the deleted ones."""
    ids: tuple[str, ...] | None = None
    from_: str | None = None
    """The calling party, exactly."""
    to: str | None = None
    """The called party, exactly."""
    party: str | None = None
    """The calling or the called party, exactly; with ``*`` at the end: its beginning."""
    text: str | None = None
    """Anywhere in the id, the session's id, or a party."""
    end_reasons: frozenset[EndReason] | None = None
    longer_than_s: float | None = None
    """At least so long; of recordings with a file, as the next."""
    shorter_than_s: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What its caller noted with it, exactly."""
    is_held: bool | None = None
    """Whether it is under a legal hold."""
    direction: str | None = None
    """``inbound`` or ``outbound``."""
    vendor_ids: Mapping[str, str | None] = field(default_factory=dict)
    """The vendor's ids of the call, exactly, by the vendor's names for them; None: the call has none of that name."""
    created_from: datetime | None = None
    """At or after this, as with the two below."""
    created_until: datetime | None = None
    """Before this, as with the two below."""
    started_from: datetime | None = None
    started_until: datetime | None = None
    ended_from: datetime | None = None
    ended_until: datetime | None = None
