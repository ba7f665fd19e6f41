"""The settings of stores beyond this machine: where finished files are uploaded to, how, and who hands them out."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from wavstream.settings.tables import Seconds, SecondsOrZero, Secret, Table

SCHEMES = ("s3", "gs", "az")


def _is_store(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be s3://bucket, gs://bucket or az://account/container, with or without a prefix behind")
    if parts.scheme == "az" and not parts.path.strip("/"):
        raise ValueError("must name an account and a container: az://account/container")
    if not re.fullmatch(r"(/[A-Za-z0-9._=-]+)*/?", parts.path) or ".." in parts.path.split("/"):
        raise ValueError("the prefix must be a path of letters, digits, '.', '_', '=' and '-'")
    return url.rstrip("/")


def _is_endpoint(address: str) -> str:
    parts = urlsplit(address)
    try:
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment or "@" in parts.netloc or not _PRINTABLE.fullmatch(address):
        raise ValueError("must be http:// or https:// with a host, such as https://minio.example.com:9000")
    return address.rstrip("/")


_PRINTABLE = re.compile(r"[!-~]+")


def _words(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return tuple(shlex.split(given))
    except ValueError as error:
        raise ValueError(f"must be a program and its arguments, as in a shell: {error}") from error


StoreUrl = Annotated[str, AfterValidator(_is_store)]
Endpoint = Annotated[str, AfterValidator(_is_endpoint)]
Command = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class StorageSettings(Table):
    """A store that finished files are uploaded to; without a `url` they stay on this machine."""

    url: StoreUrl | None = None
    """`s3://bucket/prefix`, `gs://bucket/prefix` or `az://account/container/prefix`; not set: files stay here."""
    endpoint: Endpoint | None = None
    """Address of a server that speaks S3, such as https://minio.example.com:9000; not set: that of the region."""
    region: str | None = None
    """Region of the bucket; not set: what the environment says (AWS_REGION), else us-east-1."""
    path_style: bool = True
    """Whether the bucket is in the path of requests; off: in their host, as AWS alone needs for some buckets."""
    access_key_id: str | None = None
    """Not set: the usual environment (AWS_ACCESS_KEY_ID, GOOGLE_..., AZURE_...), else the role of the machine."""
    secret_access_key: Secret | None = None
    """Secret. Belongs to `access_key_id`."""
    credentials_file: Path | None = None
    """A file that is read anew when it changes: JSON of `access_key_id`, `secret_access_key` and, where there is one,
    `session_token`; of Google the key of a service account."""
    encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """Server-side encryption of S3; not set: as the bucket has it."""
    kms_key_id: str | None = None
    """Key of `aws:kms`; not set: the account's own."""
    checksum: bool = True
    """Whether S3 is sent the SHA-256 of what it takes as a checksum too, which it keeps; off for a server that refuses
    it."""
    storage_class: str | None = None
    """Such as STANDARD_IA; not set: as the bucket has it."""
    links: Literal["redirect", "serve"] = "redirect"
    """What a link to an uploaded file answers: 307 to an address of the store that is signed, or the file through this
    server."""
    signed_s: Annotated[int, Field(ge=10, le=604_800)] = 600
    """Seconds that such an address opens the file."""
    uploads: Annotated[int, Field(ge=1, le=64)] = 4
    """Files uploaded at the same time."""
    timeout_s: Seconds = 30.0
    """Seconds without a byte from the store after which a request to it has failed. What is uploaded may take longer,
    on a slow line; after each so many seconds of it the store is asked whether it still answers."""
    backup_url: StoreUrl | None = None
    """A second store, which takes what the first has not taken within `backup_after_s`; its credentials are of the
    usual environment, or those above."""
    backup_endpoint: Endpoint | None = None
    """Address of the second store's server, as `endpoint`."""
    backup_after_s: SecondsOrZero = 600.0
    """Seconds."""
    on_stored: Command = ()
    """A program and its arguments, as a list or as one text that a shell would read so, run for each uploaded file;
    what it is told is in its environment."""
    on_stored_timeout_s: Seconds = 60.0
    """Seconds after which that program is ended, and run again later."""

    @property
    def addresses_open_for(self) -> timedelta | None:
        """How long the addresses open to which links to uploaded files lead; None: those files come from here."""
        return timedelta(seconds=self.signed_s) if self.links == "redirect" else None
