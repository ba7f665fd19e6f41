"""The documents of SignalWire's pages about ``record_call`` and ``record``, in today's form and in the one before."""

from __future__ import annotations

from typing import Any

import yaml

MP3 = """\
version: 1.0.0
sections:
  main:
    - record_call:
        format: mp3
"""
BOTH_SIDES = """\
version: 1.0.0
sections:
  main:
    - record_call:
        beep: true
        terminators: '#'
    - play:
        urls:
          - 'say:Leave your message now'
          - 'silence:10'
    - stop_record_call: {}
    - play:
        urls:
          - 'say:Playing back'
          - '${record_call_url}'
"""
SPEAKERS_SIDE = """\
version: 1.0.0
sections:
  main:
    - record_call:
        beep: true
        direction: speak
    - play:
        urls:
          - 'say:Leave your message now'
          - 'silence:10'
    - stop_record_call: {}
    - play:
        urls:
          - 'say:Playing back'
          - '${record_call_url}'
"""
FOREGROUND = """\
version: 1.0.0
sections:
  main:
    - play:
        url: 'say:Start speaking after the beep. Press hash to end recording.'
    - record:
        end_silence_timeout: 3
        beep: true
    - play:
        url: 'say:Recording %{record_result}. Playing back recording:'
    - play:
        url: '%{record_url}'
"""
BOTH_SIDES_BEFORE = """\
version: 1.0.0
sections:
  main:
    - record_call:
        beep: true
        terminators: #
    - play:
        - say:Leave your message now
        - silence:10
    - stop_record_call
    - play:
        - say:Playing back
        - "%{record_call_url}"
"""
"""Without quotes ``terminators: #`` is null: what is behind the sign is a comment of YAML's."""
SPEAKERS_SIDE_BEFORE = """\
version: 1.0.0
sections:
  main:
    - record_call:
        beep: true
        direction: speak
    - play:
        - say:Leave your message now
        - silence:10
    - stop_record_call
    - play:
        - say:Playing back
        - "%{record_call_url}"
"""
SPACED = """\
version: 1.0.0
sections:
  main:
    - record_call: {beep: true, terminators: "#"}
    - play:
        - say: Leave your message now
        - silence: 10
    - stop_call_record:
    - play:
        urls: ["say: Playing back", "%{record_call_url}"]
"""
"""As people write it: with spaces, and with the verb as the page's prose has it."""


def as_data(document: str) -> Any:
    """Return what a document of YAML says, to be sent as JSON."""
    return yaml.safe_load(document)
