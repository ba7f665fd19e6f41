"""The stores that the settings name, and where a recording's file is read, whether it lies here or in one of them.

Whoever reads a finished file asks here, and never for a path: ``FinishedFiles.open`` gives what can be read and sought
in. A file that is here is read here, also while it is being uploaded; one that has left is read in its store.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, BinaryIO

from wavstream.errors import OperatorError, StoreError
from wavstream.model.recording import Recording, StoredObject
from wavstream.settings import StorageSettings
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_store import ObjectStore, needs_obstore


class Stores:
    """The first store and the backup, by URL. Without any, every file is here."""

    def __init__(self, first: ObjectStore | None = None, backup: ObjectStore | None = None) -> None:
        self.first = first
        self.backup = backup

    @classmethod
    def of(cls, settings: StorageSettings) -> Stores:
        """Return the stores that the settings name; raise OperatorError."""
        if settings.url is None:
            if settings.backup_url is not None:
                raise OperatorError("storage.backup_url needs storage.url: the first store is what it stands in for")
            return cls()
        needs_obstore()
        first = make_store(settings.url, settings, endpoint=settings.endpoint)
        if settings.backup_url is None:
            return cls(first)
        return cls(first, make_store(settings.backup_url, settings, endpoint=settings.backup_endpoint))

    def __getitem__(self, url: str) -> ObjectStore:
        """Return the store with that URL; raise StoreError if no setting names it."""
        for store in (self.first, self.backup):
            if store is not None and store.url == url:
                return store
        raise StoreError(
            f"{url} is not among the settings (storage.url, storage.backup_url): name it again", is_lasting=True
        )


class FinishedFiles:
    """Opens finished files for reading, wherever they lie."""

    def __init__(self, local: LocalStorage, stores: Stores) -> None:
        self._local = local
        self._stores = stores

    def open(self, recording: Recording, key: str | None = None) -> BinaryIO:
        """Open the recording's file, or what lies at ``key`` beside it. Blocks: not for the loop.

        Raise FileNotFoundError, OSError, or StoreError.
        """
        key = key or recording.object_key
        try:
            return self._local.path(key).open("rb")
        except FileNotFoundError:
            if recording.stored is None:
                raise
        return self._stores[recording.stored.url].open(key)

    async def sign(self, stored: StoredObject, key: str, ttl: timedelta) -> str:
        """Return an address that opens an uploaded file for so long. Raise StoreError."""
        return await self._stores[stored.url].sign(key, ttl)


def make_store(url: str, settings: StorageSettings, *, endpoint: str | None) -> ObjectStore:
    """Return the store at a URL; raise OperatorError if the settings cannot be one. Sends nothing."""
    from obstore.store import AzureStore, GCSStore, S3Store

    how: Any = {
        "client_options": {
            "connect_timeout": timedelta(seconds=min(settings.timeout_s, 10)),
            "read_timeout": timedelta(seconds=settings.timeout_s),
            # One request for a part of 8 MiB, however slow: what counts is that something moves.
            "timeout": timedelta(seconds=max(settings.timeout_s * 20, 600)),
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "user_agent": "wavstream",
        },
        "retry_config": {"max_retries": 0},
    }
    try:
        match url.split(":", 1)[0]:
            case "s3":
                return ObjectStore(url, S3Store.from_url(url, config=_s3(settings, endpoint), **how))
            case "gs":
                google: Any = {}
                if settings.credentials_file is not None:
                    google["service_account"] = str(settings.credentials_file)
                return ObjectStore(url, GCSStore.from_url(url, config=google, **how))
            case _:
                return ObjectStore(url, AzureStore.from_url(url, **how))
    except OSError:
        raise
    except Exception as error:  # obstore has many classes of them, all of which say that a setting is wrong
        raise OperatorError(f"{url} cannot be used: {str(error).splitlines()[0]}") from error


def _s3(settings: StorageSettings, endpoint: str | None) -> Any:
    config: dict[str, Any] = {
        "virtual_hosted_style_request": not settings.path_style,
        "checksum_algorithm": "SHA256",
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
