"""A store is looked at before anything is put there: what is wrong with it is said by name."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.memory_store import MemoryStore
from wavstream.errors import StoreError
from wavstream.settings import StorageSettings
from wavstream.storage.object_store import explained
from wavstream.storage.probe import MARKER, check_owner, claim, probe
from wavstream.storage.stores import Stores

MINE, THEIRS = "1" * 32, "2" * 32


def a_store(*refuses: str) -> MemoryStore:
    store = MemoryStore()
    store.refuses |= {*refuses}
    return store


async def test_a_store_that_can_be_used_has_no_problem_and_nothing_is_left_but_the_marker() -> None:
    store = MemoryStore()

    findings = await probe(store, installation=MINE)

    assert [(each.step, each.problem) for each in findings] == [
        (step, None) for step in ("write", "read", "range", "delete", "owner")
    ]
    assert [*store.objects] == [MARKER]
    assert all(each.problem is None for each in await probe(store, installation=MINE))


@pytest.mark.parametrize(
    ("step", "right"), [("write", "s3:PutObject"), ("read", "s3:GetObject"), ("delete", "s3:DeleteObject")]
)
async def test_a_right_that_lacks_is_named(step: str, right: str) -> None:
    findings = await probe(a_store(step), installation=MINE)

    (problem,) = [each.problem for each in findings if each.step == step]
    assert problem is not None
    assert right in str(problem)
    assert step in str(problem)
    assert problem.is_lasting


async def test_a_store_of_another_installation_is_not_taken() -> None:
    store = MemoryStore()
    await claim(store, THEIRS)

    findings = await probe(store, installation=MINE)

    problem = findings[-1].problem
    assert problem is not None
    assert problem.is_lasting
    assert THEIRS in str(problem)
    assert MARKER in str(problem), "it says what to do"
    assert THEIRS in store.objects[MARKER].decode()


async def test_a_marker_that_cannot_be_read_is_somebody_elses() -> None:
    store = MemoryStore()
    store.objects[MARKER] = b"?"
    with pytest.raises(StoreError, match="another installation"):
        await claim(store, MINE)


@pytest.mark.parametrize(
    ("said", "means", "is_lasting"),
    [
        ("<Error><Code>NoSuchBucket</Code></Error>", "no such bucket", True),
        ("<Error><Code>InvalidAccessKeyId</Code></Error>", "set storage.access_key_id", True),
        ("<Error><Code>SignatureDoesNotMatch</Code></Error>", "set storage.secret_access_key", True),
        ("<Error><Code>RequestTimeTooSkewed</Code></Error>", "clock", True),
        ("<Error><Code>ExpiredToken</Code></Error>", "expired", True),
        ("<Error><Code>SlowDown</Code></Error>", "send less", False),
        ("PUT http://a/b/k in 1.8ms - Received redirect without LOCATION, this normally indicates an incorrectly "
         "configured region", "storage.region", True),
        ("Error performing PUT http://a/b/k in 4.5ms - HTTP error: error sending request", "cannot be reached", False),
        ("PUT http://a/b/k in 1ms - Server returned non-2xx status code: 503 Service Unavailable: ", "503", False),
        ("PUT https://a/b/k in 2ms - HTTP error: error sending request\n\nDebug source:\nInvalidCertificate(\n  "
         "UnknownIssuer,\n)", "SSL_CERT_FILE", True),
        ("PUT https://a/b/k in 2ms - HTTP error: error sending request\n\nDebug source:\nOs {\n code: 111,\n message: "
         "\"Connection refused\",\n}", "Connection refused", False),
        ("PUT http://a/b/k in 1ms - Server returned non-2xx status code: 400 Bad Request: "
         "<Error><Code>BadDigest</Code></Error>", "400 Bad Request (BadDigest)", False),
        ("Unable to extract metadata from headers: ETag Header missing from response", "right endpoint", True),
        ("PUT http://169.254.169.254/latest in 1s - HTTP error", "storage.access_key_id", False),
    ],
)  # fmt: skip
def test_what_a_store_says_becomes_what_to_do(said: str, means: str, is_lasting: bool) -> None:
    error = explained(Exception(f"{said}\n\nDebug source:\nmuch"), "s3://calls")

    assert means in str(error)
    assert "s3://calls" in str(error)
    assert "Debug source" not in str(error)
    assert error.is_lasting is is_lasting


async def test_credentials_that_cannot_sign_are_found_where_links_lead_to_the_store_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2024-11-04&sr=c&sp=rcwd&sig=c2lnbmVk")
    azure = Stores.of(StorageSettings(url="az://account/container")).first
    assert azure is not None
    store = MemoryStore("az://account/container")
    monkeypatch.setattr(store, "sign", azure.sign)

    findings = await probe(store, installation=MINE, signed=timedelta(seconds=600))
    without = await probe(store, installation=MINE)

    (problem,) = [each.problem for each in findings if each.step == "sign"]
    assert problem is not None
    assert "storage.links to serve" in str(problem)
    assert problem.is_lasting
    assert all(each.problem is None for each in (*without, *(each for each in findings if each.step != "sign")))


async def test_who_only_looks_whose_a_store_is_leaves_no_marker() -> None:
    store = MemoryStore()
    assert not await check_owner(store, None)
    assert not await check_owner(store, MINE)
    assert not store.objects
    await claim(store, MINE)
    assert await check_owner(store, MINE)
    for other in (None, THEIRS):
        with pytest.raises(StoreError, match="another installation"):
            await check_owner(store, other)
