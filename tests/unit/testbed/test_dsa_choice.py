"""Scores and the k best positions, against plain Python."""

import pytest
import torch
from dsa_cpu.choice import NEVER, index_scores, topk_positions
from hypothesis import given
from hypothesis import strategies as st


def best(scores: list[float], k: int) -> list[int]:
    """Return the k best by score, the earlier position first among equals."""
    return sorted((p for p, s in enumerate(scores) if s > NEVER), key=lambda p: (-scores[p], p))[:k]


@given(
    rows=st.integers(1, 20).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([NEVER, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0]), min_size=n, max_size=n),
            min_size=1,
            max_size=5,
        )
    ),
    k=st.integers(1, 24),
)
def test_ties_go_to_the_earlier_position(rows: list[list[float]], k: int) -> None:
    got = topk_positions(torch.tensor(rows), k)
    assert got.dtype == torch.int32
    assert got.shape == (len(rows), k)
    for row, chosen in zip(rows, got.tolist(), strict=True):
        expected = best(row, k)
        assert set(chosen[: len(expected)]) == set(expected)
        assert chosen[len(expected) :] == [-1] * (k - len(expected))


@pytest.mark.parametrize("positions", [63, 64, 65, 1000])
def test_many_distinct_scores_and_many_ties(positions: int) -> None:
    g = torch.Generator().manual_seed(0)
    scores = torch.randn(40, positions, generator=g)
    scores[20:] = scores[20:].relu()  # half of them 0
    scores.masked_fill_(torch.arange(positions) > torch.randint(0, positions, (40, 1), generator=g), NEVER)
    for row, chosen in zip(scores.tolist(), topk_positions(scores, 64).tolist(), strict=True):
        assert {p for p in chosen if p >= 0} == set(best(row, 64))


def test_scores_are_the_formula() -> None:
    g = torch.Generator().manual_seed(1)
    q, keys, weights = (
        torch.randn(3, 2, 4, generator=g),
        torch.randn(5, 4, generator=g),
        torch.randn(3, 2, generator=g),
    )
    position = torch.tensor([2, 3, 4])
    got = index_scores(q, keys, weights, position)
    for t in range(3):
        for s in range(5):
            if s > position[t]:
                assert got[t, s] == NEVER
            else:
                expected = sum(float(weights[t, h]) * max(0.0, float(q[t, h] @ keys[s])) for h in range(2))
                assert float(got[t, s]) == pytest.approx(expected, abs=1e-5)


def test_rows_with_keys_of_their_own_score_as_rows_that_share_them() -> None:
    g = torch.Generator().manual_seed(2)
    q, keys, weights = (
        torch.randn(6, 3, 8, generator=g),
        torch.randn(20, 8, generator=g),
        torch.randn(6, 3, generator=g),
    )
    position = torch.arange(14, 20)
    shared, own = (
        index_scores(q, keys, weights, position),
        index_scores(q, keys.expand(6, 20, 8), weights, position),
    )
    torch.testing.assert_close(shared, own, rtol=0, atol=1e-5)
