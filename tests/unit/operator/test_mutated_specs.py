"""Every spec, however odd, is refused by the name of a field, or planned; and what engines are told is valid
to them.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contexts import CONTEXT_ENDS_IN_K, JUDGED
from indexcache_core.contract import MAX_BODY, Desired, Flags, Kill, Mode, Requests, Series, Site, Work
from indexcache_core.histogram import of
from indexcache_core.pattern import shared_sites
from indexcache_operator.api import stored
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod, Observation, Probe, ProbeResult, ProbeSet, PutFlags
from indexcache_operator.model import Kill as KillPod
from indexcache_operator.observe.rollout import read
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts import revision
from indexcache_operator.plan.facts.guardrails import effective_pattern
from indexcache_operator.workload.merge import TemplateError
from indexcache_operator.workload.render import Owner, Runtime, render
from indexcache_runtime.control.switch import CallRefused, Switch
from pydantic import ValidationError

from scripts.generate.crd import root_schema
from tests.credentials import control
from tests.unit.operator.mutated import SCHEMA, WHOLE, mutants
from tests.unit.operator.plan.build import at, engine, observation, pod, route
from tests.unit.operator.plan.world_parts import K
from tests.unit.structural import Schema, leaves, problems

STATUS: Schema = root_schema()["properties"]["status"]
SEED, COUNT = int(os.environ.get("SEED") or 1), int(os.environ.get("COUNT") or 500)
PHASES = [phase for phase in Phase if phase not in (Phase.FELL_BACK, Phase.FALLING_BACK)]


def without_nulls(value: Any) -> Any:
    """Return a value as the API server stores it: a null is an absent field."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def pruned(schema: Schema, value: Any) -> Any:
    """Return a value as the API server stores it: without the fields that the schema doesn't know."""
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        return {name: pruned(known[name], child) for name, child in value.items() if name in known}
    return (
        [pruned(schema["items"], item) for item in value]
        if isinstance(value, list) and "items" in schema
        else value
    )


def let_through(spec: Any, about: str) -> None:
    """Check that the model takes what the API server would let through."""
    kept = pruned(SCHEMA, spec)
    if not problems(SCHEMA, kept):
        said = read(rollout(kept)).spec_problem
        assert said is None, f"{about}: the API server lets it through, the model says {said}"


def rollout(spec: Any) -> dict[str, Any]:
    """Return a rollout with this spec, as the API server gives it."""
    metadata = {"name": "chat", "namespace": "ns", "uid": "uid", "resourceVersion": "1", "generation": 3}
    return {"metadata": metadata, "spec": spec}


def related(said: str, path: tuple[str | int, ...]) -> bool:
    """Return whether an error's field is the one that was changed, one in it, or one around it."""
    changed = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return changed.split("[")[0].startswith(said.split("[")[0]) or said.startswith(changed.split("[")[0])


def test_the_whole_spec_has_every_field_and_is_planned() -> None:
    for path, _ in leaves(SCHEMA):
        node: Any = WHOLE
        for part in path:
            node = node[part]
    assert problems(SCHEMA, WHOLE) == []
    assert read(rollout(WHOLE)).spec_problem is None


def engines(spec: Spec, phase: Phase, recall: float) -> Iterator[EnginePod]:
    """Yield engines that measured something for this spec, in the mode that a phase has."""
    exposed = phase in (Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED)
    cache, name = spec.index_cache, revision.revision(spec)
    flags = Flags(mode=Mode.SHADOW, pattern=cache.pattern, protected=tuple(cache.protected))
    sites = [Site(index=i, layer=i, domain="d", k=K) for i in range(len(cache.pattern))]
    shared = shared_sites(effective_pattern(spec))[:2]
    none = (0,) * (len(CONTEXT_ENDS_IN_K) - 2)
    for i, letter in enumerate("abc"):
        mode = Mode.ON if exposed and i == 0 else Mode.SHADOW
        series = [
            Series(
                site=site,
                context=JUDGED[0],
                work=work,
                mode=measured,
                overlap=of([recall] * 60),
                recall=of([recall] * 60),
            )
            for site in (None, *shared)
            for work in Work
            for measured in (Mode.SHADOW, Mode.ON)
        ]
        state = engine(
            mode, sites=sites, observed=series, desired=flags, epoch=1, identity={"revision": name},
            requests=Requests(admitted_baseline=500, admitted_reuse=50, recent=(0, 0, 500, *none)),
        )  # fmt: skip
        yield pod(letter, state, canary_label=mode is Mode.ON)


def seen(spec: Spec, phase: Phase, recall: float) -> Observation:
    """Return a look at a rollout with this spec in a phase."""
    kept: dict[str, Any] = {"phase": phase, "revision": revision.revision(spec), "epoch": 1}
    if phase in (Phase.CANARY, Phase.PROMOTING):
        kept["step"] = {"index": 0, "weight": spec.strategy.steps[0].weight, "startedAt": at(-5).isoformat()}
        kept["canaryPods"] = ["a"]
    kept |= {"phaseStartedAt": at(-10).isoformat(), "revisionStartedAt": at(-100).isoformat()}
    results = tuple(
        ProbeResult(
            revision=revision.revision(spec),
            number=number,
            pod="a",
            incarnation="life",
            context_tokens=100,
            full_logprob=-1.0,
            reuse_logprob=-1.5,
        )
        for number in range(3)
    )
    return observation(
        *engines(spec, phase, recall),
        spec=spec,
        status=read({**rollout({}), "status": kept}).status,
        route=route() if spec.traffic.http_route else None,
        probes=ProbeSet(probes=(Probe(prompt="p", continuation="c", context_tokens=100),)),
        probe_results=results if phase is Phase.CANARY else (),
    )


def told(spec: Spec, looks: Observation) -> None:
    """Plan twice from a look, as a loop does, and check what engines would be told and what would be
    written.
    """
    made = plan(looks)
    made = plan(replace(looks, status=made.status), made.memory)
    for action in made.actions:
        if isinstance(action, PutFlags):
            body = action.desired.model_dump_json()
            assert len(body) <= MAX_BODY
            assert Desired.model_validate_json(body) == action.desired
            switch = Switch(incarnation="life", domains=("d",) * len(spec.index_cache.pattern))
            switch.put(action.desired, now=0.0)
        elif isinstance(action, KillPod):
            Kill(reason=action.reason)
    assert problems(STATUS, stored.dump(made.status)) == []


def planned(spec: Spec, recall: float) -> None:
    """Render and plan a spec that was accepted."""
    try:
        render(
            spec,
            Owner(name="chat", namespace="ns", uid="uid"),
            Runtime(image="r"),
            control("ns", "chat", "uid"),
        )
    except TemplateError as error:
        assert str(error).startswith("spec.engine.template")  # noqa: PT017 (any template may be refused)
    for phase in PHASES:
        try:
            told(spec, seen(spec, phase, recall))
        except CallRefused as refused:
            assert refused.refused.code == "DoesNotFit", refused  # noqa: PT017 (a pattern may fit no engine)


def test_a_mutated_spec_is_refused_by_the_name_of_a_field_or_planned() -> None:
    refused = accepted = 0
    for number, mutant in enumerate(mutants(SEED, COUNT)):
        about = f"seed {SEED}, spec {number}, changed {mutant.changed}"
        given = without_nulls(mutant.spec)
        let_through(given, about)
        try:
            spec = Spec.model_validate(given)
        except ValidationError as error:
            found = read(rollout(given))
            said = found.spec_problem
            paths = [
                "spec" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in item["loc"])
                for item in error.errors()
            ]
            others = [("indexCache", "protected")] if ("indexCache", "pattern") in mutant.changed else []
            wanted = [*mutant.changed, *others]
            assert all(any(related(path, change) for change in wanted) for path in paths), f"{about}: {said}"
            if found.spec is not None:  # nothing but fields that this version doesn't know
                assert set(found.unknown_fields) == set(paths), about
                planned(found.spec, recall=0.999)
                accepted += 1
                continue
            assert said is not None, about
            assert all("found " in part and "; " in part for part in said.split("; spec.")), said
            refused += 1
            continue
        try:
            planned(spec, recall=(0.999, 0.01)[number % 2])
        except Exception as error:
            raise AssertionError(f"{about}: {mutant.spec}") from error
        accepted += 1
    assert refused >= COUNT // 5
    assert accepted >= COUNT // 5


@pytest.mark.parametrize("text", ["200h", "0s", "1ms", "168h1ms", "999ms"])
def test_a_permit_that_no_engine_takes_or_that_lapses_by_itself_is_refused(text: str) -> None:
    said = read(rollout({**WHOLE, "fallback": {"permit": {"promoted": text}}})).spec_problem
    assert said is not None
    assert said.startswith("spec.fallback.permit.promoted: found ")
    assert "expected a duration from 1s to 168h; write one in between" in said
