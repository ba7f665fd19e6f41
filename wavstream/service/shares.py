"""How much each app gets of what all share: the pools that read for requests, conversions, and the quotas."""

from __future__ import annotations

from dataclasses import dataclass

from wavstream.conversion.conversions import RETRY_AFTER_S
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.settings import Settings
from wavstream.settings.tables import Limits
from wavstream.turns.fair_pool import FairPool, Places
from wavstream.workers.shared_counts import SharedCounts

DOWNLOAD_THREADS = 8
"""Each waits for the disk."""
STORED_THREADS = 16
"""Each waits for the store. One app has half of them at most, so that one whose reads hang leaves some to others."""
LIVE_READ_THREADS = 2
"""They decode, so more than there are cores gain nothing."""
SOUND_THREADS = 2
"""So too; a sound of ten minutes takes more than a second."""


@dataclass(frozen=True, slots=True)
class Pools:
    """The threads that read for requests."""

    downloads: FairPool
    """Finished files."""
    stored_downloads: FairPool
    """Finished files in a store: one that does not answer delays nobody who reads a file of this machine."""
    live_reads: FairPool
    """Files that grow."""
    sounds: FairPool
    """What is played to calls; each plays one sound at a time."""

    @classmethod
    def of(cls, limits: Limits, shared: SharedCounts | None = None) -> Pools:
        """Return the pools with their bounds; ``shared`` has what other workers count."""
        downloads = Places(in_all=limits.downloads, of_app=limits.downloads_per_app, setting="limits.downloads")
        ranges = Places(in_all=limits.live_ranges, of_app=limits.live_ranges_per_app, setting="limits.live_ranges")
        return cls(
            downloads=FairPool("download", threads=DOWNLOAD_THREADS, places=downloads, shared=shared),
            stored_downloads=FairPool(
                "stored-download",
                threads=STORED_THREADS,
                threads_of_app=STORED_THREADS // 2,
                places=downloads,
                shared=shared,
            ),
            live_reads=FairPool("live-read", threads=LIVE_READ_THREADS, places=ranges, shared=shared),
            sounds=FairPool("sound", threads=SOUND_THREADS),
        )

    async def stop(self) -> None:
        """End their threads."""
        await self.downloads.stop()
        await self.stored_downloads.stop(waits=False)
        await self.live_reads.stop()
        await self.sounds.stop()


def conversion_places(limits: Limits) -> Places:
    """Return how many conversions there may be."""
    return Places(
        in_all=limits.conversions,
        of_app=limits.conversions_per_app,
        setting="limits.conversions",
        retry_after_s=RETRY_AFTER_S,
    )


def quotas_of(settings: Settings, shared: SharedCounts | None = None) -> Quotas:
    """Return the quotas of all apps, with the limits that they share; ``shared`` has what other workers count."""
    table, limits = settings.quotas, settings.limits
    return Quotas(
        server={quota: getattr(limits, quota) for quota in Quota if quota in Limits.model_fields},
        defaults={quota: getattr(table, quota) for quota in Quota},
        streams_per_session=limits.streams_per_session,
        of_apps={app_id: own.model_dump(exclude_none=True) for app_id, own in table.apps.items()},
        shared=shared,
    )
