"""``wavstream storage check``: each store of the settings used once, as the start does, and what is wrong said."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console

from wavstream.cli.data_folder import found_folder
from wavstream.errors import OperatorError, StoreError, WavstreamError
from wavstream.settings import Settings
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.probe import MARKER, PROBES, check_owner, probe
from wavstream.storage.stores import Stores

_STEPS = {
    "write": "an object is taken",
    "read": "it comes back as it was",
    "range": "a part of it can be had",
    "sign": "an address of it can be signed, as links need it",
    "delete": "it can be deleted",
}


class NotUsable(WavstreamError):
    """A store cannot be used: the lines say why, and who must do what."""


@dataclass(frozen=True, slots=True)
class Line:
    """What was found of one thing."""

    store: str
    step: str
    text: str
    is_good: bool = True


async def run_check(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Print a line for each thing that was looked at; raise OperatorError, or NotUsable if one is wrong."""
    stores = Stores.of(settings.storage)
    if stores.first is None:
        raise OperatorError("storage.url is not set, so files stay on this machine: set it to what is to be checked")
    async with found_folder(settings).open_catalog() as catalog:
        installation = await catalog.uploads.installation()
    bad = 0
    for store in stores:
        async for line in _look(store, installation, settings.storage.addresses_open_for):
            bad += not line.is_good
            _print(line, console, as_json=as_json)
    if bad:
        raise NotUsable(f"{bad} of what a server needs of its stores is not as it should be: see the lines above")


async def _look(store: ObjectStore, installation: str, signed: timedelta | None) -> AsyncIterator[Line]:
    """Yield what is found, until something is missing that all else needs."""
    findings = await probe(store, signed=signed)
    for finding in findings:
        good = finding.problem is None
        yield Line(store.url, finding.step, _STEPS[finding.step] if good else str(finding.problem), good)
    if any(each.problem is not None for each in findings if each.step in ("write", "read")):
        return
    try:
        is_ours = await check_owner(store, installation)
    except StoreError as error:
        yield Line(store.url, "owner", str(error), is_good=False)
    else:
        ours, nobodys = f"this installation's ({installation})", f"nobody's yet: the first start writes {MARKER}"
        yield Line(store.url, "owner", ours if is_ours else nobodys)
    try:
        yield await _versions(store)
    except StoreError as error:
        yield Line(store.url, "versions", str(error), is_good=False)


async def _versions(store: ObjectStore) -> Line:
    """Return whether the bucket keeps versions, as it says of an object that is put there for that."""
    key = f"{PROBES}-{secrets.token_hex(8)}"
    await store.put(key, b"?", attributes={})
    try:
        found = await store.head(key)
    finally:
        with suppress(StoreError):
            await store.delete([key])
    if found is None or found.version in (None, "null"):
        return Line(store.url, "versions", "not kept: what is erased is gone")
    return Line(
        store.url,
        "versions",
        "kept: what is erased stays as an older version until a lifecycle rule of the bucket removes it "
        "(NoncurrentVersionExpiration)",
    )


def _print(line: Line, console: Console, *, as_json: bool) -> None:
    if as_json:
        text = json.dumps({"store": line.store, "step": line.step, "ok": line.is_good, "text": line.text})
    else:
        text = f"{line.store}  {line.step:<8} {'ok' if line.is_good else 'WRONG':<5} {line.text}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
