"""Who is asking: keys, tokens and loopback, with a clock that tests move."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import inspect
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.faulty_database import FOREVER, FaultyDatabase
from tests.support.waiting import begun
from wavstream.access import authenticator
from wavstream.access.app_cache import AppCache
from wavstream.access.audiohook_signature import AudioHookClient, HookUpgrade
from wavstream.access.authenticator import Authenticator, Caller
from wavstream.access.keys import KeyDigests, lookup, verify_slowly
from wavstream.access.rates import FailureLimit
from wavstream.access.twilio_signature import SignedUpgrade, TwilioAccount
from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError, LimitReached, Unauthenticated
from wavstream.model.app import App
from wavstream.model.options import RecordingOptions
from wavstream.simulator.vendors.audiohook import signature

START = datetime(2026, 8, 21, 12, tzinfo=UTC)
MASTER = b"m" * 32
DIGESTS = KeyDigests(MASTER)
KEY, OTHER_KEY, THIRD_KEY = "wsk_shop", "wsk_bank", "wsk_third"


def slow_hash(key: str) -> str:
    """Return what earlier versions kept of a key, made at less cost."""
    digest = hashlib.scrypt(key.encode(), salt=b"s" * 16, n=16, r=8, p=1, dklen=32)
    return "$".join(["scrypt", "16", "8", "1", *(base64.b64encode(raw).decode() for raw in (b"s" * 16, digest))])


class Tenants:
    """The apps of a real catalog, by their keys."""

    def __init__(self, catalog: Catalog, database: FaultyDatabase) -> None:
        self.apps = catalog.apps
        self.keys = catalog.app_keys
        self.database = database

    async def give(self, name: str, key: str) -> None:
        """Let the app, which may be new, have this first key."""
        if await self.apps.add(App(name, created_at=START), **DIGESTS.kept(key)) is None:
            app = await self.apps.find(name)
            assert app is not None
            await self.apps.replace_key(app.id, **DIGESTS.kept(key), now=START)

    async def give_more(self, name: str, key_name: str, key: str, *, expires_at: datetime | None = None) -> None:
        """Give the app one more key."""
        assert await self.keys.add(name, key_name, **DIGESTS.kept(key), now=START, expires_at=expires_at)

    async def give_old(self, name: str, key: str) -> None:
        """Let the app have a key as an earlier version kept it."""
        kept = DIGESTS.kept(key) | {"key_hash": slow_hash(key)}
        assert await self.apps.add(App(name, created_at=START), **kept)

    @property
    def reads(self) -> list[str]:
        """How the catalog was asked for keys."""
        return [asked for asked in self.database.asked if asked in ("AppKeys.version", "AppKeys.read")]


@pytest.fixture
def nobody(catalog: Catalog, database: FaultyDatabase) -> Tenants:
    """No app yet."""
    return Tenants(catalog, database)


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
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds - 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys that were hashed slowly."""
    seen: list[str] = []

    def verify(key: str, key_hash: str) -> bool:
        seen.append(key)
        return verify_slowly(key, key_hash)

    monkeypatch.setattr(authenticator, "verify_slowly", verify)
    return seen


def access_to(
    tenants: Tenants,
    clock: Clock,
    *,
    failures: int = 20,
    twilio: TwilioAccount | None = None,
    audiohook: AudioHookClient | None = None,
) -> Authenticator:
    return Authenticator(
        app_keys=tenants.keys,
        app_cache=AppCache(tenants.apps, clock, server_options=RecordingOptions()),
        master=MASTER,
        twilio=twilio,
        audiohook=audiohook,
        failures=FailureLimit(failures=failures),
        clock=clock,
        now=clock.now,
    )


async def app_of(answer: Caller | Awaitable[Caller]) -> str:
    return (await answer if inspect.isawaitable(answer) else answer).app_id


async def ask(
    access: Authenticator,
    bearer: str | None,
    *,
    loopback: bool = False,
    app: str | None = None,
    address: str | None = "1.2.3.4",
) -> str:
    return await app_of(access.authenticate(bearer, client_is_loopback=loopback, app=app, address=address))


async def stream(
    access: Authenticator,
    bearer: str | None,
    *,
    loopback: bool = False,
    app: str | None = None,
    session_id: str | None = None,
    signed: SignedUpgrade | None = None,
    address: str | None = "1.2.3.4",
) -> str:
    return await app_of(
        access.authenticate_stream(
            bearer, client_is_loopback=loopback, app=app, session_id=session_id, signed=signed, address=address
        )
    )


async def try_wrong_keys(access: Authenticator, count: int) -> list[type]:
    """Try so many at once; return what each was refused with."""
    outcomes = await asyncio.gather(*(ask(access, f"wsk_{n}") for n in range(count)), return_exceptions=True)
    return [type(outcome) for outcome in outcomes]


# ---- keys ------------------------------------------------------------------------------------------------------------


async def test_a_key_gives_its_app_and_once_all_are_known_at_once(shop_and_bank: Tenants, clock: Clock) -> None:
    access = access_to(shop_and_bank, clock)
    assert await ask(access, KEY) == "shop"
    answer = access.authenticate(OTHER_KEY, client_is_loopback=False)
    assert isinstance(answer, Caller)
    assert answer.app_id == "bank"


@pytest.mark.parametrize("key", ["wsk_wrong", "☎", "x" * 513, " "])
async def test_a_wrong_key_is_unauthenticated(shop: Tenants, clock: Clock, key: str) -> None:
    access = access_to(shop, clock)
    with pytest.raises(Unauthenticated, match="not valid"):
        await ask(access, key)


@pytest.mark.parametrize("loopback", [True, False])
async def test_no_key_is_unauthenticated_where_there_is_an_app(shop: Tenants, clock: Clock, loopback: bool) -> None:
    access = access_to(shop, clock)
    with pytest.raises(Unauthenticated, match="no key was given"):
        await ask(access, None, loopback=loopback)


async def test_whose_request_it_is_says_so_where_nobody_has_a_key(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    await access.refresh()
    keyless = access.who("default")
    await nobody.give("shop", KEY)
    await access.refresh()
    assert (keyless, access.who("shop")) == ("nobody's key: loopback", "api key of shop")


async def test_a_key_that_was_added_beside_the_server_opens_at_once(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    await access.refresh()
    await shop.give("bank", OTHER_KEY)
    await shop.give_more("shop", "second", THIRD_KEY)
    assert await ask(access, OTHER_KEY) == "bank"
    assert await ask(access, THIRD_KEY) == "shop"
    assert await ask(access, KEY) == "shop"


async def test_what_was_taken_away_beside_the_server_opens_nothing_after_the_next_look(
    shop_and_bank: Tenants, clock: Clock
) -> None:
    access = access_to(shop_and_bank, clock)
    await shop_and_bank.give_more("bank", "second", THIRD_KEY)
    await access.refresh()
    await shop_and_bank.give("shop", "wsk_rotated")
    await shop_and_bank.keys.revoke("bank", "main")
    await access.refresh()
    for key in (KEY, OTHER_KEY):
        with pytest.raises(Unauthenticated):
            await ask(access, key)
    assert [await ask(access, key) for key in ("wsk_rotated", THIRD_KEY)] == ["shop", "bank"]
    await shop_and_bank.apps.remove("bank")
    await access.refresh()
    with pytest.raises(Unauthenticated):
        await ask(access, THIRD_KEY)


async def test_a_key_opens_until_it_expires(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    await shop.give_more("shop", "short", OTHER_KEY, expires_at=START + timedelta(seconds=60))
    answer = await access.authenticate_stream(OTHER_KEY, client_is_loopback=False)  # type: ignore[misc]
    assert (answer.app_id, access.is_good(answer.key_id)) == ("shop", True)
    clock.seconds += 60
    assert not access.is_good(answer.key_id)
    with pytest.raises(Unauthenticated, match="not valid"):
        await ask(access, OTHER_KEY)


async def test_a_look_reads_the_keys_only_if_they_were_changed(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    for _ in range(3):
        await access.refresh()
    assert shop.reads == ["AppKeys.read", "AppKeys.version", "AppKeys.version"]


async def test_of_many_that_look_at_once_all_share_two_looks(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    await access.refresh()
    before = len(shop.reads)
    await try_wrong_keys(access, 500)
    assert 1 <= len(shop.reads) - before <= 2


async def test_a_look_that_began_before_a_change_is_not_believed(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    first = await begun(access.refresh())
    await asyncio.sleep(0)
    await shop.give("bank", OTHER_KEY)
    assert await ask(access, OTHER_KEY) == "bank"
    await first


async def test_a_caller_that_goes_away_does_not_end_the_look_of_another(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    first, second = [await begun(ask(access, KEY)) for _ in range(2)]
    first.cancel()
    assert await second == "shop"


async def test_known_keys_open_while_the_catalog_fails_and_others_are_no_mistake_of_their_callers(
    shop: Tenants, clock: Clock
) -> None:
    access = access_to(shop, clock, failures=1)
    await access.refresh()
    shop.database.faults["AppKeys.version"] = FOREVER
    for _ in range(3):
        with pytest.raises(DependencyError):
            await ask(access, "wsk_wrong")
    assert await ask(access, KEY) == "shop"
    shop.database.faults.clear()
    with pytest.raises(Unauthenticated):
        await ask(access, "wsk_wrong")


async def test_a_key_is_of_the_app_that_the_client_names(shop_and_bank: Tenants, clock: Clock) -> None:
    access = access_to(shop_and_bank, clock)
    for _ in range(2):  # with the keys unknown, then known
        assert await ask(access, KEY, app="shop") == "shop"
        for other in ("bank", "none", "", "☎", "shop.1"):
            with pytest.raises(Unauthenticated, match="not a key of the app"):
                await ask(access, KEY, app=other)


# ---- wrong keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
async def test_right_keys_are_never_refused_for_wrong_ones_from_their_address(
    shop: Tenants, clock: Clock, known: bool
) -> None:
    access = access_to(shop, clock, failures=2)
    if known:
        await access.refresh()
    kinds = await try_wrong_keys(access, 160)
    assert (kinds.count(Unauthenticated), kinds.count(LimitReached)) == (2, 158)
    assert await ask(access, KEY) == "shop"
    await shop.give("bank", OTHER_KEY)
    both = asyncio.gather(*(ask(access, key) for key in [KEY, OTHER_KEY] * 100))
    await try_wrong_keys(access, 160)
    assert await both == ["shop", "bank"] * 100


async def test_right_keys_that_come_first_to_a_server_are_not_counted(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock, failures=2)
    assert await asyncio.gather(*(ask(access, KEY) for _ in range(100))) == ["shop"] * 100
    assert await try_wrong_keys(access, 3) == [Unauthenticated, Unauthenticated, LimitReached]


async def test_after_too_many_wrong_keys_the_answer_says_so_until_the_window_ends(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock, failures=2)
    assert await try_wrong_keys(access, 3) == [Unauthenticated, Unauthenticated, LimitReached]
    with pytest.raises(Unauthenticated):
        await ask(access, "wsk_wrong", address="5.6.7.8")
    clock.seconds += 60
    with pytest.raises(Unauthenticated):
        await ask(access, "wsk_wrong")


async def test_wrong_keys_of_unknown_addresses_are_not_counted(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock, failures=1)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await ask(access, "wsk_wrong", address=None)


# ---- keys of earlier versions ----------------------------------------------------------------------------------------


async def test_a_key_of_an_earlier_version_is_hashed_once_and_then_kept_as_others_are(
    nobody: Tenants, clock: Clock, hashed: list[str]
) -> None:
    await nobody.give_old("shop", KEY)
    access = access_to(nobody, clock)
    assert await asyncio.gather(*(ask(access, KEY) for _ in range(100))) == ["shop"] * 100
    assert isinstance(access.authenticate(KEY, client_is_loopback=False), Caller)
    assert await ask(access_to(nobody, clock), KEY) == "shop"
    assert hashed == [KEY]
    assert [key.key_hash for key in await nobody.keys.list("shop")] == [DIGESTS.of(KEY)]


async def test_wrong_keys_cost_no_slow_hash_and_do_not_hold_up_a_right_one(
    nobody: Tenants, clock: Clock, hashed: list[str]
) -> None:
    await nobody.give_old("shop", KEY)
    access = access_to(nobody, clock)
    wrong = await begun(try_wrong_keys(access, 200))
    assert await ask(access, KEY) == "shop"
    await wrong
    assert hashed == [KEY]


async def test_of_two_keys_with_one_lookup_the_slow_hash_decides(nobody: Tenants, clock: Clock) -> None:
    await nobody.apps.add(App("shop", START), key_hash=slow_hash(OTHER_KEY), key_lookup=lookup(DIGESTS.of(KEY)))
    with pytest.raises(Unauthenticated):
        await ask(access_to(nobody, clock), KEY)


async def test_a_digest_that_cannot_be_written_is_kept_until_the_next_start(
    nobody: Tenants, clock: Clock, hashed: list[str]
) -> None:
    await nobody.give_old("shop", KEY)
    access = access_to(nobody, clock)
    nobody.database.faults["AppKeys.rehash"] = 1
    assert [await ask(access, KEY) for _ in range(2)] == ["shop"] * 2
    assert hashed == [KEY]
    assert await ask(access_to(nobody, clock), KEY) == "shop"


# ---- without a key ---------------------------------------------------------------------------------------------------


async def test_before_the_first_app_loopback_is_the_default_app(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    assert await ask(access, None, loopback=True) == "default"
    assert access.authenticate(None, client_is_loopback=True) == ("default", "", None)
    assert await ask(access, "any key", loopback=True) == "default"
    for bearer in (None, "any key"):
        with pytest.raises(Unauthenticated):
            await ask(access, bearer)


async def test_the_key_of_a_first_app_that_was_just_made_beside_this_process_is_known_at_once(
    nobody: Tenants, clock: Clock
) -> None:
    access = access_to(nobody, clock)
    await access.refresh()
    await nobody.give("shop", KEY)
    assert await ask(access, KEY, loopback=True) == "shop"
    with pytest.raises(Unauthenticated):
        await ask(access, "any key", loopback=True)


async def test_before_the_first_app_a_key_is_believed_while_the_catalog_is_away(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    await access.refresh()
    nobody.database.faults["AppKeys.version"] = FOREVER
    assert await ask(access, "any key", loopback=True) == "default"


async def test_the_first_app_closes_loopback_for_good(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    keyless = await access.authenticate(None, client_is_loopback=True)  # type: ignore[misc]
    assert access.is_good(keyless.key_id)
    await nobody.give("shop", KEY)
    await access.refresh()
    assert not access.is_good(keyless.key_id)
    with pytest.raises(Unauthenticated):
        await ask(access, None, loopback=True)
    assert await ask(access, KEY, loopback=True) == "shop"
    await nobody.apps.remove("shop")
    await access.refresh()
    for after in (access, access_to(nobody, clock)):
        with pytest.raises(Unauthenticated):
            await ask(after, None, loopback=True)


async def test_before_the_first_app_a_stream_on_loopback_may_name_the_default_app_alone(
    nobody: Tenants, clock: Clock
) -> None:
    access = access_to(nobody, clock)
    for _ in range(2):
        assert await stream(access, None, loopback=True, app="default") == "default"
        with pytest.raises(Unauthenticated):
            await stream(access, None, loopback=True, app="shop")


# ---- an app id that is used again ------------------------------------------------------------------------------------


async def test_an_app_under_a_name_that_was_used_before_is_another(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    token = access.make_token(app_id="shop", session_id=None, expires_at=START + timedelta(days=1))
    assert await stream(access, token) == "shop"
    await shop.apps.remove("shop")
    await shop.give("shop", OTHER_KEY)
    await access.refresh()
    assert await ask(access, OTHER_KEY, app="shop") == "shop.2"
    assert (access.was_removed("shop"), access.was_removed("shop.2")) == (True, False)
    with pytest.raises(Unauthenticated, match="was removed"):
        await stream(access, token)
    with pytest.raises(Unauthenticated):
        await ask(access, KEY)
    await shop.apps.remove("shop.2")
    await shop.give("shop", KEY)
    await access.refresh()
    assert await ask(access, KEY) == "shop.3"
    assert (access.was_removed("shop.2"), access.was_removed("shop.3"), access.was_removed("default")) == (
        True,
        False,
        False,
    )


# ---- streams ---------------------------------------------------------------------------------------------------------


async def test_a_stream_may_name_the_keys_app_and_no_other(shop_and_bank: Tenants, clock: Clock) -> None:
    access = access_to(shop_and_bank, clock)
    assert await stream(access, KEY, app="shop") == "shop"
    with pytest.raises(Unauthenticated, match="not a key of the app"):
        await stream(access, KEY, app="bank")


async def test_a_stream_token_opens_streams_of_its_app(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    token = access.make_token(app_id="shop", session_id=None, expires_at=START + timedelta(seconds=1))
    for _ in range(2):
        assert await stream(access, token, session_id="call-77") == "shop"
    assert shop.reads == ["AppKeys.read"]
    with pytest.raises(Unauthenticated):
        await stream(access, token, app="bank")


async def test_a_stream_token_ends_with_the_key_that_asked_for_it(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    await shop.give_more("shop", "second", OTHER_KEY, expires_at=START + timedelta(seconds=60))
    await access.refresh()
    tokens: list[str] = []
    for key in (KEY, OTHER_KEY):
        caller = access.authenticate(key, client_is_loopback=False)
        assert isinstance(caller, Caller)
        expires_at = START + timedelta(days=1)
        tokens.append(access.make_token(app_id="shop", session_id=None, expires_at=expires_at, key_id=caller.key_id))
    assert [await stream(access, token) for token in tokens] == ["shop", "shop"]
    await shop.keys.revoke("shop", "main")
    await access.refresh()
    with pytest.raises(Unauthenticated, match="the key that asked"):
        await stream(access, tokens[0])
    assert await stream(access, tokens[1]) == "shop"
    clock.seconds += 60
    with pytest.raises(Unauthenticated, match="the key that asked"):
        await stream(access, tokens[1])


async def test_a_stream_token_made_without_any_app_is_good_until_there_is_one(nobody: Tenants, clock: Clock) -> None:
    access = access_to(nobody, clock)
    token, of_nobody = (
        access.make_token(app_id=app_id, session_id=None, expires_at=START + timedelta(days=1), key_id="")
        for app_id in ("default", "shop")
    )
    assert await stream(access, token) == "default"
    with pytest.raises(Unauthenticated, match="was removed"):
        await stream(access, of_nobody)
    await nobody.give("default", OTHER_KEY)
    await access.refresh()
    with pytest.raises(Unauthenticated, match="the key that asked"):
        await stream(access, token)


async def test_a_stream_token_for_a_session_opens_no_other(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock)
    token = access.make_token(app_id="shop", session_id="call-77", expires_at=START + timedelta(seconds=1))
    assert await stream(access, token, session_id="call-77") == "shop"
    for other in ("call-78", None):
        with pytest.raises(Unauthenticated, match="another session"):
            await stream(access, token, session_id=other)


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


def signed_by(auth_token: bytes) -> SignedUpgrade:
    signature = base64.b64encode(hmac.digest(auth_token, b"wss://rec/media/twilio", "sha1")).decode()
    return SignedUpgrade(signature, "/media/twilio", ())


async def test_a_stream_that_twilio_has_signed_is_of_the_app_of_its_account(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock, twilio=TwilioAccount(auth_token="t", app_id="shop", public_url="http://rec"))
    signed, forged = signed_by(b"t"), signed_by(b"f")
    assert await stream(access, None, signed=signed) == "shop"
    with pytest.raises(Unauthenticated):
        await stream(access, None, signed=signed, app="bank")
    with pytest.raises(Unauthenticated, match="signature"):
        await stream(access, None, signed=forged, loopback=True)
    assert await stream(access, KEY, signed=forged) == "shop"
    with pytest.raises(Unauthenticated, match=r"does not know twilio\.auth_token"):
        await stream(access_to(shop, clock), None, signed=signed)


async def test_twilios_streams_are_of_the_app_that_has_the_name_now(shop: Tenants, clock: Clock) -> None:
    access = access_to(shop, clock, twilio=TwilioAccount(auth_token="t", app_id="shop", public_url="http://rec"))
    await shop.apps.remove("shop")
    with pytest.raises(Unauthenticated, match="was removed"):
        await stream(access, None, signed=signed_by(b"t"))
    await shop.give("shop", OTHER_KEY)
    await access.refresh()
    assert await stream(access, None, signed=signed_by(b"t")) == "shop.2"


def hook_of(secret: bytes, *, api_key: str = "of the integration") -> HookUpgrade:
    ids = ("audiohook-organization-id", "audiohook-session-id", "audiohook-correlation-id")
    headers = dict.fromkeys(ids, "1") | {"x-api-key": api_key}
    created = int(START.timestamp())
    signed = signature(api_key, secret, "wss://rec/media/audiohook", headers, created=created)
    named = headers | {name.lower(): value for name, value in signed.items()}
    return HookUpgrade(api_key, "/media/audiohook", ("rec",), named)


async def test_a_key_of_audiohook_opens_with_its_signature_alone(shop: Tenants, clock: Clock) -> None:
    client = AudioHookClient(api_key="of the integration", secret=b"s", app="shop", public_url="http://rec")
    access = access_to(shop, clock, failures=3, audiohook=client)

    async def ask_with(hook: HookUpgrade) -> str:
        answer = access.authenticate_stream(hook.api_key, client_is_loopback=True, hook=hook, address="1.2.3.4")
        return await app_of(answer)

    good = hook_of(b"s")
    assert await ask_with(good) == "shop"
    for hook in (good, hook_of(b"other"), replace(hook_of(b"s"), headers={})):
        with pytest.raises(Unauthenticated, match="sign"):
            await ask_with(hook)
    assert access.refused["signature"] == 3
    with pytest.raises(LimitReached):
        await ask_with(hook_of(b"other"))
    assert await ask_with(hook_of(b"s")) == "shop"
    assert await ask_with(hook_of(b"other", api_key=KEY)) == "shop"  # the key of an app has no secret


@pytest.mark.parametrize("way", ["token", "signature"])
async def test_right_tokens_and_signatures_are_never_refused_for_wrong_ones(
    shop: Tenants, clock: Clock, way: str
) -> None:
    account = TwilioAccount(auth_token="t", app_id="shop", public_url="http://rec")
    access = access_to(shop, clock, failures=2, twilio=account)
    token = access.make_token(app_id="shop", session_id=None, expires_at=START + timedelta(days=1))
    for refused in (Unauthenticated, Unauthenticated, LimitReached):
        with pytest.raises(refused):
            await stream(access, "wst_forged" if way == "token" else None, signed=signed_by(b"f"))
    assert await stream(access, token) == "shop"
    assert await stream(access, None, signed=signed_by(b"t")) == "shop"
    assert await stream(access, KEY) == "shop"
