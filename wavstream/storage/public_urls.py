"""The address that a recording is published with: ours, or that of a store which others keep."""

from __future__ import annotations

from dataclasses import dataclass

from wavstream.model.recording import Recording
from wavstream.storage.links import LinkKeys


@dataclass(frozen=True, slots=True)
class PublicUrls:
    """Makes addresses; the same for the whole life of a recording."""

    links: LinkKeys
    public_url: str
    """What our own links start with, without a slash at the end."""
    store_url: str | None = None
    """What the addresses of object keys start with in a store that serves the files; None: we serve them."""

    def of(self, recording: Recording) -> str:
        """The absolute address of the recording's file."""
        if self.store_url is not None:
            return f"{self.store_url}/{recording.object_key}"
        return self.public_url + self.links.capability_path(recording)
