"""What holds for every test: nothing of the machine's own settings reaches it."""

from __future__ import annotations

import os

from wavstream.settings import OLDER_VARIABLES, PREFIX

# At import, before any test module is: some read settings while they are collected.
for name in list(os.environ):
    if name.upper().startswith(PREFIX) or name in OLDER_VARIABLES.values():
        del os.environ[name]
