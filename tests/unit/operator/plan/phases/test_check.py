"""Tests what is refused before anything is exposed, by the field's name, and how a refusal ends."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode, Site
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api.status import EvidenceStatus, Phase, QualityStatus, Rejected, Status, StepStatus
from indexcache_operator.model import EnginePod, Observation, Probe, ProbeSet, Route
from indexcache_operator.plan import plan
from indexcache_operator.plan.phases import check
from indexcache_operator.plan.wanted.targets import Targets

from tests.unit.operator.plan.build import (
    BASELINE,
    REVISION,
    at,
    case,
    engine,
    intent,
    pod,
    situation,
    snapshot,
    status,
    told,
)
from tests.unit.operator.plan.build import route as seen_route
from tests.unit.operator.plan.world import World, good, spec

PROBES = {"quality": {"probes": {"configMap": "p"}}}
QUALITY = {"guardrails": {"recall": {"min": 0.5}, **PROBES}}
UNGUARDED = "spec.guardrails: none acts on what engines measure"
DSA: dict[str, Any] = {"architectures": ["DeepseekV32ForCausalLM"], "num_hidden_layers": 4, "index_topk": 16}
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


# --------------------------------------------------------------- one look at a time


def reasons(*pods: EnginePod, **changes: Any) -> list[str]:
    seen = snapshot(*pods, **{"status": status(Phase.CHECKING), **changes})
    return check.impossible(case(seen, seen.observation.status))


def test_nothing_stands_against_a_spec_that_can_be() -> None:
    assert reasons(pod("a"), pod("b", None), pod("c", engine(sites=()))) == []
    assert check.companions(snapshot()) == []
    assert reasons(model_config=DSA) == []


REJECTED = Rejected(revision=REVISION, reason="Killed", at=at(-9))


@pytest.mark.parametrize(("retried", "again"), [("", REVISION), (REVISION, f"{REVISION}/2")])
def test_a_rejected_revision_names_what_tries_it_again(retried: str, again: str) -> None:
    kept = status(Phase.CHECKING, rejected=(replace(REJECTED, retried=retried),))
    (reason,) = reasons(status=kept, annotations={"indexcache.dev/kill": REVISION})
    for word in (REVISION, "2025-12-31T23:59:51.000Z", "(Killed)", f'indexcache.dev/retry: "{again}"'):
        assert word in reason


def test_a_revision_that_somebody_wants_off_is_not_tried() -> None:
    (reason,) = reasons(annotations={"indexcache.dev/kill": REVISION})
    assert "annotation indexcache.dev/kill stops revision" in reason
    assert REVISION in reason


def test_one_replica_without_a_route_is_enough() -> None:
    one = {"image": "engine:1", "model": "/model", "replicas": 1}
    assert reasons(spec=spec(engine=one, traffic={}), status=status()) == []
    assert len(reasons(spec=spec(engine=one))) == 1
    assert reasons(spec=spec(engine={**one, "replicas": 2})) == []


def test_all_reasons_are_told_at_once_and_each_once() -> None:
    wrong = spec(
        engine={"image": "i", "model": "m", "replicas": 1, "args": ["-pp=2"]}, indexCache={"pattern": "FSS"}
    )
    found = reasons(pod("a"), pod("b"), spec=wrong)
    assert [reason.split(":")[0] for reason in found] == [
        "spec.engine.args",
        "spec.engine.replicas",
        "spec.indexCache.pattern",
    ]


def test_the_model_is_asked_before_a_pod_is_there() -> None:
    short = spec(indexCache={"pattern": "FSS"})
    (reason,) = reasons(spec=short, model_config=DSA)
    assert reason.startswith("spec.indexCache.pattern: 3 letters, the model has 4")
    assert reasons(spec=short) == []
    wrong = reasons(spec=short, model_config=DSA | {"index_topk_freq": 4})
    assert len(wrong) == 1
    assert "index_topk_freq" in wrong[0]


def test_each_current_engine_is_asked() -> None:
    wrong = engine(supported=False, reasons=("engine: vllm 0.31",))
    assert reasons(pod("o", wrong, current=False), pod("n", None), pod("a", wrong)) == [
        "spec.engine: pod a: engine: vllm 0.31"
    ]
    assert reasons(pod("a", engine(supported=False))) == ["spec.engine: pod a: not supported"]
    domains = engine(sites=tuple(Site(index=i, layer=i, domain=d, k=16) for i, d in enumerate("abab")))
    (first, second) = reasons(pod("a", domains))
    assert first.startswith("spec.indexCache.pattern: indexer 1 is Shared but the first of domain 'b'")
    assert "indexer 3 would share across domains" in second


@pytest.mark.parametrize(("tokens", "short"), [((16, 17, 9), "2 probes of 9 to 16 tokens"), ((17, 18), None)])
def test_probes_must_be_longer_than_k(tokens: tuple[int, ...], short: str | None) -> None:
    probes = ProbeSet(probes=tuple(Probe(prompt="x", continuation="y", context_tokens=n) for n in tokens))
    found = reasons(pod(), probes=probes)
    assert len(found) == (1 if short else 0)
    assert all(short in reason and "k = 16" in reason for reason in found if short)
    assert reasons(pod("a", None), probes=probes) == []


PROBED = spec(**QUALITY)
ONE = ProbeSet(probes=(Probe(prompt="x", continuation="y", context_tokens=99),))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec": PROBED, "probes": None}, "spec.guardrails.quality.probes: not read yet"),
        ({"spec": PROBED, "probes": ProbeSet(problem="gone")}, "spec.guardrails.quality.probes: gone"),
        ({"spec": PROBED, "probes": ProbeSet()}, "spec.guardrails.quality.probes: no probes"),
        ({"spec": PROBED, "probes": ONE}, None),
        ({"route": None}, "spec.traffic.httpRoute: users or its rule generate not found"),
        ({"route": Route(found=False)}, "users or its rule generate not found"),
        ({"route": Route(found=False, problem="no such route")}, "spec.traffic.httpRoute: no such route"),
        ({"route": seen_route({"name": "x"})}, "names no Service chat-baseline"),
        ({"route": seen_route(request_timeout=timedelta(seconds=29.9))}, "ends requests after 29.9 s"),
        ({"route": seen_route(request_timeout=timedelta(seconds=30))}, None),
        ({"route": seen_route(problem="not accepted")}, "spec.traffic.httpRoute: not accepted"),
        (
            {"route": seen_route({**BASELINE, "weight": 999_999}, {"name": "o", "weight": 17})},
            "exceed 1000000",
        ),
        ({"route": None, "spec": spec(traffic={})}, None),
    ],
)
def test_what_the_user_has_to_bring(changes: dict[str, Any], words: str | None) -> None:
    found = check.companions(snapshot(**changes))
    assert len(found) == (1 if words else 0)
    assert all(words in reason for reason in found if words)


def test_probes_and_route_are_both_missed() -> None:
    assert len(check.companions(snapshot(spec=PROBED, route=None))) == 2
    assert len(check.companions(snapshot(spec=spec(traffic={}, **QUALITY), route=None))) == 1


def waiting(*pods: EnginePod, kind: str | None = None, **changes: Any) -> list[str]:
    """Return what three engines are waited for, those that are told nothing being ready."""
    seen = told(
        {p.name: kind for p in pods} if kind else {}, *pods, **{"status": status(Phase.CHECKING), **changes}
    )
    return check.waiting_for(case(seen, seen.observation.status))


THREE = (pod("a"), pod("b"), pod("c"))


@pytest.mark.parametrize(
    ("pods", "changes", "words"),
    [
        (THREE, {}, []),
        (THREE, {"workload_current": False}, ["Deployment isn't as the spec wants it"]),
        (THREE[:2], {}, ["2 of 3 engines ready"]),
        ((*THREE, pod("d", None)), {}, []),
        ((*THREE[:2], pod("c", None)), {}, ["2 of 3 engines ready"]),
        ((*THREE[:2], pod("c", ready=False)), {}, ["2 of 3 engines ready"]),
        ((*THREE, pod("d", current=False)), {}, ["3 of 3 engines ready, 1 of an older template"]),
        ((*THREE[:2], pod("c", None, ready=False, problem="no image")), {}, ["2 of 3", "pod c: no image"]),
        ((*THREE, pod("c2", None, error="timeout")), {}, ["pod c2: control doesn't answer: timeout"]),
        ((*THREE, pod("c2", None, ready=False, error="timeout")), {}, []),
        ((*THREE[:2], pod("c", baseline_label=False)), {}, ["pod c isn't behind chat-baseline yet"]),
        (THREE, {"route": seen_route(accepted_generation=4)}, ["no gateway has accepted"]),
        (THREE, {"route": seen_route(accepted_generation=None)}, ["no gateway has accepted"]),
        (THREE, {"route": seen_route(accepted_generation=6)}, []),
        (THREE, {"route": None}, []),
        (THREE, {"route": Route(found=False, generation=1)}, []),
        (THREE, {"route": seen_route(accepted_generation=None), "spec": spec(traffic={})}, []),
    ],
)
def test_what_comes_by_itself_is_waited_for(
    pods: tuple[EnginePod, ...], changes: dict[str, Any], words: list[str]
) -> None:
    found = waiting(*pods, **changes)
    assert len(found) == len(words)
    assert all(word in reason for word, reason in zip(words, found, strict=True))


def test_a_pod_without_a_state_counts_as_waiting_and_one_of_an_older_template_does_not() -> None:
    """It may be ready and serve all the same: nothing is known of what it does."""
    assert waiting(pod("a"), pod("b"), pod("c", None)) == ["2 of 3 engines ready"]
    assert waiting(pod("a"), pod("b"), pod("c", current=False)) == [
        "2 of 3 engines ready, 1 of an older template"
    ]


def test_engines_must_have_been_told_to_be_at_the_baseline() -> None:
    seen = snapshot(*THREE[:2], pod("c", engine(Mode.ON, epoch=2)), status=status(Phase.CHECKING))
    assert check.waiting_for(case(seen, seen.observation.status)) == [
        "pod c isn't at the baseline yet",
        "pod c wasn't told yet to be at the baseline",
    ]
    shadow = snapshot(*THREE[:2], pod("c", engine(Mode.SHADOW, epoch=2)), status=status(Phase.CHECKING))
    assert check.waiting_for(case(shadow, shadow.observation.status)) == [
        "pod c wasn't told yet to be at the baseline"
    ]


def decided(*pods: EnginePod, **changes: Any) -> Status:
    seen = told({}, *(pods or THREE), **{"status": status(Phase.CHECKING, message="before"), **changes})
    return check.decide(situation(*seen.observation.pods, **{**changes, "status": seen.observation.status}))


def test_when_everything_is_there_shadow_begins() -> None:
    after = decided()
    assert (after.phase, after.phase_started_at) == (Phase.SHADOWING, at(0))
    assert "nobody is exposed" in after.message


def test_what_is_waited_for_is_named() -> None:
    after = decided(*THREE[:1], workload_current=False)
    assert (after.phase, after.phase_started_at) == (Phase.CHECKING, at(-10))
    assert (
        after.message
        == "Waiting: the engines' Deployment isn't as the spec wants it yet; 1 of 3 engines ready"
    )


@pytest.mark.parametrize(("began", "phase"), [(-9.9, Phase.CHECKING), (-10, Phase.FAILED)])
def test_a_missing_route_is_waited_for_a_while(began: float, phase: Phase) -> None:
    after = decided(route=None, status=status(Phase.CHECKING, phase_started_at=at(began)))
    assert after.phase is phase
    assert "not found" in after.message


def test_what_can_not_be_is_told_at_once_and_alone() -> None:
    after = decided(
        status=status(Phase.CHECKING, phase_started_at=at(0)),
        annotations={"indexcache.dev/kill": REVISION},
        route=None,
    )
    assert (after.phase, after.phase_started_at) == (Phase.FAILED, at(0))
    assert "indexcache.dev/kill" in after.message
    assert "httpRoute" not in after.message


def test_failed_says_what_fails_now_and_ends_with_it() -> None:
    failed = status(Phase.FAILED, message="before", phase_started_at=at(-3))
    still = decided(status=failed, route=None)
    assert (still.phase, still.phase_started_at) == (Phase.FAILED, at(-3))
    assert still.message.startswith("spec.traffic.httpRoute")
    assert decided(status=failed).phase is Phase.CHECKING


@pytest.mark.parametrize(
    ("problem", "words"), [("engine: missing", "spec: engine: missing"), (None, "spec: not readable")]
)
def test_a_spec_that_can_not_be_read(problem: str | None, words: str) -> None:
    c = situation(status=status(Phase.CHECKING), spec=None, spec_problem=problem)
    assert (check.decide(c).phase, check.decide(c).message) == (Phase.FAILED, words)


FRESH: dict[str, Any] = {
    "fallback": None,
    "quality": None,
    "evidence": (),
    "step": None,
    "canary_pods": (),
    "paused_at": "",
}
USED: dict[str, Any] = {
    "fallback": intent(of_revision="old"),
    "quality": QualityStatus(revision="old"),
    "evidence": (EvidenceStatus(guardrail="recall", verdict=Verdict.HOLDING, alpha=0.1),),
    "step": StepStatus(index=1, weight=50, started_at=at(-1)),
    "canary_pods": ("a",),
    "paused_at": at(-1),
}


def test_a_new_revision_begins_from_no_evidence() -> None:
    other = Rejected(revision="other", reason="x", at=at(-60))
    before = status(Phase.FELL_BACK, **USED, revision="old", rejected=(other, REJECTED), epoch=7)
    after = check.adopt(case(snapshot(status=before), before))
    assert after == status(
        Phase.CHECKING,
        **FRESH,
        message=after.message,
        phase_started_at=at(0),
        revision_started_at=at(0),
        rejected=(other, REJECTED),
        epoch=7,
    )
    retried = snapshot(status=before, annotations={"indexcache.dev/retry": REVISION})
    assert check.adopt(case(retried, before)).rejected == (other,)


@pytest.mark.parametrize(
    ("kept", "began"),
    [
        (status(Phase.CHECKING, revision="old"), at(0)),
        (status(Phase.PENDING), at(0)),
        (status(Phase.PENDING, revision=""), at(0)),
        (status(Phase.CHECKING), at(-100)),
        (status(Phase.CHECKING, rejected=(REJECTED,)), at(-100)),
    ],
)
def test_what_is_checked_is_the_specs_revision(kept: Status, began: datetime) -> None:
    after = decided(status=kept, workload_current=False)
    assert (after.revision, after.revision_started_at) == (REVISION, began)


def test_a_retry_begins_the_rejected_revision_anew() -> None:
    kept = status(Phase.FAILED, rejected=(REJECTED,))
    after = decided(status=kept, annotations={"indexcache.dev/retry": REVISION})
    assert (after.phase, after.rejected, after.revision_started_at) == (Phase.CHECKING, (), at(0))
    assert decided(status=kept).phase is Phase.FAILED


def test_while_nothing_is_tried_all_is_at_the_baseline() -> None:
    c = situation(pod("a"), pod("b", canary_label=True), pod("c", deleting=True))
    assert check.targets(c) == Targets(
        kinds={}, labels={"a": (True, False), "b": (True, False)}, backends=None
    )


def test_what_is_wrong_with_the_spec_the_model_and_each_engine_is_told_together() -> None:
    one = {"image": "i", "model": "m", "replicas": 1}
    llama = {"architectures": ["LlamaForCausalLM"]}
    first, second = engine(supported=False, reasons=("old",)), engine(supported=False, reasons=("older",))
    found = reasons(pod("a", first), pod("b", second), spec=spec(engine=one), model_config=llama)
    starts = [
        "spec.engine.replicas",
        "model: LlamaForCausalLM",
        "spec.engine: pod a: old",
        "spec.engine: pod b: older",
    ]
    assert [reason[: len(start)] for reason, start in zip(found, starts, strict=True)] == starts


def test_a_rule_that_another_rollout_has_is_refused_by_its_name() -> None:
    held = snapshot(pod(), status=status(Phase.CHECKING), route_holder="first")
    (reason,) = check.companions(held)
    assert "is rollout first's; expected a rule that no other rollout has" in reason


def test_fields_of_a_newer_version_keep_a_try_from_beginning() -> None:
    seen = situation(pod(), status=status(Phase.CHECKING), unknown_fields=("spec.later",))
    assert any("doesn't know spec.later; upgrade it" in reason for reason in check.waiting_for(seen))
    assert check.decide(seen).phase is Phase.CHECKING


def test_what_could_not_be_read_keeps_a_try_from_beginning() -> None:
    seen = situation(pod(), status=status(Phase.CHECKING), unread=("HTTPRoute users: 500",))
    assert "can't be read: HTTPRoute users: 500" in check.waiting_for(seen)
    assert not check.companions(
        snapshot(pod(), status=status(Phase.CHECKING), route=Route(found=True, unread=True))
    )
