"""Tests what the operator's metrics say of one rollout's looks."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_operator import metrics
from indexcache_operator.accounts import Account
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.model import Plan

from tests.unit.operator.plan.build import intent, observation, status

WHO = ("accounts", "chat")


@pytest.fixture
def account() -> Iterator[Account]:
    found = Account(*WHO)
    yield found
    found.forget()


def looked(account: Account, before: Status, now: Status) -> None:
    sighting: Any = SimpleNamespace(observation=observation(), rollout=SimpleNamespace(status=before))
    account.looked(sighting, Plan(status=now, memory=None), 0.1)


def value(gauge: Any, *labels: str) -> float:
    found: float = gauge.labels(*labels)._value.get()
    return found


def held(gauge: metrics.Held) -> float:
    """Return the value of this rollout."""
    (found,) = (
        sample.value
        for metric in gauge.collect()
        for sample in metric.samples
        if tuple(sample.labels.values()) == WHO
    )
    return found


def shown() -> set[str]:
    """Return the metrics that say something of this rollout."""
    return {
        sample.name
        for gauge in (metrics.PHASES, metrics.WEIGHT, metrics.LAST_LOOK)
        for metric in gauge.collect()
        for sample in metric.samples
        if (sample.labels["namespace"], sample.labels["rollout"]) == WHO
    }


def test_a_look_says_the_phase_and_that_it_was(account: Account) -> None:
    looked(account, status(), status(Phase.PROMOTED))
    phases = {
        sample.labels["phase"]: sample.value
        for metric in metrics.PHASES.collect()
        for sample in metric.samples
        if (sample.labels["namespace"], sample.labels["rollout"]) == WHO
    }
    assert phases == {phase.value: float(phase is Phase.PROMOTED) for phase in Phase}
    assert held(metrics.LAST_LOOK) > 0.0


def test_one_that_saw_nothing_new_says_that_it_was_and_no_more(account: Account) -> None:
    before = value(metrics.LOOKS, "unchanged")
    account.unchanged()
    assert value(metrics.LOOKS, "unchanged") == before + 1
    assert held(metrics.LAST_LOOK) > 0.0
    assert shown() == {"indexcache_operator_last_successful_look_timestamp_seconds"}


def test_a_fallback_is_counted_once(account: Account) -> None:
    begun = status(Phase.FALLING_BACK, fallback=intent("Killed"))
    before = value(metrics.FALLBACKS, *WHO, "Killed")
    looked(account, status(), begun)
    looked(account, begun, begun)
    assert value(metrics.FALLBACKS, *WHO, "Killed") == before + 1


def test_what_is_gone_is_said_nothing_of(account: Account) -> None:
    looked(account, status(), status())
    assert len(shown()) == 3
    account.forget()
    assert shown() == set()
