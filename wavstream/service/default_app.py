"""The app ``default``, whose key is a setting: for containers, which have no hand to type ``wavstream apps add``."""

from __future__ import annotations

from datetime import datetime

from wavstream.access.keys import hash_key, lookup, verify_key
from wavstream.catalog.catalog import Catalog
from wavstream.errors import OperatorError
from wavstream.model.app import DEFAULT_APP, App
from wavstream.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def make_default_app(settings: Settings, catalog: Catalog, *, master: bytes, now: datetime) -> None:
    """Make the app, or give it the key that is set now; raises OperatorError where anybody could record."""
    if settings.api_key is None:
        if settings.host not in LOOPBACK and not await catalog.apps.any():
            raise OperatorError(
                f"{settings.host} can be reached from other machines and there is no app, so anyone could "
                "record: add one with 'wavstream apps add', or set WAVSTREAM_API_KEY, or listen on 127.0.0.1"
            )
        return
    key = settings.api_key.get_secret_value()
    found = await catalog.apps.find_by_lookup(lookup(key, master))
    if found is not None and found[0].id == DEFAULT_APP and verify_key(key, found[1]):
        return
    if found is not None and found[0].id != DEFAULT_APP:
        raise OperatorError(f"WAVSTREAM_API_KEY is the key of app {found[0].id}: choose another for app default")
    secrets = {"key_hash": hash_key(key), "key_lookup": lookup(key, master)}
    if not await catalog.apps.add(App(DEFAULT_APP, created_at=now), **secrets):
        await catalog.apps.replace_key(DEFAULT_APP, **secrets)
