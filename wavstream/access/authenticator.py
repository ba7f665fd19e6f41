"""Which app is asking: the one place that decides it, for HTTP requests and media streams alike.

1. A key is looked for in memory, by its digest, before anything is counted. One that is there is answered at once: no
   other caller, and no failure of the catalog, keeps it out.
2. One that is not there may be new. So the catalog is asked whether anything has changed: a number, read once for all
   who ask at the same moment. Only then is it wrong. It was counted by then (``rates``), under its address, and is
   forgiven if it turns out to be right.
3. ``refresh`` is called often, so that what was revoked, removed or added beside this process counts within a second.
4. A key of an earlier version costs a slow hash the first time. Nobody gets there with a key that is wrong (``keys``);
   callers with the same key share one check, and two run at a time.
5. A stream token says itself what it opens: it does so while its app is there, and the key that asked for it is good.
6. A key of AudioHook opens by that client's rules alone: where it has a secret, nothing but its signature does.
7. Before the first app exists, callers on this machine are the app ``default`` without a key. One that shows a key may
   be of the first app, which was just made beside this process: it is looked for as in rule 2, and believed if absent.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from wavstream.access.app_cache import AppCache
from wavstream.access.audiohook_signature import AudioHookClient, HookUpgrade
from wavstream.access.key_table import KEYLESS, KeyTable
from wavstream.access.keys import (
    TOKEN_PREFIX,
    KeyDigests,
    NotOurs,
    StreamTokens,
    is_possible,
    is_slow,
    lookup,
    verify_slowly,
)
from wavstream.access.rates import FailureLimit
from wavstream.access.twilio_signature import SignedUpgrade, TwilioAccount
from wavstream.catalog.app_keys import AppKeys
from wavstream.errors import DependencyError, LimitReached, Unauthenticated
from wavstream.model.app import DEFAULT_APP, AppKey, app_name
from wavstream.workers.shared_counts import SharedCounts

_MAX_CONCURRENT_HASHES = 2
"""Each takes a core and 16 MiB."""
_WRONG_KEY = (
    "the key is not valid: send the one that 'wavstream apps add' or 'wavstream keys add' printed, that the answer of "
    "/admin/apps had, or that the server has as WAVSTREAM_API_KEY"
)

log = structlog.get_logger(__name__)


class Caller(NamedTuple):
    """Who asks."""

    app_id: str
    key_id: str | None
    """The key that was shown, ``KEYLESS`` where none was needed; None: what opened this is no key of the app's."""
    session_id: str | None = None
    """The only session that a stream token is for."""


_KEYLESS = Caller(DEFAULT_APP, KEYLESS)


class Authenticator:
    """Finds the app of a key or a stream token. Lives on the event loop."""

    def __init__(
        self,
        *,
        app_keys: AppKeys,
        app_cache: AppCache,
        master: bytes,
        twilio: TwilioAccount | None = None,
        audiohook: AudioHookClient | None = None,
        failures: FailureLimit | None = None,
        shared: SharedCounts | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Begin without knowing anything: the first caller waits for ``refresh``, or whoever starts the server does.

        ``shared`` has the wrong keys that other workers count; None: there are none.
        """
        self._app_keys = app_keys
        self._app_cache = app_cache
        self._digests = KeyDigests(master)
        self._tokens = StreamTokens(master)
        self._twilio = twilio
        self._audiohook = audiohook
        wrong_keys = None if shared is None else shared.of("wrong_keys", by_address=True)
        self._failures = failures or FailureLimit(shared=wrong_keys)
        self.refused: Counter[str] = Counter()
        """Wrong keys, stream tokens that nobody made, wrong signatures and admin keys, since the process began."""
        self._clock = clock
        self._now = now
        self._table: KeyTable | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._next_refresh: asyncio.Task[None] | None = None
        self._checks: dict[str, asyncio.Task[bool]] = {}
        self._hashing = asyncio.Semaphore(_MAX_CONCURRENT_HASHES)

    # ---- who asks ------------------------------------------------------------------------------------------------

    def authenticate(
        self, bearer: str | None, *, client_is_loopback: bool, app: str | None = None, address: str | None = None
    ) -> Caller | Awaitable[Caller]:
        """Return the caller whose key this is, at once where that is known.

        ``app``: the name of the app that the client says it is, where it says so; any other is Unauthenticated.
        ``address`` is the client's, to count wrong keys by; None: they are not counted. Raise (the awaitable may raise
        it too) Unauthenticated, and LimitReached for a wrong key after too many others.
        """
        table = self._table
        if table is None:
            return self._once_known(
                lambda: self.authenticate(bearer, client_is_loopback=client_is_loopback, app=app, address=address)
            )
        if client_is_loopback and table.is_open:  # rule 7
            return _same_app(_KEYLESS, app) if bearer is None else self._with_first_key(bearer, app, address)
        if bearer is None:
            raise Unauthenticated("no key was given: send 'Authorization: Bearer <key>' or 'X-API-Key: <key>'")
        if is_possible(bearer):
            digest = self._digests.of(bearer)
            key = self._known(table, digest)
            if key is not None and hmac.compare_digest(key.key_hash, digest):  # rule 1
                return _same_app(Caller(key.app_id, key.id), app)
        return self._with_key(bearer, app, address)

    def authenticate_stream(
        self,
        bearer: str | None,
        *,
        client_is_loopback: bool,
        app: str | None = None,
        session_id: str | None = None,
        signed: SignedUpgrade | None = None,
        hook: HookUpgrade | None = None,
        address: str | None = None,
    ) -> Caller | Awaitable[Caller]:
        """Return the caller whose key, or stream token for this session, this is; else as ``authenticate``.

        ``app``: the app that the peer says it is, where it says so; any other is Unauthenticated. ``signed``: the
        request, if it has a signature of Twilio, which takes the place of a key. ``hook``: if the key is an
        ``X-API-KEY``, the request, which may be signed by AudioHook.
        """
        if self._table is None:
            return self._once_known(
                lambda: self.authenticate_stream(
                    bearer,
                    client_is_loopback=client_is_loopback,
                    app=app,
                    session_id=session_id,
                    signed=signed,
                    hook=hook,
                    address=address,
                )
            )
        if bearer is None and signed is not None:
            if self._twilio is not None:
                return _same_app(self._signed_by_twilio(self._twilio, signed, address), app)
            if not client_is_loopback:
                raise Unauthenticated("the request is signed by Twilio, and the server does not know twilio.auth_token")
        if hook is not None and self._audiohook is not None and self._audiohook.owns(hook):  # rule 6
            return _same_app(self._signed_by_audiohook(self._audiohook, hook, address), app)
        if bearer is not None and bearer.startswith(TOKEN_PREFIX):
            return _same_app(self._with_token(bearer, session_id, address), app)
        return self.authenticate(bearer, client_is_loopback=client_is_loopback, app=app, address=address)

    def make_token(
        self, *, app_id: str, session_id: str | None, expires_at: datetime, key_id: str | None = None
    ) -> str:
        """Return a stream token for the app, or for one session of it, that ends with the key which asked for it."""
        return self._tokens.make(app_id=app_id, session_id=session_id, expires_at=expires_at, key_id=key_id)

    # ---- what is known -------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The number of what is known; another one says that something has changed."""
        return self._table.version if self._table is not None else 0

    def is_good(self, key_id: str | None) -> bool:
        """Return whether what this key opened may stay open."""
        return key_id is None or (self._table is not None and self._table.is_good(key_id, self._now()))

    def key_name(self, key_id: str | None) -> str | None:
        """Return the name that its app gave a key; None: it is none."""
        return None if key_id is None or self._table is None else self._table.name_of(key_id)

    def who(self, app_id: str) -> str:
        """Return in words whose request one of this app is, for what is kept of an erasure."""
        if self._table is not None and self._table.is_open:  # rule 7
            return "nobody's key: loopback"
        return f"api key of {app_name(app_id)}"

    def was_removed(self, app_id: str) -> bool:
        """Return whether this app was removed, so that nothing of it is given to anyone."""
        return self._table is not None and self._table.was_removed(app_id)

    async def refresh(self) -> None:
        """Know what the catalog says at a moment after this call; raise DependencyError.

        Of callers at the same moment all wait for one look: the one that begins next, since what is under way may have
        begun before the change that they are after.
        """
        if self._next_refresh is None:
            self._next_refresh = asyncio.create_task(self._refresh_after(self._refreshing), name="refresh of the keys")
        await asyncio.shield(self._next_refresh)

    async def _refresh_after(self, running: asyncio.Task[None] | None) -> None:
        if running is not None:
            await asyncio.wait([running])
        self._refreshing, self._next_refresh = self._next_refresh, None
        if self._table is None or await self._app_keys.version() != self._table.version:
            self._table = KeyTable(await self._app_keys.read())
            self._app_cache.forget_all()

    async def _once_known(self, ask: Callable[[], Caller | Awaitable[Caller]]) -> Caller:
        await self.refresh()
        found = ask()
        return found if isinstance(found, Caller) else await found

    def _known(self, table: KeyTable, digest: str) -> AppKey | None:
        key = table.find(lookup(digest))
        return key if key is not None and key.is_good(self._now()) else None

    # ---- keys that are not known yet -----------------------------------------------------------------------------

    async def _with_key(self, bearer: str, app: str | None, address: str | None) -> Caller:
        too_many = self._begin(address)  # rule 2
        try:
            key = await self._look_again(bearer) if is_possible(bearer) else None
        except BaseException:
            self._forgive(address)
            raise
        if key is None:
            self.refused["key"] += 1
            error = too_many or Unauthenticated(_WRONG_KEY)
            log.info("key_refused", address=address, reason=str(error))
            raise error
        self._forgive(address)
        return _same_app(Caller(key.app_id, key.id), app)

    async def _with_first_key(self, bearer: str, app: str | None, address: str | None) -> Caller:
        with suppress(DependencyError):  # what it was before the catalog was away is believed
            await self.refresh()
        assert self._table is not None
        if self._table.is_open:
            return _same_app(_KEYLESS, app)
        found = self.authenticate(bearer, client_is_loopback=True, app=app, address=address)
        return found if isinstance(found, Caller) else await found

    async def _look_again(self, bearer: str) -> AppKey | None:
        digest = self._digests.of(bearer)
        if self._table is None or self._known(self._table, digest) is None:
            await self.refresh()
        assert self._table is not None
        key = self._known(self._table, digest)
        if key is None or hmac.compare_digest(key.key_hash, digest):
            return key
        return key if is_slow(key.key_hash) and await self._verified(key, bearer, digest) else None

    async def _verified(self, key: AppKey, bearer: str, digest: str) -> bool:
        check = self._checks.get(digest)
        if check is None:
            check = asyncio.create_task(self._verify(key, bearer, digest), name="check of an earlier version's key")
            self._checks[digest] = check
            check.add_done_callback(lambda _: self._checks.pop(digest))
        # rule 4: one caller that goes away must not end the check of the others.
        return await asyncio.shield(check)

    async def _verify(self, key: AppKey, bearer: str, digest: str) -> bool:
        async with self._hashing:
            if not await asyncio.to_thread(verify_slowly, bearer, key.key_hash):
                return False
        assert self._table is not None
        self._table.rehashed(key, digest)
        try:
            await self._app_keys.rehash(key, digest)
        except DependencyError as error:
            log.warning("key_rehash_failed", app_id=key.app_id, error=str(error))
        return True

    # ---- tokens and signatures -----------------------------------------------------------------------------------

    def _with_token(self, token: str, session_id: str | None, address: str | None) -> Caller:
        assert self._table is not None
        now = self._now()
        try:
            said = self._tokens.read(token, now=now)
        except NotOurs as error:
            self.refused["token"] += 1
            raise self._begin(address) or error from None
        if said.session_id is not None and said.session_id != session_id:
            raise Unauthenticated("the stream token is for another session: put its session id into the path")
        if not self._table.has_app(said.app_id):  # rule 5
            raise Unauthenticated("the app of the stream token was removed: ask for a token of another app")
        if said.key_id is not None and not self._table.is_good(said.key_id, now):
            raise Unauthenticated("the key that asked for the stream token is gone: ask for a token with another key")
        return Caller(said.app_id, said.key_id, said.session_id)

    def _signed_by_twilio(self, twilio: TwilioAccount, signed: SignedUpgrade, address: str | None) -> Caller:
        assert self._table is not None
        try:
            name = twilio.app_of(signed)
        except Unauthenticated as error:
            self.refused["signature"] += 1
            raise self._begin(address) or error from None
        app_id = self._table.app_called(name)
        if app_id is None:
            raise Unauthenticated("the app of twilio.app was removed: add it again, or name another")
        return Caller(app_id, None)

    def _signed_by_audiohook(self, client: AudioHookClient, hook: HookUpgrade, address: str | None) -> Caller:
        assert self._table is not None
        app_id = self._table.app_called(client.app)
        if app_id is None:
            raise Unauthenticated("the app of audiohook.app was removed: add it again, or name another")
        try:
            client.check(hook, self._now().timestamp())
        except Unauthenticated as error:
            self.refused["signature"] += 1
            raise self._begin(address) or error from None
        return Caller(app_id, None)

    # ---- counting ------------------------------------------------------------------------------------------------

    def _begin(self, address: str | None) -> LimitReached | None:
        return None if address is None else self._failures.begin(address, self._clock())

    def _forgive(self, address: str | None) -> None:
        if address is not None:
            self._failures.forgive(address, self._clock())


def _same_app(caller: Caller, claimed: str | None) -> Caller:
    name = app_name(caller.app_id)
    if claimed is not None and not hmac.compare_digest(claimed.encode(errors="surrogatepass"), name.encode()):
        raise Unauthenticated("the key is not a key of the app that is named: name the key's own app, or none")
    return caller
