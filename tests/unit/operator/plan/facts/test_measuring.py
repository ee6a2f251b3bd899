"""Tests which requests an engine should have measured, and when it is told to have stopped."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Flags, Identity, Mode, Requests, Series, State, Steps, Work
from indexcache_core.evidence.freshness import requests_until
from indexcache_core.histogram import of
from indexcache_operator.api.status import Phase, Status, StepStatus
from indexcache_operator.plan.facts import measuring

from tests.unit.operator.plan.build import NOW, REVISION, engine, pod, snapshot, spec, status
from tests.unit.operator.plan.world_parts import K

LONG, LONGEST = 3, 5
"""Buckets of contexts."""
N = requests_until(1)


def state(
    came: int = 0,
    observed: int = 0,
    *,
    mode: Mode = Mode.ON,
    judged: int | None = None,
    steps: int | None = None,
    **changes: Any,
) -> State:
    """Return an engine under reuse that admitted and measured so many, all of one length."""
    contexts = [0] * 9
    contexts[LONG] = came if judged is None else judged
    series = Series(site=None, context=LONG, work=Work.PREFILL, mode=Mode.ON, recall=of([0.9] * observed))
    values: dict[str, Any] = {
        "epoch": 4,
        "identity": Identity(revision=REVISION),
        "requests": Requests(admitted_reuse=came, contexts=tuple(contexts)),
        "steps": Steps(reuse=came if steps is None else steps),
        "observed": (series,) if observed else (),
    }
    return engine(mode, **{**values, **changes})


def noted(*states: State, kept: Status | None = None, **changes: Any) -> Status:
    """Return the status after looks at these states of one pod, one after the other."""
    kept = kept or status(Phase.PROMOTED)
    for each in states:
        kept = measuring.note(snapshot(pod("a", each), **changes), kept)
    return kept


def stopped(kept: Status, now: State, **changes: Any) -> tuple[str, int] | None:
    return measuring.stopped(snapshot(pod("a", now), **changes), kept)


def test_a_window_of_requests_without_an_observation_tells_and_one_request_less_does_not() -> None:
    kept = noted(state(10, 5))
    assert stopped(kept, state(10 + N - 1, 5)) is None
    assert stopped(kept, state(10 + N, 5)) == ("a", N)
    assert stopped(kept, state(10 + N, 6)) is None


def test_a_window_with_an_observation_ends_and_the_next_is_longer() -> None:
    kept = noted(state(0, 5), state(N, 6))
    (mark,) = (p.measured for p in kept.pods)
    assert mark is not None
    assert (mark.window, mark.requests, mark.observations, sum(mark.before)) == (2, N, 6, 0)
    assert stopped(kept, state(2 * N, 6)) is None
    assert stopped(kept, state(N + requests_until(2), 6)) == ("a", requests_until(2))


def test_nothing_is_written_within_a_window() -> None:
    kept = noted(state(0, 5))
    assert noted(state(N - 1, 50), kept=kept) == kept


@pytest.mark.parametrize(
    "now",
    [
        state(2 * N, 5, judged=9),
        state(9, 5, judged=2 * N),
        state(2 * N, 5, steps=9),
        state(2 * N, 5, requests=Requests(admitted_reuse=2 * N, opted_out=2 * N)),
        state(2 * N, 5, contract=1),
        state(2 * N, 5, sites=()),
        state(2 * N, 5, mode=Mode.SHADOW),
        state(2 * N, 5, mode=Mode.TRIPPED),
        state(2 * N, 5, identity=Identity(revision="other")),
    ],
    ids=["short", "baseline", "all Full", "opted out", "old", "unknown", "shadow", "tripped", "another's"],
)
def test_requests_that_need_not_be_measured_tell_nothing(now: State) -> None:
    assert stopped(noted(state(0, 5)), now) is None


def test_lengths_that_reuse_does_not_reach_and_those_always_all_full_do_not_count() -> None:
    contexts = [0] * 9
    contexts[LONGEST] = 2 * N
    requests = Requests(admitted_reuse=2 * N, contexts=tuple(contexts))
    near, far = Flags(reach_tokens=8 * K), Flags(reach_tokens=64 * K)
    for told, found in ((near, None), (far, ("a", 2 * N)), (Flags(), ("a", 2 * N))):
        kept = noted(state(0, 5, desired=told))
        assert stopped(kept, state(2 * N, 5, requests=requests, desired=told)) == found
    floor = spec(indexCache={"pattern": "FSFS", "minContextTokens": 17 * K})
    kept = noted(state(0, 5), spec=floor)
    assert stopped(kept, state(2 * N, 5, requests=requests), spec=floor) is None


@pytest.mark.parametrize("changes", [{"epoch": 5}, {"incarnation": "another"}])
def test_another_life_and_other_flags_begin_anew(changes: dict[str, Any]) -> None:
    kept = noted(state(0, 5))
    now = state(2 * N, 5, **changes)
    assert stopped(kept, now) is None
    again = noted(now, kept=kept)
    assert measuring.own(snapshot(pod("a", now)), again) == {"a": (0,) * 9}


def test_each_step_counts_its_own() -> None:
    first = StepStatus(index=0, weight=20, started_at=NOW)
    kept = noted(state(0, 0), kept=status(Phase.CANARY, step=first))
    now = snapshot(pod("a", state(30, 12)))
    assert measuring.own(now, kept)["a"][LONG] == 12
    second = replace(kept, step=replace(first, index=1))
    assert measuring.own(now, second) == {}
    second = measuring.note(now, second)
    assert sum(measuring.own(now, second)["a"]) == 0
    assert measuring.own(snapshot(pod("a", state(60, 15))), second)["a"][LONG] == 3


def test_a_mark_of_fewer_buckets_grants_nothing() -> None:
    step = StepStatus(index=0, weight=20, started_at=NOW)
    kept = noted(state(0, 0), kept=status(Phase.CANARY, step=step))
    (mine,) = kept.pods
    assert mine.measured is not None
    kept = replace(kept, pods=(replace(mine, measured=replace(mine.measured, before=())),))
    assert sum(measuring.own(snapshot(pod("a", state(9, 9))), kept)["a"]) == 0


def test_who_was_not_seen_to_measure_since_counting_began() -> None:
    kept = noted(state(0, 5))
    assert measuring.unseen(snapshot(pod("a", state(9, 5))), kept) == ["a"]
    assert measuring.unseen(snapshot(pod("a", state(9, 6))), kept) == []
    assert measuring.unseen(snapshot(pod("a", None)), kept) == ["a"]
    assert measuring.unseen(snapshot(pod("a", None, ready=False)), kept) == []


def test_requests_of_a_window_are_told_by_pod() -> None:
    kept = noted(state(10, 5))
    seen = snapshot(pod("a", state(40, 5)))
    assert list(measuring.unmeasured(seen, kept)) == [("a", 30)]
    assert list(measuring.unmeasured(snapshot(pod("a", state(40, 6))), kept)) == []
