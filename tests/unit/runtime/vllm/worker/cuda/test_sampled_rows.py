"""Tests which sites a step measures."""

import math
import pickle
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import Mode
from indexcache_core.pattern import shared_sites
from indexcache_runtime.engine import StepPlan
from indexcache_runtime.vllm.worker.cuda.sampled_rows import DRAWN, drawn

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
