"""Text as speech, by the engine that the optional extra ``wavstream[say]`` installs: eSpeak NG, offline.

The extra is a package that holds the engine as a shared library, with its voices. It is called by ctypes:

1. The engine has one state in the whole process: it is started once, and one thread of its own calls it.
2. While it speaks the interpreter's lock is free, but for the moments in which it hands over samples.
3. It is given text as UTF-8 without control characters, and stopped when what it makes of it is long enough.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from wavstream.conversion.reading import Sound
from wavstream.errors import OperatorError

EXTRA = "wavstream[say]"
DEFAULT_LANGUAGE = "en-US"
LONGEST_TEXT = 5_000
"""Characters: about five minutes of speech, and half a second of the engine's work."""
LONGEST_S = 600
"""Seconds: signs that are read out by their names make more of a text than words do."""

_PACKAGE = "espeakng_loader"
_SYNCHRONOUS, _DO_NOT_EXIT = 2, 0x8000
_UTF8, _BY_CHARACTERS = 1, 1
_Heard = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_OTHER_NAMES = {"zh": "cmn"}
"""Of languages, where the engine does not go by their tag."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class NoSuchLanguage(LookupError):
    """The engine has no voice for the language."""


def can_speak() -> bool:
    """Return whether the extra is installed. Blocks: it looks for its package on the disk."""
    return importlib.util.find_spec(_PACKAGE) is not None


def speak(text: str, language: str = DEFAULT_LANGUAGE) -> Sound:
    """Return the text as it is spoken. Blocks; others who want something spoken wait for it.

    Raises NoSuchLanguage, and OperatorError if the extra is installed but cannot be used.
    """
    return _thread().submit(_spoken, text, language).result()


@functools.cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="speech")  # rule 1


def _spoken(text: str, language: str) -> Sound:
    engine = _engine()
    engine.choose_voice(language)
    return engine.speak(text)


@functools.cache
def _engine() -> _Engine:
    try:
        package = importlib.import_module(_PACKAGE)
        return _Engine(ctypes.CDLL(package.get_library_path()), package.get_data_path())
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise OperatorError(f"speech cannot be made: {error}; install {EXTRA} again") from error


class _Engine:
    """eSpeak NG, started. For one thread."""

    def __init__(self, library: Any, voices: str) -> None:
        self._library = library
        library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        library.espeak_SetSynthCallback.argtypes = [_Heard]
        library.espeak_SetSynthCallback.restype = None
        library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self._rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, voices.encode(), _DO_NOT_EXIT)
        if self._rate_hz <= 0:
            raise RuntimeError(f"the engine does not start with the voices in {voices}")
        self._heard: list[bytes] = []
        self._left_samples = 0
        self._callback = _Heard(self._hear)  # kept: the library holds no reference to it
        library.espeak_SetSynthCallback(self._callback)

    def choose_voice(self, language: str) -> None:
        """Take the voice of a language such as ``en-US``, or of ``en`` alone; raise NoSuchLanguage."""
        tag = language.lower()
        primary = tag.partition("-")[0]
        for name in (tag, _OTHER_NAMES.get(primary, primary)):
            if self._library.espeak_SetVoiceByName(name.encode()) == 0:
                return
        raise NoSuchLanguage(language)

    def speak(self, text: str) -> Sound:
        self._heard.clear()
        self._left_samples = LONGEST_S * self._rate_hz
        said = _CONTROL.sub(" ", text[:LONGEST_TEXT]).encode()  # rule 3
        status = self._library.espeak_Synth(said, len(said) + 1, 0, _BY_CHARACTERS, 0, _UTF8, None, None)
        if status != 0:
            raise OperatorError(f"speech cannot be made: the engine answers {status}; install {EXTRA} again")
        samples = np.frombuffer(b"".join(self._heard), np.int16)
        self._heard.clear()
        return Sound(samples, self._rate_hz, is_whole=self._left_samples > 0)

    def _hear(self, samples: Any, count: int, _events: Any) -> int:
        """Take in samples; return 1 once there are enough (rule 3)."""
        if samples and count > 0:
            self._heard.append(ctypes.string_at(samples, 2 * count))
            self._left_samples -= count
        return int(self._left_samples <= 0)
