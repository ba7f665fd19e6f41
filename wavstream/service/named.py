"""What settings and apps name that is kept elsewhere: apps by their ids, events by their names. Looked at at a start.

1. A setting that cannot do anything without its app keeps the server from starting, as any wrong setting does. Where
   apps are added over HTTP (`admin_api_key`), which takes a server that runs, it is a warning.
2. One name of several, or a quota, is a warning: the others work, and an app that was removed must not stop a server.
3. A setting that is of use together with another, which is not set, is a warning.
4. An app's events are looked at when they are written (``api/gateway/apps.py``); what an earlier version took is a
   warning.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog

from wavstream.api.registry import VOCABULARIES
from wavstream.errors import OperatorError
from wavstream.model.app import DEFAULT_APP, App
from wavstream.settings import Settings, variable

log = structlog.get_logger(__name__)


def check_names(settings: Settings, apps: Sequence[App]) -> None:
    """Look whether there is what is named; raise OperatorError where a setting is of no use without its app."""
    # Without any app, callers on this machine are the app `default`.
    there = {app.name for app in apps} or {DEFAULT_APP}
    twilio, opener = settings.twilio, settings.opener
    may_come = settings.admin_api_key is not None
    if twilio.auth_token is not None or "app" in twilio.model_fields_set:
        # Twilio's signature opens streams of an app that is there: nobody is `default` by it.
        those = there if apps or twilio.auth_token is None else set()
        _check("twilio.app", [twilio.app], those, is_needed=not may_come)
    hook = settings.audiohook
    if hook.api_key is not None or "app" in hook.model_fields_set:
        those = there if apps or hook.api_key is None else set()
        _check("audiohook.app", [hook.app], those, is_needed=not may_come)
    if hook.api_key is None and (hook.client_secret is not None or "app" in hook.model_fields_set):
        _warn("audiohook", "does nothing without audiohook.api_key: set it, and streams of that key are let in")
    if opener.kind != "none" and opener.apps:
        _check("opener.apps", opener.apps, there, is_needed=not may_come and there.isdisjoint(opener.apps))
    if twilio.auth_token is None and "app" in twilio.model_fields_set and twilio.app in there:
        _warn("twilio.app", "does nothing without twilio.auth_token: set it, and streams that Twilio signs are let in")
    if twilio.auth_token is not None and "app" not in twilio.model_fields_set and len(there) > 1:
        _warn("twilio.auth_token", "streams that Twilio signs are those of app default, since twilio.app names none")
    _check("quotas.apps", settings.quotas.apps, there, is_needed=False)
    for app in apps:
        for name in () if app.webhook is None else app.webhook.events:
            if (mistake := VOCABULARIES.wrong_event(name)) is not None:
                log.warning("app_event_unknown", app_id=app.id, error=mistake)


def _warn(setting: str, what: str) -> None:
    log.warning("setting_incomplete", setting=setting, error=f"{variable(setting)} (in a file: {setting}): {what}")


def _check(setting: str, named: Collection[str], there: Collection[str], *, is_needed: bool) -> None:
    for name in sorted(set(named).difference(there)):
        known = f"; there are: {', '.join(sorted(there))}" if there else ""
        error = (
            f"{variable(setting)} (in a file: {setting}): {name!r}: there is no such app{known}. Name another, or "
            f"add it with 'wavstream apps add {name}'"
        )
        if is_needed:
            raise OperatorError(error)
        log.warning("setting_names_no_app", setting=setting, error=error)
