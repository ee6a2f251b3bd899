"""Which rows are measured, and what is kept of them."""

import math
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import Mode, context_bucket
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.sampling import Measurements, Scheduled, choose

K = 64


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 200)), max_size=20),
    st.integers(0, 64),
    st.integers(0, 2**32),
)
def test_rows_are_few_distinct_of_the_step_and_past_k(spans: list[tuple[int, int]], limit: int, seed: int) -> None:
    step = {str(i): Scheduled(str(i), start, start + n) for i, (start, n) in enumerate(spans)}
    rows = choose(step.values(), K, limit, random.Random(seed))
    assert len(set(rows)) == len(rows) <= limit
    assert all(step[r.request].start <= r.position < step[r.request].end and r.position + 1 > K for r in rows)
    eligible = {s.request: s.end - max(s.start, K) for s in step.values() if s.end > max(s.start, K)}
    assert len(rows) == min(limit, sum(eligible.values()))
    taken = Counter(r.request for r in rows)
    if limit >= len(eligible):
        assert set(taken) == set(eligible)
    if taken and max(taken.values()) > 1:
        assert set(taken) == set(eligible)


def test_prefill_and_decode_share_a_small_budget() -> None:
    step = [Scheduled(f"d{i}", 500, 501) for i in range(100)] + [Scheduled("p", 0, 500)]
    for seed in range(20):
        rows = choose(step, K, 8, random.Random(seed))
        assert "p" in {r.request for r in rows}
        assert sum(r.request.startswith("d") for r in rows) == 7


def test_the_same_seed_chooses_the_same_rows_and_others_do_not() -> None:
    step = [Scheduled("p", 0, 2000)]
    assert choose(step, K, 8, random.Random(1)) == choose(step, K, 8, random.Random(1)) != choose(step, K, 8, random.Random(2))


def test_all_positions_of_a_prefill_are_equally_likely() -> None:
    rng, seen = random.Random(0), Counter[int]()
    for _ in range(4000):
        seen.update(r.position for r in choose([Scheduled("p", 0, 104)], K, 8, rng))
    assert set(seen) == set(range(K, 104))
    assert all(abs(n - 800) < 5 * math.sqrt(800) for n in seen.values())


def plan(rows: list[tuple[str, int]], series: int = 1, mode: Mode = Mode.ON) -> StepPlan:
    return StepPlan(mode, "FS", series, tuple(Row(*r) for r in rows))


def test_one_observation_is_one_request_in_one_step_and_bucket() -> None:
    m = Measurements(K)
    m.begin(1)
    m.add(
        plan([("a", 100), ("a", 120), ("a", 200), ("b", 100)]),
        Measured(overlap={1: [0.0, 0.5, 1.0, 0.75]}, recall={1: [0.2, 0.4, 1.0, 0.1]}),
    )
    short, long = m.freeze()
    assert (short.site, short.context, short.mode) == (1, context_bucket(101, K), Mode.ON)
    assert (short.overlap.count, short.overlap.sum) == (2, 0.25 + 0.75)
    assert (short.recall.count, round(short.recall.sum, 9)) == (2, 0.4)
    assert (long.context, long.overlap.count, long.overlap.sum) == (context_bucket(201, K), 1, 1.0)


def test_modes_are_kept_apart_and_another_series_starts_from_zero() -> None:
    m = Measurements(K)
    m.begin(1)
    one = Measured(overlap={1: [1.0]}, recall={1: [1.0]})
    m.add(plan([("a", 100)], mode=Mode.SHADOW), one)
    m.add(plan([("a", 100)]), one)
    m.begin(1)
    assert [s.mode for s in m.freeze()] == [Mode.ON, Mode.SHADOW]
    m.begin(2)
    m.add(plan([("a", 100)], series=1), one)  # a step of the old series that came back late
    assert m.freeze() == ()


def test_values_outside_are_clipped_and_no_number_counts_against_reuse() -> None:
    m = Measurements(K)
    m.begin(1)
    m.add(plan([("a", 100), ("b", 100)]), Measured(overlap={1: [1.0000001, 0.5]}, recall={1: [math.nan, 1.0]}))
    (s,) = m.freeze()
    assert (s.overlap.count, s.overlap.sum, s.recall.count, s.recall.sum) == (2, 1.5, 2, 1.0)
