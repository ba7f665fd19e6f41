"""However the same journal is cut on its way, the same file comes out."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.calls import Call, calls
from tests.support.examples import examples
from wavstream.journal.records import Item
from wavstream.rendering.account import FileAccount
from wavstream.rendering.fold import Fold


def fold_in(parts: list[list[Item]]) -> tuple[bytes, bytes, FileAccount]:
    fold = Fold("rec-1")
    audio = b"".join(fold.feed(part) for part in parts)
    return audio, fold.header(), fold.account()


@examples(60)
@given(call=calls(), cuts=st.lists(st.floats(0, 1), max_size=12), batch_ms=st.sampled_from((20, 70, 150, 1000)))
def test_any_cutting_of_a_journal_gives_the_same_file_and_account(call: Call, cuts: list[float], batch_ms: int) -> None:
    whole = fold_in([call.script.items()])
    other = call.script.items(batch_s=batch_ms / 1000)
    at = [0, *sorted(round(cut * len(other)) for cut in cuts), len(other)]
    assert fold_in([other[low:high] for low, high in pairwise(at)]) == whole
    assert fold_in([[item] for item in other]) == whole


@examples(25)
@given(call=calls())
def test_an_account_taken_on_the_way_changes_nothing(call: Call) -> None:
    fold, items = Fold("rec-1"), call.script.items()
    parts = []
    for item in items:
        parts.append(fold.feed([item]))
        fold.account()
        fold.header()
    assert (b"".join(parts), fold.header(), fold.account()) == fold_in([items])
