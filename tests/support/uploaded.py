"""A recording whose file has left the server for its store."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from tests.support.waiting import until
from wavstream.model.file_names import content_disposition
from wavstream.model.recording import Recording, StoredObject
from wavstream.service.service import Service
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import sidecar_key, waveform_key


async def uploaded(service: Service, recording: dict[str, Any]) -> Recording:
    """Return the row once the store has the file, and this machine has not."""
    row = await service.catalog.recordings.get(recording["id"])
    assert row is not None
    local = LocalStorage(service.folder.recordings)
    if getattr(service, "uploads", None) is None:  # nobody uploads by itself
        await _upload(service, local, row)

    async def is_there() -> Recording | None:
        now = await service.catalog.recordings.get(row.id)
        is_here = await asyncio.to_thread(local.path(row.object_key).exists)
        return None if now is None or now.stored is None or is_here else now

    found = await until(is_there)
    assert found is not None
    return found


async def _upload(service: Service, local: LocalStorage, row: Recording) -> None:
    store = service.stores.first
    assert store is not None
    said = {"Content-Type": "audio/wav", "Content-Disposition": content_disposition(row.file_name)}
    for key in (sidecar_key(row.object_key), waveform_key(row.object_key)):
        await store.put(key, local.path(key), attributes={})
    etag = await store.put(row.object_key, local.path(row.object_key), attributes=said)
    assert await service.catalog.uploads.finish(row.id, StoredObject(store.url, datetime.now(UTC), etag))
    await asyncio.to_thread(local.delete, row.object_key)
