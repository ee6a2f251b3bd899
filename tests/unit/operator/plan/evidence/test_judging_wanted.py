"""Tests whose certificates are needed where steps run all Full by themselves, and what is said without."""

from typing import Any

import pytest
from indexcache_core.contract import Mode, Work
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import Phase
from indexcache_operator.plan.evidence import judging
from indexcache_operator.plan.facts.memory import Memory, TotalKey
from indexcache_operator.plan.facts.situation import Evidence

from tests.unit.operator.plan.build import case, granted, pod, snapshot, spec, status
from tests.unit.operator.plan.evidence.engines import served, total

GOOD = of([0.95] * 300)
FLOOR = {"indexCache": {"pattern": "FSFS", "minContextTokens": 64}}
"""Steps of the first judged bucket, the second after zero, run all Full by themselves."""
ON, SHADOW = Mode.ON, Mode.SHADOW


def found(totals: dict[TotalKey, Histogram], phase: Phase, **asked: Any) -> Evidence:
    """Return what the guardrails say where engines that no user called measured this."""
    seen = snapshot(pod("a", served({})), spec=spec(**asked), status=status(phase, reach=granted(0)))
    return judging.judge(case(seen, memory=Memory(key="try", totals=totals)))


@pytest.mark.parametrize(
    ("phase", "measured", "is_wanted"),
    [
        (Phase.CANARY, None, False),
        (Phase.CANARY, total(context=2, mode=ON), True),
        (Phase.CANARY, total(context=2, mode=SHADOW), False),
        (Phase.CANARY, total(context=3, mode=ON), False),
        (Phase.CANARY, total(context=2, mode=ON, measure="overlap"), False),  # without a threshold
        (Phase.SHADOWING, total(context=2, mode=SHADOW), True),
        (Phase.SHADOWING, total(context=2, mode=ON), False),
    ],
)
def test_what_runs_full_by_itself_wants_a_certificate_once_a_guardrail_that_acts_counted_there(
    phase: Phase, measured: TotalKey | None, is_wanted: bool
) -> None:
    totals = {measured: GOOD} if measured is not None else {}

    wanted = found(totals, phase, **FLOOR).wanted

    assert wanted == ({(2, Work.PREFILL)} if is_wanted else frozenset())


@pytest.mark.parametrize(("observe_only", "expected"), [(False, Verdict.NO_DATA), (True, Verdict.OBSERVING)])
def test_without_a_certificate_to_ask_for_what_acts_has_no_data(
    observe_only: bool, expected: Verdict
) -> None:
    recall = {"recall": {"min": 0.5, "observeOnly": observe_only}}

    answers = found({}, Phase.CANARY, **FLOOR, guardrails=recall).answers

    assert {a.guardrail.name: (a.verdict, a.judgements) for a in answers} == {
        "overlap": (Verdict.OBSERVING, {}),
        "recall": (expected, {}),
        "recall_per_indexer": (Verdict.OBSERVING, {}),
    }


def test_it_is_told_how_far_certificates_reach() -> None:
    totals = {total(context=b, mode=SHADOW): GOOD for b in (2, 3)} | {total(context=2, mode=ON): GOOD}

    reaches = found(totals, Phase.CANARY).reaches

    assert (reaches.shadow, reaches.reuse) == (128, 64)
