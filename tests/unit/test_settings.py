"""Every setting: read from each place, in the right order, and refused with a line that says what to do."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from wavstream.errors import OperatorError
from wavstream.model.options import ChannelLayout, RecordingOptions
from wavstream.settings import (
    OLDER_NAMES,
    OLDER_VARIABLES,
    RecordingDefaults,
    Settings,
    every_setting,
    load,
    load_log,
    variable,
)
from wavstream.settings.quotas import AppQuotas
from wavstream.settings.tables import RouteSettings
from wavstream.settings.transcription import EngineSettings

SAMPLE = Path(__file__).parents[2] / "config" / "wavstream.example.toml"
NAMES = [name for name, _ in every_setting()]

# For every setting, as the environment has it, a value that is not the default, and what it becomes.
OTHER: dict[str, tuple[str, Any]] = {
    "host": ("0.0.0.0", "0.0.0.0"),
    "unix_mode": ("0600", "0600"),
    "port": ("9000", 9000),
    "workers": ("2", 2),
    "workers_hang_s": ("30", 30.0),
    "public_url": ("https://rec.example.com/", "https://rec.example.com"),
    "url": ("wss://rec.example.com/", "wss://rec.example.com"),
    "recording_base_url": ("https://archive.example.com/calls/", "https://archive.example.com/calls"),
    "allowed_origins": (
        "https://Desk.example.com, http://localhost:3000",
        ("https://desk.example.com", "http://localhost:3000"),
    ),
    "cors_origins": ("https://Desk.example.com", ("https://desk.example.com",)),
    "trusted_proxies": (
        "127.0.0.1, 10.2.0.0/16, unix:",
        (ip_network("127.0.0.1"), ip_network("10.2.0.0/16"), "unix:"),
    ),
    "data_dir": ("/srv/wavstream", Path("/srv/wavstream")),
    "api_key": ("wsk_of_the_operator", SecretStr("wsk_of_the_operator")),
    "admin_api_key": ("of-the-administrators", SecretStr("of-the-administrators")),
    "master_key": ("sixteen characters", SecretStr("sixteen characters")),
    "reconnect_wait_s": ("0", 0.0),
    "start_wait_s": ("5.5", 5.5),
    "announced_wait_s": ("600", 600.0),
    "orphan_after_s": ("0", 0.0),
    "stall_wait_s": ("1", 1.0),
    "behind_wait_s": ("10", 10.0),
    "console": ("false", False),
    "auto_record": ("true", True),
    "object_key": ("{recording_id}.{ext}", "{recording_id}.{ext}"),
    "recordings_group_read": ("true", True),
    "sidecar": ("false", False),
    "recording.format": ("mp3", "mp3"),
    "recording.channels": ("mono", "mono"),
    "recording.track": ("inbound", "inbound"),
    "recording.sample_rate": ("16000", 16_000),
    "recording.max_length_s": ("3600", 3_600),
    "recording.initial_timeout_s": ("10", 10.0),
    "recording.end_silence_timeout_s": ("2.5", 2.5),
    "recording.sensitivity": ("60", 60.0),
    "recording.trim": ("silence", "silence"),
    "recording.beep": ("true", True),
    "recording.terminators": ("5", "5"),
    "recording.pause_behavior": ("silence", "silence"),
    "recording.transcription": ("true", True),
    "recording.transcription_language": ("en-US", "en-US"),
    "media.max_message_bytes": ("65536", 65_536),
    "media.max_text_bytes": ("2048", 2_048),
    "media.handshake_timeout_s": ("3", 3.0),
    "media.ping_interval_s": ("9", 9.0),
    "media.ping_timeout_s": ("8", 8.0),
    "media.close_timeout_s": ("2", 2.0),
    "media.introduction_timeout_s": ("7", 7.0),
    "media.early_audio_s": ("3", 3.0),
    "media.message_timeout_s": ("6", 6.0),
    "media.frames_per_second": ("100", 100),
    "media.bytes_per_second": ("800000", 800_000),
    "media.routes": (
        '{"/genesys": {"dialect": "audiohook", "ping_interval_s": 0}}',
        {"/genesys": RouteSettings(dialect="audiohook", ping_interval_s=0)},
    ),
    "media.key_header": ("X-Recorder-Key", "X-Recorder-Key"),
    "media.reads_at_visits": ("false", False),
    "http.head_bytes": ("16384", 16_384),
    "http.head_lines": ("50", 50),
    "http.head_timeout_s": ("5", 5.0),
    "http.body_timeout_s": ("15", 15.0),
    "http.write_timeout_s": ("30", 30.0),
    "http.shutdown_timeout_s": ("20", 20),
    "http.connections": ("500", 500),
    "http.waiting_per_address": ("100", 100),
    "http.descriptors_kept": ("64", 64),
    "limits.sessions": ("10", 10),
    "limits.streams": ("100", 100),
    "limits.streams_per_session": ("2", 2),
    "limits.recordings": ("20", 20),
    "limits.requests_per_s": ("50", 50),
    "limits.media_bytes_per_s": ("1000000", 1_000_000),
    "limits.live_listeners": ("0", 0),
    "limits.live_pages": ("0", 0),
    "limits.live_ranges": ("20", 20),
    "limits.live_ranges_per_app": ("10", 10),
    "limits.downloads": ("40", 40),
    "limits.downloads_per_app": ("30", 30),
    "limits.conversions": ("8", 8),
    "limits.conversions_per_app": ("4", 4),
    "limits.conversion_bytes": ("1073741824", 1_073_741_824),
    "limits.min_free_bytes": ("0", 0),
    "limits.loop_delay_s": ("0.3", 0.3),
    "limits.fold_delay_s": ("0", 0.0),
    "limits.page_size": ("20", 20),
    "limits.body_bytes": ("4096", 4_096),
    "quotas.sessions": ("10", 10),
    "quotas.streams": ("20", 20),
    "quotas.recordings": ("30", 30),
    "quotas.recordings_per_session": ("2", 2),
    "quotas.live_listeners": ("4", 4),
    "quotas.live_pages": ("4", 4),
    "quotas.conversions": ("1", 1),
    "quotas.requests_per_s": ("100", 100),
    "quotas.media_bytes_per_s": ("320000", 320_000),
    "quotas.disk_bytes": ("1000000000", 1_000_000_000),
    "quotas.apps": ('{"shop": {"sessions": 5}}', {"shop": AppQuotas(sessions=5)}),
    "journal.segment_bytes": ("8192", 8_192),
    "journal.queue_bytes": ("131072", 131_072),
    "journal.sync_interval_s": ("0.5", 0.5),
    "retention.hours": ("72", 72),
    "retention.sweep_interval_s": ("1", 1.0),
    "catalog.url": ("postgresql://wavstream@db/calls", SecretStr("postgresql://wavstream@db/calls")),
    "catalog.password": ("of the database", SecretStr("of the database")),
    "cluster.nats_url": ("nats://a:4222, nats://b:4222/", "nats://a:4222,nats://b:4222"),
    "cluster.name": ("calls", "calls"),
    "cluster.node": ("node-2", "node-2"),
    "cluster.listen": ("[::]:9000", "[::]:9000"),
    "cluster.address": ("10.0.0.5:9000", "10.0.0.5:9000"),
    "cluster.user": ("recorder", "recorder"),
    "cluster.password": ("of NATS", SecretStr("of NATS")),
    "cluster.token": ("a token", SecretStr("a token")),
    "cluster.credentials_file": ("/run/nats.creds", Path("/run/nats.creds")),
    "cluster.nkey_file": ("/run/nats.nk", Path("/run/nats.nk")),
    "cluster.tls_ca": ("/run/ca.pem", Path("/run/ca.pem")),
    "cluster.tls_cert": ("/run/node.pem", Path("/run/node.pem")),
    "cluster.tls_key": ("/run/node.key", Path("/run/node.key")),
    "cluster.replicas": ("1", 1),
    "cluster.lease_s": ("3", 3.0),
    "cluster.segment_s": ("60", 60.0),
    "cluster.tail_age_s": ("900", 900.0),
    "cluster.tail_bytes": ("1048576", 1_048_576),
    "cluster.shards": ("4", 4),
    "cluster.claim_wait_s": ("2", 2.0),
    "transcription.engine": ("http", "http"),
    "transcription.model": ("whisper-large", "whisper-large"),
    "transcription.url": ("https://asr.example.com/v1/audio/transcriptions",) * 2,
    "transcription.key": ("of the server", SecretStr("of the server")),
    "transcription.allow_http": ("true", True),
    "transcription.allow_localhost": ("true", True),
    "transcription.timeout_s": ("5", 5.0),
    "transcription.max_bytes": ("100000", 100_000),
    "transcription.language": ("de-DE", "de-DE"),
    "transcription.workers": ("2", 2),
    "transcription.nice": ("5", 5),
    "transcription.hang_s": ("60", 60.0),
    "transcription.engines": (
        '{"B": {"engine": "faster-whisper", "model": "/srv/model"}}',
        {"B": EngineSettings(engine="faster-whisper", model="/srv/model")},
    ),
    "storage.url": ("s3://calls/ours/", "s3://calls/ours"),
    "storage.endpoint": ("https://minio.example.com:9000", "https://minio.example.com:9000"),
    "storage.region": ("eu-central-1", "eu-central-1"),
    "storage.path_style": ("false", False),
    "storage.access_key_id": ("AKIAEXAMPLE", "AKIAEXAMPLE"),
    "storage.secret_access_key": ("of the bucket", SecretStr("of the bucket")),
    "storage.credentials_file": ("/etc/store.json", Path("/etc/store.json")),
    "storage.encryption": ("aws:kms", "aws:kms"),
    "storage.kms_key_id": ("alias/calls", "alias/calls"),
    "storage.checksum": ("false", False),
    "storage.storage_class": ("STANDARD_IA", "STANDARD_IA"),
    "storage.links": ("serve", "serve"),
    "storage.signed_s": ("60", 60),
    "storage.uploads": ("8", 8),
    "storage.timeout_s": ("5", 5.0),
    "storage.backup_url": ("gs://more-calls", "gs://more-calls"),
    "storage.backup_endpoint": ("https://minio-2.example.com", "https://minio-2.example.com"),
    "storage.backup_after_s": ("60", 60.0),
    "storage.on_stored": ("/opt/stored --to 'a b'", ("/opt/stored", "--to", "a b")),
    "storage.on_stored_timeout_s": ("5", 5.0),
    "links.ttl_s": ("60", 60),
    "gateway.strict_body": ("false", False),
    "gateway.stop_cooldown": ("seek", "seek"),
    "gateway.requests_per_s": ("100", 100),
    "gateway.stranger_requests_per_s": ("1", 1),
    "facades.unavailable": ("refuse", "refuse"),
    "facades.unknown_calls": ("wait", "wait"),
    "facades.public_links": ("true", True),
    "webhooks.recording_started": ("true", True),
    "webhooks.recording_failed": ("true", True),
    "webhooks.allow_http": ("true", True),
    "webhooks.allow_localhost": ("true", True),
    "opener.kind": ("esl", "esl"),
    "opener.dialect": ("audio-fork", "audio-fork"),
    "opener.url": ("https://switch.example/streams", "https://switch.example/streams"),
    "opener.secret": ("whsec_of-the-switch", SecretStr("whsec_of-the-switch")),
    "opener.host": ("10.0.0.5", "10.0.0.5"),
    "opener.port": ("8022", 8022),
    "opener.password": ("of the switch", SecretStr("of the switch")),
    "opener.user": ("wavstream@default", "wavstream@default"),
    "opener.app": ("recorder", "recorder"),
    "opener.connection": ("rec1", "rec1"),
    "opener.token_in_uri": ("true", True),
    "opener.command": ("uuid_audio_fork", "uuid_audio_fork"),
    "opener.mix": ("mono", "mono"),
    "opener.rate": ("16000", 16_000),
    "opener.silence": ("aleg", "aleg"),
    "opener.channel": ("(?P<channel>.*)", "(?P<channel>.*)"),
    "opener.apps": ("shop, bank", ("shop", "bank")),
    "opener.owner_variable": ("recorded_by", "recorded_by"),
    "twilio.auth_token": ("of the account", SecretStr("of the account")),
    "twilio.app": ("sales", "sales"),
    "audiohook.api_key": ("of the integration", SecretStr("of the integration")),
    "audiohook.client_secret": ("c2VjcmV0", SecretStr("c2VjcmV0")),
    "audiohook.app": ("sales", "sales"),
    "log.level": ("debug", "debug"),
    "log.format": ("json", "json"),
}


def test_a_client_secret_that_is_not_base64_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_AUDIOHOOK__CLIENT_SECRET", "not base64")
    assert complaints() == [
        "WAVSTREAM_AUDIOHOOK__CLIENT_SECRET (in a file: audiohook.client_secret): must be base64, as it is in the "
        "integration's credentials"
    ]


def value_of(settings: Settings, name: str) -> Any:
    found: Any = settings
    for part in name.split("."):
        found = getattr(found, part)
    return found


def changed(settings: Settings) -> list[str]:
    """Return the settings that are not as they come."""
    usual = Settings()  # once: pydantic reads the whole environment for each
    return [name for name in NAMES if value_of(settings, name) != value_of(usual, name)]


def written(folder: Path, text: str) -> Path:
    file = folder / "wavstream.toml"
    file.write_text(text, "utf-8")
    return file


def toml_line(name: str, text: str, default: Any) -> str:
    table, _, key = name.rpartition(".")
    is_text = isinstance(default, str | Path | tuple) or (default is None and not text.isdigit())
    if isinstance(default, dict):
        text = text.replace(":", " =")
    line = f'{key} = "{text}"' if is_text else f"{key} = {text}"
    return f"[{table}]\n{line}" if table else line


def complaints(config: Path | None = None) -> list[str]:
    with pytest.raises(OperatorError) as raised:
        load(config)
    return str(raised.value).splitlines()


def test_without_environment_and_file_every_setting_has_its_default() -> None:
    assert load() == Settings()


def test_the_table_of_other_values_covers_every_setting() -> None:
    assert sorted(OTHER) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_changes_its_setting_and_no_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, expected = OTHER[name]
    monkeypatch.setenv(variable(name), text)

    settings = load()

    assert value_of(settings, name) == expected
    assert changed(settings) == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_line_in_the_file_changes_its_setting_and_no_other(name: str, tmp_path: Path) -> None:
    text, expected = OTHER[name]
    config = written(tmp_path, toml_line(name, text, value_of(Settings(), name)))

    settings = load(config)

    assert value_of(settings, name) == expected
    assert changed(settings) == [name]


def test_the_environment_wins_over_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_MEDIA__PING_INTERVAL_S", "11")
    config = written(tmp_path, "[media]\nping_interval_s = 12\nping_timeout_s = 13\n")

    settings = load(config)

    assert (settings.media.ping_interval_s, settings.media.ping_timeout_s) == (11, 13)


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_PORT", "9000")
    monkeypatch.setenv("WAVSTREAM_HOST", "0.0.0.0")

    settings = load(overrides={"port": 9001, "host": None})

    assert (settings.port, settings.host) == (9001, "0.0.0.0")


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_API_KEY", "")
    monkeypatch.setenv("WAVSTREAM_PORT", "")
    monkeypatch.setenv("RECORDING_RETENTION_HOURS", "")

    assert load() == Settings()


@pytest.mark.parametrize(("name", "older"), OLDER_NAMES.items())
def test_an_older_name_in_the_file_is_read_unless_ours_is_there(name: str, older: str, tmp_path: Path) -> None:
    text, value = OTHER[name]

    assert value_of(load(written(tmp_path, f"{older} = {text}")), name) == value
    assert value_of(load(written(tmp_path, f"{older} = 7\n{name} = {text}")), name) == value


@pytest.mark.parametrize(("name", "older"), OLDER_VARIABLES.items())
def test_an_older_name_is_read_unless_ours_is_set(name: str, older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, expected = OTHER[name]
    monkeypatch.setenv(older, text)
    assert value_of(load(), name) == expected

    monkeypatch.setenv(variable(name), value := OURS[name])
    assert str(value_of(load(), name)) == str(SecretStr(value) if "key" in name else value)


def test_an_older_name_of_ours_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("wavstream_Hold_s", "7")
    assert load().stall_wait_s == 7
    monkeypatch.setenv("wavstream_Hold_s", "long")
    assert complaints()[0].startswith("WAVSTREAM_STALL_WAIT_S or WAVSTREAM_HOLD_S (in a file: stall_wait_s or hold_s)")


OURS = {
    "stall_wait_s": "2.5",
    "admin_api_key": "another-key",
    "recording_base_url": "https://ours.example.com",
    "retention.hours": "12",
    "webhooks.allow_http": "False",
    "webhooks.allow_localhost": "False",
}


def test_a_program_whose_quotes_do_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_STORAGE__ON_STORED", "/opt/stored --to 'a")

    (complaint,) = complaints()

    assert "must be a program and its arguments, as in a shell" in complaint


def test_an_empty_media_address_turns_off_what_one_that_is_not_set_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVSTREAM_PUBLIC_URL", "https://rec.example.com/calls")
    assert load().media_url == "wss://rec.example.com/calls"
    config = written(tmp_path, 'url = "ws://media.example.com:8080/"')
    assert load(config).media_url == "ws://media.example.com:8080"
    monkeypatch.setenv("WAVSTREAM_URL", "")
    assert load(config).media_url == ""


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("recording.max_length_s", -1, "greater than or equal to 0"),
        ("recording.max_length_s", 14_401, "less than or equal to 14400"),
        ("recording.initial_timeout_s", -0.1, "greater than or equal to 0"),
        ("recording.initial_timeout_s", 14_400.1, "less than or equal to 14400"),
        ("recording.initial_timeout_s", 0.001, "0, or at least 0.1"),
        ("recording.end_silence_timeout_s", 0.05, "0, or at least 0.1"),
        ("recording.end_silence_timeout_s", -0.1, "greater than or equal to 0"),
        ("recording.end_silence_timeout_s", "nan", "a finite number"),
        ("recording.sensitivity", 100.1, "less than or equal to 100"),
        ("recording.trim", "all", "'none' or 'silence'"),
        ("recording.terminators", "*1*", "digits of 0-9 * # A-D, each at most once"),
        ("allowed_origins", "desk.example.com", "origins such as https://name:port, and desk.example.com is none"),
        ("allowed_origins", "http://x/", "origins such as https://name:port, and http://x/ is none"),
        ("allowed_origins", "*", "origins such as https://name:port, and * is none"),
        ("cors_origins", "https://desk.example.com, *", "origins such as https://name:port, and * is none"),
        ("trusted_proxies", "10.0.0.5/8", "addresses or networks, and 10.0.0.5/8 has host bits set"),
        ("media.key_header", "X Key", "a name of a header, such as X-Recorder-Key"),
        ("twilio.app", "no spaces", "1 to 64 of letters, digits, _ and -"),
    ],
)
def test_a_value_out_of_its_bounds_is_refused_with_the_bound(
    name: str, value: object, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), str(value))

    assert complaints() == [f"{variable(name)} (in a file: {name}): {str(value)!r}: must be {rule}"]


def test_settings_made_by_hand_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_PORT", "9000")

    assert Settings().port == 8080


def test_all_wrong_settings_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_PORT", "99999")
    monkeypatch.setenv("WAVSTREAM_RECORDING__CHANNELS", "quadro")
    monkeypatch.setenv("WAVSTREAM_PUBLIC_URL", "rec.example.com")
    monkeypatch.setenv("RECORDING_RETENTION_HOURS", "0")
    config = written(tmp_path, 'hots = "x"\n[log]\nlevel = "loud"\n')

    assert sorted(complaints(config)) == sorted(
        [
            f"{config}: hots: there is no such setting; did you mean host?",
            "WAVSTREAM_PORT (in a file: port): '99999': must be the number of a port, 0 to 65535",
            "WAVSTREAM_RECORDING__CHANNELS (in a file: recording.channels): 'quadro': must be 'mono' or 'stereo'",
            "WAVSTREAM_PUBLIC_URL (in a file: public_url): 'rec.example.com': "
            "must be http:// or https://, a host and at most a path",
            "WAVSTREAM_RETENTION__HOURS or RECORDING_RETENTION_HOURS (in a file: retention.hours): '0': "
            "must be greater than or equal to 1",
            "WAVSTREAM_LOG__LEVEL (in a file: log.level): 'loud': must be 'debug', 'info', 'warning' or 'error'",
        ]
    )


@pytest.mark.parametrize(
    ("misspelt", "suggestion"),
    [
        ("WAVSTREAM_RECONNECT_WAIT", "; did you mean WAVSTREAM_RECONNECT_WAIT_S?"),
        ("WAVSTREAM_MEDIA__PING_INTERVALL_S", "; did you mean WAVSTREAM_MEDIA__PING_INTERVAL_S?"),
        ("WAVSTREAM_LINKS", "; did you mean WAVSTREAM_LINKS__TTL_S?"),
        ("WAVSTREAM_HOLD", "; did you mean WAVSTREAM_STALL_WAIT_S?"),
        ("WAVSTREAM_QQQ", ""),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(
    misspelt: str, suggestion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(misspelt, "x")

    assert complaints()[0] == f"{misspelt}: there is no such setting{suggestion}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[media]\nping = 1\n", "media.ping: there is no such setting"),
        ("[limits]\nsesions = 1\n", "limits.sesions: there is no such setting; did you mean limits.sessions?"),
        ("[webhook]\nurl = 'x'\n", "webhook.url: there is no such setting"),
        ("[host]\nname = 'x'\n", "host.name: there is no such setting"),
    ],
)
def test_an_unknown_key_of_the_file_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    config = written(tmp_path, text)

    assert complaints(config)[0].startswith(f"{config}: {complaint}")


def test_a_value_where_the_file_needs_a_table_is_refused(tmp_path: Path) -> None:
    assert re.match(r"WAVSTREAM_MEDIA \(in a file: media\): must be", complaints(written(tmp_path, "media = 5\n"))[0])


@pytest.mark.parametrize("content", [None, "port = ", "\udcff"])
def test_a_file_that_cannot_be_read_is_named(content: str | None, tmp_path: Path) -> None:
    config = tmp_path / "wavstream.toml"
    if content is not None:
        config.write_bytes(content.encode("utf-8", "surrogateescape"))

    (line,) = complaints(config)

    assert line.startswith(f"{config}: ")
    assert "--config" in line


SECRETS = ["api_key", "admin_api_key", "twilio.auth_token", "audiohook.api_key", "opener.secret", "opener.password"]
SECRETS += ["storage.secret_access_key"]
URLS = ["public_url", "url", "recording_base_url", "opener.url"]


@pytest.mark.parametrize("around", ["{}\n", " {}", "\t{}\r\n", "\ufeff{}", "{}\u00a0"])
@pytest.mark.parametrize("name", [*SECRETS, *URLS, "port", "log.level", "auto_record", "trusted_proxies", "host"])
def test_what_is_blank_around_a_value_is_dropped(
    name: str, around: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, expected = OTHER[name]
    table, _, key = name.rpartition(".")
    config = written(tmp_path, (f"[{table}]\n" if table else "") + f"{key} = {json.dumps(around.format(text))}")
    assert value_of(load(config), name) == expected

    monkeypatch.setenv(variable(name), around.format(text))
    assert value_of(load(), name) == expected
    assert value_of(load(), name) == value_of(load(config), name)


def test_a_value_that_is_nothing_but_blanks_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_API_KEY", " \n")
    assert load() == Settings()


def test_the_older_names_of_others_are_without_blanks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_API_KEY", "of-the-administrators\n")
    assert value_of(load(), "admin_api_key") == SecretStr("of-the-administrators")


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("name", [*SECRETS, *URLS, "port", "trusted_proxies", "cors_origins", "data_dir"])
def test_quotes_around_a_value_are_told_and_a_secret_is_not_shown(
    name: str, quote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quoted = f"{quote}{OTHER[name][0]}{quote}"
    table, _, key = name.rpartition(".")
    config = written(tmp_path, (f"[{table}]\n" if table else "") + f"{key} = {json.dumps(quoted)}")
    assert complaints(config)[0].startswith(f"{config}: {name}: must not have quotes around it")

    monkeypatch.setenv(variable(name), quoted)
    said = complaints()
    assert [line.partition(":")[0] for line in said] == [variable(name)]
    assert said[0].startswith(f"{variable(name)}: must not have quotes around it")
    assert name not in SECRETS or not any(OTHER[name][0] in line for line in said)


def test_quotes_around_any_entry_of_a_list_are_told(tmp_path: Path) -> None:
    config = written(tmp_path, """trusted_proxies = ["'10.0.0.1'", "10.0.0.2"]""")
    assert complaints(config)[0].startswith(f"{config}: trusted_proxies: must not have quotes")


@pytest.mark.parametrize("name", SECRETS)
def test_a_line_end_within_a_secret_is_refused_and_the_secret_is_not_shown(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), "whsec_first line\nsecond line")
    (line,) = complaints()
    assert "no line end" in line
    assert "first" not in line


@pytest.mark.parametrize("name", ["api_key", "admin_api_key"])
@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("with spaces within", "printable ASCII characters without spaces"),
        ("schl\u00fcssel-der-anwendung", "printable ASCII characters without spaces"),
        ("of-the-\ufeffoperator", "no other control character"),
        ('"wsk_of_the_operator', "no quote at its beginning or its end"),
        ("wsk_of_the_operator'", "no quote at its beginning or its end"),
    ],
)
def test_a_key_that_no_header_carries_is_refused_and_not_shown(
    name: str, key: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), key)
    (line,) = complaints()
    assert rule in line
    assert key not in line


@pytest.mark.parametrize("name", ["allowed_origins", "cors_origins"])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://Desk.example:443", "https://desk.example"),
        ("http://desk.example:80", "http://desk.example"),
        ("http://desk.example:443", "http://desk.example:443"),
        ("https://desk.example:08443", "https://desk.example:8443"),
        ("https://desk.example:", "https://desk.example"),
        ("https://M\u00fcnchen.example", "https://xn--mnchen-3ya.example"),
        ("https://stra\u00dfe.example", "https://xn--strae-oqa.example"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(
    name: str, given: str, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), given)
    assert value_of(load(), name) == (sent,)


@pytest.mark.parametrize("name", ["allowed_origins", "cors_origins"])
@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("http://*.example", "has a * in its name"),
        ("https://desk.example:0", "no port's number"),
        ("https://desk.example:70000", "no port's number"),
        ("https://1.2.3", "no host that there can be"),
        ("https://a b.example", "is none"),
        ("https://\u00fc..example", "no host that there can be"),
        ("http://[::g]", "is none"),
        ("http://[1:2]", "no host that there can be"),
        ("null", "is none"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_with_the_reason(
    name: str, given: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), given)
    (line,) = complaints()
    assert rule in line


@pytest.mark.parametrize("text", [" json\n", "\ufeffJSON".lower()])
def test_how_the_log_is_set_is_read_as_every_setting_is(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, f"[log]\nformat = {json.dumps(text)}")
    assert load_log(config).format == load(config).log.format == "json"
    monkeypatch.setenv("wavstream_log__format", text)
    assert load_log().format == load().log.format == "json"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost,127.0.0.1",
            "LOCALHOST,127.0.0.1",
            "0.0.0.0,127.0.0.1",
            "10.0.0.5,0.0.0.0",
            "::,::1",
            "::,localhost",
        ),
        *("::1,0:0:0:0:0:0:0:1", "rec.lan,rec.lan"),
    ],
)
def test_one_address_in_two_hosts_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_HOST", host)
    (line,) = complaints()
    assert "are one: leave one of them out" in line


@pytest.mark.parametrize(
    "host", ["::,0.0.0.0", "::,127.0.0.1", "127.0.0.1,127.0.0.2,::1", "localhost,::1", "rec.lan,::1"]
)
def test_addresses_that_can_be_listened_on_beside_each_other_are_taken(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVSTREAM_HOST", host)
    assert load().host == host


@pytest.mark.parametrize("name", URLS)
def test_a_blank_within_a_url_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), OTHER[name][0] + " # ours")
    assert f"(in a file: {name}): " in complaints()[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_may_begin_with_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    config = tmp_path / "wavstream.toml"
    config.write_text("port = 9000", encoding)
    assert load(config).port == 9000


def test_a_file_in_another_encoding_is_told_in_which(tmp_path: Path) -> None:
    config = tmp_path / "wavstream.toml"
    config.write_text("port = 9000", "utf-16")
    assert "UTF-16" in complaints(config)[0]


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ("127.0.0.1, 10.0.0.5", ("127.0.0.1", "10.0.0.5")),
        (["127.0.0.1", "10.0.0.5"], ("127.0.0.1", "10.0.0.5")),
        ("::", ("::",)),
        ("[::1],rec.lan", ("::1", "rec.lan")),
        ("unix:/run/wavstream.sock,127.0.0.1", ("unix:/run/wavstream.sock", "127.0.0.1")),
    ],
)
def test_several_hosts_can_be_named(given: str | list[str], hosts: tuple[str, ...], tmp_path: Path) -> None:
    assert load(written(tmp_path, f"host = {json.dumps(given)}")).hosts == hosts


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1,,::1", "1.2.3", "300.1.1.1", ":::", "http://x", "a b", "::1,[::1]"),
        *("unix:run.sock", "unix:", "unix:/" + "x" * 107),
    ],
)
def test_a_host_that_is_none_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_HOST", host)
    assert complaints()[0].startswith("WAVSTREAM_HOST (in a file: host): ")


def test_a_secret_is_shown_neither_in_the_settings_nor_in_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_API_KEY", "open-sesame")
    monkeypatch.setenv("WAVSTREAM_TWILIO__AUTH_TOKEN", "close sesame")
    assert "sesame" not in repr(load()) + str(load()) + load().model_dump_json()

    monkeypatch.setenv("WAVSTREAM_MASTER_KEY", "sesame")
    assert complaints() == ["WAVSTREAM_MASTER_KEY (in a file: master_key): must have at least 16 characters"]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().log.level = "debug"
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"host": "rec.lan", "port": 80}, "http://rec.lan:80"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8080"),
        ({"host": "::"}, "http://[::1]:8080"),
        ({"host": "unix:/run/x.sock,10.0.0.5,::1"}, "http://10.0.0.5:8080"),
        ({"public_url": "https://example.com/rec/"}, "https://example.com/rec"),
    ],
)
def test_links_start_with_the_public_url_or_with_where_we_listen(given: dict[str, Any], expected: str) -> None:
    assert Settings(**given).base_url == expected


def test_the_defaults_of_a_recording_become_its_options() -> None:
    assert Settings().recording.options() == RecordingOptions()
    assert RecordingDefaults.model_validate({"channels": "mono"}).options() == RecordingOptions(
        channels=ChannelLayout.MONO
    )


def test_every_option_that_is_not_of_one_call_alone_has_a_default_in_the_settings() -> None:
    of_one_call = {"file_name", "client_state", "metadata", "retention_hours"}

    assert {field.name for field in fields(RecordingOptions)} - set(RecordingDefaults.model_fields) == of_one_call


def test_every_setting_is_explained() -> None:
    assert [name for name, field in every_setting() if not field.description] == []


def test_the_sample_has_every_setting_and_each_with_a_line_of_help() -> None:
    table, shown, explained = "", [], False
    for line in SAMPLE.read_text("utf-8").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            table = f"{header[1]}."
        elif key := re.match(r"#(\w+) = ", line):
            shown.append(table + key[1])
            assert explained, f"{shown[-1]} has no line of help above it"
        explained = line.startswith("# ")

    assert sorted(shown) == sorted(NAMES)


def test_the_sample_as_it_is_changes_nothing() -> None:
    assert load(SAMPLE) == Settings()


def test_the_sample_without_its_comment_signs_is_all_defaults_and_valid_examples(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=\w+ = )", "", SAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    settings = load(written(tmp_path, text))

    examples = [name for name in NAMES if value_of(Settings(), name) is None]
    assert [n for n in NAMES if value_of(settings, n) != value_of(Settings(), n)] == examples
    assert tomllib.loads(text)["port"] == 8080


def test_an_app_has_quotas_of_its_own_and_a_wrong_name_among_them_is_told(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "[quotas]\nsessions = 9\n[quotas.apps.shop]\nstreams = 7\n"))
    assert (settings.quotas.sessions, settings.quotas.apps["shop"].streams) == (9, 7)

    (line,) = complaints(written(tmp_path, "[quotas.apps.shop]\nstreems = 7\n"))

    assert "in a file: quotas.apps.shop.streems" in line
    assert line.endswith("there is no such quota; did you mean streams?")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[media.routes."/genesys"]\ndialekt = "pcm"\n', "media.routes./genesys.dialekt"),
        ('[transcription.engines.B]\nengine = "http"\nmodell = "x"\n', "transcription.engines.B.modell"),
    ],
)
def test_a_wrong_name_within_one_of_many_tables_is_told_with_the_nearest(tmp_path: Path, text: str, wrong: str) -> None:
    (line,) = complaints(written(tmp_path, text))

    assert f"in a file: {wrong})" in line
    assert re.search(r"there is no such setting; did you mean (dialect|model)\?$", line)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[transcription.engines.C]\nengine = "http"\n', "must be 'A', 'B' or 'deepgram/nova-3'"),
        ('[transcription.engines.B]\nmodel = "x"\n', "name an engine: pocketsphinx, faster-whisper or http"),
    ],
)
def test_another_engine_has_a_name_of_the_vendors_and_is_one(tmp_path: Path, text: str, why: str) -> None:
    (line,) = complaints(written(tmp_path, text))

    assert line.startswith("WAVSTREAM_TRANSCRIPTION__ENGINES ")
    assert line.endswith(why)


def test_a_variable_that_should_be_json_and_is_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_QUOTAS__APPS", "x")
    (line,) = complaints()
    assert line.startswith("WAVSTREAM_QUOTAS__APPS: 'x': must be a JSON object")


def test_the_quotas_of_an_app_whose_id_none_can_have_are_told(tmp_path: Path) -> None:
    (line,) = complaints(written(tmp_path, "[quotas.apps.'a shop']\nstreams = 7\n"))
    assert "quotas.apps.a shop" in line
