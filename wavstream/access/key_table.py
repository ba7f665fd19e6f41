"""Who may come in, in memory: the keys of all apps, and which apps there are and were. Pure.

A server holds one of these and takes another when the catalog has changed. So to find a key costs a digest and a look
into a dictionary, whether there is one or not, and whatever the catalog does meanwhile.

Before the first app exists, callers on this machine are the app ``default`` without a key. That ends with the first
app, for good: to remove it does not bring it back.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from wavstream.catalog.app_keys import AccessRows
from wavstream.model.app import DEFAULT_APP, AppKey, app_generation, app_name

KEYLESS = ""
"""In the place of a key's id: there was none, and none was needed."""


class KeyTable:
    """All that the catalog said at one moment."""

    def __init__(self, rows: AccessRows) -> None:
        self.version = rows.version
        self._by_lookup = {key.key_lookup: key for key in rows.keys}
        self._by_id = {key.id: key for key in rows.keys}
        self._app_ids = rows.app_ids
        self._by_name = {app_name(app_id): app_id for app_id in rows.app_ids}
        self._removed = rows.removed
        self.is_open = not rows.app_ids and not rows.removed
        """Whether there never was an app, so that callers on this machine need no key."""

    def find(self, key_lookup: str) -> AppKey | None:
        """Return the key that has this look-up; it may have expired, and its hash has to be compared."""
        return self._by_lookup.get(key_lookup)

    def name_of(self, key_id: str) -> str | None:
        """Return the name that its app gave the key; None: there is no such key."""
        key = self._by_id.get(key_id)
        return None if key is None else key.name

    def rehashed(self, key: AppKey, key_hash: str) -> None:
        """Take another hash of a key that is the same."""
        if self._by_id.get(key.id) == key:
            self._by_id[key.id] = self._by_lookup[key.key_lookup] = replace(key, key_hash=key_hash)

    def is_good(self, key_id: str, now: datetime) -> bool:
        """Return whether what this key opened may stay open."""
        if key_id == KEYLESS:
            return self.is_open
        key = self._by_id.get(key_id)
        return key is not None and key.is_good(now)

    def has_app(self, app_id: str) -> bool:
        """Return whether the app is there, or is the one that needs no row."""
        return app_id in self._app_ids or (self.is_open and app_id == DEFAULT_APP)

    def was_removed(self, app_id: str) -> bool:
        """Return whether this app, of all those of its name, was removed."""
        return app_generation(app_id) <= self._removed.get(app_name(app_id), 0)

    def app_called(self, name: str) -> str | None:
        """Return the id of the app of that name; of one that nobody has added, its name. None: it was removed."""
        return self._by_name.get(name) or (None if name in self._removed else name)
