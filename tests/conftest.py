"""What holds for every test: nothing of the machine's own settings or pace reaches it."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from wavstream.access import authenticator, keys
from wavstream.settings import OLDER_VARIABLES, PREFIX

# At import, before any test module is: some read settings while they are collected.
for name in list(os.environ):
    if name.upper().startswith(PREFIX) or name in OLDER_VARIABLES.values():
        del os.environ[name]

# The same examples each time, however slow the machine is; `--hypothesis-profile=default` looks for others.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

# A key is hashed as slowly as servers do it where that is the subject (tests/unit/access): it takes 50 ms, and most
# tests have two apps.
_AS_SLOW_AS_EVER = ("access",)


@pytest.fixture(autouse=True)
def _quick_hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.path.parent.name not in _AS_SLOW_AS_EVER:
        monkeypatch.setattr(keys, "_N", 16)
        monkeypatch.setattr(authenticator, "NO_KEY_HASH", _QUICK)


_QUICK = "scrypt$16$8$1$" + keys.NO_KEY_HASH.partition("$8$1$")[2]
