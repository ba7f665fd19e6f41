"""What holds for every test: nothing of the machine's own settings or pace reaches it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from wavstream.settings import OLDER_VARIABLES, PREFIX

# At import, before any test module is: some read settings while they are collected.
for name in list(os.environ):
    if name.upper().startswith(PREFIX) or name in OLDER_VARIABLES.values():
        del os.environ[name]

# The same examples each time, however slow the machine is; `--hypothesis-profile=default` looks for others.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
