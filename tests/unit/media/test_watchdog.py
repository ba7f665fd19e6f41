from __future__ import annotations

from wavstream.media.closing import FRAME_RATE, IDLE
from wavstream.media.endpoint import MediaLimits
from wavstream.media.watchdog import StreamWatchdog


def test_the_sustained_rate_may_go_on_for_ever() -> None:
    watch = StreamWatchdog(MediaLimits(frames_per_second=50))
    for second in range(1, 100):
        assert watch.tick(frames=second * 50, messages=second * 50, reading=True) is None
    assert watch.ceiling == 99 * 50 + 500


def test_a_peer_above_the_rate_uses_up_its_burst_and_is_refused() -> None:
    watch = StreamWatchdog(MediaLimits(frames_per_second=50))
    verdicts = [watch.tick(frames=second * 100, messages=second * 100, reading=True) for second in range(1, 13)]
    # 500 frames are saved at first, and every second costs 100 and earns 50: the tenth finds only 50 left.
    assert verdicts == [None] * 9 + [FRAME_RATE] * 3


def test_a_stalled_peer_may_deliver_ten_seconds_at_once_and_not_more() -> None:
    watch = StreamWatchdog(MediaLimits(frames_per_second=50))
    for _ in range(60):
        watch.tick(frames=0, messages=0, reading=True)
    assert watch.ceiling == 500
    assert watch.tick(frames=500, messages=500, reading=True) is None
    assert watch.ceiling == 550


def test_a_peer_without_messages_is_idle_though_it_answers_pings() -> None:
    watch = StreamWatchdog(MediaLimits(idle_timeout_s=3))
    assert watch.tick(frames=5, messages=5, reading=True) is None
    verdicts = [watch.tick(frames=5 + second, messages=5, reading=True) for second in range(1, 4)]
    assert verdicts == [None, None, IDLE]


def test_silence_counts_for_nothing_while_we_do_not_read() -> None:
    watch = StreamWatchdog(MediaLimits(idle_timeout_s=2))
    assert [watch.tick(frames=0, messages=0, reading=False) for _ in range(9)] == [None] * 9
    assert [watch.tick(frames=0, messages=0, reading=True) for _ in range(2)] == [None, IDLE]


def test_without_a_limit_no_peer_is_idle() -> None:
    watch = StreamWatchdog(MediaLimits(idle_timeout_s=None))
    assert {watch.tick(frames=0, messages=0, reading=True) for _ in range(9000)} == {None}
