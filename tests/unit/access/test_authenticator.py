"""Who is asking: keys, tokens and loopback, with a clock that tests move."""

from __future__ import annotations

import asyncio
import base64
import hmac
import inspect
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.waiting import begun
from wavstream.access import authenticator
from wavstream.access.app_cache import CACHE_TTL_S, AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.keys import hash_key, lookup, verify_key
from wavstream.access.rates import FailureLimit
from wavstream.access.twilio_signature import SignedUpgrade, TwilioAccount
from wavstream.catalog.apps import Apps
from wavstream.catalog.catalog import Catalog
from wavstream.errors import LimitReached, Unauthenticated
from wavstream.model.app import App
from wavstream.model.options import RecordingOptions

START = datetime(2026, 8, 21, 12, tzinfo=UTC)
MASTER = b"m" * 32
KEY, OTHER_KEY = "wsk_shop", "wsk_bank"
HASHES = {KEY: hash_key(KEY), OTHER_KEY: hash_key(OTHER_KEY)}


class Tenants:
    """The apps of a real catalog, by their keys."""

    def __init__(self, apps: Apps, database: FaultyDatabase) -> None:
        self.apps = apps
        self._database = database

    async def give(self, app_id: str, key: str) -> None:
        """Let the app, which may be new, have this key."""
        secrets = {"key_hash": HASHES[key], "key_lookup": lookup(key, MASTER)}
        if not await self.apps.add(App(id=app_id, created_at=START), **secrets):
            await self.apps.replace_key(app_id, **secrets)

    @property
    def reads(self) -> int:
        """How often the catalog was asked for them."""
        return sum(asked in ("Apps.get", "Apps.find_by_lookup", "Apps.any") for asked in self._database.asked)


@pytest.fixture
def nobody(catalog: Catalog, database: FaultyDatabase) -> Tenants:
    """No app yet."""
    return Tenants(catalog.apps, database)


@pytest.fixture
async def shop(nobody: Tenants) -> Tenants:
    """One app."""
    await nobody.give("shop", KEY)
    return nobody


@pytest.fixture
async def shop_and_bank(shop: Tenants) -> Tenants:
    """Two apps."""
    await shop.give("bank", OTHER_KEY)
    return shop


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys that were hashed."""
    seen: list[str] = []

    def verify(key: str, key_hash: str) -> bool:
        seen.append(key)
        return verify_key(key, key_hash)

    monkeypatch.setattr(authenticator, "verify_key", verify)
    return seen


def access_to(
    tenants: Tenants, clock: Clock, *, failures: int = 20, twilio: TwilioAccount | None = None
) -> Authenticator:
    limit = FailureLimit(failures=failures)
    app_cache = AppCache(tenants.apps, clock, server_options=RecordingOptions())
    return Authenticator(
        apps=tenants.apps,
        app_cache=app_cache,
        master=MASTER,
        twilio=twilio,
        failures=limit,
        clock=clock,
        now=lambda: START,
    )


async def app_of(answer: str | Awaitable[str]) -> str:
    return await answer if inspect.isawaitable(answer) else answer


async def ask(
    access: Authenticator, bearer: str | None, *, loopback: bool = False, address: str | None = "1.2.3.4"
) -> str:
    return await app_of(access.authenticate(bearer, client_is_loopback=loopback, address=address))


async def test_a_key_gives_its_app_and_the_second_time_at_once(
    shop_and_bank: Tenants, clock: Clock, hashed: list[str]
) -> None:
    access = access_to(shop_and_bank, clock)
    assert await ask(access, KEY) == "shop"
    assert await ask(access, OTHER_KEY) == "bank"
    assert access.authenticate(KEY, client_is_loopback=False) == "shop"
    assert hashed == [KEY, OTHER_KEY]


@pytest.mark.parametrize("key", ["wsk_wrong", "☎", "x" * 513, " "])
async def test_a_wrong_key_is_unauthenticated(shop: Tenants, clock: Clock, key: str) -> None:
    access = access_to(shop, clock)
    with pytest.raises(Unauthenticated, match="not valid"):
        await ask(access, key)


async def test_a_wrong_key_costs_a_hash_whether_or_not_its_lookup_is_known(
    shop: Tenants, clock: Clock, hashed: list[str]
) -> None:
    same = lookup("wsk_same_lookup", MASTER)
    await shop.apps.replace_key("shop", key_hash=HASHES[KEY], key_lookup=same)
    access = access_to(shop, clock)
    for key in ("wsk_wrong", "wsk_same_lookup"):
        with pytest.raises(Unauthenticated):
            await ask(access, key)
    assert hashed == ["wsk_wrong", "wsk_same_lookup"]


@pytest.mark.parametrize("loopback", [True, False])
async def test_no_key_is_unauthenticated_where_there_is_an_app(shop: Tenants, clock: Clock, loopback: bool) -> None:
    access = access_to(shop, clock)
    with pytest.raises(Unauthenticated, match="no key was given"):
        await ask(access, None, loopback=loopback)


async def test_while_no_app_exists_loopback_is_the_default_app(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    assert await ask(access, None, loopback=True) == "default"
    assert access.authenticate("any key", client_is_loopback=True) == "default"
    assert nobody.reads == 1


async def test_while_no_app_exists_others_than_loopback_are_unauthenticated(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    for bearer in (None, "any key"):
        with pytest.raises(Unauthenticated):
            await ask(access, bearer)


async def test_the_first_app_closes_loopback_when_its_absence_is_no_longer_believed(
    nobody: Tenants, clock: Clock
) -> None:
    access = access_to(nobody, clock)
    await ask(access, None, loopback=True)
    await nobody.give("shop", KEY)
    clock.seconds += CACHE_TTL_S
    with pytest.raises(Unauthenticated):
        await ask(access, None, loopback=True)
    assert await ask(access, KEY, loopback=True) == "shop"


async def test_forgetting_closes_loopback_and_ends_old_keys_at_once(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    await ask(access, None, loopback=True)
    await nobody.give("shop", KEY)
    access.forget()
    with pytest.raises(Unauthenticated):
        await ask(access, None, loopback=True)
    assert await ask(access, KEY) == "shop"
    await nobody.give("shop", OTHER_KEY)
    access.forget()
    with pytest.raises(Unauthenticated):
        await ask(access, KEY)


async def test_a_check_that_is_under_way_when_all_is_forgotten_is_not_believed_later(
    shop: Tenants, clock: Clock
) -> None:
    access = access_to(shop, clock)
    check = await begun(ask(access, KEY))
    access.forget()
    await check
    again = access.authenticate(KEY, client_is_loopback=False)
    assert inspect.isawaitable(again)
    await again


async def test_a_key_that_was_verified_is_looked_up_again_later_but_not_hashed(
    shop: Tenants, clock: Clock, hashed: list[str]
) -> None:
    access = access_to(shop, clock)
    await ask(access, KEY)
    clock.seconds += CACHE_TTL_S
    assert await ask(access, KEY) == "shop"
    assert shop.reads == 2
    assert hashed == [KEY]


async def test_a_key_that_was_replaced_elsewhere_is_refused_when_it_is_no_longer_believed(
    shop: Tenants, clock: Clock
) -> None:
    access = access_to(shop, clock)
    await ask(access, KEY)
    await shop.give("shop", OTHER_KEY)
    assert await ask(access, KEY) == "shop"
    clock.seconds += CACHE_TTL_S
    with pytest.raises(Unauthenticated):
        await ask(access, KEY)
    assert await ask(access, OTHER_KEY) == "shop"


async def test_a_verified_key_is_hashed_again_when_the_stored_hash_has_changed(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    await ask(access, KEY)
    await shop.apps.replace_key("shop", key_hash=HASHES[OTHER_KEY], key_lookup=lookup(KEY, MASTER))
    clock.seconds += CACHE_TTL_S
    with pytest.raises(Unauthenticated):
        await ask(access, KEY)


async def test_callers_with_one_key_at_once_share_one_check(shop: Tenants, clock: Clock, hashed: list[str]) -> None:
    access = access_to(shop, clock)
    assert await asyncio.gather(*(ask(access, KEY) for _ in range(500))) == ["shop"] * 500
    assert hashed == [KEY]
    assert shop.reads == 1


async def test_a_caller_that_goes_away_does_not_end_the_check_of_another(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    first, second = [await begun(ask(access, KEY)) for _ in range(2)]
    first.cancel()
    assert await second == "shop"


async def test_too_many_checks_at_once_are_refused(
    shop: Tenants, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticator, "verify_key", lambda key, key_hash: False)
    access = access_to(shop, clock)
    outcomes = await asyncio.gather(
        *(ask(access, f"wsk_{n}", address=str(n)) for n in range(100)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Unauthenticated] * 64 + [LimitReached] * 36


async def test_after_too_many_wrong_keys_an_address_is_refused_but_known_keys_and_others_are_not(
    shop_and_bank: Tenants, clock: Clock, hashed: list[str]
) -> None:
    access = access_to(shop_and_bank, clock, failures=2)
    await ask(access, KEY)
    for key in ("wsk_1", "wsk_2"):
        with pytest.raises(Unauthenticated):
            await ask(access, key)
    hashed.clear()
    with pytest.raises(LimitReached):
        await ask(access, "wsk_3")
    with pytest.raises(LimitReached):
        await ask(access, OTHER_KEY)
    assert hashed == []
    assert await ask(access, KEY) == "shop"
    clock.seconds += CACHE_TTL_S
    assert await ask(access, KEY) == "shop"
    assert await ask(access, OTHER_KEY, address="5.6.7.8") == "bank"
    clock.seconds += 60
    with pytest.raises(Unauthenticated):
        await ask(access, "wsk_3")


async def test_wrong_keys_of_unknown_addresses_are_not_counted(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock, failures=1)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await ask(access, "wsk_wrong", address=None)
    assert await ask(access, KEY, address=None) == "shop"


async def stream(
    access: Authenticator,
    bearer: str | None,
    *,
    loopback: bool = False,
    app: str | None = None,
    session_id: str | None = None,
) -> str:
    return await app_of(access.authenticate_stream(bearer, client_is_loopback=loopback, app=app, session_id=session_id))


async def test_a_stream_may_name_the_keys_app_and_no_other(shop_and_bank: Tenants, clock: Clock) -> None:
    access = access_to(shop_and_bank, clock)
    for _ in range(2):  # With the key unknown, then known.
        assert await stream(access, KEY, app="shop") == "shop"
        for other in ("bank", "none", "", "☎"):
            with pytest.raises(Unauthenticated, match="not a key of the app"):
                await stream(access, KEY, app=other)


async def test_while_no_app_exists_a_stream_on_loopback_may_name_the_default_app_alone(
    nobody: Tenants, clock: Clock
) -> None:
    access = access_to(nobody, clock)
    for _ in range(2):
        assert await stream(access, None, loopback=True, app="default") == "default"
        with pytest.raises(Unauthenticated):
            await stream(access, None, loopback=True, app="shop")


async def test_a_stream_token_opens_streams_of_its_app(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    token = access.make_token(app_id="shop", session_id=None, expires_at=START + timedelta(seconds=1))
    for _ in range(2):
        assert await stream(access, token, session_id="call-77") == "shop"
    assert shop.reads == 1
    with pytest.raises(Unauthenticated):
        await stream(access, token, app="bank")


async def test_a_stream_token_opens_nothing_soon_after_its_app_was_removed(
    shop_and_bank: Tenants, clock: Clock
) -> None:
    access = access_to(shop_and_bank, clock)
    token = access.make_token(app_id="shop", session_id=None, expires_at=START + timedelta(days=1))
    assert await stream(access, token) == "shop"
    await shop_and_bank.apps.remove("shop")
    clock.seconds += CACHE_TTL_S
    with pytest.raises(Unauthenticated, match="was removed"):
        await stream(access, token)


async def test_a_stream_token_made_without_any_app_is_good_until_there_is_one(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    token, of_nobody = (
        access.make_token(app_id=app_id, session_id=None, expires_at=START + timedelta(days=1))
        for app_id in ("default", "shop")
    )
    assert await stream(access, token) == "default"
    with pytest.raises(Unauthenticated, match="was removed"):
        await stream(access, of_nobody)
    await nobody.give("bank", OTHER_KEY)
    clock.seconds += CACHE_TTL_S
    with pytest.raises(Unauthenticated, match="was removed"):
        await stream(access, token)


async def test_a_stream_token_for_a_session_opens_no_other(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    token = access.make_token(app_id="shop", session_id="call-77", expires_at=START + timedelta(seconds=1))
    assert await stream(access, token, session_id="call-77") == "shop"
    for other in ("call-78", None):
        with pytest.raises(Unauthenticated, match="another session"):
            await stream(access, token, session_id=other)


async def test_a_stream_that_twilio_has_signed_is_of_the_app_of_its_account(shop: Tenants, clock: Clock) -> None:
    account = TwilioAccount(auth_token="t", app_id="shop", public_url="http://rec")
    access = access_to(shop, clock, twilio=account)
    right = base64.b64encode(hmac.digest(b"t", b"wss://rec/media/twilio", "sha1")).decode()
    signed, forged = (SignedUpgrade(text, "/media/twilio", ()) for text in (right, "forged"))
    assert access.authenticate_stream(None, client_is_loopback=False, signed=signed) == "shop"
    with pytest.raises(Unauthenticated):
        access.authenticate_stream(None, client_is_loopback=False, signed=signed, app="bank")
    with pytest.raises(Unauthenticated, match="signature"):
        access.authenticate_stream(None, client_is_loopback=True, signed=forged)
    assert await app_of(access.authenticate_stream(KEY, client_is_loopback=False, signed=forged)) == "shop"
    with pytest.raises(Unauthenticated, match=r"does not know twilio\.auth_token"):
        access_to(shop, clock).authenticate_stream(None, client_is_loopback=False, signed=signed)


async def test_a_stream_token_that_has_expired_is_unauthenticated(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    token = access.make_token(app_id="shop", session_id=None, expires_at=START)
    with pytest.raises(Unauthenticated, match="expired"):
        await stream(access, token)


async def test_a_stream_token_is_not_a_key_of_the_api(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    token = access.make_token(app_id="shop", session_id=None, expires_at=START + timedelta(days=1))
    with pytest.raises(Unauthenticated, match="not valid"):
        await ask(access, token)


async def test_a_key_is_of_the_app_that_the_client_names(shop_and_bank: Tenants, clock: Clock) -> None:
    access = access_to(shop_and_bank, clock)
    for _ in range(2):  # checked, then remembered
        assert await app_of(access.authenticate(KEY, client_is_loopback=False, app="shop")) == "shop"
        with pytest.raises(Unauthenticated):
            await app_of(access.authenticate(KEY, client_is_loopback=False, app="bank"))


async def test_a_forgotten_app_is_asked_for_again_and_the_others_are_not(
    nobody: Tenants, clock: Clock, hashed: list[str]
) -> None:
    access = access_to(nobody, clock)
    assert await ask(access, None, loopback=True) == "default"
    await nobody.give("shop", KEY)
    await nobody.give("bank", OTHER_KEY)
    access.forget_app("shop")
    with pytest.raises(Unauthenticated):
        await ask(access, None, loopback=True)
    await ask(access, KEY)
    await ask(access, OTHER_KEY)
    await nobody.apps.remove("shop")
    access.forget_app("shop")
    with pytest.raises(Unauthenticated):
        await ask(access, KEY)
    assert access.authenticate(OTHER_KEY, client_is_loopback=False) == "bank"
