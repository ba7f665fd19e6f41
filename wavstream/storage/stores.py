"""The stores that the settings name, and where a recording's file is read, whether it lies here or in one of them.

Whoever reads a finished file asks here, and never for a path: ``FinishedFiles.open`` gives what can be read and sought
in. A file that is here is read here, also while it is being uploaded; one that has left is read in its store.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from errno import ENOENT
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from wavstream.errors import FileReplaced, OperatorError, StoreError
from wavstream.model.recording import Recording, StoredObject
from wavstream.settings import StorageSettings
from wavstream.storage.contents import Contents, Look
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import sidecar_key, transcript_key, waveform_key
from wavstream.storage.object_store import ObjectFacts, ObjectFile, ObjectStore, needs_obstore

log = structlog.get_logger(__name__)


class Stores:
    """The first store and the backup, by URL. Without any, every file is here."""

    def __init__(self, first: ObjectStore | None = None, backup: ObjectStore | None = None) -> None:
        self.first = first
        self.backup = backup

    @classmethod
    def of(cls, settings: StorageSettings) -> Stores:
        """Return the stores that the settings name; raise OperatorError."""
        if (settings.access_key_id is None) != (settings.secret_access_key is None):
            raise OperatorError("storage.access_key_id and storage.secret_access_key belong together: set both")
        if settings.url is None:
            if settings.backup_url is not None:
                raise OperatorError("storage.backup_url needs storage.url: the first store is what it stands in for")
            return cls()
        needs_obstore()
        if settings.backup_url == settings.url and settings.backup_endpoint == settings.endpoint:
            raise OperatorError("storage.backup_url is storage.url: name another store")
        first = make_store(settings.url, settings, endpoint=settings.endpoint)
        if settings.backup_url is None:
            return cls(first)
        return cls(first, make_store(settings.backup_url, settings, endpoint=settings.backup_endpoint))

    def __iter__(self) -> Iterator[ObjectStore]:
        """Yield the stores that there are, the first one first."""
        return iter([store for store in (self.first, self.backup) if store is not None])

    def __getitem__(self, url: str) -> ObjectStore:
        """Return the store with that URL; raise StoreError if no setting names it."""
        for store in (self.first, self.backup):
            if store is not None and store.url == url:
                return store
        raise StoreError(
            f"{url} is not among the settings (storage.url, storage.backup_url): name it again", is_lasting=True
        )


class FinishedFiles:
    """Opens finished files for reading, wherever they lie. Safe to use from several threads.

    1. A file that is here is read here, be it uploaded or not.
    2. One in a store is the one that was uploaded, by its size and by what the store calls its content. With another
       name of the same size it is read once and compared (``contents.py``). Any other is not handed out; who compares
       contents (``verify``) reads it none the less.
    3. What is gone there, or is another one, is counted and in the log: nobody else would tell.
    """

    def __init__(self, local: LocalStorage, stores: Stores, *, look: Look = lambda _opening, _recording: False) -> None:
        """``look`` tells whether a content is as a recording's receipt says, by reading it (rule 2)."""
        self._contents = Contents(look)
        self._local = local
        self._stores = stores
        self._counting = threading.Lock()
        self.wrong: Counter[str] = Counter()
        """How often a file in a store was ``gone`` or ``replaced``."""

    def open(self, recording: Recording, key: str | None = None, *, as_it_is: bool = False) -> io.BufferedReader:
        """Open the recording's file, or what lies at ``key`` beside it. Blocks: not for the loop.

        ``as_it_is``: also where it is another one than was uploaded. Raise FileNotFoundError, OSError, StoreError, or
        FileReplaced.
        """
        key = key or recording.object_key
        try:
            return self._local.path(key).open("rb")  # rule 1
        except FileNotFoundError:
            if recording.stored is None:
                raise
        is_file = key == recording.object_key
        try:
            file = self._stores[recording.stored.url].open(key)
        except FileNotFoundError:
            if is_file:
                self._count_gone(recording, recording.stored)
            raise
        assert isinstance(file.raw, ObjectFile)
        if is_file and not as_it_is and not self._is_right(recording, recording.stored, file.raw.facts):
            raise self._replaced(recording, recording.stored)
        return file

    async def check(self, recording: Recording) -> None:
        """Ask the store for the file of an uploaded recording; raise FileNotFoundError, StoreError or FileReplaced."""
        assert recording.stored is not None
        found = await self._stores[recording.stored.url].head(recording.object_key)
        if found is None:
            self._count_gone(recording, recording.stored)
            raise FileNotFoundError(ENOENT, "it is gone from the store", recording.object_key)
        is_right = self._is_known(recording, recording.stored, found)
        if is_right is None:
            is_right = await asyncio.to_thread(self._is_right, recording, recording.stored, found)
        if not is_right:
            raise self._replaced(recording, recording.stored)

    async def sign(self, recording: Recording, ttl: timedelta, *, method: Literal["GET", "HEAD"] = "GET") -> str:
        """Return an address that opens an uploaded file for so long, by that method. Raise StoreError."""
        assert recording.stored is not None
        return await self._stores[recording.stored.url].sign(recording.object_key, ttl, method=method)

    async def put_waveform(self, recording: Recording, content: bytes) -> None:
        """Put the waveform of an uploaded file beside it, unless that is erased meanwhile. Raise StoreError."""
        await self._put_beside(recording, waveform_key(recording.object_key), content, "application/octet-stream")

    async def put_transcript(self, recording: Recording, content: bytes) -> None:
        """Put the transcript of an uploaded file beside it, unless that is erased meanwhile. Raise StoreError."""
        await self._put_beside(recording, transcript_key(recording.object_key), content, "application/json")

    async def delete_transcript(self, recording: Recording) -> None:
        """Delete the transcript beside a file, here and in its store. Raise OSError, StoreError."""
        await asyncio.to_thread(self._local.delete_transcript, recording.object_key)
        if recording.stored is not None:
            await self._stores[recording.stored.url].delete([transcript_key(recording.object_key)])

    async def _put_beside(self, recording: Recording, key: str, content: bytes, content_type: str) -> None:
        assert recording.stored is not None
        store = self._stores[recording.stored.url]
        await store.put(key, content, attributes={"Content-Type": content_type})
        # Looked at behind it: whoever erases deletes the file first, so one of the two sees the other.
        if await store.head(recording.object_key) is None:
            await store.delete([key])

    async def delete(self, url: str, object_key: str) -> None:
        """Delete a file from a store, and all that lies beside it. Raise StoreError."""
        await self._stores[url].delete(
            [object_key, waveform_key(object_key), transcript_key(object_key), sidecar_key(object_key)]
        )

    def _is_known(self, recording: Recording, stored: StoredObject, found: ObjectFacts) -> bool | None:
        """Return whether it is the recording's file, as far as that is known without reading it (rule 2)."""
        expected = recording.receipt
        if expected is not None and found.size_bytes != expected.size_bytes:
            return False
        if stored.etag in (None, found.etag):
            return True
        return self._contents.known(recording, found.etag)

    def _is_right(self, recording: Recording, stored: StoredObject, found: ObjectFacts) -> bool:
        """Return whether it is the recording's file; blocks, for as long as it takes to read it."""
        if (is_known := self._is_known(recording, stored, found)) is not None:
            return is_known

        def opening() -> io.BufferedReader:
            file = self._stores[stored.url].open(recording.object_key)
            assert isinstance(file.raw, ObjectFile)
            if file.raw.facts.etag != found.etag:
                raise FileReplaced(f"{stored.url}: {recording.object_key} was replaced while it was read")
            return file

        is_right = self._contents.judge(recording, found.etag, opening)
        if is_right:
            log.warning("stored_file_put_back", recording_id=recording.id, store=stored.url)
        return is_right

    def _replaced(self, recording: Recording, stored: StoredObject) -> FileReplaced:
        with self._counting:
            self.wrong["replaced"] += 1
        log.error("stored_file_replaced", recording_id=recording.id, store=stored.url, object_key=recording.object_key)
        return FileReplaced(f"{stored.url}: {recording.object_key} is not the file that was uploaded")

    def _count_gone(self, recording: Recording, stored: StoredObject) -> None:
        with self._counting:
            self.wrong["gone"] += 1
        log.error("stored_file_gone", recording_id=recording.id, store=stored.url, object_key=recording.object_key)


def make_store(url: str, settings: StorageSettings, *, endpoint: str | None) -> ObjectStore:
    """Return the store at a URL; raise OperatorError if the settings cannot be one. Sends nothing."""
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=min(settings.timeout_s, 10)),
        # Of a whole request: a file that is read through it may be large, and who reads it, or the line, slow.
        "timeout": timedelta(seconds=max(settings.timeout_s * 20, 600)),
        "allow_http": endpoint is not None and endpoint.startswith("http://"),
        "user_agent": "wavstream",
    }
    try:
        return ObjectStore(
            url,
            _client(url, settings, endpoint, options | {"read_timeout": timedelta(seconds=settings.timeout_s)}),
            patient=_client(url, settings, endpoint, options),
            timeout_s=settings.timeout_s,
            storage_class=settings.storage_class,
        )
    except OSError:
        raise
    except Exception as error:  # obstore has many classes of them, all of which say that a setting is wrong
        raise OperatorError(f"{url} cannot be used: {str(error).splitlines()[0]}") from error


def _client(url: str, settings: StorageSettings, endpoint: str | None, options: dict[str, Any]) -> Any:
    from obstore.store import AzureStore, GCSStore, S3Store

    how: Any = {"client_options": options, "retry_config": {"max_retries": 0}}
    match url.split(":", 1)[0]:
        case "s3":
            if settings.credentials_file is not None:
                how["credential_provider"] = FileCredentials(settings.credentials_file)
            return S3Store.from_url(url, config=_s3(settings, endpoint), **how)
        case "gs":
            google: Any = {}
            if settings.credentials_file is not None:
                google["service_account"] = str(settings.credentials_file)
            return GCSStore.from_url(url, config=google, **how)
        case _:
            account, _, rest = url.partition("://")[2].partition("/")
            container, _, prefix = rest.partition("/")
            azure: Any = {"account_name": account}
            if endpoint is not None:
                azure["endpoint"] = endpoint
            return AzureStore(container, prefix=prefix or None, config=azure, **how)


class FileCredentials:
    """The credentials of a file, read anew once it has changed. ``obstore`` asks on a thread of its own."""

    def __init__(self, path: Path) -> None:
        """Read them when they are asked for."""
        self._path = path
        self._version: tuple[int, int] | None = None
        self._read: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """Return them as ``obstore`` has them: over at once, so that it asks again for the next request."""
        try:
            now = self._path.stat()
            version = (now.st_mtime_ns, now.st_ino)
            if version != self._version:
                said = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Any])
                self._read = {
                    "access_key_id": said["access_key_id"],
                    "secret_access_key": said["secret_access_key"],
                    "token": said.get("session_token"),
                }
                self._version = version
        except OSError as error:
            raise OperatorError(f"storage.credentials_file {self._path}: {error.strerror}") from None
        except (msgspec.MsgspecError, KeyError):
            raise OperatorError(
                f"storage.credentials_file {self._path}: must be JSON with access_key_id and secret_access_key"
            ) from None
        return {**self._read, "expires_at": datetime.now(UTC)}


def _s3(settings: StorageSettings, endpoint: str | None) -> Any:
    config: dict[str, Any] = {
        "virtual_hosted_style_request": not settings.path_style,
        "checksum_algorithm": "SHA256",
        # Each server that speaks S3 has DELETE; not each takes a list of what to delete.
        "disable_bulk_delete": True,
    }
    if endpoint is not None:
        config["endpoint"] = endpoint
    if settings.region is not None:
        config["region"] = settings.region
    if settings.access_key_id is not None and settings.secret_access_key is not None:
        config["access_key_id"] = settings.access_key_id
        config["secret_access_key"] = settings.secret_access_key.get_secret_value()
    if not settings.checksum:
        del config["checksum_algorithm"]
    if settings.encryption is not None:
        config["server_side_encryption"] = settings.encryption
    if settings.kms_key_id is not None:
        config["sse_kms_key_id"] = settings.kms_key_id
    return config
