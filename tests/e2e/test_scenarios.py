"""The demo's scenarios, judged."""

from indexcache_testbed.scenario import scenarios
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import reusing

PERMIT = 5.0
"""fallback.permit.canary of examples/demo-*.yaml, in seconds."""


async def test_a_a_good_pattern_is_promoted(stage: Stage) -> None:
    outcome = await scenarios.good(stage)
    assert outcome.ended == "Promoted: Certified"
    assert [phase for phase, _ in outcome.phases if phase != "Pending"][-4:] == [
        "Shadowing",
        "Canary",
        "Promoting",
        "Promoted",
    ]
    assert outcome.failed == 0, outcome.failures
    assert outcome.canary is not None
    assert outcome.canary.asked >= 30
    assert (outcome.canary.share_right or 0.0) >= 0.97
    assert outcome.stable is not None
    assert (outcome.stable.share_right or 0.0) >= 0.99


async def test_b_a_harmful_pattern_exposes_nobody(stage: Stage) -> None:
    outcome = await scenarios.harmful(stage)
    # Whichever is first: probes may find it in shadow too.
    assert outcome.ended in ("FellBack: RecallBelowThreshold", "FellBack: QualityBelowThreshold")
    assert outcome.admitted_under_reuse == 0
    assert outcome.failed == 0, outcome.failures
    phases = [seen.phase for seen in stage.seen()]
    assert "Canary" not in phases
    shadowing = next(
        seen.at
        for seen in stage.seen()
        if seen.phase == "Shadowing" and seen.status["observedGeneration"] == _generation(stage)
    )
    assert not [look for look in stage.looks() if look.at >= shadowing and reusing(look)]
    assert outcome.measured is not None
    assert outcome.measured.samples > 0


def _generation(stage: Stage) -> int:
    found: int = stage.witness.now.object["metadata"]["generation"]
    return found


async def test_c_drift_is_stopped_within_a_permit(stage: Stage) -> None:
    outcome = await scenarios.drift(stage)
    # Whoever looks first: the operator, who sees all engines, or the breaker of one, which looks more often.
    assert outcome.ended in (
        "FellBack: RecallBelowThreshold",
        "FellBack: QualityBelowThreshold",
        "FellBack: EngineBreaker",
    )
    assert not outcome.notes, "the evidence recomputed from the engines' counters must have breached too"
    assert outcome.breach_to_off is not None
    # No later than the engines would have returned by themselves; two busy cores take a second or three.
    assert outcome.breach_to_off <= PERMIT
    assert outcome.breach_to_zero is not None
    assert outcome.breach_to_zero <= 5.0
    assert outcome.admitted_under_reuse
    # Long tables were never certified, so reuse doesn't reach them: who asked the canary is answered as ever.
    assert outcome.canary is not None
    assert (outcome.canary.share_right or 0.0) >= 0.97
    assert outcome.admitted_after == 0
    assert outcome.failed == 0, outcome.failures


async def test_d_without_the_operator_engines_return_when_their_permit_lapses(stage: Stage) -> None:
    outcome = await scenarios.operator_lost(stage)
    canary = stage.witness.now.status["canaryPods"]
    assert outcome.ended == f"{', '.join(sorted(canary))}: PermitLapsed"
    assert outcome.breach_to_off is not None
    assert outcome.breach_to_off <= PERMIT + 1.0
    assert outcome.admitted_after == 0
    assert outcome.failed == 0, outcome.failures
    # The operator that came back went on where the other had been: the same step of the same canary, and
    # never another phase.
    exposed = [seen for seen in stage.seen() if (seen.status.get("step") or {}).get("reachedAt")]
    later = [seen for seen in stage.seen() if seen.at >= exposed[0].at]
    assert {seen.phase for seen in later} == {"Canary"}
    assert {seen.status["step"]["index"] for seen in later} == {0}
    assert {tuple(seen.status["canaryPods"]) for seen in later} == {tuple(canary)}


async def test_e_prometheus_and_alertmanager_roll_back_within_five_seconds(stage: Stage) -> None:
    outcome = await scenarios.alert(stage)
    assert outcome.ended == "FellBack: AlertFiring"
    assert outcome.admitted_after == 0
    assert outcome.failed == 0, outcome.failures
    assert not outcome.notes, "Prometheus' own record must show that a rule held"
    assert outcome.breach_to_off is not None
    stage.say(f"{outcome.breach_to_off:.1f} s from when an alert's rule holds to reuse off")
    assert outcome.breach_to_off <= 5.0
