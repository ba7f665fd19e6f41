"""All settings of a server, and their names in the file and in the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource

from wavstream.model.hosts import UNIX, are_hosts, joined, port_of, reached_at
from wavstream.model.options import RecordingOptions
from wavstream.settings.catalog import CatalogSettings
from wavstream.settings.cluster import ClusterSettings
from wavstream.settings.origins import as_sent
from wavstream.settings.quotas import QuotaSettings
from wavstream.settings.signatures import AudioHookSettings, TwilioSettings
from wavstream.settings.storage import StorageSettings
from wavstream.settings.tables import (
    AppKeyText,
    FacadeSettings,
    GatewaySettings,
    HttpSettings,
    JournalSettings,
    Limits,
    LinkSettings,
    LogSettings,
    MediaSettings,
    OpenerSettings,
    RecordingDefaults,
    RetentionSettings,
    Seconds,
    SecondsOrZero,
    WebhookSettings,
)
from wavstream.settings.transcription import TranscriptionSettings

PREFIX = "WAVSTREAM_"
AUTO = "auto"
MAX_WORKERS = 64


def _is_long_enough(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value().strip()) < 16:  # blanks around it may be no part of it
        raise ValueError("must have at least 16 characters")
    return key


def _workers(given: object) -> object:
    if given == AUTO:
        return given
    if isinstance(given, str) and re.fullmatch("[0-9]{1,3}", given):
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= MAX_WORKERS:
        raise ValueError(f"must be a number from 1 to {MAX_WORKERS}, or {AUTO}")
    return given


class Settings(BaseSettings):
    """All settings, checked and frozen. Made by ``load``."""

    model_config = {
        "env_prefix": PREFIX,
        "env_nested_delimiter": "__",
        "env_ignore_empty": True,
        "extra": "forbid",
        "frozen": True,
        "use_attribute_docstrings": True,
    }

    host: Annotated[str, BeforeValidator(joined), AfterValidator(are_hosts)] = "127.0.0.1"
    """Addresses to listen on, commas between them; beyond loopback an app with a key must exist. `::` is IPv4 too,
    unless an address of IPv4 is named beside it. `unix:/run/wavstream.sock`: a socket of this machine."""
    unix_mode: Annotated[str, Field(pattern="^0?[0-7]{3}$")] = "0660"
    """Mode of such a socket: who may connect; the server's user and group, of which a proxy has to be one."""
    port: Annotated[int, BeforeValidator(port_of), Field(ge=0, le=65_535)] = 8_080
    """TCP port of HTTP and WebSocket alike; 0: any that is free."""
    workers: Annotated[int | Literal["auto"], PlainValidator(_workers)] = 1
    """Processes that the server is, 1 to 64; `auto`: as many as it may use cores. Each call is whole in one of them;
    more than one needs Linux."""
    workers_hang_s: Annotated[float, Field(ge=2, le=86_400, allow_inf_nan=False)] = 10.0
    """Seconds without a sign of life after which such a process is ended and started again; its calls go on."""
    public_url: str | None = None
    """What links start with, as seen by their readers, such as https://rec.example.com; not set: http://host:port."""
    recording_base_url: str | None = None
    """Where another store serves what lies in recordings/; then addresses of files start so, and no file expires."""
    url: str | None = None
    """What media servers open, such as wss://rec.example.com; not set: made of what links start with.
    Set empty: the gateway's record/start answers 503."""
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network | Literal["unix:"], ...], NoDecode] = ()
    """Addresses and networks, commas between them, of proxies whose X-Forwarded-For and -Host count; `unix:` is who
    comes by a unix socket; none by itself."""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins, commas between them, such as https://desk.example.com, whose pages may open media sockets; none by
    itself. Media servers send none, or the server's own name."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins, commas between them, whose pages may read files by their links, and the APIs with a key (CORS); `*`: all
    pages, none by itself. It opens no media socket: that is `allowed_origins`, and a page that does both is in both."""
    data_dir: Path = Path("./data")
    """Folder of journal/, spool/, recordings/ and catalog.db, on one filesystem; relative to the working directory."""
    api_key: AppKeyText | None = None
    """Secret. Makes the app `default` with this key at start; for containers. ASCII without spaces, as headers have."""
    admin_api_key: AppKeyText | None = None
    """Secret. ASCII without spaces, too. Opens the gateway's /admin/apps; not set: that answers 503."""
    master_key: Annotated[SecretStr, Field(min_length=16), AfterValidator(_is_long_enough)] | None = None
    """Secret. 32 bytes as 64 hex digits or base64, or a passphrase of 16 characters or more, which is stretched. Keys
    the digests of app keys; not set: one is made in the data folder."""
    reconnect_wait_s: SecondsOrZero = 30.0
    """Seconds that a session waits for a stream that was lost before its recordings end as `disconnected`."""
    start_wait_s: SecondsOrZero = 60.0
    """Seconds that a recording waits for the first stream of its session before it is `absent`."""
    announced_wait_s: Seconds = 14_400.0
    """Seconds that an announced session waits for a stream or a recording; four hours, since calls are that long."""
    orphan_after_s: SecondsOrZero = 120.0
    """Seconds in which nothing comes from any peer of a session, no answer to a ping either, that end it; 0: never."""
    stall_wait_s: SecondsOrZero = 3.0
    """Seconds that listeners, and what ends a recording by itself, wait for a leg that is behind."""
    behind_wait_s: SecondsOrZero = 30.0
    """Seconds that the file waits for a leg that is behind, or was lost, so that all is where it was said."""
    console: bool = True
    """Whether there is a page to look and listen at `/console/`, for who signs in with an app's key; on, since it shows
    nothing that the key does not."""
    auto_record: bool = False
    """Whether every session is recorded from its first stream on; off, since recording needs someone's consent."""
    object_key: Annotated[str, Field(min_length=1)] = "{app}/{date}/{recording_id}.{ext}"
    """Where a finished file lies below recordings/, and below the prefix of a bucket: a path of names with
    `{recording_id}` in it, and `{app}`, `{date}`, `{year}`, `{month}`, `{day}`, `{hour}` (UTC), `{session_id}`,
    `{from}`, `{to}`, `{direction}`, `{metadata.NAME}`, `{session}` (an id that is no plain name as its digest alone);
    how each is made safe is in docs/object-keys.md."""
    recordings_group_read: bool = False
    """Whether the server's group may read what lies in recordings/; off, since it is what people said."""
    sidecar: bool = True
    """Whether a JSON file with the recording's facts is written beside each file."""
    recording: RecordingDefaults = RecordingDefaults()
    media: MediaSettings = MediaSettings()
    http: HttpSettings = HttpSettings()
    limits: Limits = Limits()
    quotas: QuotaSettings = QuotaSettings()
    journal: JournalSettings = JournalSettings()
    retention: RetentionSettings = RetentionSettings()
    storage: StorageSettings = StorageSettings()
    catalog: CatalogSettings = CatalogSettings()
    cluster: ClusterSettings = ClusterSettings()
    transcription: TranscriptionSettings = TranscriptionSettings()
    links: LinkSettings = LinkSettings()
    gateway: GatewaySettings = GatewaySettings()
    facades: FacadeSettings = FacadeSettings()
    webhooks: WebhookSettings = WebhookSettings()
    opener: OpenerSettings = OpenerSettings()
    twilio: TwilioSettings = TwilioSettings()
    audiohook: AudioHookSettings = AudioHookSettings()
    log: LogSettings = LogSettings()

    @field_validator("public_url", "recording_base_url")
    @classmethod
    def _is_web_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if " " in url or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be http:// or https://, a host and at most a path")
        return url.rstrip("/")

    @field_validator("allowed_origins", "cors_origins", mode="before")
    @classmethod
    def _are_origins(cls, given: object, info: ValidationInfo) -> object:
        entries = given.split(",") if isinstance(given, str) else given
        if not isinstance(entries, list | tuple):
            raise ValueError("must be origins")
        origins = tuple(str(entry).strip() for entry in entries if str(entry).strip())
        return origins if origins == ("*",) and info.field_name == "cors_origins" else tuple(map(as_sent, origins))

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _are_networks(cls, given: object) -> object:
        entries = given.split(",") if isinstance(given, str) else given
        if not isinstance(entries, list | tuple):
            raise ValueError("must be addresses or networks")
        try:
            return tuple(text if (text := str(entry).strip()) == UNIX else ip_network(text) for entry in entries)
        except ValueError as error:
            raise ValueError(f"must be addresses or networks, and {error}") from None

    @field_validator("url")
    @classmethod
    def _is_media_address(cls, url: str | None) -> str | None:
        if not url:
            return url
        parts = urlsplit(url)
        if " " in url or parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be ws:// or wss://, a host and at most a path, or empty")
        return url.rstrip("/")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Each host to listen on: an address, a name, or ``unix:`` and a path."""
        return tuple(self.host.split(","))

    @property
    def media_url(self) -> str:
        """Start of the URLs that media servers open, without a slash at the end; empty: they open none."""
        return self.base_url.replace("http", "ws", 1) if self.url is None else self.url

    @property
    def recording_options(self) -> RecordingOptions:
        """The options of a recording of which neither its request nor its app says anything."""
        # Each answer says how long its file is kept; null where another store decides that.
        hours = None if self.recording_base_url else self.retention.hours
        return replace(self.recording.options(), retention_hours=hours)

    @property
    def base_url(self) -> str:
        """Start of links, without a slash at the end: ``public_url``, else made of host and port."""
        if self.public_url is not None:
            return self.public_url
        host = next((each for each in self.hosts if not each.startswith(UNIX)), "localhost")
        host = reached_at(host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only what ``load`` passes: a Settings made by hand is the same on every machine."""
        return (init_settings,)


def every_setting(table: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted name of every setting, such as ``log.level``, and its field."""
    for name, field in table.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from every_setting(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def variable(name: str) -> str:
    """Return the environment variable of a setting, by its dotted name."""
    return PREFIX + name.replace(".", "__").upper()
