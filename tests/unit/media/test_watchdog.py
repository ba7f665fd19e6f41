from __future__ import annotations

from wavstream.media.closing import FRAME_RATE, IDLE
from wavstream.media.connection import StreamWatchdog
from wavstream.media.endpoint import MediaLimits


def test_the_sustained_rate_may_go_on_for_ever() -> None:
    watchdog = StreamWatchdog(MediaLimits(frames_per_second=50))
    for second in range(1, 100):
        assert watchdog.look(frames=second * 50, messages=second * 50, reading=True) is None
    assert watchdog.ceiling == 99 * 50 + 500


def test_a_peer_above_the_rate_uses_up_its_burst_and_is_refused() -> None:
    watchdog = StreamWatchdog(MediaLimits(frames_per_second=50))
    verdicts = [watchdog.look(frames=second * 100, messages=second * 100, reading=True) for second in range(1, 13)]
    # 500 frames are saved at first, and every second costs 100 and earns 50: the tenth finds only 50 left.
    assert verdicts == [None] * 9 + [FRAME_RATE] * 3


def test_a_stalled_peer_may_deliver_ten_seconds_at_once_and_not_more() -> None:
    watchdog = StreamWatchdog(MediaLimits(frames_per_second=50))
    for _ in range(60):
        watchdog.look(frames=0, messages=0, reading=True)
    assert watchdog.ceiling == 500
    assert watchdog.look(frames=500, messages=500, reading=True) is None
    assert watchdog.ceiling == 550


def test_a_peer_without_messages_is_idle_though_it_answers_pings() -> None:
    watchdog = StreamWatchdog(MediaLimits(idle_timeout_s=3))
    assert watchdog.look(frames=5, messages=5, reading=True) is None
    verdicts = [watchdog.look(frames=5 + second, messages=5, reading=True) for second in range(1, 4)]
    assert verdicts == [None, None, IDLE]


def test_silence_counts_for_nothing_while_we_do_not_read() -> None:
    watchdog = StreamWatchdog(MediaLimits(idle_timeout_s=2))
    assert [watchdog.look(frames=0, messages=0, reading=False) for _ in range(9)] == [None] * 9
    assert [watchdog.look(frames=0, messages=0, reading=True) for _ in range(2)] == [None, IDLE]


def test_without_a_limit_no_peer_is_idle() -> None:
    watchdog = StreamWatchdog(MediaLimits(idle_timeout_s=None))
    assert {watchdog.look(frames=0, messages=0, reading=True) for _ in range(9000)} == {None}
