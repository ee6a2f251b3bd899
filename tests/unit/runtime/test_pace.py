"""Which steps are measured and timed."""

from indexcache_runtime.pace import FIRST_AFTER, MEASURED_SHARE, PREFILL_TOKENS, TIMED_EVERY, Pace


def run(pace: Pace, steps: int, usual: float, measured: float, tokens: int = 64) -> list[int]:
    """Steps that a graph would replay, all with something to measure; which of them were measured."""
    out = []
    for i in range(steps):
        chosen = pace.measure(tokens)
        pace.took(tokens, measured if chosen else usual, measured=chosen)
        if chosen:
            out.append(i)
    return out


def test_without_graphs_every_step_is_measured() -> None:
    assert run(Pace(), 100, 0.01, 0.01) == list(range(100))


def test_replayed_steps_are_measured_for_a_fixed_share_of_their_time() -> None:
    usual, price = 0.008, 0.04
    chosen = run(Pace(graphed_tokens=512), 20_000, usual, usual + price)
    assert chosen[0] == FIRST_AFTER
    spent = len(chosen) * price / (20_000 * usual)
    assert 0.9 * MEASURED_SHARE < spent < 1.1 * MEASURED_SHARE


def test_the_dearer_a_measured_step_the_rarer_it_is() -> None:
    cheap, dear = (run(Pace(graphed_tokens=512), 20_000, 0.008, 0.008 + price) for price in (0.004, 0.04))
    assert len(cheap) > 8 * len(dear) > 8


def test_one_that_costs_nothing_is_measured_always() -> None:
    chosen = run(Pace(graphed_tokens=512), 200, 0.008, 0.008)
    assert chosen == list(range(FIRST_AFTER, 200))


def test_long_steps_are_measured_all_and_prefills_timed_now_and_then() -> None:
    pace = Pace(graphed_tokens=512, timed=True)
    assert all(pace.measure(513) for _ in range(10))
    assert [i for i in range(2 * TIMED_EVERY) if pace.time(PREFILL_TOKENS)] == [0, TIMED_EVERY]
    assert not any(pace.time(tokens) for tokens in (1, 512, PREFILL_TOKENS - 1) for _ in range(100))
    assert not any(Pace(graphed_tokens=8192, timed=True).time(8192) for _ in range(100))
    assert not any(Pace().time(16384) for _ in range(100))
