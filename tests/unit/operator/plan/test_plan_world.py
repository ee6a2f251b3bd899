"""Whole rollouts in a small world: how each ends, and what must hold on the way."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from indexcache_core.contract import Mode
from indexcache_operator import model
from indexcache_operator.api.status import FallbackStatus, Origin, Phase
from indexcache_operator.plan import plan

from tests.unit.operator.plan.world import World, bad, good
from tests.unit.operator.plan.world_parts import probe_set, spec


def test_a_good_pattern_is_promoted() -> None:
    world = World(recall=good).until(Phase.PROMOTED)
    assert world.phases == [Phase.CHECKING, Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED]
    assert world.failed_requests == 0
    for _ in range(4):
        world.snapshot()
    assert world.modes() == {Mode.ON}
    assert world.backends == world.original
    assert all(p.baseline and not p.canary for p in world.pods.values())
    assert [h.outcome for h in world.status.history] == ["Promoted"]


def test_a_harmful_pattern_is_stopped_in_shadow_with_nobody_exposed() -> None:
    world = World(recall=bad).until(Phase.FELL_BACK)
    assert Phase.CANARY not in world.phases
    assert world.reuse_admitted == 0
    assert world.status.rejected[0].reason == "RecallBelowThreshold"
    assert world.status.reason == "RecallBelowThreshold"
    assert "expected" in world.status.message


def drifting(world: World, mode: Mode) -> float:
    return bad(world, mode) if world.status.phase is Phase.CANARY and mode is Mode.ON else good(world, mode)


def test_a_pattern_that_turns_harmful_under_reuse_falls_back() -> None:
    world = World(recall=drifting).until(Phase.FELL_BACK)
    assert Phase.CANARY in world.phases
    admitted = world.reuse_admitted
    for _ in range(20):
        world.snapshot()
    assert world.reuse_admitted == admitted
    assert world.failed_requests == 0
    assert world.backends == world.original
    assert world.modes() == {Mode.OFF}
    assert not any(p.canary for p in world.pods.values())


def test_a_pattern_that_turns_harmful_after_promotion_falls_back() -> None:
    world = World(recall=good).until(Phase.PROMOTED)
    world.recall = bad
    world.until(Phase.FELL_BACK)
    assert world.modes() == {Mode.OFF}
    assert world.failed_requests == 0


def test_a_drop_in_quality_falls_back_though_recall_is_good() -> None:
    guardrails = {"recall": {"min": 0.5}, "quality": {"maxLogprobDrop": 0.02, "probes": {"configMap": "p"}}}
    world = World(spec=spec(guardrails=guardrails), recall=good, quality=lambda world, probe: 0.08)
    world.probes = probe_set()
    world.until(Phase.FELL_BACK)
    assert world.status.rejected[0].reason == "QualityBelowThreshold"
    assert Phase.CANARY in world.phases


def test_quality_is_certified_by_probes() -> None:
    quality = {"maxLogprobDrop": 0.02, "probes": {"configMap": "p"}}
    world = World(spec=spec(guardrails={"recall": {"min": 0.5}, "quality": quality}), recall=good)
    world.probes = probe_set()
    world.until(Phase.PROMOTED, looks=1500)
    assert world.status.quality is not None
    assert world.status.quality.pairs >= 10


def test_no_data_is_no_success() -> None:
    """I10: nothing measured, so it waits, with nobody exposed, for as long as it takes."""
    world = World(rate=0).until(Phase.SHADOWING)
    for _ in range(400):
        world.snapshot()
    assert (world.status.phase, world.reuse_admitted, world.status.rejected) == (Phase.SHADOWING, 0, ())
    assert world.status.waiting is not None
    assert (world.status.waiting.origin, world.status.waiting.reason) == (Origin.TRAFFIC, "NoObservations")
    assert "no request came" in world.status.reason


def test_neither_good_nor_bad_stays_in_shadow() -> None:
    world = World(recall=lambda w, mode: 0.505).until(Phase.SHADOWING)
    for _ in range(400):
        world.snapshot()
    assert (world.status.phase, world.reuse_admitted, world.status.rejected) == (Phase.SHADOWING, 0, ())


def test_kill_by_annotation_outranks_everything() -> None:
    """I7; idempotent, and nothing happens at the baseline."""
    world = World(recall=good).until(Phase.CANARY)
    for _ in range(8):
        world.snapshot()
    world.annotations["indexcache.dev/kill"] = world.status.revision
    world.snapshot()
    world.snapshot()
    assert Mode.ON not in world.modes()
    world.until(Phase.FELL_BACK)
    world.done.clear()
    for _ in range(5):
        world.snapshot()
    assert world.done == []


@pytest.mark.parametrize("phase", [Phase.SHADOWING, Phase.CANARY, Phase.PROMOTED])
def test_an_alert_of_this_revision_falls_back_and_one_of_another_is_cleared(phase: Phase) -> None:
    world = World(recall=good).until(phase)
    old = FallbackStatus(cause="Alert", message="", since=datetime(2026, 1, 1, tzinfo=UTC), revision="other")
    world.write(replace(world.status, fallback=old))
    world.snapshot()
    assert world.status.fallback is None
    assert world.status.phase is phase
    mine = replace(old, revision=world.status.revision)
    world.write(replace(world.status, fallback=mine))
    world.until(Phase.FELL_BACK)
    assert world.status.rejected[0].reason == "Alert"


def test_a_killed_engine_is_a_cause_and_a_lapsed_permit_is_not() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.wait(lambda w: w.status.traffic.desired > 0)  # its reuse is confirmed
    step, writes = world.status.step, [p.switch.epoch for p in world.pods.values()]
    for _ in range(14):  # the operator is away for longer than the permit
        world.pass_time()
    assert Mode.TRIPPED in world.modes()
    world.memory = None
    world.snapshot()
    world.snapshot()
    assert Mode.ON in world.modes()
    assert max(p.switch.epoch for p in world.pods.values()) > max(writes)
    assert world.status.phase is Phase.CANARY
    assert world.status.step is not None
    assert step is not None
    assert world.status.step.index == step.index
    next(p for p in world.pods.values() if p.switch.mode is Mode.ON).switch.kill("by hand")
    world.until(Phase.FELL_BACK)
    assert (world.status.reason, world.status.rejected) == ("Killed", ())


def test_paused_holds_steps_but_neither_evidence_nor_fallback() -> None:
    world = World(spec=spec(paused=True), recall=good).until(Phase.SHADOWING)
    for _ in range(200):  # beyond the shadow's timeout
        world.snapshot()
    assert world.status.phase is Phase.SHADOWING
    assert world.status.evidence[0].samples > 0
    world.spec = spec()
    world.until(Phase.CANARY)
    world.spec, world.recall = spec(paused=True), bad
    world.until(Phase.FELL_BACK)


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.FELL_BACK])
def test_a_steady_state_writes_nothing_and_does_nothing_but_renew(phase: Phase) -> None:
    """I8."""
    world = World(recall=good if phase is Phase.PROMOTED else bad).until(phase)
    for _ in range(10):
        world.snapshot()
    writes = world.writes
    world.done.clear()
    for _ in range(30):
        world.snapshot()
    assert world.writes == writes
    assert {type(a).__name__ for a in world.done} <= ({"PutFlags"} if phase is Phase.PROMOTED else set())


def test_every_outcome_is_an_event() -> None:
    """I12."""
    world = World(recall=drifting).until(Phase.FELL_BACK)
    reasons = [a.reason for a in world.done if isinstance(a, model.Event)]
    assert reasons == ["Checking", "Shadowing", "Canary", "RecallBelowThreshold", "FellBack"]


def test_a_breach_while_promoting_takes_every_pod_back() -> None:
    """I5: nobody is sent to what was just turned on."""
    world = World(recall=good).until(Phase.PROMOTING)
    world.recall = bad
    world.until(Phase.FELL_BACK)
    assert Phase.PROMOTED not in world.phases
    assert world.failed_requests == 0
    assert world.modes() == {Mode.OFF}


def test_a_mode_that_reuses_is_never_wanted_before_shadow_was_certified() -> None:
    wanted: list[Mode] = []
    world = World(recall=good)
    world.until(Phase.CANARY, check=lambda w: wanted.extend(p.switch.mode for p in w.pods.values()))
    assert Mode.ON not in wanted


def test_each_put_has_an_epoch_persisted_before() -> None:
    """An epoch that the status doesn't hold could be given twice, to other contents."""
    world = World(recall=good)
    for _ in range(200):
        before = len(world.done)
        world.snapshot()
        for action in world.done[before:]:
            if isinstance(action, model.PutFlags):
                assert action.desired.epoch <= world.status.epoch
        if world.status.phase is Phase.PROMOTED:
            break
    contents: dict[tuple[str, int], set[str]] = {}
    for action in world.done:
        if isinstance(action, model.PutFlags):
            key = (action.desired.incarnation, action.desired.epoch)
            contents.setdefault(key, set()).add(action.desired.model_dump_json())
    assert all(len(c) == 1 for c in contents.values())


def test_what_alerts_rest_on_is_told_while_something_is_measured() -> None:
    world = World(recall=drifting).until(Phase.CANARY)
    told = plan(world.observe(), world.memory).evidence
    assert [e.guardrail for e in told] == ["recall"]
    assert told[0].log_e < told[0].log_limit
    world.until(Phase.FELL_BACK)
    assert plan(world.observe(), world.memory).evidence == ()
