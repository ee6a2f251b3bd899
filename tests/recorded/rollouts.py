"""Rollouts in each phase, as one version stores them, with all that lies around them: <version>/*.json.

    objects   what the API server has, by path: the rollout with its status, workload, route, probes
    pods      the engines' pods
    engines   what each pod's engine says of itself
    now       when it was

A small world (tests/unit/operator/plan/world.py) brings a rollout that far; what it holds is written down as
the API server would give it.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexcache_operator import model, names
from indexcache_operator.api import stored, times
from indexcache_operator.api.base import GROUP, KIND, VERSION
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase
from indexcache_operator.model import Action, EnginePod, Sighting
from indexcache_operator.plan.facts.revision import KILL
from indexcache_operator.workload.pod import selector
from indexcache_operator.workload.render import Owner, Runtime, Workload, render

from tests.credentials import control
from tests.recorded.conversation import HERE
from tests.unit.operator.plan.world import World, bad, good
from tests.unit.operator.plan.world_parts import NAME, probe_set
from tests.unit.operator.plan.world_parts import RUNTIME as IMAGE

RUNTIME = Runtime(image=IMAGE)
NAMESPACE, ROUTE, PROBES = "ns", "users", "probes"
SPEC: dict[str, Any] = {
    "engine": {
        "image": "vllm/vllm-openai:v0.32.0",
        "model": "/models/glm-5",
        "args": ["--max-model-len=65536", "--port", "8000"],
        "replicas": 3,
        "resources": {"limits": {"nvidia.com/gpu": 8}},
        "template": {"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
    },
    "indexCache": {"pattern": "FSFS", "protected": [3], "minContextTokens": 0},
    "strategy": {
        "shadow": {"minRequests": 100, "timeout": "60s"},
        "steps": [{"weight": 20}, {"weight": 50}],
        "progressDeadline": "10m",
    },
    "traffic": {"httpRoute": {"name": ROUTE, "rule": "generate"}},
    "guardrails": {
        "overlap": {"min": 0.4, "observeOnly": True},
        "recall": {"min": 0.5, "perIndexerMin": 0.3},
        "quality": {"probes": {"configMap": PROBES}},
    },
    "fallback": {"permit": {"canary": "5s", "promoted": "60s"}, "inFlight": "Recompute"},
}


def versions() -> list[str]:
    """Return the versions whose rollouts were recorded."""
    return sorted(path.name for path in HERE.glob("[0-9]*.*") if path.is_dir())


def recorded(version: str) -> dict[str, Any]:
    """Return a version's records by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((HERE / version).glob("*.json"))}


def worlds() -> Iterator[tuple[str, World]]:
    """Yield a world for each phase, with the record's name."""
    yield "pending", _world()
    yield "checking", _world().until(Phase.CHECKING)
    yield "promoted", promoted()
    for phase in (Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING):
        yield phase.value.lower(), _settled(_world().until(phase, looks=3000), phase)
    yield "canary-second-step", _world().wait(lambda w: bool(w.status.step and w.status.step.index), 3000)
    killed = _settled(_world().until(Phase.CANARY, looks=3000), Phase.CANARY)
    killed.annotations = {KILL: killed.status.revision}
    yield "fallingback", killed.until(Phase.FALLING_BACK)
    yield "fellback-killed", killed.until(Phase.FELL_BACK)
    yield "fellback-rejected", rejected()
    refused = _world()
    refused.annotations = {KILL: "true"}
    yield "failed", refused.until(Phase.FAILED)


def promoted(uid: str = "uid") -> World:
    """Return a world whose rollout was promoted."""
    world = _world()
    world.uid = uid
    return _settled(world.until(Phase.PROMOTED, looks=3000), Phase.PROMOTED)


def rejected(uid: str = "uid") -> World:
    """Return a world whose pattern was found to be harmful."""
    world = _world(bad)
    world.uid = uid
    return world.until(Phase.FELL_BACK)


def _world(recall: Any = good) -> World:
    world = World(spec=Spec.model_validate(SPEC), recall=recall, checkpoint="a3c15f0e77d20b94")
    world.probes = probe_set()
    return world


def _settled(world: World, phase: Phase) -> World:
    """Look on while the phase lasts, so that what it wants is done."""
    for _ in range(4):
        later = copy.deepcopy(world)
        later.snapshot()
        if later.status.phase is not phase:
            break
        world = later
    return world


def written(world: World) -> dict[str, Any]:
    """Return a world as the API server and the engines would tell it."""
    assert world.spec is not None
    owner = Owner(name=NAME, namespace=NAMESPACE, uid=world.uid)
    made, seen = render(world.spec, owner, RUNTIME, control(NAMESPACE, NAME, world.uid)), world.observe()
    objects = [_rollout(world), _route(world), _probes(world)]
    if world.workload_for:
        objects += [_generated(made.deployment), *made.services]
    return {
        "now": times.stamp(world.now),
        "objects": {_path(found): found for found in objects},
        "pods": [_pod(pod, made) for pod in seen.pods],
        "engines": {pod.name: pod.state.model_dump(mode="json") for pod in seen.pods if pod.state},
    }


def _path(found: dict[str, Any]) -> str:
    api = ("apis/" if "/" in found["apiVersion"] else "api/") + found["apiVersion"]
    return names.object_path(api, f"{found['kind'].lower()}s", NAMESPACE, found["metadata"]["name"])


def _generated(deployment: dict[str, Any]) -> dict[str, Any]:
    metadata = {**deployment["metadata"], "uid": "deployment-uid", "generation": 1, "resourceVersion": "11"}
    return {**deployment, "metadata": metadata}


def _rollout(world: World) -> dict[str, Any]:
    metadata = {
        "name": NAME,
        "namespace": NAMESPACE,
        "uid": world.uid,
        "resourceVersion": "7",
        "generation": world.generation,
        "annotations": world.annotations,
        "finalizers": [names.FINALIZER],
    }
    status = stored.dump(world.status)
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": metadata,
        "spec": SPEC,
        "status": status,
    }


def _route(world: World) -> dict[str, Any]:
    conditions = [
        {"type": type_, "status": "True", "observedGeneration": world.route_generation}
        for type_ in ("Accepted", "ResolvedRefs")
    ]
    rule = {"name": "generate", "backendRefs": list(world.backends), "timeouts": {"request": "60s"}}
    metadata = {
        "name": ROUTE,
        "namespace": NAMESPACE,
        "generation": world.route_generation,
        "resourceVersion": str(world.route_generation),
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {"rules": [rule]},
        "status": {"parents": [{"controllerName": "example.org/gateway", "conditions": conditions}]},
    }


def _probes(world: World) -> dict[str, Any]:
    assert world.probes is not None
    lines = [
        {"prompt": p["prompt"], "continuation": p["continuation"], "contextTokens": p["context_tokens"]}
        for p in map(asdict, world.probes.probes)
    ]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": PROBES, "namespace": NAMESPACE},
        "data": {"probes.jsonl": "\n".join(map(json.dumps, lines))},
    }


def _pod(pod: EnginePod, made: Workload) -> dict[str, Any]:
    labels = selector(NAME) | {names.TEMPLATE_LABEL: made.template}
    labels |= {names.BASELINE_LABEL: "true"} if pod.baseline_label else {}
    labels |= {names.CANARY_LABEL: "true"} if pod.canary_label else {}
    annotations = made.deployment["spec"]["template"]["metadata"].get("annotations") or {}
    return {
        "metadata": {"name": pod.name, "namespace": NAMESPACE, "labels": labels, "annotations": annotations},
        "status": {
            "phase": "Running",
            "podIP": pod.name,
            "conditions": [{"type": "Ready", "status": "True" if pod.ready else "False"}],
        },
    }


def moving(seen: Sighting, action: Action) -> bool:
    """Return whether an action moves traffic, flags or pods; a renewal of a permit doesn't."""
    match action:
        case model.PersistStatus() | model.Event() | model.RunProbes():
            return False
        case model.PutFlags():
            state = next(p.state for p in seen.observation.pods if p.name == action.pod)
            assert state is not None
            desired = action.desired
            told = (state.epoch, state.desired, state.identity, state.thresholds)
            return told != (desired.epoch, desired.flags, desired.identity, desired.thresholds)
        case _:
            return True


def record(version: str) -> None:
    """Write this version's rollouts."""
    here: Path = HERE / version
    here.mkdir(exist_ok=True)
    for old in here.glob("*.json"):
        old.unlink()
    for name, world in worlds():
        (here / f"{name}.json").write_text(json.dumps(written(world)) + "\n")
