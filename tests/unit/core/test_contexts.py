"""Buckets of context length."""

import pytest
from indexcache_core.contexts import CONTEXT_ENDS_IN_K, JUDGED, context_bucket, context_end, context_label


@pytest.mark.parametrize(
    ("tokens", "bucket"),
    [
        (1, 0),
        (16, 0),
        (17, 1),
        (32, 1),
        (33, 2),
        (64, 2),
        (65, 3),
        (16 * 128, 7),
        (16 * 128 + 1, 8),
        (10**9, 8),
    ],
)
def test_a_context_has_a_bucket(tokens: int, bucket: int) -> None:
    assert context_bucket(tokens, 16) == bucket


def test_buckets_are_named_by_their_bounds() -> None:
    labels = [context_label(i, 16) for i in range(len(CONTEXT_ENDS_IN_K) + 1)]
    assert labels == [
        "1-16",
        "17-32",
        "33-64",
        "65-128",
        "129-256",
        "257-512",
        "513-1024",
        "1025-2048",
        "2049+",
    ]


def test_what_is_judged_is_every_bucket_from_twice_k_on() -> None:
    assert JUDGED == (2, 3, 4, 5, 6, 7, 8)


def test_a_bucket_ends_with_the_longest_context_in_it_and_the_last_one_nowhere() -> None:
    for bucket in range(len(CONTEXT_ENDS_IN_K)):
        longest = context_end(bucket, 16)
        assert longest is not None
        assert (context_bucket(longest, 16), context_bucket(longest + 1, 16)) == (bucket, bucket + 1)
    assert context_end(len(CONTEXT_ENDS_IN_K), 16) is None
