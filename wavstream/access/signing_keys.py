"""The keys that webhooks of vendors are signed with: one for each app and vendor, made of the master secret.

Nothing of them is stored. So they are there as soon as the app is, the same on every start, and none is of use for
another app or another vendor. Whoever changes the master secret changes all of them.
"""

from __future__ import annotations

from wavstream.access.secret_box import derive


class SigningKeys:
    """Makes the keys of this server's apps."""

    def __init__(self, master: bytes) -> None:
        self._master = master

    def of(self, app_id: str, api: str) -> bytes:
        """Return the 32 bytes that are the app's for the webhooks of that API."""
        # Neither name has a space, so no two pairs make the same text.
        return derive(self._master, f"webhooks of {api} for {app_id}")
