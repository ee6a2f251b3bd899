"""Tests which observations of its own a step waits for, and where the cause lies."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode, Requests, Series, Steps, Work
from indexcache_core.evidence.freshness import OWN
from indexcache_core.histogram import of
from indexcache_operator.api.status import Origin, StepStatus, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.facts.snapshot import Snapshot
from indexcache_operator.plan.waits import own
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT

from tests.unit.operator.plan.build import (
    WITH_CANARY,
    at,
    evidence,
    measured,
    pace,
    pod,
    situation,
    status,
    told,
)
from tests.unit.operator.plan.waits.stepping import wait

STEP = StepStatus(index=1, weight=50, started_at=at(-60), reached_at=at(-30))


def step(a: int = OWN, b: int = OWN, came: int = 0, found: Evidence | None = None) -> Situation:
    """Return a step with two pods exposed that have so many observations and admitted so many requests."""
    kept = status(canary_pods=("a", "b"), step=STEP)
    seen = measured(told(dict.fromkeys("ab", ON_CANARY_PERMIT), pod("a"), pod("b"), status=kept), 0)
    pods = [_with(p, n, came) for p, n in zip(seen.observation.pods, (a, b), strict=True)]
    c = situation(*pods, status=seen.observation.status, evidence=found or evidence(), route=WITH_CANARY)
    return replace(c, memory=replace(c.memory, pace=pace(came)))


def _with(pod: EnginePod, observations: int, came: int) -> EnginePod:
    assert pod.state is not None
    value = Series(site=None, context=3, work=Work.PREFILL, mode=Mode.ON, recall=of([0.9] * observations))
    changes: dict[str, Any] = {
        "observed": (value,) if observations else (),
        "requests": Requests(admitted_reuse=came, contexts=(0, 0, 0, came, 0, 0, 0, 0, 0)),
        "steps": Steps(reuse=came),
    }
    return replace(pod, state=pod.state.model_copy(update=changes))


def waits(**changes: Any) -> WaitStatus:
    found = own.waiting(step(**changes), STEP)
    assert found is not None
    return found


def test_a_step_with_observations_of_its_own_waits_for_nothing() -> None:
    assert own.waiting(step(), STEP) is None
    assert own.waiting(step(a=1, b=OWN - 1), STEP) is None


def test_each_pod_that_is_exposed_needs_one() -> None:
    found = waits(b=0)
    assert found.message == "no observation of this step's own yet of b"
    assert (found.origin, found.reason, found.observations_needed) == (Origin.TRAFFIC, "OwnObservations", 1)
    assert found.requests_per_minute_needed


@pytest.mark.parametrize(
    ("came", "origin"), [(own.SHOULD - 1, Origin.TRAFFIC), (own.SHOULD, Origin.PLATFORM)]
)
def test_a_pod_to_which_requests_enough_came_is_the_platforms_doing(came: int, origin: Origin) -> None:
    found = waits(b=0, came=came)
    assert found.origin is origin
    if origin is Origin.PLATFORM:
        assert found.reason == "NothingMeasured"
        assert found.message == (
            "no observation of this step's own of b, though 200 requests under reuse came there that are "
            "long enough"
        )
        assert "delete them" in found.way_out


def test_each_length_that_is_needed_needs_ten() -> None:
    found = waits(a=1, b=2)
    assert found.message == f"{OWN - 3} more observations of this step's own at 65-128 tokens"
    assert found.observations_needed == OWN - 3
    further = replace(evidence(), wanted=frozenset({(3, Work.PREFILL), (4, Work.PREFILL)}))
    assert waits(found=further).message == f"{OWN} more observations of this step's own at 129-256 tokens"


def test_what_others_than_the_canary_measured_does_not_count() -> None:
    c = step()
    alone = replace(c, status=replace(c.status, canary_pods=("a",)))
    assert own.waiting(alone, STEP) is None
    lost = Snapshot(replace(c.snapshot.observation, pods=c.snapshot.observation.pods[1:]))
    found = own.waiting(replace(alone, snapshot=lost), STEP)
    assert found is not None
    assert found.message == "no observation of this step's own yet of a"


def test_where_nothing_acts_on_what_is_measured_nothing_is_asked_for() -> None:
    assert own.waiting(step(a=0, b=0, found=Evidence(unguarded=True)), STEP) is None


def test_a_step_says_so_once_all_certificates_are_there() -> None:
    assert wait() is None
    found = wait(own=0)
    assert found is not None
    assert found.reason == "OwnObservations"
