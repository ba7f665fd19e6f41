"""Every setting: its unit, its default and the reason for it; from the environment, then from a TOML file.

A setting is ``WAVSTREAM_`` and its name in the environment, a double underscore between a table and its key
(``WAVSTREAM_LOG__LEVEL``), and the bare name in the file (``level`` in the table ``[log]``). The environment wins; an
empty variable counts as not set. Names that nothing reads are refused, since a misspelt limit is no limit.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsError

from wavstream.errors import OperatorError
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ
from wavstream.model.options import ChannelLayout, FileFormat, PauseBehavior, RecordingOptions, TrackChoice

PREFIX = "WAVSTREAM_"
OLDER_VARIABLES = {"retention.hours": "RECORDING_RETENTION_HOURS"}
"""Variables of other names that are read too; our own name wins."""

# Kubernetes and Docker add these for a service or container that is named wavstream.
_SERVICE_LINK = re.compile(r"WAVSTREAM_(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP)\w*|NAME|ENV_\w*)")

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class RecordingDefaults(_Table):
    """The options of a recording whose request does not name them."""

    format: FileFormat = FileFormat.WAV
    """Form of the file: `wav`."""
    channels: ChannelLayout = ChannelLayout.STEREO
    """`stereo` or `mono`; stereo, since two parties mixed cannot be told apart again."""
    track: TrackChoice = TrackChoice.BOTH
    """`both`, `inbound` or `outbound`; a single track makes a mono file."""
    sample_rate: Annotated[int, Field(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)] | None = None
    """Hertz, 8000 to 48000; not set: the highest rate of the tracks that the recording begins with."""
    pause_behavior: PauseBehavior = PauseBehavior.SKIP
    """What a pause leaves in the file: `skip` (nothing) or `silence` (of the same length)."""

    def options(self) -> RecordingOptions:
        """These defaults as the options of a recording."""
        return RecordingOptions(**{name: getattr(self, name) for name in type(self).model_fields})


class MediaSettings(_Table):
    """What one media stream may cost, and how long it may take."""

    max_message_bytes: Annotated[int, Field(ge=1_024, le=64 * 1_048_576)] = 1_048_576
    """Bytes of the largest message taken; 1 MiB is over 30 s of 16 kHz audio, so only a mistake is larger."""
    handshake_timeout_s: Seconds = 10.0
    """Seconds that a WebSocket handshake may take, the check of its key included."""
    ping_interval_s: Seconds = 20.0
    """Seconds between pings; shorter than the idle timeout of common proxies, 60 s."""
    ping_timeout_s: Seconds = 20.0
    """Seconds without an answer to a ping after which the stream counts as lost."""
    close_timeout_s: Seconds = 5.0
    """Seconds that the peer gets to answer a close before the connection is dropped."""
    frames_per_second: Annotated[int, Field(ge=50, le=100_000)] = 2_000
    """Messages a second of one stream, sustained; forty times a 20 ms stream, so that a file may be played in fast."""


class Limits(_Table):
    """What the whole server takes on before it says no."""

    sessions: Annotated[int, Field(ge=1)] = 5_000
    """Live sessions; more than one core carries, so that it stops a runaway switch and not a busy hour."""
    streams_per_session: Annotated[int, Field(ge=1)] = 16
    """Media streams of one session; a conference leg more is a loop of the switch."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 268_435_456
    """Bytes free on the disk below which new recordings are refused, so that running ones can finish."""
    page_size: Annotated[int, Field(ge=1, le=1_000)] = 200
    """Recordings in one page of a list, at most."""
    body_bytes: Annotated[int, Field(ge=1_024)] = 65_536
    """Bytes of the largest request body taken; the largest valid one is about 20 kB."""


class JournalSettings(_Table):
    """How the journal is cut, bounded and made safe from a power cut."""

    segment_bytes: Annotated[int, Field(ge=4_096)] = 67_108_864
    """Bytes after which a new segment begins; 64 MiB is half an hour of two 8 kHz legs, the least freed at once."""
    queue_bytes: Annotated[int, Field(ge=65_536)] = 67_108_864
    """Bytes that may wait for the disk before sockets are read no further; two seconds of 1,000 legs take 32 MiB."""
    sync_interval_s: Seconds = 1.0
    """Seconds between flushes to the disk itself: what a power cut may take."""


class RetentionSettings(_Table):
    """How long finished recordings are kept."""

    hours: Annotated[int, Field(ge=1, le=87_600)] = 24
    """Hours from the stop; also read from RECORDING_RETENTION_HOURS. Apps and recordings may have their own."""
    sweep_interval_s: Seconds = 30.0
    """Seconds between sweeps that remove what has expired; it is not handed out any more from the first second."""


class LinkSettings(_Table):
    """The signed links that the API redirects to."""

    ttl_s: Annotated[int, Field(ge=1, le=604_800)] = 600
    """Seconds that a signed link opens its file; long enough to begin a download, too short to be passed on."""


class LogSettings(_Table):
    """What the server says of itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important level written: `debug`, `info`, `warning` or `error`."""
    format: Literal["console", "json"] = "console"
    """`console` for people, `json` for one object a line."""


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

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on; beyond loopback an app with a key must exist."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_080
    """TCP port of HTTP and WebSocket alike; 0: any that is free."""
    public_url: str | None = None
    """What links start with, as seen by their readers, such as https://rec.example.com; not set: http://host:port."""
    data_dir: Path = Path("./data")
    """Folder of journal/, spool/, recordings/ and catalog.db, on one filesystem; relative to the working directory."""
    api_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    """Secret. Makes the app `default` with this key at start; for containers."""
    master_key: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Secret, 16 characters or more. Keys the look-up of app keys; not set: one is made in the data folder."""
    reconnect_wait_s: SecondsOrZero = 30.0
    """Seconds that a session waits for a stream that was lost before its recordings end as `disconnected`."""
    start_wait_s: SecondsOrZero = 60.0
    """Seconds that a recording waits for the first stream of its session before it is `absent`."""
    hold_s: SecondsOrZero = 3.0
    """Seconds that the fold waits behind a stalled leg before it writes silence; most stalls are shorter."""
    auto_record: bool = False
    """Whether every session is recorded from its first stream on; off, since recording needs someone's consent."""
    object_key: Annotated[str, Field(min_length=1)] = "{app}/{date}/{recording_id}.{ext}"
    """Where a finished file lies below recordings/."""
    sidecar: bool = True
    """Whether a JSON file with the recording's facts is written beside each file."""
    recording: RecordingDefaults = RecordingDefaults()
    media: MediaSettings = MediaSettings()
    limits: Limits = Limits()
    journal: JournalSettings = JournalSettings()
    retention: RetentionSettings = RetentionSettings()
    links: LinkSettings = LinkSettings()
    log: LogSettings = LogSettings()

    @field_validator("public_url")
    @classmethod
    def _is_web_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be http:// or https://, a host and at most a path")
        return url.rstrip("/")

    @property
    def base_url(self) -> str:
        """What links start with, without a slash at the end: ``public_url``, else made of host and port."""
        if self.public_url is not None:
            return self.public_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load`` hands in: a Settings made by hand is the same on every machine."""
        return (init_settings,)


def load(config: Path | None = None, *, overrides: Mapping[str, object] = MappingProxyType({})) -> Settings:
    """The settings of the command line (``overrides``; None is not given), the environment and the file.

    The first of the three that has a setting wins. Raises OperatorError with a line for each wrong setting.
    """
    file = {} if config is None else _read(config)
    complaints = [*_unknown_in_file(file, config), *_unknown_in_environment()]
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**_merge(file, *_older_variables(), EnvSettingsSource(Settings)(), given))
    except ValidationError as error:
        complaints += [_complaint(wrong) for wrong in error.errors() if wrong["type"] != "extra_forbidden"]
    except SettingsError:  # a variable with the name of a whole table: already among the complaints
        pass
    else:
        if not complaints:
            return settings
    raise OperatorError("\n".join(complaints))


def every_setting(table: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The dotted name of every setting, such as ``log.level``, and its field."""
    for name, field in table.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from every_setting(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def variable(name: str) -> str:
    """The environment variable of a setting, by its dotted name."""
    return PREFIX + name.replace(".", "__").upper()


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OperatorError(f"{config}: {error}; name a readable TOML file with --config") from error


def _merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping of all layers, later ones winning key by key in tables too."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(below := merged.get(key), Mapping):
                value = _merge(below, value)
            merged[key] = value
    return merged


def _older_variables() -> Iterator[dict[str, Any]]:
    for name, older in OLDER_VARIABLES.items():
        if value := os.environ.get(older):
            table, _, key = name.partition(".")
            yield {table: {key: value}}


def _unknown_in_file(file: Mapping[str, Any], config: Path | None) -> Iterator[str]:
    known = dict(every_setting())
    tables = {name.partition(".")[0] for name in known if "." in name}
    for key, value in file.items():
        for name in [f"{key}.{inner}" for inner in value] if isinstance(value, Mapping) else [key]:
            if name not in known and name not in tables:
                near = _nearest(name, list(known))
                yield f"{config}: {name}: there is no such setting{near and f'; did you mean {near}?'}"


def _unknown_in_environment() -> Iterator[str]:
    known = {variable(name): name for name, _ in every_setting()}
    for given in sorted(os.environ):
        if given.upper().startswith(PREFIX) and given.upper() not in known and not _SERVICE_LINK.fullmatch(given):
            near = _nearest(given[len(PREFIX) :].lower().replace("__", "."), list(known.values()))
            yield f"{given}: there is no such setting{near and f'; did you mean {variable(near)}?'}"


def _nearest(name: str, known: list[str]) -> str:
    within = [other for other in known if other.startswith(f"{name}.")]
    return next(iter(within or difflib.get_close_matches(name, known, n=1)), "")


def _complaint(wrong: ErrorDetails) -> str:
    name = ".".join(str(part) for part in wrong["loc"])
    field = dict(every_setting()).get(name)
    rule = re.sub(r"^(Input|Value|String) should |^Value error, (must )?", "must ", wrong["msg"])
    rule = re.sub(r" items after validation, not \d+$", " characters", rule)
    where = f"{variable(name)} (in a file: {name})"
    if name in OLDER_VARIABLES:
        where = f"{variable(name)} or {OLDER_VARIABLES[name]} (in a file: {name})"
    if field is None or "SecretStr" in str(field.annotation):
        return f"{where}: {rule}"
    if name == "port" and str(wrong["input"]).startswith("tcp://"):
        rule += "; Kubernetes sets this for a service named wavstream: set enableServiceLinks to false in the pod"
    return f"{where}: {wrong['input']!r}: {rule}"
