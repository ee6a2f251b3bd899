"""Durations, rates and tests in words."""

import pytest
from indexcache_core.contract import Work
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.waits import words


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (0.1, "1m"),
        (1, "1m"),
        (1.1, "2m"),
        (119, "119m"),
        (119.5, "2h"),
        (120, "2h"),
        (121, "3h"),
        (2880, "2d"),
        (2881, "3d"),
    ],
)
def test_a_time_is_rounded_up(minutes: float, said: str) -> None:
    assert words.about(minutes) == said


def test_a_rate_has_two_digits() -> None:
    assert [words.two_digits(rate) for rate in (0.1234, 5.678, 123.4)] == [0.12, 5.7, 120.0]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (TestKey("recall", None, 3), "recall at 65-128 tokens"),
        (TestKey("recall_per_indexer", 7, None), "recallPerIndexer of indexer 7"),
        (TestKey("quality"), "quality"),
        (TestKey("overlap", None, 4, Work.DECODE), "overlap at 129-256 tokens in decode"),
    ],
)
def test_a_test_is_named(key: TestKey, said: str) -> None:
    assert words.test(key, 16) == said


@pytest.mark.parametrize("k", [None, 0])
def test_without_a_k_contexts_have_no_length(k: int | None) -> None:
    assert words.test(TestKey("recall", None, 3, Work.PREFILL), k) == "recall in prefill"
