"""Counts of requests."""

import pytest
from indexcache_core.contexts import context_bucket
from indexcache_core.contract import HALF_LIFE, Cache, Requests, Steps
from indexcache_runtime.control.ledger import Ledger


def test_a_request_is_counted_once_by_the_mode_that_admitted_it() -> None:
    ledger = Ledger(k=64)
    ledger.admit("a", prompt_tokens=100, reuse=False, probe=False)
    ledger.admit("b", prompt_tokens=300, reuse=True, probe=False)
    ledger.admit("a", prompt_tokens=100, reuse=True, probe=False)  # scheduled again after a preemption
    for request in ("b", "a", "a"):
        ledger.touch(request)
    contexts = [0] * len(Requests().contexts)
    contexts[context_bucket(100, 64)] += 1
    contexts[context_bucket(300, 64)] += 1
    requests = ledger.requests()
    assert requests == Requests(
        admitted_baseline=1,
        admitted_reuse=1,
        touched_by_reuse=2,
        running_reuse=2,
        contexts=tuple(contexts),
        recent=requests.recent,
        recent_decoding=requests.recent_decoding,
    )
    ledger.finish("a")
    ledger.finish("never scheduled")
    r = ledger.requests()
    assert (r.finished, r.running_reuse, r.running_baseline, r.touched_by_reuse) == (1, 1, 0, 2)


def test_probes_are_no_traffic() -> None:
    ledger = Ledger(k=64)
    ledger.admit("p", prompt_tokens=100, reuse=True, probe=True)
    ledger.touch("p")
    assert ledger.is_probe("p")
    ledger.finish("p")
    assert ledger.requests() == Requests(probes=1)
    assert not ledger.is_probe("p")


def test_who_opted_out_is_the_baselines_wherever_it_is() -> None:
    ledger = Ledger(k=64)
    ledger.admit("a", prompt_tokens=100, reuse=True, probe=False, opted_out=True)
    ledger.admit("b", prompt_tokens=100, reuse=True, probe=False)
    assert ledger.any_out(["b", "a", "unknown"])
    assert not ledger.any_out(["b", "unknown"])
    for request in ("a", "b"):
        ledger.touch(request)
    r = ledger.requests()
    assert (r.opted_out, r.admitted_baseline, r.admitted_reuse, r.touched_by_reuse) == (1, 1, 1, 1)
    assert (r.running_baseline, r.running_reuse) == (1, 1)
    ledger.finish("a")
    assert not ledger.any_out(["a", "b"])
    assert ledger.requests().opted_out == 1


def test_what_opted_out_is_not_touched_and_all_else_is() -> None:
    ledger = Ledger(k=64)
    ledger.admit("a", prompt_tokens=100, reuse=True, probe=False, opted_out=True)
    ledger.admit("b", prompt_tokens=100, reuse=True, probe=False)
    ledger.admit("p", prompt_tokens=100, reuse=True, probe=True)
    assert [ledger.touch(request) for request in ("a", "b", "b", "p")] == [False, True, True, True]


def test_counts_of_requests_add_up() -> None:
    ledger = Ledger(k=64)
    for i in range(3):
        for kind, reuse, probe in (("b", False, False), ("r", True, False), ("p", True, True)):
            ledger.admit(f"{kind}{i}", prompt_tokens=100, reuse=reuse, probe=probe)
    for request in ("b0", "r0", "p0"):
        ledger.finish(request)
    r = ledger.requests()
    assert (r.admitted_baseline, r.admitted_reuse, r.probes, r.finished) == (3, 3, 3, 2)


@pytest.mark.parametrize(
    ("requests", "any_probe", "all_probes"),
    [
        ([], False, False),
        (["p"], True, True),
        (["p", "q"], True, True),
        (["p", "user"], True, False),
        (["user"], False, False),
        (["unknown"], False, False),
    ],
)
def test_steps_are_told_apart_by_the_probes_in_them(
    requests: list[str], any_probe: bool, all_probes: bool
) -> None:
    ledger = Ledger(k=64)
    for name in ("p", "q", "user"):
        ledger.admit(name, prompt_tokens=100, reuse=True, probe=name != "user")
    assert (ledger.any_probe(requests), ledger.all_probes(requests)) == (any_probe, all_probes)
    for name in ("p", "q"):
        ledger.finish(name)
    assert (ledger.any_probe(requests), ledger.all_probes(requests)) == (False, False)


def test_counts_of_steps_and_of_cached_tokens_are_told_as_they_are_kept() -> None:
    ledger = Ledger(k=64, full=1, reuse=2, reuse_all_full=3, reuse_apart=4)
    assert ledger.steps() == Steps(full=1, reuse=2, reuse_all_full=3, reuse_apart=4)
    ledger = Ledger(k=64, baseline_hits=1, reuse_hits=2, resalted=3, recomputed=4)
    assert ledger.cache() == Cache(baseline_hits=1, reuse_hits=2, resalted_requests=3, recomputed_requests=4)


def admit(ledger: Ledger, prompt_tokens: int, n: int = 1, decodes: bool = True) -> None:
    """Count so many requests of one kind."""
    for _ in range(n):
        name = f"{sum(ledger.contexts)}"
        ledger.admit(name, prompt_tokens=prompt_tokens, reuse=False, probe=False, decodes=decodes)


def test_so_many_requests_halve_the_weight_of_those_before() -> None:
    ledger = Ledger(k=64)
    admit(ledger, 100, n=3)
    before = ledger.requests().recent[1]
    admit(ledger, 300, n=int(HALF_LIFE))
    after = ledger.requests()
    assert after.recent[1] == pytest.approx(before / 2)
    assert after.contexts[1] == 3
    admit(ledger, 300, n=20 * int(HALF_LIFE))
    after = ledger.requests()
    assert after.recent[1] == pytest.approx(0.0, abs=1e-5)
    assert after.recent[3] == pytest.approx(1 / (1 - 0.5 ** (1 / HALF_LIFE)), rel=1e-5)  # and no more
    assert {i for i, weight in enumerate(after.recent) if weight} == {1, 3}


def test_those_that_decode_are_known_apart() -> None:
    ledger = Ledger(k=64)
    admit(ledger, 100)
    admit(ledger, 100, decodes=False)
    admit(ledger, 300, decodes=False)
    r, kept = ledger.requests(), 0.5 ** (1 / HALF_LIFE)
    assert (r.recent[1], r.recent[3]) == pytest.approx((kept**2 + kept, 1.0))
    assert (r.recent_decoding[1], r.recent_decoding[3]) == pytest.approx((kept**2, 0.0))


def test_who_says_nothing_of_it_decodes() -> None:
    ledger = Ledger(k=64)
    ledger.admit("a", prompt_tokens=100, reuse=False, probe=False)
    assert ledger.requests().recent_decoding[1] == 1.0


def test_a_new_series_forgets_which_contexts_were_recent_and_nothing_else() -> None:
    ledger = Ledger(k=64)
    admit(ledger, 100, n=2)
    ledger.finish("0", computed_tokens=9)
    ledger.begin(0)
    assert ledger.requests().recent[1] > 1.0
    assert ledger.requests().recent_work[1] > 0.0
    ledger.begin(1)
    r = ledger.requests()
    assert not any((*r.recent, *r.recent_decoding, *r.recent_work))
    assert (r.contexts[1], r.admitted_baseline) == (2, 2)
    admit(ledger, 100)
    ledger.begin(1)
    assert (ledger.requests().recent[1], ledger.requests().recent_decoding[1]) == (1.0, 1.0)


def test_only_users_and_only_once_are_recent() -> None:
    ledger = Ledger(k=64)
    ledger.admit("p", prompt_tokens=100, reuse=False, probe=True)
    assert not any(ledger.requests().recent)
    for _ in range(2):  # once more after a preemption
        ledger.admit("a", prompt_tokens=100, reuse=False, probe=False)
    assert ledger.requests().recent[1] == 1.0
    unknown = Ledger(k=0)
    admit(unknown, 100)
    assert not any(unknown.requests().recent)


def test_who_is_beyond_the_reach_is_the_baselines() -> None:
    ledger = Ledger(k=64)
    ledger.admit("a", prompt_tokens=300, reuse=True, probe=False, beyond_reach=True)
    ledger.admit("b", prompt_tokens=100, reuse=True, probe=False)
    assert ledger.any_out(["b", "a"])
    assert not ledger.any_out(["b", "unknown"])
    assert ledger.beyond(["b", "a", "unknown"]) == {"a"}
    assert (ledger.touch("a"), ledger.touch("b")) == (False, True)
    ledger.leave("a")  # it is out already
    r = ledger.requests()
    assert (r.beyond_reach, r.left_reach, r.opted_out) == (1, 0, 0)
    assert (r.admitted_baseline, r.admitted_reuse, r.touched_by_reuse) == (1, 1, 1)
    ledger.finish("a")
    assert not ledger.any_out(["a", "b"])
    assert ledger.beyond(["a", "b"]) == set()
    assert ledger.requests().beyond_reach == 1


def test_who_leaves_the_reach_is_counted_once_if_reuse_touched_it() -> None:
    ledger = Ledger(k=64)
    for name in ("touched", "untouched"):
        ledger.admit(name, prompt_tokens=100, reuse=True, probe=False)
    ledger.touch("touched")
    for name in ("touched", "untouched", "touched", "never scheduled"):
        ledger.leave(name)
    r = ledger.requests()
    assert (r.left_reach, r.beyond_reach, r.touched_by_reuse, r.running_reuse) == (1, 0, 1, 1)
    assert ledger.beyond(["touched", "untouched", "never scheduled"]) == {"touched", "untouched"}
    assert not ledger.touch("untouched")


def test_work_is_what_rows_that_were_computed_see_by_the_prompts_length() -> None:
    ledger = Ledger(k=64)
    ledger.admit("a", prompt_tokens=100, reuse=True, probe=False, cached_tokens=2)
    ledger.admit("a", prompt_tokens=100, reuse=True, probe=False, cached_tokens=5)  # after a preemption
    ledger.admit("p", prompt_tokens=100, reuse=True, probe=True)
    ledger.finish("p", computed_tokens=100)
    ledger.finish("never scheduled", computed_tokens=100)
    assert not any(ledger.requests().recent_work)
    ledger.finish("a", computed_tokens=4)
    assert ledger.requests().recent_work[1] == 3 + 4
    ledger.admit("b", prompt_tokens=300, reuse=True, probe=False)
    ledger.finish("b", computed_tokens=3)
    work = ledger.requests().recent_work
    assert (work[1], work[3]) == pytest.approx((7 * 0.5 ** (1 / HALF_LIFE), 6))
    assert sum(work) == work[1] + work[3]


def test_what_ended_while_it_had_no_kv_adds_no_work() -> None:
    ledger = Ledger(k=64)
    ledger.admit("a", prompt_tokens=100, reuse=True, probe=False, cached_tokens=64)
    ledger.finish("a", computed_tokens=0)
    assert not any(ledger.requests().recent_work)
    unknown = Ledger(k=0)
    unknown.admit("a", prompt_tokens=100, reuse=False, probe=False)
    unknown.finish("a", computed_tokens=100)
    assert not any(unknown.requests().recent_work)
