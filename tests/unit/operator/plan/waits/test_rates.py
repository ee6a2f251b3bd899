"""The pace of a situation, and waits from it."""

from datetime import timedelta

import pytest
from indexcache_core.contract import Requests
from indexcache_operator.api.status import Phase, StepStatus
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.waits import rates

from tests.unit.operator.plan.build import at, engine, evidence, pace, pod, situation, status


def test_requests_and_observations_are_counted_from_the_first_look() -> None:
    first = situation(pod(), evidence=evidence())
    memory = rates.observe(first)
    busy = engine(requests=Requests(admitted_baseline=6, admitted_reuse=4))
    later = situation(pod("a", busy), now=at(60), memory=memory, evidence=evidence())
    found = rates.observe(later).pace
    assert found is not None
    assert (found.requests_per_minute(), found.now.observations) == (10.0, {"recall/None/3/prefill": 200})


def test_a_rate_is_told_in_two_digits_or_not_at_all() -> None:
    c = situation(memory=Memory(key="try", pace=pace(123)))
    assert (rates.known(c), rates.requests_per_minute(c), rates.requests_here(c)) == (True, 12.0, 123)
    unknown = situation(memory=Memory(key="try"))
    found = rates.known(unknown), rates.requests_per_minute(unknown), rates.requests_here(unknown)
    assert found == (False, None, 0)


@pytest.mark.parametrize(
    ("wanted", "rate", "minutes"),
    [
        (10, 2.0, 5.0),
        (10, 0.5, 20.0),
        (10, 0.0, None),
        (10, None, None),
        (1_440_000, 1.0, 1_440_000.0),  # a thousand days
        (1_440_001, 1.0, None),
    ],
)
def test_how_long_it_takes(wanted: float, rate: float | None, minutes: float | None) -> None:
    assert rates.minutes(wanted, rate) == minutes


@pytest.mark.parametrize(
    ("per_minute", "requests", "needed"),
    [(0.5, 10.0, 20.0), (None, None, 5.0), (0.0, 10.0, 5.0)],
)
def test_how_many_requests_it_takes(per_minute: float | None, requests: float | None, needed: float) -> None:
    hour = timedelta(hours=1)
    assert rates.rate_for(60, hour, per_minute=per_minute, requests=requests, weight=20) == needed


def test_without_a_rate_a_request_on_the_canary_is_an_observation() -> None:
    hour = timedelta(hours=1)
    assert rates.rate_for(60, hour, per_minute=None, requests=None, weight=33) == 3.0


def test_each_phase_and_each_step_is_counted_by_itself() -> None:
    step = StepStatus(index=1, weight=50, started_at=at(-9))
    for kept, place in (
        (status(Phase.SHADOWING), "Shadowing/"),
        (status(Phase.CANARY, step=step), "Canary/1"),
    ):
        found = rates.observe(situation(pod(), status=kept)).pace
        assert found is not None
        assert found.place == place
