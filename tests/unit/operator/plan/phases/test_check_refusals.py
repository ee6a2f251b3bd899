"""Tests what is refused before anything is exposed, by the field's name, and how a refusal ends."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase
from indexcache_operator.model import Observation, Probe, ProbeSet, Route
from indexcache_operator.plan import plan

from tests.unit.operator.plan.phases.checking import DSA, PROBES, QUALITY
from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import spec

UNGUARDED = "spec.guardrails: none acts on what engines measure"
ENGINE = {"image": "engine:1", "model": "/model", "replicas": 3}


def route(**changes: Any) -> Callable[[Observation], Observation]:
    return lambda o: replace(o, route=replace(o.route or Route(found=False), **changes))


def unsupported(o: Observation) -> Observation:
    def broken(pod: Any) -> Any:
        return replace(
            pod, state=pod.state.model_copy(update={"supported": False, "reasons": ("engine: vllm 0.31",)})
        )

    return replace(o, pods=tuple(broken(p) for p in o.pods))


CASES: list[tuple[str, dict[str, Any], Callable[[Observation], Observation], str]] = [
    (
        "length by the model's config",
        {"indexCache": {"pattern": "FSS"}},
        lambda o: replace(o, model_config=DSA),
        "spec.indexCache.pattern",
    ),
    (
        "length by the engine",
        {"indexCache": {"pattern": "FSS"}},
        lambda o: o,
        "spec.indexCache.pattern: 3 letters, the model has 4",
    ),
    (
        "protected outside",
        {"indexCache": {"pattern": "FSFSFSFSFS", "protected": [9]}},
        lambda o: o,
        "spec.indexCache.protected: [9]",
    ),
    (
        "not DSA",
        {},
        lambda o: replace(o, model_config={"architectures": ["LlamaForCausalLM"]}),
        "no DSA indexers",
    ),
    (
        "shares natively",
        {},
        lambda o: replace(o, model_config=DSA | {"index_topk_freq": 4}),
        "index_topk_freq",
    ),
    ("engine without support", {}, unsupported, "vllm 0.31"),
    (
        "arguments",
        {"engine": ENGINE | {"args": ["--pipeline-parallel-size=2"]}},
        lambda o: o,
        "spec.engine.args: --pipeline-parallel-size: found 2",
    ),
    (
        "arguments in the command",
        {"engine": ENGINE | {"command": ["vllm", "serve", "-pp=2"]}},
        lambda o: o,
        "spec.engine.command: -pp: found 2",
    ),
    ("no guardrail", {"guardrails": {}}, lambda o: o, UNGUARDED),
    (
        "guardrails that only observe",
        {"guardrails": {"recall": {"min": 0.5, "observeOnly": True}, "overlap": {"observeOnly": True}}},
        lambda o: o,
        UNGUARDED,
    ),
    ("quality alone, of which shadow knows nothing", {"guardrails": PROBES}, lambda o: o, UNGUARDED),
    (
        "one replica behind a route",
        {"engine": ENGINE | {"replicas": 1}},
        lambda o: o,
        "spec.engine.replicas",
    ),
    ("no route", {}, route(found=False, problem="HTTPRoute users not found"), "spec.traffic.httpRoute"),
    ("rule without the baseline", {}, route(backends=({"name": "other"},)), "chat-baseline"),
    ("short timeout", {}, route(request_timeout=timedelta(seconds=15)), "timeouts.request"),
    (
        "no probes",
        QUALITY,
        lambda o: replace(o, probes=ProbeSet(problem="ConfigMap p not found")),
        "spec.guardrails.quality.probes",
    ),
    (
        "probes of no more than k tokens",
        QUALITY,
        lambda o: replace(
            o, probes=ProbeSet(probes=(Probe(prompt="x", continuation="y", context_tokens=16),))
        ),
        "k = 16",
    ),
    (
        "no spec",
        {},
        lambda o: replace(o, spec=None, spec_problem="engine: missing"),
        "engine: missing",
    ),
]


class Changed(World):
    """A world seen through something that is wrong with it."""

    wrong: Callable[[Observation], Observation] = staticmethod(lambda o: o)

    def observe(self) -> Observation:
        return self.wrong(super().observe())


@pytest.mark.parametrize(
    ("changes", "wrong", "word"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_refusal_names_what_is_wrong_and_exposes_nobody(
    changes: dict[str, Any], wrong: Callable[[Observation], Observation], word: str
) -> None:
    world = Changed(spec=spec(**changes), recall=good)
    world.wrong = wrong
    world.until(Phase.FAILED, looks=60)
    assert word in world.status.message
    stalled = next(c for c in world.status.conditions if c.type == "Stalled")
    assert (stalled.status, stalled.message) == ("True", world.status.message)
    for _ in range(5):
        world.snapshot()
    assert world.modes() <= {Mode.OFF}
    writes = world.writes
    world.snapshot()
    assert world.writes == writes


def test_a_refusal_ends_when_its_reason_does() -> None:
    world = Changed(recall=good)
    world.wrong = route(found=False, problem="HTTPRoute users not found")
    world.until(Phase.FAILED, looks=60)
    world.wrong = lambda o: o
    world.until(Phase.PROMOTED)


def test_nothing_is_deployed_for_a_model_that_cannot_do_it() -> None:
    world = Changed(recall=good)
    world.wrong = lambda o: replace(o, model_config={"architectures": ["LlamaForCausalLM"]})
    for _ in range(10):
        world.snapshot()
    assert not world.pods


def test_a_spec_that_becomes_unreadable_falls_back_first() -> None:
    world = World(recall=good).until(Phase.CANARY)
    for _ in range(8):
        world.snapshot()
    world.spec = None
    world.until(Phase.FAILED)
    assert Mode.ON not in world.modes()
    assert world.backends == world.original
    assert Phase.FALLING_BACK in world.phases


def test_engines_that_are_on_without_the_status_knowing_are_brought_home() -> None:
    """The status was lost, the engines were not."""
    world = World(recall=good).until(Phase.PROMOTED)
    epochs = max(p.switch.epoch for p in world.pods.values())
    world.status, world.memory = type(world.status)(), None
    wanted = plan(world.observe(), None)
    assert [type(a).__name__ for a in wanted.actions][:3] == ["Kill"] * 3
    world.until(Phase.SHADOWING)
    assert Mode.ON not in world.modes()
    assert min(p.switch.epoch for p in world.pods.values()) > epochs


def test_conditions_change_their_time_with_their_status_only() -> None:
    world = World(recall=good).until(Phase.SHADOWING)
    before = {c.type: c for c in world.status.conditions}
    world.until(Phase.CANARY)
    after = {c.type: c for c in world.status.conditions}
    assert list(after) == [
        "Ready",
        "Reconciling",
        "Stalled",
        "Paused",
        "Waiting",
        "EnginesAnswer",
        "BaselineActive",
        "TrafficVerified",
        "EvidenceFresh",
        "OperatorHealthy",
        "CommandsObeyed",
        "RuntimeCurrent",
    ]
    for type_, condition in after.items():
        assert (condition.last_transition_time == before[type_].last_transition_time) == (
            condition.status == before[type_].status
        )
