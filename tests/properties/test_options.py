"""Whatever the options, a journal makes one file: live in any slices, after a kill, and in a replay."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

import soundfile
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.support.examples import examples
from tests.support.journals import nothing
from tests.support.options import Talk, talks
from wavstream.cli.replay import replay
from wavstream.journal.reader import JournalReader
from wavstream.journal.segments import segment_path
from wavstream.model.recording import Receipt, Recording, Status
from wavstream.recorder.render_job import RenderJob
from wavstream.rendering.timeline.clock import Patience

KEY = "0" * 32


def rendered(folder: Path, recording: Recording, journal: bytes, cuts: list[int]) -> tuple[bytes, Receipt]:
    """Fold the journal while it grows to each of these lengths; the published file and its receipt."""
    reader = JournalReader(folder, KEY)
    job = RenderJob(recording, reader=reader, spool=folder / "spool", patience=Patience(), on_automatic_end=nothing)
    segment = segment_path(folder, KEY, 1)
    segment.write_bytes(b"")
    for length in [*cuts, len(journal)]:
        with segment.open("ab") as file:
            file.write(journal[file.tell() : length])
        while job.advance():
            pass
    finished = job.finish(recording)
    assert finished.receipt is not None
    made = job.spool.read_bytes() if finished.status is Status.AVAILABLE else b""
    return made, finished.receipt


@examples(80)
@given(talk=talks(), data=st.data())
def test_one_journal_is_one_file_in_any_slices_after_a_kill_and_in_a_replay(talk: Talk, data: st.DataObject) -> None:
    journal, recording = talk.script.journal(), talk.recording
    folder = Path(tempfile.mkdtemp())
    try:
        whole = rendered(folder, recording, journal, [])
        cuts = sorted(data.draw(st.lists(st.integers(0, len(journal)), max_size=12)))
        assert rendered(folder, recording, journal, cuts) == whole
        made, receipt = whole
        if made:
            fold = replay(
                folder, KEY, recording.id, output=folder / "replayed", patience=Patience(), last_us=0,
                console=Console(file=io.StringIO()),
            )  # fmt: skip
            assert (folder / "replayed").read_bytes() == made
            assert fold.account().integrity == receipt.integrity
            assert len(made) == receipt.size_bytes
            with soundfile.SoundFile(io.BytesIO(made)) as file:
                assert (file.frames, file.samplerate) == (receipt.samples, receipt.sample_rate)
                assert file.channels == receipt.channels
    finally:
        shutil.rmtree(folder)
