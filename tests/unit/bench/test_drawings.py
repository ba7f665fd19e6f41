"""What the bench draws: charts and flame graphs that are whole SVG, and the frames in which time passes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.chart import Axes, chart, nice_ticks
from bench.flame import flame_graph, tree, widest
from bench.profile import LOOP, shortened

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_has_each_line_with_its_points_and_its_name() -> None:
    axes = Axes(title="Cost & more", x="legs", y="us", x_is_log=True, bound=(8.0, "8 us"))
    drawn = ElementTree.fromstring(
        chart({"all": [(100, 20.0), (1_000, 10.0)], "loop": [(100, 5.0), (1_000, 4.0)]}, axes)
    )
    assert len(drawn.findall(f"{SVG}polyline")) == 2
    assert len(drawn.findall(f"{SVG}circle")) == 4
    texts = [text.text for text in drawn.findall(f"{SVG}text")]
    assert {"Cost & more", "all", "loop", "100", "1,000", "8 us"} <= set(texts)


def test_a_higher_figure_is_drawn_higher_and_within_the_axes() -> None:
    drawn = ElementTree.fromstring(chart({"": [(1, 10.0), (2, 30.0)]}, Axes(title="", x="", y="")))
    low, high = (float(circle.attrib["cy"]) for circle in drawn.findall(f"{SVG}circle"))
    top, bottom = (
        edge([float(line.attrib["y1"]) for line in drawn.findall(f"{SVG}line[@class='axis']")]) for edge in (min, max)
    )
    assert top <= high < low <= bottom


def test_lines_that_end_at_the_same_height_have_names_apart() -> None:
    points = [(1, 5.0), (2, 5.0)]
    drawn = ElementTree.fromstring(chart({"one": points, "two": points}, Axes(title="", x="", y="")))
    heights = {text.text: float(text.attrib["y"]) for text in drawn.findall(f"{SVG}text")}
    assert abs(heights["one"] - heights["two"]) >= 15


@pytest.mark.parametrize("highest", [0.0, 0.004, 0.9, 1.0, 7.0, 40.0, 99.0, 12_345.0])
def test_the_axis_has_a_few_round_ticks_that_reach_the_highest_figure(highest: float) -> None:
    ticks = nice_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] >= highest
    assert 2 <= len(ticks) <= 8


STACKS = [
    "event loop;read (wavstream/a.py);parse (wavstream/b.py) 30",
    "event loop;read (wavstream/a.py);recv (socket.py) 20",
    "render;fold (wavstream/c.py);fold (wavstream/c.py);sum (numpy/core.py) 40",
    "render;idle 10",
    "not a stack",
]


def test_the_widest_frames_are_ours_with_what_they_call_of_libraries() -> None:
    found = widest(tree(STACKS), 5, is_ours=lambda name: "(wavstream/" in name)
    assert [name for name, _, _ in found] == [
        "fold (wavstream/c.py)",
        "parse (wavstream/b.py)",
        "read (wavstream/a.py)",
    ]
    assert [whole for _, whole, _ in found] == pytest.approx([0.4, 0.3, 0.5])
    assert [own for _, _, own in found] == pytest.approx([0.4, 0.3, 0.2])


def test_a_flame_graph_has_a_box_for_each_frame_that_is_not_too_narrow() -> None:
    drawn = ElementTree.fromstring(flame_graph(tree(STACKS), "stacks <1>", least_share=0.15))
    titles = [title.text for title in drawn.iter(f"{SVG}title")]
    assert "parse (wavstream/b.py) 30.0%" in titles
    assert not any(title and title.startswith("idle") for title in titles)


def test_stacks_are_read_by_functions_from_where_the_event_loop_and_threads_begin() -> None:
    main = "thread (41): MainThread;main (cli/main.py:45);Runner.run (asyncio/runners.py:118);f (wavstream/x.py:3)"
    assert shortened(main) == f"{LOOP};f (wavstream/x.py)"
    thread = "thread (0x7F): render;Thread._bootstrap (threading.py:1);Thread.run (threading.py:2);f (wavstream/x.py:3)"
    assert shortened(thread) == "render;f (wavstream/x.py)"
