"""The app ``default``, whose key is a setting: for containers, where nobody types ``wavstream apps add``."""

from __future__ import annotations

from datetime import datetime

from wavstream.access.keys import hash_key, lookup, verify_key
from wavstream.access.origin import is_loopback
from wavstream.catalog.apps import Apps
from wavstream.errors import OperatorError
from wavstream.model.app import DEFAULT_APP, App
from wavstream.settings import Settings


async def make_default_app(settings: Settings, apps: Apps, *, master: bytes, now: datetime) -> None:
    """Make the app, or give it the key that is set now; raise OperatorError if anybody could record."""
    if settings.api_key is None:
        if settings.host != "localhost" and not is_loopback(settings.host) and not await apps.any():
            raise OperatorError(
                f"{settings.host} can be reached from other machines and there is no app, so anyone could "
                "record: add one with 'wavstream apps add', or set WAVSTREAM_API_KEY, or listen on 127.0.0.1"
            )
        return
    key = settings.api_key.get_secret_value()
    found = await apps.find_by_lookup(lookup(key, master))
    if found is not None and found[0].id == DEFAULT_APP and verify_key(key, found[1]):
        return
    if found is not None and found[0].id != DEFAULT_APP:
        raise OperatorError(f"WAVSTREAM_API_KEY is the key of app {found[0].id}: choose another for app default")
    secrets = {"key_hash": hash_key(key), "key_lookup": lookup(key, master)}
    if not await apps.add(App(DEFAULT_APP, created_at=now), **secrets):
        await apps.replace_key(DEFAULT_APP, **secrets)
