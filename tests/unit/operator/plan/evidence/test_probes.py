"""Tests which probes are asked next, of whom, and how often."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Identity, Mode, Requests, State
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import of
from indexcache_operator.api.status import Phase, PodStatus
from indexcache_operator.model import EnginePod, Probe, ProbeSet, RunProbes
from indexcache_operator.plan.evidence import probes
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Evidence

from tests.unit.operator.plan.build import QUALITY, REVISION, answer, at, engine, pod, situation, spec, status

PROBED = spec(guardrails=QUALITY)


def on(revision: str = REVISION, **changes: Any) -> State:
    return engine(Mode.ON, identity=Identity(revision=revision), **changes)


def probe(tokens: int, name: str = "p") -> Probe:
    return Probe(prompt=name, continuation="c", context_tokens=tokens)


SHORT, LONG, LONGER = probe(40, "short"), probe(100, "long"), probe(120, "longer")
SET = ProbeSet(probes=(SHORT, LONG, LONGER))
ALL_ANSWERED = Memory(key="try", answered=frozenset({("a", "life"), ("b", "life")}))


def choose(
    *pods: EnginePod, memory: Memory = ALL_ANSWERED, verdict: Verdict = Verdict.HOLDING, **changes: Any
) -> RunProbes | None:
    values: dict[str, Any] = {"spec": PROBED, "probes": SET, **changes}
    found = Evidence(
        answers=(answer("recall", Verdict.CERTIFIED), answer("quality", verdict, of_spec=PROBED))
    )
    pods = pods or (pod("a", on()), pod("b", engine(Mode.SHADOW)))
    return probes.choose(situation(*pods, memory=memory, evidence=found, **values))


def test_a_canary_is_compared_with_a_baseline() -> None:
    assert choose() == RunProbes(revision=REVISION, baseline_pod="b", canary_pod="a", probes=(SHORT, LONG))


@pytest.mark.parametrize("phase", Phase)
def test_only_while_somebody_is_exposed_step_by_step_or_for_good(phase: Phase) -> None:
    assert bool(choose(status=status(phase))) is (phase in (Phase.CANARY, Phase.PROMOTED))


@pytest.mark.parametrize(
    "changes",
    [{"spec": None}, {"spec": spec()}, {"probes": None}, {"probes": ProbeSet(problem="no ConfigMap")}],
    ids=str,
)
def test_without_probes_there_is_nothing_to_ask(changes: dict[str, Any]) -> None:
    assert choose(**changes) is None


@pytest.mark.parametrize(
    "pods",
    [
        [pod("a", on())],
        [pod("b")],
        [pod("a", on("other")), pod("b")],
        [pod("a", on(), ready=False), pod("b")],
        [pod("a", on()), pod("b", ready=False)],
        [pod("a", on()), pod("b", engine(Mode.TRIPPED))],
        [pod("a", on()), pod("b", None)],
        [pod("a", on().model_copy(update={"sites": ()})), pod("b", engine(sites=()))],
    ],
)
def test_without_two_to_compare_nobody_is_asked(pods: list[EnginePod]) -> None:
    assert choose(*pods) is None


def test_an_engine_that_is_off_or_in_shadow_is_a_baseline() -> None:
    assert choose(pod("a", on()), pod("b", engine(Mode.OFF))) is not None


@pytest.mark.parametrize(
    ("asked", "verdict", "known", "due"),
    [
        (-1.0, Verdict.HOLDING, True, True),
        (-0.9, Verdict.HOLDING, True, False),
        (-19.9, Verdict.CERTIFIED, True, False),
        (-20.0, Verdict.CERTIFIED, True, True),
        (-1.0, Verdict.CERTIFIED, False, True),
        (-0.9, Verdict.CERTIFIED, False, False),
    ],
)
def test_how_often_is_asked(asked: float, verdict: Verdict, known: bool, due: bool) -> None:
    memory = replace(ALL_ANSWERED if known else Memory(key="try"), probed_at=at(asked))
    assert bool(choose(memory=memory, verdict=verdict)) is due


def test_without_a_quality_guardrails_word_probes_go_on() -> None:
    c = situation(
        pod("a", on()), pod("b"), memory=replace(ALL_ANSWERED, probed_at=at(-1)), spec=PROBED, probes=SET
    )
    assert probes.choose(c) is not None


def asked_of(pairs: int, memory: Memory, **changes: Any) -> tuple[str, str]:
    pods = [pod("a", on()), pod("b", on()), pod("c"), pod("d")]
    found = choose(*pods, memory=replace(memory, quality=of([0.5] * pairs)), **changes)
    assert found is not None
    return found.canary_pod, found.baseline_pod


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [(0, ("a", "c")), (1, ("a", "c")), (2, ("b", "d")), (4, ("a", "c")), (6, ("b", "d"))],
)
def test_pods_take_turns(pairs: int, expected: tuple[str, str]) -> None:
    assert asked_of(pairs, ALL_ANSWERED) == expected


def test_one_that_never_answered_comes_first() -> None:
    only_a = Memory(key="try", answered=frozenset({("a", "life"), ("b", "before")}))
    assert asked_of(0, only_a)[0] == "b"
    assert asked_of(0, only_a, status=status(pods=(PodStatus(name="b", confirmed="life"),)))[0] == "a"


def contexts(*counts: float) -> Requests:
    """Return users' requests by bucket of context length."""
    return Requests(recent=(*counts, *(0.0,) * (9 - len(counts))))


@pytest.mark.parametrize(
    ("traffic", "counts", "expected"),
    [
        (contexts(0, 0, 0, 9), {}, (LONG, LONGER)),
        (contexts(0, 0, 9), {}, (SHORT, SHORT)),
        (contexts(0, 0, 3, 5), {}, (LONG, SHORT)),
        (contexts(0, 0, 5, 3), {}, (SHORT, LONG)),
        (contexts(0, 9), {}, (SHORT, LONG)),
        (contexts(0, 90, 1, 9), {}, (LONG, LONGER)),
        (contexts(0, 0, 5, 5), {"3": {"9": 2, "8": 1}}, (SHORT, SHORT)),
        (contexts(0, 0, 5, 5), {"2": {"9": 1}, "7": {"9": 99}}, (LONG, SHORT)),
        (contexts(0, 0, 0, 5), {"3": {"9": 1}}, (LONGER, LONG)),
        (contexts(0, 0, 1, 9), {"3": {"9": 5}}, (SHORT, LONGER)),
    ],
)
def test_probes_are_drawn_as_the_traffic_is_long_the_one_that_lags_first(
    traffic: Requests, counts: dict[str, dict[str, int]], expected: tuple[Probe, ...]
) -> None:
    found = choose(
        pod("a", on(requests=traffic)),
        pod("b", engine(Mode.SHADOW)),
        memory=replace(ALL_ANSWERED, quality_counts=counts),
    )
    assert found is not None
    assert found.probes == expected


def test_when_they_were_asked_is_remembered() -> None:
    assert probes.asked(ALL_ANSWERED, at(3)) == replace(ALL_ANSWERED, probed_at=at(3))
