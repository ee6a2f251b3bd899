"""Which steps are measured and timed."""

from collections import deque

from indexcache_runtime.pace import FIRST_AFTER, MEASURED_SHARE, PREFILL_TOKENS, TIMED_EVERY, Pace


def run(pace: Pace, steps: int, usual: float, measured: float, *, tokens: int = 64, ahead: int = 2) -> list[int]:
    """Steps that a graph would replay, all with something to measure; which of them were measured. So many are scheduled ahead."""
    out = []
    flying: deque[bool] = deque()
    for i in range(steps):
        if chosen := pace.measure(tokens):
            pace.measuring(tokens)
            out.append(i)
        flying.append(chosen)
        if len(flying) == ahead:
            pace.took(tokens, measured if flying[0] else usual, measured=flying.popleft())
    return out


def test_without_graphs_every_step_is_measured() -> None:
    assert run(Pace(), 100, 0.01, 0.01) == list(range(100))


def test_replayed_steps_are_measured_for_a_fixed_share_of_their_time() -> None:
    usual, price = 0.008, 0.04
    chosen = run(Pace(graphed_tokens=512), 20_000, usual, usual + price)
    assert chosen[0] == FIRST_AFTER + 1  # one step is under way
    spent = len(chosen) * price / (20_000 * usual)
    assert 0.9 * MEASURED_SHARE < spent < 1.1 * MEASURED_SHARE


def test_the_dearer_a_measured_step_the_rarer_it_is() -> None:
    cheap, dear = (run(Pace(graphed_tokens=512), 20_000, 0.008, 0.008 + price) for price in (0.004, 0.04))
    assert len(cheap) > 8 * len(dear) > 8


def test_one_that_costs_nothing_is_measured_always() -> None:
    chosen = run(Pace(graphed_tokens=512), 200, 0.008, 0.008, ahead=1)
    assert chosen == list(range(FIRST_AFTER, 200))


def test_the_next_is_not_measured_before_the_price_of_the_last_is_known() -> None:
    pace = Pace(graphed_tokens=512)
    for _ in range(FIRST_AFTER):
        pace.took(64, 0.008, measured=False)
    assert pace.measure(64)
    assert pace.measure(64)  # it had no rows after all
    pace.measuring(64)
    assert not any(pace.measure(64) for _ in range(1000))
    pace.took(64, 0.016, measured=True)
    waited = next(i for i in range(10_000) if pace.measure(64))
    assert waited + 1 == round(0.008 / MEASURED_SHARE / 0.008)


def test_long_steps_are_measured_all_and_prefills_timed_now_and_then() -> None:
    pace = Pace(graphed_tokens=512, timed=True)
    assert all(pace.measure(513) for _ in range(10))
    assert [i for i in range(2 * TIMED_EVERY) if pace.time(PREFILL_TOKENS)] == [0, TIMED_EVERY]
    assert not any(pace.time(tokens) for tokens in (1, 512, PREFILL_TOKENS - 1) for _ in range(100))
    assert not any(Pace(graphed_tokens=8192, timed=True).time(8192) for _ in range(100))
    assert not any(Pace().time(16384) for _ in range(100))
