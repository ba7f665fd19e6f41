"""What ``play`` plays: silence, speech, and finished recordings of this server.

Nothing is fetched: a URL must be a link of ours, which says itself whether it is right, and its recording is read from
storage. So a document cannot make the server ask another one for anything.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from wavstream.api.facade import FacadeDependencies
from wavstream.api.playback import as_of
from wavstream.api.signalwire.swml import speech
from wavstream.api.signalwire.swml.live_call import LiveCall
from wavstream.api.signalwire.swml.run import Made
from wavstream.api.signalwire.swml.verbs import Play, Playback, Silence, Speech, sound
from wavstream.conversion.reading import Sound, read_sound
from wavstream.errors import Forbidden, NotFound
from wavstream.model.recording import Recording, Status
from wavstream.storage.links import PublicUrls, VerifiedLink
from wavstream.workers.boundary import Elsewhere

LONGEST_S = 600
"""Seconds of a recording that are played."""
NOBODY = "nobody could hear it: no stream of the call takes audio"


class CannotPlay(Exception):
    """What is to be played cannot be: its text says why."""


def our_link(urls: PublicUrls, url: str) -> VerifiedLink:
    """Return what a link to a recording of this server says; raise ValueError for any other URL."""
    if not url.startswith(f"{urls.public_url}/files/"):
        raise ValueError(f"is not the URL of a recording of this server: such begin with {urls.public_url}/files/")
    address = urlsplit(url.removeprefix(urls.public_url))
    try:
        return urls.links.verify(unquote(address.path), dict(parse_qsl(address.query)))
    except Forbidden:
        raise ValueError("is not the URL of a recording as it was given: its signature is wrong") from None


class Player:
    """Plays to calls."""

    def __init__(self, parts: FacadeDependencies) -> None:
        self._parts = parts

    async def play(self, call: LiveCall, asked: Play, *, made: Mapping[str, Made]) -> list[str]:
        """Play one sound behind another, and wait as long as they are heard; return what there is to say about it.

        ``made`` tells the recordings that this API has started on the call, by their URLs. Raises CannotPlay, and what
        the reading of a recording raises.
        """
        notes: list[str] = []
        for text in asked.urls:
            match sound(text):
                case Silence(length_s):
                    await call.wait(length_s)
                case Speech(said):
                    notes += await self._speak(call, said, asked)
                case Playback(url):
                    notes += await self._play_back(call, url, asked, made)
        return list(dict.fromkeys(notes))

    async def _speak(self, call: LiveCall, text: str, asked: Play) -> list[str]:
        if not await self._parts.sounds.run(call.app_id, speech.can_speak):
            return [f"say: was skipped, nothing speaks here: install {speech.EXTRA}"]
        try:
            spoken = await self._parts.sounds.run(call.app_id, speech.speak, text, asked.say_language)
        except speech.NoSuchLanguage:
            return [f"say: was skipped, there is no voice for the language {asked.say_language}"]
        return await self._heard(call, spoken, asked)

    async def _play_back(self, call: LiveCall, url: str, asked: Play, made: Mapping[str, Made]) -> list[str]:
        recording = await self._ended(call, await self._recording(call, url, made))
        try:
            recorded = await self._read(call, recording)
        except NotFound:
            now = await self._recording(call, url, made)
            if now.stored == recording.stored:  # else it was moved since its row was read
                if recording.stored is None:
                    raise
                raise CannotPlay("the recording's file is gone from the store") from None
            recorded = await self._read(call, now)
        notes = await self._heard(call, recorded, asked)
        return notes if recorded.is_whole else [*notes, f"only the first {LONGEST_S} s were played"]

    async def _read(self, call: LiveCall, recording: Recording) -> Sound:
        # One in a store is read by other threads: those of sounds are not to wait for it.
        pool = self._parts.sounds if recording.stored is None else self._parts.stored_downloads
        read = functools.partial(read_sound, at_most_s=LONGEST_S)
        return await pool.run(call.app_id, read, functools.partial(self._parts.files.open, recording))

    async def _recording(self, call: LiveCall, url: str, made: Mapping[str, Made]) -> Recording:
        if url in made:
            recording_id = made[url].recording_id
        else:
            try:
                link = our_link(self._parts.urls, url)
            except ValueError as error:
                raise CannotPlay(f"{url} {error}") from None
            if link.is_over(self._parts.now()):
                raise CannotPlay("the link has ended: use a new one, or the recording's own URL")
            recording_id = link.recording_id
        try:
            return await self._parts.commands.get(app_id=call.app_id, recording_id=recording_id)
        except NotFound:
            raise CannotPlay("there is no such recording") from None
        except Elsewhere:  # it is of another call, which this document does not end
            return await self._parts.commands.stored(app_id=call.app_id, recording_id=recording_id)

    async def _ended(self, call: LiveCall, recording: Recording) -> Recording:
        """Return the recording once its file is there."""
        if recording.status is Status.COMPLETED:
            recording = await self._parts.commands.wait_ended(app_id=call.app_id, recording_id=recording.id)
        if recording.status.is_running:
            raise CannotPlay("the recording still runs: stop it before it is played")
        recording = as_of(self._parts.now(), recording)
        if recording.status is not Status.AVAILABLE:
            raise CannotPlay(f"the recording has no file: it is {recording.status}")
        return recording

    async def _heard(self, call: LiveCall, played: Sound, asked: Play) -> list[str]:
        if asked.volume:
            played = await self._parts.sounds.run(call.app_id, played.louder, asked.volume)
        return [] if await call.play(played) else [NOBODY]
