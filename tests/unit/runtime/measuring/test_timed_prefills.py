"""Tests which steps are timed."""

from indexcache_runtime.measuring.timed_prefills import PREFILL_TOKENS, TIMED_EVERY, TimedPrefills


def test_prefills_are_timed_now_and_then() -> None:
    prefills = TimedPrefills(graphed_tokens=512, timed=True)
    assert [i for i in range(2 * TIMED_EVERY) if prefills.includes(PREFILL_TOKENS)] == [0, TIMED_EVERY]
    assert not any(prefills.includes(tokens) for tokens in (1, 512, PREFILL_TOKENS - 1) for _ in range(100))
    assert not any(TimedPrefills(graphed_tokens=8192, timed=True).includes(8192) for _ in range(100))
    assert not any(TimedPrefills().includes(16384) for _ in range(100))
