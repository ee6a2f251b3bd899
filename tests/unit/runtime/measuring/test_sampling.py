"""Tests which rows are measured."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import Work
from indexcache_runtime.engine import Row
from indexcache_runtime.measuring.sampling import Scheduled, choose

K = 64


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 200)), max_size=20),
    st.integers(0, 64),
    st.integers(0, 2**32),
)
def test_rows_are_few_distinct_of_the_step_and_past_k(
    spans: list[tuple[int, int]], limit: int, seed: int
) -> None:
    step = {str(i): Scheduled(str(i), start, start + n, 150) for i, (start, n) in enumerate(spans)}
    rows = choose(step.values(), K, limit, random.Random(seed))
    assert len(set(rows)) == len(rows) <= limit
    assert all(step[r.request].start <= r.position < step[r.request].end and r.position + 1 > K for r in rows)
    assert all((r.work is Work.PREFILL) is (r.position < 150) for r in rows)
    eligible = {s.request: s.end - max(s.start, K) for s in step.values() if s.end > max(s.start, K)}
    assert len(rows) == min(limit, sum(eligible.values()))
    taken = Counter(r.request for r in rows)
    if limit >= len(eligible):
        assert set(taken) == set(eligible)
    if taken and max(taken.values()) > 1:
        assert set(taken) == set(eligible)


def test_prefill_and_decode_share_a_small_budget() -> None:
    step = [Scheduled(f"d{i}", 500, 501, 400) for i in range(100)] + [Scheduled("p", 0, 500, 500)]
    for seed in range(20):
        rows = choose(step, K, 8, random.Random(seed))
        assert "p" in {r.request for r in rows}
        assert sum(r.request.startswith("d") for r in rows) == 7


def test_the_same_seed_chooses_the_same_rows_and_others_do_not() -> None:
    step = [Scheduled("p", 0, 2000, 2000)]
    assert (
        choose(step, K, 8, random.Random(1))
        == choose(step, K, 8, random.Random(1))
        != choose(step, K, 8, random.Random(2))
    )


def test_all_positions_of_a_prefill_are_equally_likely() -> None:
    rng, seen = random.Random(0), Counter[int]()
    for _ in range(4000):
        seen.update(r.position for r in choose([Scheduled("p", 0, 104, 104)], K, 8, rng))
    assert set(seen) == set(range(K, 104))
    assert all(abs(n - 800) < 5 * math.sqrt(800) for n in seen.values())


def test_a_row_is_of_the_prompt_up_to_its_last_token_whatever_else_is_computed_with_it() -> None:
    """After a preemption what was generated is computed again in one step with the prompt; and the last token
    of a prompt may be a step by itself."""
    again = choose([Scheduled("p", 0, 110, 100)], K, 99, random.Random(0))
    assert {r.position: r.work for r in again} == {
        p: Work.PREFILL if p < 100 else Work.DECODE for p in range(K, 110)
    }
    (last,) = choose([Scheduled("p", 99, 100, 100)], K, 9, random.Random(0))
    (first,) = choose([Scheduled("p", 100, 101, 100)], K, 9, random.Random(0))
    assert (last.work, first.work) == (Work.PREFILL, Work.DECODE)


@pytest.mark.parametrize(
    ("limit", "requests"), [(-1, ""), (0, ""), (1, "p"), (2, "pd"), (3, "ppd"), (4, "pppd"), (9, "pppd")]
)
def test_a_prefill_comes_first_and_what_is_left_goes_to_it(limit: int, requests: str) -> None:
    step = [Scheduled("d", 500, 501, 400), Scheduled("p", 100, 103, 103)]
    for seed in range(20):
        rows = choose(step, K, limit, random.Random(seed))
        assert "".join(row.request for row in rows) == requests


def test_a_row_says_where_it_is_among_the_tokens_of_its_request_in_the_step() -> None:
    rows = choose([Scheduled("p", 100, 104, 200)], K, 9, random.Random(0))
    assert rows == tuple(Row("p", 100 + offset, offset, Work.PREFILL) for offset in range(4))
