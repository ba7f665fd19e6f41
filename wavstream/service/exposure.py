"""Who can reach the server, by its settings, and which keys will not do then.

Whoever can send requests can try keys. On loopback that is who has an account on this machine, and a weak key is a
matter of taste. The server counts as reachable by others if

1. it listens on an address that is not loopback, or on a unix socket, which is there for a proxy,
2. its links lead elsewhere (``public_url``, ``url``): then a proxy passes on what comes there, or
3. it trusts proxies (``trusted_proxies``), which are there for others.

A key that was given while nobody else could reach the server is in the catalog still. So whether it is weak is noted
beside its digest, and asked at each start. Of keys of earlier versions that is not known: they count as strong.

A unix socket is not loopback for callers without a key either: its peers have no address, and a proxy that is set up
with a line of its manual asks for ``localhost`` and adds no header, so nothing would tell its callers from ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from urllib.parse import urlsplit

from pydantic import SecretStr

from wavstream.access.origin import is_loopback
from wavstream.errors import OperatorError
from wavstream.model.app import MAIN_KEY, AppKey, app_name
from wavstream.model.weak_keys import weakness
from wavstream.settings import OLDER_VARIABLES, Settings, variable


def listens_beyond_loopback(settings: Settings) -> list[str]:
    """Return the hosts that others may reach (rule 1), and whose callers always need a key."""
    return [host for host in settings.hosts if not is_this_machine(host)]


def is_reachable(settings: Settings) -> bool:
    """Return whether others than those on this machine may send requests."""
    links = (urlsplit(url).hostname for url in (settings.public_url, settings.url) if url)
    if listens_beyond_loopback(settings) or settings.trusted_proxies:
        return True
    return not all(is_this_machine(host or "") for host in links)


def refuse_weak_keys(settings: Settings) -> None:
    """Raise OperatorError, with a line for each, if keys are set that others can guess, and others can reach us."""
    if is_reachable(settings) and (lines := [*_weak(settings)]):
        raise OperatorError("\n".join(lines))


def refuse_weak_rows(settings: Settings, keys: Iterable[AppKey], *, now: datetime) -> None:
    """Raise OperatorError, with a line for each, if apps have such keys from a time when nobody could reach us."""
    if is_reachable(settings) and (lines := [_mend(key) for key in keys if key.is_weak and key.is_good(now)]):
        raise OperatorError("\n".join(lines))


def _mend(key: AppKey) -> str:
    app = app_name(key.app_id)
    command = f"apps rotate-key {app}" if key.name == MAIN_KEY else f"keys revoke {app} {key.name}"
    return (
        f"the key {key.name} of app {app} is easy to guess, and others than this machine can reach the server: run "
        f"'wavstream {command}'"
    )


def _weak(settings: Settings) -> Iterator[str]:
    for name, secret in _secrets(settings):
        if secret is not None and (reason := weakness(secret.get_secret_value().strip())) is not None:
            names = " or ".join(filter(None, (variable(name), OLDER_VARIABLES.get(name))))
            yield (
                f"{names} (in a file: {name}): it {reason}, and others than this machine can reach the server: take "
                "another, such as 'openssl rand -hex 32' makes"
            )


def _secrets(settings: Settings) -> Iterator[tuple[str, SecretStr | None]]:
    """Yield the secrets that open something here; what we show to others is theirs to judge."""
    yield "api_key", settings.api_key
    yield "admin_api_key", settings.admin_api_key
    yield "master_key", settings.master_key
    yield "twilio.auth_token", settings.twilio.auth_token
    if settings.audiohook.client_secret is None:
        yield "audiohook.api_key", settings.audiohook.api_key
    yield "audiohook.client_secret", settings.audiohook.client_secret


def is_this_machine(host: str) -> bool:
    """Return whether a host is loopback, by its address or as ``localhost``."""
    return host.lower() == "localhost" or is_loopback(host)
