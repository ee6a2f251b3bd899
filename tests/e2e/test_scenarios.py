"""The demo's scenarios, judged."""

import time

from indexcache_testbed.scenario import install, scenarios
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import reusing

from tests.e2e.support import Engines, all_off, prometheus

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
    assert outcome.ended == "FellBack: RecallBelowThreshold"
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
    assert outcome.ended in ("FellBack: RecallBelowThreshold", "FellBack: EngineBreaker")
    assert not outcome.notes, "the evidence recomputed from the engines' counters must have breached too"
    assert outcome.breach_to_off is not None
    # No later than the engines would have returned by themselves; two busy cores take a second or three.
    assert outcome.breach_to_off <= PERMIT
    assert outcome.breach_to_zero is not None
    assert outcome.breach_to_zero <= 5.0
    assert outcome.admitted_under_reuse
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


async def test_e_prometheus_and_alertmanager_roll_back_within_five_seconds(
    stage: Stage, engines: Engines
) -> None:
    outcome = await scenarios.alert(stage)
    assert outcome.ended == "FellBack: AlertFiring"
    assert outcome.admitted_after == 0
    assert outcome.failed == 0, outcome.failures
    off = next(look.at for look in reversed(stage.looks()) if reusing(look))
    back = next(look.at for look in stage.looks() if look.at > off and all_off(look))
    under = await _first_under_threshold(stage, engines)
    stage.say(
        f"{back - under:.1f} s from the rule's expression to reuse off; {outcome.breach_to_off} s from the "
        "engines' counters"
    )
    assert back - under <= 5.0


async def _first_under_threshold(stage: Stage, engines: Engines) -> float:
    """When one of the shipped rules' own expressions first held, by Prometheus' stored samples; in
    time.monotonic().
    """
    offset = time.time() - time.monotonic()
    groups = (await prometheus(engines.session, "rules", type="alert"))["groups"]
    rules = [
        rule["query"] for group in groups for rule in group["rules"] if rule["name"].startswith("IndexCache")
    ]
    assert len(rules) == 3
    # A rollout's own: the rule's last condition is repeated for this one alone.
    uid = stage.witness.now.object["metadata"]["uid"]
    revision = stage.witness.now.status["revision"]
    first = []
    for rule in rules:
        data = await prometheus(
            engines.session,
            "query_range",
            query=rule,
            start=stage.started + offset,
            end=time.time(),
            step=0.1,
            timeout="20s",
        )
        own = [r for r in data["result"] if r["metric"]["uid"] == uid and r["metric"]["revision"] == revision]
        first += [float(series["values"][0][0]) - offset for series in own]
    assert first, f"no rule of {install.OPERATOR} ever held"
    return min(first)
