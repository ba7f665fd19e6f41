"""Which app is asking: the one place that decides it, for HTTP requests and media streams alike.

1. A key that was verified is remembered, as a keyed digest, for ``CACHE_TTL_S``; until then it is answered at once.
   After that its app is read from the catalog again, and only a key whose stored hash has changed is hashed again. So a
   command line that rotates or removes a key in another process takes effect within ``CACHE_TTL_S``, and ``forget`` at
   once.
2. A stream token says itself what it opens. That its app was removed is noticed within ``CACHE_TTL_S`` as well.
3. Hashing takes 50 ms of a core, so it runs on threads, a few at a time. Callers with the same key share one check. An
   address that sent too many wrong keys is refused before it costs anything.
4. Keys that are known, and stream tokens, cost microseconds. They are never refused for what else came from their
   address, which may be a proxy's.
5. While no app exists, callers on loopback are the app ``default`` without a key. Whether one exists is read again
   after ``CACHE_TTL_S``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from wavstream.access.app_cache import CACHE_TTL_S, AppCache
from wavstream.access.keys import NO_KEY_HASH, TOKEN_PREFIX, StreamTokens, is_possible, lookup, verify_key
from wavstream.access.rates import FailureLimit
from wavstream.access.twilio_signature import SignedUpgrade, TwilioAccount
from wavstream.catalog.apps import Apps
from wavstream.errors import LimitReached, Unauthenticated
from wavstream.model.app import DEFAULT_APP

_MAX_CONCURRENT_HASHES = 2
"""Each takes a core and 16 MiB."""
_MAX_CHECKS = 64
"""Checks under way, most of which wait for their turn; more are refused."""
_MAX_VERIFIED_KEYS = 10_000
"""Verified keys kept."""


@dataclass(slots=True)
class _Verified:
    app_id: str
    key_hash: str
    until: float


class Authenticator:
    """Finds the app of a key or a stream token. Lives on the event loop."""

    def __init__(
        self,
        *,
        apps: Apps,
        app_cache: AppCache,
        master: bytes,
        twilio: TwilioAccount | None = None,
        failures: FailureLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._apps = apps
        self._app_cache = app_cache
        self._master = master
        self._twilio = twilio
        self._failures = failures or FailureLimit()
        self._clock = clock
        self._now = now
        self._tokens = StreamTokens(master)
        self._digest_key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._checks: dict[bytes, asyncio.Task[_Verified | None]] = {}
        self._hashing = asyncio.Semaphore(_MAX_CONCURRENT_HASHES)
        self._open_until = 0.0

    def authenticate(
        self, bearer: str | None, *, client_is_loopback: bool, app: str | None = None, address: str | None = None
    ) -> str | Awaitable[str]:
        """Return the id of the app whose key this is, at once where that is known.

        ``app``: the app that the client says it is, where it says so; any other is Unauthenticated. ``address`` is the
        client's, to count wrong keys by; None: they are not counted. Raise (the awaitable may raise it too)
        Unauthenticated, and LimitReached after too many wrong keys.
        """
        now = self._clock()
        if client_is_loopback and now < self._open_until:  # rule 5
            return _same_app(DEFAULT_APP, app)
        if bearer is None:
            if client_is_loopback:
                return self._without_key(app)
            raise _no_key()
        known = self._verified.get(self._digest(bearer)) if is_possible(bearer) else None
        if known is not None and now < known.until:  # rule 1
            return _same_app(known.app_id, app)
        if known is None and address is not None:  # rules 3 and 4
            self._failures.check(address, now)
        return self._with_key(bearer, app, client_is_loopback, address)

    def authenticate_stream(
        self,
        bearer: str | None,
        *,
        client_is_loopback: bool,
        app: str | None = None,
        session_id: str | None = None,
        signed: SignedUpgrade | None = None,
        address: str | None = None,
    ) -> str | Awaitable[str]:
        """Return the id of the app whose key, or stream token for this session, this is; else as ``authenticate``.

        ``app``: the app that the peer says it is, where it says so; any other is Unauthenticated. ``signed``: the
        request, if it has a signature of Twilio, which takes the place of a key.
        """
        if bearer is None and signed is not None:
            if self._twilio is not None:
                return _same_app(self._twilio.app_of(signed), app)
            if not client_is_loopback:
                raise Unauthenticated("the request is signed by Twilio, and the server does not know twilio.auth_token")
        if bearer is not None and bearer.startswith(TOKEN_PREFIX):
            return self._token_app(bearer, app, session_id)
        return self.authenticate(bearer, client_is_loopback=client_is_loopback, app=app, address=address)

    def make_token(self, *, app_id: str, session_id: str | None, expires_at: datetime) -> str:
        """Return a stream token for the app, or for one session of it."""
        return self._tokens.make(app_id=app_id, session_id=session_id, expires_at=expires_at)

    def forget(self) -> None:
        """Forget all that the catalog said before: to be called after apps or keys were changed."""
        self._verified.clear()
        self._open_until = 0.0
        # A check that is under way ends up under a digest that nobody asks for any more.
        self._digest_key = secrets.token_bytes(32)

    def forget_app(self, app_id: str) -> None:
        """Forget the keys of this app, and that no app exists; a check under way may count for ``CACHE_TTL_S``."""
        for digest in [digest for digest, known in self._verified.items() if known.app_id == app_id]:
            del self._verified[digest]
        self._open_until = 0.0

    async def _token_app(self, token: str, app: str | None, session_id: str | None) -> str:
        said = self._tokens.read(token, now=self._now())
        if said.session_id is not None and said.session_id != session_id:
            raise Unauthenticated("the stream token is for another session: put its session id into the path")
        app_id = _same_app(said.app_id, app)
        # rule 2
        if await self._app_cache.get(app_id) is None and not (app_id == DEFAULT_APP and await self._is_open()):
            raise Unauthenticated("the app of the stream token was removed: ask for a token of another app")
        return app_id

    async def _without_key(self, app: str | None) -> str:
        if not await self._is_open():
            raise _no_key()
        return _same_app(DEFAULT_APP, app)

    async def _with_key(self, key: str, app: str | None, client_is_loopback: bool, address: str | None) -> str:
        if client_is_loopback and await self._is_open():
            return _same_app(DEFAULT_APP, app)
        found = await self._check(key) if is_possible(key) else None
        if found is None:
            if address is not None:
                self._failures.failed(address, self._clock())
            raise Unauthenticated("the key is not valid: send the key that 'wavstream apps add' printed")
        return _same_app(found.app_id, app)

    async def _is_open(self) -> bool:
        """Return whether no app exists, so that loopback needs no key."""
        if self._clock() < self._open_until:
            return True
        if await self._apps.any():
            return False
        self._open_until = self._clock() + CACHE_TTL_S
        return True

    async def _check(self, key: str) -> _Verified | None:
        digest = self._digest(key)
        check = self._checks.get(digest)
        if check is None:
            if len(self._checks) >= _MAX_CHECKS:
                raise LimitReached("too many keys are being checked: try again", retry_after_s=1)
            check = asyncio.create_task(self._look_up(key, digest), name="check of an app key")
            self._checks[digest] = check
            check.add_done_callback(lambda _: self._checks.pop(digest))
        # rule 3: one caller that goes away must not end the check of the others.
        return await asyncio.shield(check)

    async def _look_up(self, key: str, digest: bytes) -> _Verified | None:
        found = await self._apps.find_by_lookup(lookup(key, self._master))
        app, key_hash = found or (None, NO_KEY_HASH)
        known = self._verified.pop(digest, None)
        if known is None or known.key_hash != key_hash:  # rule 1
            async with self._hashing:
                if not await asyncio.to_thread(verify_key, key, key_hash):
                    return None
        if app is None:
            return None
        verified = _Verified(app.id, key_hash, self._clock() + CACHE_TTL_S)
        self._verified[digest] = verified
        if len(self._verified) > _MAX_VERIFIED_KEYS:
            self._verified.popitem(last=False)
        return verified

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode(errors="surrogatepass"), key=self._digest_key, digest_size=32).digest()


def _same_app(app_id: str, claimed: str | None) -> str:
    if claimed is not None and not hmac.compare_digest(claimed.encode(errors="surrogatepass"), app_id.encode()):
        raise Unauthenticated("the key is not a key of the app that is named: name the key's own app, or none")
    return app_id


def _no_key() -> Unauthenticated:
    return Unauthenticated("no key was given: send 'Authorization: Bearer <key>' or 'X-API-Key: <key>'")
