"""Probes on the real plan, whole rollouts at a time: which patterns pass by them, which don't, and how soon a
change is found. Short forms of what is to be run often.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_core.evidence import disasters
from indexcache_operator.api.status import Phase
from indexcache_operator.model import Probe, ProbeSet, Uncounted
from indexcache_operator.plan.evidence import draws

from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import spec

pytestmark = pytest.mark.simulation

RUNS = 2
LOST = 2.0
"""Nats that a ruined answer loses: a hundred tolerances."""
Quality = Callable[[World, Probe], float | Uncounted | None]


def file(*drops: str, tokens: int = 100) -> ProbeSet:
    """Return probes whose prompts say what they lose."""
    return ProbeSet(
        probes=tuple(
            Probe(prompt=f"{i} {drop}", continuation="c", context_tokens=tokens)
            for i, drop in enumerate(drops)
        )
    )


def says(world: World, probe: Probe) -> float:
    """Return what the prompt says, and some noise."""
    return float(probe.prompt.split()[-1]) + world.random.gauss(0.0, 0.01)


HARMLESS = file(*["0.0"] * 60)


def world(seed: int, probes: ProbeSet = HARMLESS, quality: Quality = says, **changes: Any) -> World:
    """Return a world whose recall is fine, so that all depends on probes."""
    asked = {"recall": {"min": 0.5}, "quality": {"probes": {"configMap": "p"}}}
    strategy = {
        "shadow": {"minRequests": 20, "timeout": "60s"},
        "steps": [{"weight": 20}, {"weight": 50}],
        "progressDeadline": "10m",
    }
    # Another model is another revision, and so another sequence of draws.
    engine = {"image": "engine:1", "model": f"/model{seed}", "replicas": 3}
    given = spec(**{"guardrails": asked, "strategy": strategy, "engine": engine, **changes})
    made = World(spec=given, recall=good, quality=quality, seed=seed)
    made.probes = probes
    return made


def ended(made: World, looks: int = 3000) -> Phase:
    """Return how a rollout ended, or where it is after so many looks."""
    for _ in range(looks):
        made.snapshot()
        if made.status.phase in (Phase.PROMOTED, Phase.FELL_BACK):
            break
    return made.status.phase


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_harmless_pattern_is_promoted_and_nobody_meets_it_before_it_is_certified(seed: int) -> None:
    made = world(seed)
    made.wait(lambda w: w.reuse_admitted > 0, looks=1000)
    assert made.status.quality is not None
    assert made.memory is not None
    assert made.memory.probing.kept.count >= 176
    assert ended(made) is Phase.PROMOTED


@pytest.mark.parametrize("seed", range(RUNS))
def test_an_ordered_file_hides_nothing(seed: int) -> None:
    """The first 60 are harmless, all after them are ruined."""
    made = world(seed, file(*["0.0"] * 60, *[str(LOST)] * 40))
    assert ended(made) is Phase.FELL_BACK
    assert made.status.rejected[0].reason == "QualityBelowThreshold"
    assert made.reuse_admitted == 0
    assert made.memory is not None
    assert made.memory.probing.asked < 20


@pytest.mark.parametrize("seed", range(RUNS))
def test_rare_disasters_are_not_clipped_away(seed: int) -> None:
    """Three answers in a hundred lose two nats: in the mean of clipped drops a seventh of the tolerance."""
    made = world(seed, file(*["0.0"] * 97, *[str(LOST)] * 3))
    assert ended(made, looks=900) is not Phase.PROMOTED
    assert made.reuse_admitted == 0


def test_a_build_that_asks_in_the_files_order_promotes_what_is_ruined_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probes = file(*["0.0"] * 800, *[str(LOST)] * 400)
    assert ended(world(1, probes)) is Phase.FELL_BACK
    monkeypatch.setattr(
        draws,
        "draw",
        lambda found, shares, k, revision, number: found[number % len(found)] if found else None,
    )
    assert ended(world(1, probes)) is Phase.PROMOTED


def test_a_build_that_counts_no_disasters_promotes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disasters, "value", lambda drop, tolerance: 1.0)
    assert ended(world(1, file(*["0.0"] * 97, *[str(LOST)] * 3))) is Phase.PROMOTED


@pytest.mark.parametrize("how", [None, float("nan"), float("inf")], ids=str)
def test_what_fails_under_reuse_counts_as_ruined(how: float | None) -> None:
    made = world(1, quality=lambda w, probe: how if w.random.random() < 0.1 else 0.0)
    assert ended(made) is Phase.FELL_BACK
    assert made.status.rejected[0].reason == "QualityBelowThreshold"
    assert made.reuse_admitted == 0


@pytest.mark.parametrize("reason", [Uncounted.BASELINE_FAILED, Uncounted.UNANSWERED])
def test_what_fails_by_nobodys_fault_neither_certifies_nor_condemns(reason: Uncounted) -> None:
    now_and_then = world(1, quality=lambda w, probe: reason if w.random.random() < 0.05 else says(w, probe))
    assert ended(now_and_then) is Phase.PROMOTED
    always = world(1, quality=lambda w, probe: reason)
    assert ended(always, looks=400) is Phase.CANARY
    assert always.reuse_admitted == 0
    assert always.status.quality is not None
    assert always.status.quality.uncounted.keys() == {reason.value}
    assert len(always.asked) < 40  # ever more seldom


def test_beside_requests_that_opted_out_nothing_is_certified() -> None:
    made = world(1, quality=lambda w, probe: Uncounted.NOT_ALL_REUSED)
    assert ended(made, looks=400) is Phase.CANARY
    assert made.reuse_admitted == 0


def test_probes_that_all_run_full_are_not_asked_and_certify_nothing() -> None:
    cache = {"pattern": "FSFS", "minContextTokens": 101}
    made = world(1, indexCache=cache)
    assert ended(made, looks=400) is not Phase.PROMOTED
    assert made.asked == []


@pytest.mark.parametrize("seed", range(RUNS))
def test_the_same_few_probes_again_and_again_are_judged_as_what_they_are(seed: int) -> None:
    """They lose one and a half tolerances in the mean."""
    made = world(seed, file("0.0", "0.03", "0.04", "0.05"))
    assert ended(made, looks=1200) is not Phase.PROMOTED
    assert made.reuse_admitted == 0


def test_restarts_promote_nothing_bad_and_go_on_where_the_status_was() -> None:
    made, harmless = world(1, file(*["0.0"] * 94, *[str(LOST)] * 6)), world(1)
    for each in (made, harmless):
        for look in range(1, 1200):
            each.snapshot()
            if look % 25 == 0:
                each.memory = None
            if each.status.phase in (Phase.PROMOTED, Phase.FELL_BACK):
                break
    assert harmless.status.phase is Phase.PROMOTED
    assert made.status.phase is not Phase.PROMOTED
    assert made.reuse_admitted == 0
    drawn = [run.number for run in harmless.asked]
    assert max(drawn) > 170
    assert all(later > number - 25 for number, later in pairwise(drawn))
    probes = {run.number: run.probe for run in harmless.asked}
    assert all(probes[run.number] == run.probe for run in harmless.asked)


ALONE: dict[str, Any] = {
    "engine": {"image": "engine:1", "model": "/model", "replicas": 1},
    "traffic": {},
    "strategy": {
        "shadow": {"minRequests": 300, "timeout": "10m"},
        "steps": [{"weight": 100}],
        "progressDeadline": "10m",
    },
}


def test_one_replica_without_a_route_is_probed_and_promoted() -> None:
    made = world(1, **ALONE)
    assert ended(made) is Phase.PROMOTED
    assert {run.pod for run in made.asked} == {"pod-1"}


def test_one_idle_replica_is_refuted_in_shadow() -> None:
    made = world(1, file(*["0.0"] * 6, *[str(LOST)] * 4), **ALONE)
    assert ended(made) is Phase.FELL_BACK
    assert made.reuse_admitted == 0
    assert Phase.CANARY not in made.phases


def test_one_busy_replica_is_refuted_once_it_is_under_reuse() -> None:
    made = world(1, file(*["0.0"] * 6, *[str(LOST)] * 4), **ALONE)
    made.idle = False
    assert ended(made) is Phase.FELL_BACK
    assert made.status.rejected[0].reason == "QualityBelowThreshold"


DRIFTS: dict[str, Quality] = {
    "all lose four tolerances": lambda w, probe: 0.08,
    "a third lose two nats": lambda w, probe: LOST if w.random.random() < 1 / 3 else says(w, probe),
    "all fail": lambda w, probe: None,
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_drift_after_the_promotion_is_found_within_60_probes(drift: str) -> None:
    made = world(1)
    assert ended(made) is Phase.PROMOTED
    made.wait(lambda w: len(w.asked) >= 400, looks=3000)
    before, made.quality = len(made.asked), DRIFTS[drift]
    made.until(Phase.FELL_BACK, looks=1500)
    assert made.status.rejected[0].reason == "QualityBelowThreshold"
    assert len(made.asked) - before <= 60
    assert made.modes() == {Mode.OFF}


def test_probes_take_no_more_of_a_pods_time_than_they_may() -> None:
    made = world(1)
    made.pair_seconds = 4.0
    made.wait(lambda w: w.status.phase is Phase.CANARY, looks=300)
    assert len(made.asked) * made.pair_seconds <= 0.1 * 3 * shadowed(made) + 3 * made.pair_seconds


def shadowed(made: World) -> float:
    """Return for how many seconds the rollout was in shadow."""
    assert made.status.revision_started_at is not None
    return (made.now - made.status.revision_started_at).total_seconds()


def test_the_simulation_draws_differently_in_each_run() -> None:
    first = [world(seed) for seed in range(2)]
    for made in first:
        made.wait(lambda w: len(w.asked) > 20, looks=300)
    assert [r.probe for r in first[0].asked[:20]] != [r.probe for r in first[1].asked[:20]]
