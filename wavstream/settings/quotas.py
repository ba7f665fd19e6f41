"""The settings of what each app may take of the server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wavstream.settings.tables import AppId, Table

Amount = Annotated[int, Field(ge=0)]


class AppQuotas(Table):
    """The quotas of one app; what is not set is as for all apps."""

    sessions: Amount | None = None
    streams: Amount | None = None
    recordings: Amount | None = None
    recordings_per_session: Amount | None = None
    live_listeners: Amount | None = None
    live_pages: Amount | None = None
    conversions: Amount | None = None
    requests_per_s: Amount | None = None
    media_bytes_per_s: Amount | None = None
    disk_bytes: Amount | None = None


class QuotaSettings(Table):
    """What each app may take of the server; 0: as much as there is, and where there are several apps, its share."""

    sessions: Amount = 0
    """Live sessions of an app. 0: as `limits.sessions`, of which its share is its own where there are several apps."""
    streams: Amount = 0
    """Media streams of an app. 0: as `limits.streams`, shared likewise."""
    recordings: Amount = 0
    """Recordings of an app that run, wait for their stream or are being finished. 0: as `limits.recordings`, shared
    likewise."""
    recordings_per_session: Amount = 8
    """Recordings of one session at once; each is mixed and written by itself and takes up to 5 MB, and a call
    needs one or two. 0: any."""
    live_listeners: Amount = 0
    """Who may listen to an app's recordings while they are made. 0: as `limits.live_listeners`, shared likewise."""
    live_pages: Amount = 0
    """Who may look at an app's live sessions at once. 0: as `limits.live_pages`, shared likewise."""
    conversions: Amount = 0
    """Files of an app that are being converted, or wait for it; `limits.conversions_per_app` bounds them too. 0: as
    `limits.conversions`, shared likewise."""
    requests_per_s: Amount = 0
    """Requests a second with a key of the app. 0: any, but its share of `limits.requests_per_s` where there are
    several apps."""
    media_bytes_per_s: Amount = 0
    """Bytes of audio a second of all streams of an app, from which on it gets no new stream. 0: any, but its share of
    `limits.media_bytes_per_s` where there are several apps."""
    disk_bytes: Amount = 0
    """Bytes of an app in storage, spool and journals, from which on it gets no new recording. 0: any, but its share of
    the disk where there are several apps."""
    apps: dict[AppId, AppQuotas] = Field(default={})
    """Quotas of single apps, by their ids: a table `[quotas.apps.shop]` with any of the names above; in the environment
    one JSON object."""
