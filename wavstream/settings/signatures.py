"""The settings of vendors who sign their requests for a stream: Twilio and Genesys AudioHook."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from wavstream.model.app import DEFAULT_APP
from wavstream.settings.tables import AppId, Secret, Table


def _is_base64(secret: SecretStr) -> SecretStr:
    try:
        decoded = base64.b64decode(secret.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError("must be base64, as it is in the integration's credentials")
    return secret


class TwilioSettings(Table):
    """Streams of the dialect `twilio`, which cannot carry a key or a token."""

    auth_token: Secret | None = None
    """Secret. The account's auth token, with which Twilio signs its requests; not set: signatures are not taken."""
    app: AppId = DEFAULT_APP
    """The app that such streams belong to."""


class AudioHookSettings(Table):
    """Streams of the dialect `audiohook`, where Genesys Cloud signs them or has a key of its own."""

    api_key: Secret | None = None
    """Secret. The API key of the integration; not set: its API key has to be one of an app."""
    client_secret: Annotated[Secret, AfterValidator(_is_base64)] | None = None
    """Secret, base64. The client secret of the integration: then its key opens with a signature only; not set: the key
    alone opens."""
    app: AppId = DEFAULT_APP
    """The app that such streams belong to."""
