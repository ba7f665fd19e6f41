"""Every setting: its unit, its default and the reason for it; from the environment, then from a TOML file.

A setting is ``WAVSTREAM_`` and its name in the environment, a double underscore between a table and its key
(``WAVSTREAM_LOG__LEVEL``), and the bare name in the file (``level`` in the table ``[log]``). The environment wins; an
empty variable counts as not set. Names that nothing reads are refused, since a misspelt limit is no limit.
"""

from __future__ import annotations

from wavstream.settings.loading import OLDER_NAMES, OLDER_VARIABLES, load, load_log
from wavstream.settings.server import PREFIX, Settings, every_setting, variable
from wavstream.settings.signatures import AudioHookSettings, TwilioSettings
from wavstream.settings.storage import StorageSettings
from wavstream.settings.tables import (
    GatewaySettings,
    HttpSettings,
    Limits,
    LogSettings,
    OpenerSettings,
    RecordingDefaults,
    WebhookSettings,
)
from wavstream.settings.transcription import EngineSettings, TranscriptionSettings

__all__ = [
    "OLDER_NAMES",
    "OLDER_VARIABLES",
    "PREFIX",
    "AudioHookSettings",
    "EngineSettings",
    "GatewaySettings",
    "HttpSettings",
    "Limits",
    "LogSettings",
    "OpenerSettings",
    "RecordingDefaults",
    "Settings",
    "StorageSettings",
    "TranscriptionSettings",
    "TwilioSettings",
    "WebhookSettings",
    "every_setting",
    "load",
    "load_log",
    "variable",
]
