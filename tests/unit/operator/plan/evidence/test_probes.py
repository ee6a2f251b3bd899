"""Tests which pair of probes is asked next, of which pod, and how often."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Identity, Mode, State
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api.status import Phase, PodStatus
from indexcache_operator.model import EnginePod, Probe, ProbeSet, RunProbes
from indexcache_operator.plan.evidence import draws, probes
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.probing import Asked, Probing
from indexcache_operator.plan.facts.situation import Evidence

from tests.unit.operator.plan.build import (
    LEAST,
    QUALITY,
    REACHED,
    REVISION,
    answer,
    at,
    engine,
    granted,
    pod,
    reaches,
    situation,
    spec,
    status,
)

PROBED = spec(guardrails=QUALITY)
LONG = Probe(prompt="long", continuation="c", context_tokens=100)
SET = ProbeSet(probes=(LONG,))
ALL_ANSWERED = Memory(key="try", answered=frozenset({("a", "life"), ("b", "life")}))


def on(revision: str = REVISION, mode: Mode = Mode.ON, **changes: Any) -> State:
    return engine(mode, identity=Identity(revision=revision), **changes)


SHADOW = on(mode=Mode.SHADOW)


def choose(
    *pods: EnginePod, memory: Memory = ALL_ANSWERED, verdict: Verdict = Verdict.HOLDING, **changes: Any
) -> RunProbes | None:
    values: dict[str, Any] = {"spec": PROBED, "probes": SET, **changes}
    acting = [answer(name, verdict, of_spec=PROBED) for name in ("quality", "disasters")]
    certified = reaches(REACHED, LEAST)
    found = Evidence(answers=(answer("recall", Verdict.CERTIFIED), *acting), reaches=certified)
    return probes.choose(situation(*(pods or (pod("a", on()),)), memory=memory, evidence=found, **values))


def asked(**of: Asked) -> Memory:
    return replace(ALL_ANSWERED, probing=Probing(asked=3, last=of))


def test_one_pod_under_reuse_is_enough() -> None:
    assert choose() == RunProbes(revision=REVISION, number=0, pod="a", probe=LONG)
    assert choose(spec=spec(guardrails=QUALITY, traffic={})) is not None


@pytest.mark.parametrize(
    ("phase", "reach", "expected"),
    [
        (Phase.SHADOWING, None, True),  # by what shadow certifies
        (Phase.PROMOTED, granted(128), True),
        (Phase.PROMOTED, granted(64, 128), True),
    ],
)
def test_probes_are_as_long_as_what_is_exposed_or_about_to_be(
    phase: Phase, reach: Any, expected: bool
) -> None:
    kept = status(phase, reach=reach)
    assert bool(choose(status=kept)) is expected
    longer = ProbeSet(probes=(replace(LONG, context_tokens=129),))
    assert choose(status=kept, probes=longer) is None


@pytest.mark.parametrize("phase", Phase)
def test_while_users_may_be_exposed_and_before(phase: Phase) -> None:
    expected = phase in (Phase.SHADOWING, Phase.CANARY, Phase.PROMOTED)
    assert bool(choose(status=status(phase))) is expected


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": None},
        {"spec": spec()},
        {"probes": None},
        {"probes": ProbeSet(problem="no ConfigMap")},
        {"probes": ProbeSet(probes=(replace(LONG, context_tokens=16),))},
        {"spec": spec(guardrails=QUALITY, indexCache={"pattern": "FSFS", "minContextTokens": 101})},
    ],
    ids=str,
)
def test_without_probes_that_reuse_can_change_there_is_nothing_to_ask(changes: dict[str, Any]) -> None:
    assert choose(**changes) is None


@pytest.mark.parametrize(
    "state",
    [
        on("other"),
        on(probe_runs=None),
        on(mode=Mode.OFF),
        on(mode=Mode.TRIPPED),
        on(sites=()),
        None,
    ],
)
def test_an_engine_that_can_not_compute_both_sides_is_not_asked(state: State | None) -> None:
    assert choose(pod("a", state)) is None


def test_a_pod_that_is_not_ready_is_not_asked() -> None:
    assert choose(pod("a", on(), ready=False)) is None


@pytest.mark.parametrize(
    ("phase", "pods", "expected"),
    [
        (Phase.SHADOWING, [pod("a", SHADOW)], "a"),
        (Phase.CANARY, [pod("a", SHADOW)], "a"),
        (Phase.CANARY, [pod("a", SHADOW), pod("b", on())], "b"),
        (Phase.PROMOTED, [pod("a", SHADOW)], None),
    ],
)
def test_pods_in_shadow_are_asked_while_none_is_under_reuse(
    phase: Phase, pods: list[EnginePod], expected: str | None
) -> None:
    found = choose(*pods, status=status(phase))
    assert (found and found.pod) == expected


def test_who_never_answered_comes_first() -> None:
    only_a = Memory(key="try", answered=frozenset({("a", "life"), ("b", "before")}))
    pods = [pod("a", on()), pod("b", on())]
    for number in range(8):
        found = choose(*pods, memory=replace(only_a, probing=Probing(asked=number)))
        assert found is not None
        assert found.pod == "b"
    confirmed = status(pods=(PodStatus(name="b", confirmed="life"),))
    drawn = {
        choose(*pods, memory=replace(only_a, probing=Probing(asked=n)), status=confirmed) for n in range(9)
    }
    assert {run.pod for run in drawn if run} == {"a", "b"}


NOBODYS = pod("a", on(), baseline_label=False)
DRAINED = replace(asked(a=Asked(ended=at(-1), seconds=40.0)), drained_pods=frozenset({("a", "life")}))


@pytest.mark.parametrize(
    ("ended", "seconds", "verdict", "due"),
    [
        (-17.9, 2.0, Verdict.HOLDING, False),
        (-18.0, 2.0, Verdict.HOLDING, True),
        (-97.9, 2.0, Verdict.CERTIFIED, False),
        (-98.0, 2.0, Verdict.CERTIFIED, True),
        (-278.0, 31.0, Verdict.HOLDING, False),
        (-279.0, 31.0, Verdict.HOLDING, True),
    ],
)
def test_pairs_take_no_more_than_their_share_of_a_pods_time(
    ended: float, seconds: float, verdict: Verdict, due: bool
) -> None:
    memory = asked(a=Asked(ended=at(ended), seconds=seconds))
    assert bool(choose(memory=memory, verdict=verdict)) is due


def test_another_pod_is_asked_meanwhile() -> None:
    found = choose(pod("a", on()), pod("b", on()), memory=asked(a=Asked(ended=at(-1), seconds=9.0)))
    assert found is not None
    assert found.pod == "b"


def test_the_share_is_the_specs() -> None:
    memory = asked(a=Asked(ended=at(-2), seconds=2.0))
    half = {"quality": {**QUALITY["quality"], "maxTimeShare": 0.5}}
    assert choose(memory=memory) is None
    assert choose(memory=memory, spec=spec(guardrails=half)) is not None


def test_a_pod_that_serves_nobody_is_asked_all_the_time() -> None:
    assert choose(NOBODYS, memory=DRAINED) is not None
    assert choose(pod("a", on()), memory=DRAINED) is None
    assert choose(replace(NOBODYS, canary_label=True), memory=DRAINED) is None
    assert choose(NOBODYS, memory=replace(DRAINED, drained_pods=frozenset())) is None
    assert choose(NOBODYS, memory=DRAINED, spec=spec(guardrails=QUALITY, traffic={})) is None


@pytest.mark.parametrize(
    ("in_vain", "ended", "due"),
    [
        (1, -4.9, False),
        (1, -5.0, True),
        (3, -19.0, False),
        (3, -20.0, True),
        (99, -599, False),
        (99, -600, True),
    ],
)
def test_pairs_in_vain_are_asked_ever_more_seldom(in_vain: int, ended: float, due: bool) -> None:
    memory = asked(a=Asked(ended=at(ended), seconds=0.01, in_vain=in_vain))
    assert bool(choose(memory=memory)) is due


def test_after_a_restart_pods_rest_as_long_as_a_pair_wants() -> None:
    memory = replace(ALL_ANSWERED, probing=Probing(asked=3, before=Asked(ended=at(-17), seconds=2.0)))
    assert choose(memory=memory) is None
    memory = replace(memory, probing=replace(memory.probing, before=Asked(ended=at(-18), seconds=2.0)))
    assert choose(memory=memory) is not None


@pytest.mark.parametrize(("since", "due"), [(-14.9, False), (-15.0, True)])
def test_a_pair_under_way_is_waited_for(since: float, due: bool) -> None:
    assert bool(choose(memory=replace(ALL_ANSWERED, probed_at=at(since)))) is due


def test_when_they_were_asked_is_remembered() -> None:
    assert probes.asked(ALL_ANSWERED, at(3)) == replace(ALL_ANSWERED, probed_at=at(3))


def test_probe_and_pod_are_drawn_by_revision_and_number() -> None:
    several = tuple(replace(LONG, prompt=f"p{i}") for i in range(8))
    pods = [pod(name, on()) for name in "abcd"]
    answered = replace(ALL_ANSWERED, answered=frozenset((name, "life") for name in "abcd"))
    for number in range(12):
        memory = replace(answered, probing=Probing(asked=number))
        found = choose(*pods, memory=memory, probes=ProbeSet(probes=several))
        assert found is not None
        assert found.probe == draws.draw(several, {}, 16, REVISION, number)
        assert found.pod == "abcd"[int(draws.uniform(REVISION, number, "pod") * 4)]


@pytest.mark.parametrize(("ended", "due"), [(-159.0, False), (-160.0, True)])
def test_once_certified_even_a_pod_that_serves_nobody_is_asked_a_fifth_of_the_time(
    ended: float, due: bool
) -> None:
    memory = replace(DRAINED, probing=Probing(asked=3, last={"a": Asked(ended=at(ended), seconds=40.0)}))
    assert bool(choose(NOBODYS, memory=memory, verdict=Verdict.CERTIFIED)) is due
