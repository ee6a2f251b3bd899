"""Tests the reasons that nothing but a change of the spec takes away."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Indexer, Site
from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod, Probe, ProbeSet
from indexcache_operator.plan.phases import check

from tests.unit.operator.plan.build import REVISION, case, engine, pod, snapshot, status
from tests.unit.operator.plan.phases.checking import DSA, REJECTED
from tests.unit.operator.plan.world_parts import spec


def reasons(*pods: EnginePod, **changes: Any) -> list[str]:
    seen = snapshot(*pods, **{"status": status(Phase.CHECKING), **changes})
    return check.impossible(case(seen, seen.observation.status))


def test_nothing_stands_against_a_spec_that_can_be() -> None:
    assert reasons(pod("a"), pod("b", None), pod("c", engine(sites=()))) == []
    assert check.companions(snapshot()) == []
    assert reasons(model_config=DSA) == []


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


def test_an_indexer_that_an_engine_does_not_have_is_refused_by_its_field() -> None:
    fast = spec(indexCache={"pattern": "FSFS", "indexer": "Fast"})
    has = pod("a", engine(indexers=tuple(Indexer)))
    assert reasons(has, spec=fast) == []
    assert reasons(pod("b")) == []
    (reason,) = reasons(has, pod("b"), spec=fast)
    assert reason.startswith("spec.indexCache.indexer: Fast; the engine of pod b has Native; Fast needs")
    assert reasons(replace(pod("b"), current=False), spec=fast) == []
    (other,) = reasons(pod("b", engine(supported=False, reasons=("r",))), spec=fast)
    assert other == "spec.engine: pod b: r"


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
