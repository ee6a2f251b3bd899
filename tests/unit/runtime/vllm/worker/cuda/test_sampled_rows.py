"""Tests which sites a step measures, and how far one choice agrees with another."""

import math
import pickle
import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import Mode
from indexcache_core.pattern import shared_sites
from indexcache_runtime.engine import StepPlan
from indexcache_runtime.vllm.worker.cuda.sampled_rows import DRAWN, ROUNDING, agreement, checked, drawn

PATTERNS = st.text("FS", max_size=60).map(lambda rest: "F" + rest)


def plan(pattern: str, draw: int) -> StepPlan:
    return StepPlan(Mode.ON, pattern, 1, draw=draw)


@given(PATTERNS, st.integers(0, 2**32 - 1))
def test_a_quarter_of_the_shared_sites_is_measured_and_the_same_on_every_rank(
    pattern: str, draw: int
) -> None:
    shared, state = shared_sites(pattern), random.getstate()
    found = drawn(plan(pattern, draw))
    assert found == sorted(set(found))
    assert set(found) <= set(shared)
    assert len(found) == math.ceil(len(shared) / DRAWN)
    random.seed(draw + 1)  # whatever another rank has drawn otherwise
    assert drawn(pickle.loads(pickle.dumps(plan(pattern, draw)))) == found
    random.setstate(state)


@pytest.mark.parametrize("rhythm", [1, 2, 4, 16])
def test_all_sites_are_measured_equally_often_whatever_the_rhythm_of_the_steps(rhythm: int) -> None:
    """As where a prefill takes four steps, and each fourth is of the same part of a context."""
    pattern, rng = "F" + "S" * 16 + "FS" * 2, random.Random(3)
    draws = [rng.getrandbits(32) for _ in range(1500 * rhythm)]
    for phase in range(rhythm):
        seen = Counter(site for draw in draws[phase::rhythm] for site in drawn(plan(pattern, draw)))
        assert set(seen) == set(shared_sites(pattern))
        # 18 sites, of which 5 are drawn.
        expected, deviation = 1500 * 5 / 18, math.sqrt(1500 * 5 / 18 * 13 / 18)
        assert all(abs(n - expected) < 5 * deviation for n in seen.values())


@given(PATTERNS, st.integers(0, 2**32 - 1))
def test_the_fast_indexer_is_checked_at_a_full_site_the_same_on_every_rank(pattern: str, draw: int) -> None:
    assert pattern[checked(plan(pattern, draw))] == "F"
    assert checked(plan(pattern, draw)) == checked(pickle.loads(pickle.dumps(plan(pattern, draw))))


SCORES = [[9.0, 8.0, 7.0, 7.0, 7.0 - 9.0 * ROUNDING / 2, 1.0]]


@pytest.mark.parametrize(
    ("chosen", "share"),
    [
        ([0, 1, 2], 1.0),
        ([2, 0, 1], 1.0),
        ([0, 1, 3], 1.0),  # as high as what vLLM took
        ([0, 1, 4], 1.0),  # but for rounding
        ([0, 1, 5], 2 / 3),
        ([0, 0, 1], 2 / 3),
        ([0, 1, -1], 2 / 3),
        ([5, 5, -1], 0.0),
        ([-1, -1, -1], 0.0),
    ],
)
def test_a_choice_agrees_as_far_as_its_tokens_score_as_high(chosen: list[int], share: float) -> None:
    found = agreement(torch.tensor([chosen]).int(), torch.tensor([[0, 1, 2]]).int(), torch.tensor(SCORES))
    assert found.tolist() == pytest.approx([share])


def test_rows_with_few_tokens_or_with_scores_that_are_no_numbers() -> None:
    few = torch.tensor([[1, 0, -1], [0, 1, 2]]).int()
    scores = torch.tensor([[3.0, 2.0, 1.0], [math.nan, 2.0, 1.0]])
    assert agreement(torch.tensor([[0, 1, -1], [2, 2, 2]]).int(), few, scores).tolist() == [1.0, 1.0]
