"""The harness's stand-ins are called as the parts whose place they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.media_plane import KeyCheck, NoApps, RememberingSessions, RememberingSink
from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.sessions.registry import Sessions
from wavstream.sessions.session import SessionStream


@pytest.mark.parametrize(
    ("fake", "real"),
    [
        (RememberingSessions.open_stream, Sessions.open_stream),
        (KeyCheck.authenticate_stream, Authenticator.authenticate_stream),
        (NoApps.get, AppCache.get),
        (RememberingSink.frame, SessionStream.frame),
        (RememberingSink.event, SessionStream.event),
        (RememberingSink.closed, SessionStream.closed),
    ],
)
def test_a_fake_takes_what_the_real_part_takes(fake: Callable[..., Any], real: Callable[..., Any]) -> None:
    assert inspect.iscoroutinefunction(fake) == inspect.iscoroutinefunction(real)
    assert inspect.signature(fake).parameters == inspect.signature(real).parameters
