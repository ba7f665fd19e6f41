"""One store beyond this machine: a bucket and a prefix of S3, Google or Azure, by ``obstore``.

1. Nothing is tried again here: who calls knows how long it may wait, and that the row says what may have been left.
2. Every failure is a ``StoreError`` with one sentence that says who must do what; ``is_lasting`` where waiting does not
   help. A store's own words are in it only where we do not know better.
3. An object is whole or not there: parts that were uploaded become one at the end. What a killed process leaves of
   parts nobody sees; the bucket's lifecycle rule removes it (docs/s3.md).
4. S3 checks the SHA-256 of each part before it takes it. TLS does so for the others; ``put`` compares the size.
5. A file is read in many requests, each for a range of the content that was there when it was opened.
6. On a slow line a part takes longer than a store may be silent, and the library cannot tell sending from waiting. So
   what is put has much longer, on a client of its own; meanwhile the store is asked now and then, and once it does not
   answer that either, the put has failed.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

from wavstream.errors import FileReplaced, OperatorError, StoreError

PART_BYTES = 8 * 1_048_576
PARTS_AT_ONCE = 2
"""Of one file. Each is in memory while it is sent."""
READ_BYTES = 1_048_576
INSTALL = "pip install 'wavstream[store]'"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a store says of an object."""

    size_bytes: int
    etag: str | None
    modified_at: datetime
    """Aware, UTC, by the store's clock."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What was set with it: type, name of the download, and what who put it says of it."""
    version: str | None = None
    """Where the bucket keeps versions."""


class ObjectStore:
    """One bucket, below one prefix. Its coroutines are for any loop; ``open`` blocks."""

    def __init__(
        self,
        url: str,
        store: Any,
        *,
        patient: Any = None,
        timeout_s: float = 30.0,
        storage_class: str | None = None,
    ) -> None:
        """Use ``store``, an object of ``obstore.store``; ``make_store`` makes one of the settings.

        ``patient``: the same store, for what is put, and ``timeout_s``: after how long the other one is asked meanwhile
        (rule 6); None: one for all. ``storage_class``: of what is put; None: as the bucket has it.
        """
        self.url = url
        self._store = store
        self._patient = store if patient is None else patient
        self._timeout_s = timeout_s
        self._always = {} if storage_class is None else {"Storage-Class": storage_class}

    async def put(
        self, key: str, source: Path | bytes, *, attributes: Mapping[str, str], is_checked: bool = True
    ) -> str | None:
        """Put a file or bytes at the key, in place of what may be there; return its ETag. Raise StoreError, OSError.

        ``is_checked``: the store is asked afterwards whether it has all of it.
        """
        import obstore

        size_bytes = await asyncio.to_thread(_size, source)
        given = {**self._always, **attributes}
        try:
            done = await self._while_it_answers(
                key,
                obstore.put_async(
                    self._patient, key, source, attributes=given, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
                ),
            )
        except FileNotFoundError as error:
            if not _is_answer(error):  # it was removed since its size was asked
                raise
            raise explained(error, self.url) from error
        except (OSError, StoreError):
            raise
        except Exception as error:
            raise explained(error, self.url) from error
        found = await self.head(key) if is_checked else None
        if is_checked and (found is None or found.size_bytes != size_bytes):
            raise StoreError(f"{self.url}: {key} is not there as it was uploaded; it is uploaded again")
        return done["e_tag"]

    async def put_first(self, key: str, content: bytes, *, attributes: Mapping[str, str]) -> None:
        """Put bytes at the key unless something is there: of two at once one comes first. Raise StoreError.

        A server that cannot tell puts them in any case.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        given = {**self._always, **attributes}
        try:
            await obstore.put_async(self._store, key, content, attributes=given, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return
        except (BaseError, OSError):
            # Servers refuse what they do not know in many ways; what is wrong with all that is put is said here too.
            await self.put(key, content, attributes=attributes)

    async def _while_it_answers(self, key: str, sent: Awaitable[T]) -> T:
        """Return what comes of sending something to the key; raise StoreError once the store is silent (rule 6)."""
        sending = asyncio.ensure_future(sent)
        try:
            while not (await asyncio.wait({sending}, timeout=self._timeout_s))[0]:
                await self.head(key)
            return sending.result()
        finally:
            sending.cancel()

    async def head(self, key: str) -> ObjectFacts | None:
        """Return what the store says of the object; None: there is none, or no such bucket. Raise StoreError."""
        import obstore

        try:
            answer = await obstore.get_async(self._store, key, options={"head": True})
        except FileNotFoundError:  # of a HEAD, which cannot say more
            return None
        except Exception as error:
            await asyncio.to_thread(self._ask_why, key, error)
            raise explained(error, self.url) from error
        found, attributes = answer.meta, answer.attributes
        told = {str(name): text for name, text in attributes.items()}
        return ObjectFacts(found["size"], found["e_tag"], found["last_modified"], told, found.get("version"))

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """Return the object's bytes, or those of a range; None: there is no such object. Raise StoreError."""
        import obstore

        try:
            if length is None:
                whole = await obstore.get_async(self._store, key)
                return bytes(await whole.bytes_async())[start:]
            return bytes(await obstore.get_range_async(self._store, key, start=start, length=length))
        except FileNotFoundError as error:
            self._check_bucket(error)
            return None
        except Exception as error:
            raise explained(error, self.url) from error

    def open(self, key: str) -> io.BufferedReader:
        """Open the object to be read and sought in, a MiB at a time. Blocks. Raise FileNotFoundError or StoreError.

        What is read is of one content: an object that is replaced meanwhile is read no further (rule 5).
        """
        import obstore

        try:
            found = obstore.head(self._store, key)
        except FileNotFoundError:
            raise
        except Exception as error:
            self._ask_why(key, error)
            raise explained(error, self.url) from error
        facts = ObjectFacts(found["size"], found["e_tag"], found["last_modified"])
        return io.BufferedReader(ObjectFile(self._store, key, self.url, facts), READ_BYTES)

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects, whether or not they are there. Raise StoreError."""
        import obstore

        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError as error:
                self._check_bucket(error)
            except Exception as error:
                raise explained(error, self.url) from error

    async def list(self, prefix: str) -> list[str]:
        """Return the keys of the objects in a folder, which ends with a slash. Raise StoreError."""
        import obstore

        try:
            stream = obstore.list(self._store, prefix)
            return [str(each["path"]) async for page in stream for each in page]
        except FileNotFoundError as error:
            self._check_bucket(error)
            return []
        except Exception as error:
            raise explained(error, self.url) from error

    async def sign(self, key: str, ttl: timedelta, *, method: Literal["GET", "HEAD"] = "GET") -> str:
        """Return an address that opens the object for so long, whoever has it. Raise StoreError."""
        import obstore

        try:
            return await obstore.sign_async(self._store, method, key, ttl)
        except Exception as error:
            if _CANNOT_SIGN in str(error):
                raise StoreError(
                    f"{self.url}: these credentials cannot sign addresses of files: set storage.links to serve, or use "
                    "others",
                    is_lasting=True,
                ) from error
            raise explained(error, self.url) from error

    def _ask_why(self, key: str, refused: Exception) -> None:
        """Ask again, if a HEAD was refused, whose answer has no words; raise StoreError with those. Blocks."""
        import obstore

        if _says_no_more(refused):
            try:
                obstore.get_range(self._store, key, start=0, length=1)
            except Exception as error:
                raise explained(error, self.url) from error

    def _check_bucket(self, error: FileNotFoundError) -> None:
        """Raise StoreError if it is the bucket that is not there."""
        if "NoSuchBucket" in str(error):
            raise explained(error, self.url) from error


class ObjectFile(io.RawIOBase):
    """An object as a file. Each read is a request, may wait for the store, and raise StoreError."""

    def __init__(self, store: Any, key: str, url: str, facts: ObjectFacts) -> None:
        self._store = store
        self._key = key
        self._url = url
        self._at = 0
        self.facts = facts
        """When it was opened."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; return how far from the beginning that is."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.facts.size_bytes}[whence]
        return self._at

    def tell(self) -> int:
        """Return how far from the beginning it is."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read into the buffer; return how many bytes, 0 at the end."""
        got = self.read_at(len(buffer), self._at)
        buffer[: len(got)] = got
        self._at += len(got)
        return len(got)

    def read_at(self, length_bytes: int, offset: int) -> bytes:
        """Return what lies there, less at the end; raise FileNotFoundError, FileReplaced or StoreError."""
        import obstore

        end = min(offset + length_bytes, self.facts.size_bytes)
        if offset >= end:
            return b""
        how: Any = {"range": (offset, end)}
        if self.facts.etag is not None:
            how["if_match"] = self.facts.etag  # rule 5
        try:
            return bytes(obstore.get(self._store, self._key, options=how).bytes())
        except FileNotFoundError:
            raise
        except Exception as error:
            if type(error).__name__ == "PreconditionError":
                raise FileReplaced(f"{self._url}: {self._key} was replaced while it was read") from error
            raise explained(error, self._url) from error


def _size(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def needs_obstore() -> None:
    """Raise OperatorError if what speaks to stores is not installed."""
    if find_spec("obstore") is None:
        raise OperatorError(f"storage.url needs the package obstore: {INSTALL}")


_CODE = re.compile(r"<Code>(\w+)</Code>")
_REASON = re.compile(r" in [\d.]+\S* - (.*)")
"""Behind what was asked and how long that took."""
_STATUS = re.compile(r"status code: (\d+ ?[\w -]*)")
_TO_DO = {
    "NoSuchBucket": "there is no such bucket: make it, or name the right one",
    "InvalidBucketName": "no bucket can have this name: name the right one",
    "InvalidAccessKeyId": "the store does not know this access key: set storage.access_key_id to the right one",
    "SignatureDoesNotMatch": "the secret is not that of the access key: set storage.secret_access_key to the right one",
    "ExpiredToken": "the session token has expired: renew the credentials",
    "InvalidToken": "the session token is wrong: renew the credentials",
    "RequestTimeTooSkewed": "the clock of this machine is wrong by minutes: set it (NTP)",
    "AccessDenied": "the store refuses this: give these credentials the right to read, write and delete there",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set storage.region",
    "PermanentRedirect": "the bucket is in another region, or at another endpoint: set storage.region",
    "InvalidStorageClass": "the store has no such storage class: set storage.storage_class to one that it has",
    "KMS.NotFoundException": "there is no such key to encrypt with: set storage.kms_key_id to the right one",
    "SlowDown": "the store asks to send less",
    "ServiceUnavailable": "the store is not available now",
    "InternalError": "the store has failed",
}
_UNTRUSTED = re.compile(r"InvalidCertificate\(\s*(?:Other\(\s*OtherError\(\s*)?(\w+)")
_NO_STORE = "Header missing from response"
"""Of an answer that says that all is well: of a console, or a portal that one has to log in to."""
_CAUSE = re.compile(r'(?:message|error): "([^"]+)"')
"""What of all that is behind a failure is in words: the system's own."""
_PASSING = frozenset({"SlowDown", "InternalError", "ServiceUnavailable"})
_CANNOT_SIGN = "Generating SAS keys"
"""Of a shared access signature of Azure's, or none."""
_NO_ROLE = "169.254."
"""Where a machine is asked for its role, when nothing else gives credentials."""


def explained(error: Exception, url: str) -> StoreError:
    """Return what a failure of ``obstore`` means."""
    said = str(error)
    code = match[1] if (match := _CODE.search(said)) else None
    if "incorrectly configured region" in said:
        code = "PermanentRedirect"
    if code in _TO_DO:
        is_refusal = code == "AccessDenied"
        return StoreError(f"{url}: {_TO_DO[code]}", is_lasting=code not in _PASSING, is_refusal=is_refusal)
    first = (said.splitlines() or [type(error).__name__])[0][:300]
    reason = match[1][:300] if (match := _REASON.search(first)) else first
    if "credential provider: " in first:
        return StoreError(f"{url}: {first.partition('credential provider: ')[2]}", is_lasting=True)
    if _NO_ROLE in first:
        return StoreError(
            f"{url}: there are no credentials, and this machine has no role: set storage.access_key_id and "
            "storage.secret_access_key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return StoreError(f"{url}: {_TO_DO['AccessDenied']}", is_refusal=True)
    if isinstance(error, FileNotFoundError):
        return StoreError(
            f"{url}: nothing is there that takes files: name the right bucket and endpoint", is_lasting=True
        )
    if (status := _STATUS.search(reason)) is not None:
        return StoreError(f"{url}: the store answers {status[1].strip()}{f' ({code})' if code else ''}")
    if _NO_STORE in said:
        return StoreError(
            f"{url}: what answers there is no store, or not of this kind: name the right endpoint", is_lasting=True
        )
    if (untrusted := _UNTRUSTED.search(said)) is not None:
        return StoreError(
            f"{url}: the certificate of the store cannot be trusted ({untrusted[1]}): mend that there, or name the "
            "file of your own authority in SSL_CERT_FILE",
            is_lasting=True,
        )
    if reason.startswith("HTTP error"):
        causes = _CAUSE.findall(said)
        return StoreError(
            f"{url}: the store cannot be reached, or does not answer in time ({causes[-1] if causes else reason})"
        )
    return StoreError(f"{url}: {reason}")


def _is_answer(error: FileNotFoundError) -> bool:
    """Return whether it is the store that says so, and not our disk."""
    return "status code: 404" in str(error)


def _says_no_more(error: Exception) -> bool:
    """Return whether it refuses without a word why, as the answer to a HEAD does."""
    said = str(error)
    return _CODE.search(said) is None and _REFUSED.search(said) is not None


_REFUSED = re.compile(r"status code: (?:40[013]|301)\b")
