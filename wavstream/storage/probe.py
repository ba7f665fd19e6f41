"""Whether a store can be used, found out by using it: written, read, ranged, signed for and deleted; and whose it is.

1. Each step is one right that whoever gave the credentials may have forgotten. The first that is refused ends the
   steps that need it, and is named with what gives it.
2. What is put is put below ``PROBES`` with a name of its own, so that two servers which look at the same time do not
   meet, and is deleted, also where something between failed.
3. ``MARKER`` lies beside the files and has the id of the installation whose files they are. Another one that finds it
   there must not write: two catalogs would each delete what only the other knows. Who only looks writes none.
4. An address is signed where links lead to the store: not all credentials can do that, and a link would be the first to
   find out. Nobody opens it: whether readers reach the store from where they are is not known here.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from wavstream.errors import StoreError
from wavstream.storage.object_store import ObjectStore

MARKER = ".wavstream-installation"
PROBES = ".wavstream-probe"
_CONTENT = b"wavstream has looked whether this store can be used; this may be deleted"
_RANGE = (10, 7)
"""Where it begins and how long it is."""
_RIGHTS = {
    "s3": {
        "write": "s3:PutObject",
        "read": "s3:GetObject",
        "range": "s3:GetObject",
        "delete": "s3:DeleteObject",
        # What may not be listed and is not there is answered as what may not be read.
        "owner": "s3:ListBucket",
    },
    "gs": {
        "write": "storage.objects.create",
        "read": "storage.objects.get",
        "range": "storage.objects.get",
        "delete": "storage.objects.delete",
        "sign": "roles/iam.serviceAccountTokenCreator on their own account, or set storage.links to serve",
    },
    "az": dict.fromkeys(("write", "read", "range", "delete"), "the role Storage Blob Data Contributor")
    | {"sign": "the role Storage Blob Delegator on the account, or set storage.links to serve"},
}

_VERBS = {"range": "read a part of a file", "owner": "be told what is not there", "sign": "sign addresses of files"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step found."""

    step: str
    """``write``, ``read``, ``range``, ``sign``, ``delete`` or ``owner``."""
    problem: StoreError | None = None
    """None: it can be done."""


async def probe(
    store: ObjectStore, *, installation: str | None = None, signed: timedelta | None = None
) -> list[Finding]:
    """Return what each step found, in order, until one failed that the others need; never raises StoreError.

    ``installation``: whose files are to lie there; it is written there if nobody's do yet. None: nobody asks for that.
    ``signed``: for how long links open addresses of the store (rule 4); None: no link leads there.
    """
    key = f"{PROBES}-{secrets.token_hex(8)}"
    findings = [await _step("write", store, lambda: _write(store, key))]
    if findings[0].problem is not None:
        return findings
    findings.append(await _step("read", store, lambda: _read(store, key)))
    findings.append(await _step("range", store, lambda: _read(store, key, *_RANGE)))
    if signed is not None:
        findings.append(await _step("sign", store, lambda: _sign(store, key, signed)))
    findings.append(await _step("delete", store, lambda: store.delete([key])))
    if installation is not None and findings[1].problem is None:
        findings.append(await _step("owner", store, lambda: claim(store, installation)))
    return findings


async def claim(store: ObjectStore, installation: str) -> None:
    """Write that this installation's files lie in the store, or find that written; raise StoreError (rule 3)."""
    owner = await owner_of(store)
    if owner is None:
        content = msgspec.json.encode({"installation": installation})
        await store.put_first(MARKER, content, attributes={"Content-Type": "application/json"})
        owner = await owner_of(store)  # of two that come at the same time the first one's is read by both
    if owner != installation:
        raise _anothers(store, owner)


async def check_owner(store: ObjectStore, installation: str | None) -> bool:
    """Return whether this installation's files lie in the store already; raise StoreError if another's do (rule 3).

    ``installation``: None: it has not come to a name yet, so whoever is there is another.
    """
    owner = await owner_of(store)
    if owner not in (None, installation):
        raise _anothers(store, owner)
    return owner is not None


async def owner_of(store: ObjectStore) -> str | None:
    """Return whose files lie in the store, as its marker says; None: it has none. Raise StoreError."""
    content = await store.read(MARKER)
    if content is None:
        return None
    try:
        return msgspec.convert(msgspec.json.decode(content)["installation"], str)
    except (msgspec.MsgspecError, KeyError, TypeError):
        return "its marker cannot be read"


async def _step(step: str, store: ObjectStore, work: Callable[[], Awaitable[None]]) -> Finding:
    try:
        await work()
    except StoreError as error:
        return Finding(step, _named(step, store, error))
    return Finding(step)


def _named(step: str, store: ObjectStore, error: StoreError) -> StoreError:
    """Return the failure with the right that lacks, where it is one (rule 1)."""
    right = _RIGHTS[store.url.partition(":")[0]].get(step)
    if not error.is_refusal or right is None:
        return error
    what = _VERBS.get(step, step)
    return StoreError(f"{store.url}: these credentials may not {what} there: give them {right}", is_refusal=True)


async def _write(store: ObjectStore, key: str) -> None:
    # Without being read back: that is the next step.
    await store.put(key, _CONTENT, attributes={"Content-Type": "text/plain"}, is_checked=False)


async def _read(store: ObjectStore, key: str, start: int = 0, length: int | None = None) -> None:
    got = await store.read(key, start, length)
    wanted = _CONTENT[start:] if length is None else _CONTENT[start : start + length]
    if got != wanted:
        raise StoreError(
            f"{store.url}: what was written does not come back as it was: name a store that gives what it took at once",
            is_lasting=True,
        )


async def _sign(store: ObjectStore, key: str, signed: timedelta) -> None:
    await store.sign(key, signed)


def _anothers(store: ObjectStore, owner: str | None) -> StoreError:
    return StoreError(
        f"{store.url} has the files of another installation ({owner}): name a bucket or prefix of its own; if this "
        f"one takes its place, and that one never runs again, delete {MARKER} there",
        is_lasting=True,
    )
