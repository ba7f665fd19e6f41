"""Requests to a receiver, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.support.certificates import make_certificate
from tests.support.receiver import Answer, Received, Receiver, always
from wavstream.webhooks.client import MAX_ANSWER_BYTES, MAX_BODY_BYTES, DeliveryFailed, WebhookClient
from wavstream.webhooks.resolver import PublicResolver

BODY = b'{"event": "recording.completed"}'
LONG_S = 3600.0


class Names(AbstractResolver):
    """A resolver that answers, one lookup after the other, with these addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0)
            for each in answer
        ]

    async def close(self) -> None:
        pass


def client(
    resolver: AbstractResolver | None = None,
    *,
    allow_localhost: bool = True,
    allow_http: bool = True,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = LONG_S,
) -> WebhookClient:
    return WebhookClient(
        resolver=resolver or Names(["127.0.0.1"]), tls=tls or ssl.create_default_context(), allow_http=allow_http,
        allow_localhost=allow_localhost, max_connections=4, timeout_s=timeout_s,
    )  # fmt: skip


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as started:
        yield started


async def test_a_message_arrives_as_it_was_given(receiver: Receiver) -> None:
    async with client() as posting:
        await posting.post(receiver.url + "?a=%7Eb", {"webhook-id": "m1"}, BODY)

    [request] = receiver.requests
    assert request.line == "POST /hook?a=%7Eb HTTP/1.1"
    assert request.body == BODY
    assert request.headers["webhook-id"] == "m1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "accept-encoding" not in request.headers


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_2xx_means_taken(receiver: Receiver, status: int) -> None:
    receiver.answer = always(Answer(status))
    async with client() as posting:
        await posting.post(receiver.url, {}, BODY)


@pytest.mark.parametrize("status", [304, 400, 401, 404, 410, 429, 500, 503])
async def test_any_other_status_means_not_taken(receiver: Receiver, status: int) -> None:
    receiver.answer = always(Answer(status))
    async with client() as posting:
        with pytest.raises(DeliveryFailed, match=f"answered {status}"):
            await posting.post(receiver.url, {}, BODY)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.answer = always(Answer(status, {"location": receiver.url + "/elsewhere"}))
    async with client() as posting:
        with pytest.raises(DeliveryFailed, match="redirects are not followed"):
            await posting.post(receiver.url, {}, BODY)

    assert len(receiver.requests) == 1


async def test_a_connection_is_used_again(receiver: Receiver) -> None:
    receiver.answer = always(Answer(body=b"thank you"))
    async with client() as posting:
        for _ in range(3):
            await posting.post(receiver.url, {}, BODY)

    assert [request.connection for request in receiver.requests] == [0, 0, 0]


async def test_no_more_of_an_answer_is_read_than_the_limit(receiver: Receiver) -> None:
    receiver.answer = always(Answer(headers={"content-length": str(1 << 40)}, body=bytes(MAX_ANSWER_BYTES + 1)))
    async with client() as posting:
        await posting.post(receiver.url, {}, BODY)
        await posting.post(receiver.url, {}, BODY)

    assert [request.connection for request in receiver.requests] == [0, 1]


async def test_an_answer_that_stops_after_its_status_counts_by_its_status(receiver: Receiver) -> None:
    receiver.answer = always(Answer(200, body=b"half", cut_short=True))
    async with client() as posting:
        await posting.post(receiver.url, {}, BODY)
        receiver.answer = always(Answer(500, body=b"half", cut_short=True))
        with pytest.raises(DeliveryFailed, match="answered 500"):
            await posting.post(receiver.url, {}, BODY)


async def test_a_receiver_that_does_not_answer_in_time_has_not_taken_it(receiver: Receiver) -> None:
    never = asyncio.Event()

    async def silent(_: Received) -> Answer:
        await never.wait()
        return Answer()

    receiver.answer = silent
    async with client(timeout_s=0.05) as posting:
        with pytest.raises(DeliveryFailed, match=r"no answer within 0\.05 s"):
            await posting.post(receiver.url, {}, BODY)
    never.set()


async def test_a_message_that_is_too_large_is_not_sent(receiver: Receiver) -> None:
    async with client() as posting:
        await posting.post(receiver.url, {}, bytes(MAX_BODY_BYTES))
        with pytest.raises(DeliveryFailed, match="65537 bytes"):
            await posting.post(receiver.url, {}, bytes(MAX_BODY_BYTES + 1))

    assert len(receiver.requests) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "hooks.example"])
async def test_an_own_address_is_not_connected_to_by_number_or_by_name(receiver: Receiver, host: str) -> None:
    async with client(allow_localhost=False) as posting:
        with pytest.raises(DeliveryFailed, match=r"127\.0\.0\.1 is not on the public internet"):
            await posting.post(f"http://{host}:{receiver.port}/", {}, BODY)

    assert receiver.connections == 0


async def test_a_number_in_another_spelling_is_not_connected_to(receiver: Receiver) -> None:
    async with client(PublicResolver(), allow_localhost=False) as posting:
        for host in ("2130706433", "0x7f000001", "127.1", "0177.0.0.1", "[::ffff:7f00:1]", "localhost"):
            with pytest.raises(DeliveryFailed):
                await posting.post(f"http://{host}:{receiver.port}/", {}, BODY)

    assert receiver.connections == 0


async def test_a_name_that_comes_to_mean_another_address_is_checked_again_at_the_next_connection(
    receiver: Receiver,
) -> None:
    receiver.answer = always(Answer(headers={"connection": "close"}))
    names = Names(["127.0.0.1"], ["192.0.2.1"])
    url = f"http://hooks.example:{receiver.port}/"
    async with client(names) as posting:
        await posting.post(url, {}, BODY)
        assert names.asked == 1
        with pytest.raises(DeliveryFailed, match=r"192\.0\.2\.1 is not the address of a host"):
            await posting.post(url, {}, BODY)


async def test_of_a_names_addresses_those_that_may_not_be_used_are_passed_over(receiver: Receiver) -> None:
    async with client(Names(["192.0.2.1", "127.0.0.1"])) as posting:
        await posting.post(f"http://hooks.example:{receiver.port}/", {}, BODY)

    assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"


async def test_plain_http_is_not_spoken_unless_it_is_allowed(receiver: Receiver) -> None:
    async with client(allow_http=False) as posting:
        with pytest.raises(DeliveryFailed, match="https"):
            await posting.post(receiver.url, {}, BODY)

    assert receiver.connections == 0


async def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with client() as posting:
        await posting.post(f"http://hooks.example:{receiver.port}/", {}, BODY)


async def test_a_port_that_nobody_listens_on_and_a_name_that_is_none_are_told_apart() -> None:
    async with client(PublicResolver()) as posting:
        with pytest.raises(DeliveryFailed, match=r"Connect call failed|Connection refused"):
            await posting.post("http://127.0.0.1:1/", {}, BODY)
        with pytest.raises(DeliveryFailed, match=r"Cannot connect to host nothing\.invalid"):
            await posting.post("http://nothing.invalid/", {}, BODY)


# ---- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for hooks.example, signed by itself, with its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "hooks.example", addresses=("192.0.2.7",))


@pytest.fixture
async def secured(certificate: Path) -> AsyncIterator[Receiver]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with Receiver().with_tls(context) as started:
        yield started


async def test_over_tls_the_certificate_is_checked_for_the_name_of_the_url(
    secured: Receiver, certificate: Path
) -> None:
    tls = ssl.create_default_context(cafile=str(certificate))
    async with client(tls=tls, allow_http=False) as posting:
        await posting.post(f"https://hooks.example:{secured.port}/", {}, BODY)
        for host in ("other.example", "127.0.0.1"):
            with pytest.raises(DeliveryFailed, match="certificate"):
                await posting.post(f"https://{host}:{secured.port}/", {}, BODY)

    assert len(secured.requests) == 1


async def test_a_certificate_of_an_unknown_authority_is_not_taken(secured: Receiver) -> None:
    async with client() as posting:
        with pytest.raises(DeliveryFailed, match="certificate"):
            await posting.post(f"https://hooks.example:{secured.port}/", {}, BODY)

    assert secured.requests == []


# ---- lookups -----------------------------------------------------------------------------------------------------


@pytest.fixture
def slow_name(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, list[str]]:
    """While it is not set, the name ``slow.example`` is not answered; and all names that were asked for."""
    answered, asked = threading.Event(), []
    real: Callable[..., object] = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, **options: int) -> object:
        asked.append(host)
        if host == "slow.example":
            answered.wait(20)
        return real("127.0.0.1", port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answered, asked


async def test_all_who_ask_for_a_name_share_one_lookup_and_another_name_is_not_held_up(
    slow_name: tuple[threading.Event, list[str]],
) -> None:
    answered, asked = slow_name
    resolver = PublicResolver()
    slow = [asyncio.create_task(resolver.resolve("slow.example", 443)) for _ in range(100)]
    quick = await resolver.resolve("quick.example", 443)
    slow[0].cancel()
    answered.set()
    answers = await asyncio.gather(*slow[1:])

    assert [each["host"] for each in quick] == ["127.0.0.1"]
    assert answers == [answers[0]] * 99
    assert asked.count("slow.example") == 1
    await resolver.resolve("slow.example", 443)
    assert asked.count("slow.example") == 2, "an answer is not kept"
    await resolver.close()
