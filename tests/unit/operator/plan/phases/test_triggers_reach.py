"""Tests when evidence against longer contexts leaves too little to be worth a try."""

from typing import Any

import pytest
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api.status import CapStatus, Phase
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.phases import triggers

from tests.unit.operator.plan.build import LEAST, answer, granted, pod, reaches, situation, spec, status

WORK = (0.0, 0.0, 40.0, 60.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Of contexts up to 64 and 128 tokens."""
CAP = CapStatus(tokens=64, cause="RecallBelowThreshold", message="recall is low")


def ended(
    phase: Phase = Phase.CANARY,
    *,
    cap: CapStatus | None = CAP,
    share: float = 0.5,
    work: tuple[float, ...] = WORK,
    seen: int = 20,
    guardrails: tuple[Any, ...] | None = None,
) -> tuple[str, str] | None:
    """Return the cause and the message that a try ends with whose reach has a cap; None where it goes on."""
    found = Evidence(
        answers=(answer("recall", Verdict.HOLDING),) if guardrails is None else guardrails,
        reaches=reaches(64, 64, work=work, min_share=share),
    )
    c = situation(
        pod(),
        status=status(phase, reach=granted(64, cap=cap)),
        evidence=found,
        memory=Memory(key="try", requests_seen=seen),
        spec=spec(),
    )
    after = triggers.apply(c)
    if after is None:
        return None
    assert after.fallback is not None
    return after.fallback.cause, after.fallback.message


def test_a_cap_under_which_too_little_is_left_ends_the_try_and_says_what_could_be_done() -> None:
    assert ended() == (
        "RecallBelowThreshold",
        "recall is low. Contexts up to 64 tokens are 40% of the indexers' work, spec.strategy.reach.minShare "
        "asks for 50%; try a pattern with more F, or lower spec.strategy.reach.minShare to what is left",
    )


@pytest.mark.parametrize(
    ("changes", "is_over"),
    [
        ({"phase": Phase.SHADOWING}, True),
        ({"phase": Phase.PROMOTING}, False),
        ({"phase": Phase.PROMOTED}, False),
        ({"cap": None}, False),
        ({"share": 0.41}, True),
        ({"share": 0.4}, False),
        ({"work": ()}, False),
        ({"guardrails": ()}, False),
        ({"phase": Phase.SHADOWING, "seen": 19}, False),
        ({"seen": 19}, True),
        ({"phase": Phase.SHADOWING, "share": 0.4}, False),
    ],
)
def test_it_ends_only_what_is_unfinished_and_measured(changes: dict[str, Any], is_over: bool) -> None:
    assert (ended(**changes) is not None) is is_over


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_where_no_judged_context_is_left_a_lower_share_helps_nobody(share: float) -> None:
    """A cap at the last length that isn't judged leaves nothing to certify, whatever it holds."""
    least = CapStatus(tokens=LEAST, cause="RecallBelowThreshold", message="recall is low")
    found = ended(cap=least, share=share, work=(40.0, 0.0, 0.0, 60.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert found is not None
    assert found[1].endswith("try a pattern with more F")
