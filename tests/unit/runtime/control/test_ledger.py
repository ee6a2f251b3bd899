"""Counts of requests."""

from indexcache_core.contexts import context_bucket
from indexcache_core.contract import Requests
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
    assert ledger.requests() == Requests(
        admitted_baseline=1, admitted_reuse=1, touched_by_reuse=2, running_reuse=2, contexts=tuple(contexts)
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
