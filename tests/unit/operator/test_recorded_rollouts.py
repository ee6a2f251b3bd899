"""Rollouts that a version has stored, looked at and planned by this one: an upgrade, a downgrade, or a CRD
that comes first or last moves nothing, and nothing is forgotten.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from indexcache_core.contract import CONTRACT, Mode
from indexcache_operator import model, names
from indexcache_operator.api.status import Phase
from indexcache_operator.contracts import SPOKEN
from indexcache_operator.engines import Told
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.model import Sighting
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.snapshot import Snapshot
from indexcache_operator.workload.render import Runtime

from tests.credentials import CREDENTIALS, control
from tests.recorded import rollouts
from tests.unit.operator.plan.world_parts import NAME

Record = dict[str, Any]
NEWER = Runtime(image="indexcache-runtime:9.9.9", pull_policy="Always")
OFF = {Phase.PENDING, Phase.CHECKING, Phase.FAILED, Phase.FALLING_BACK, Phase.FELL_BACK}
AT_REST = ("shadowing", "promoted", "fellback-killed", "fellback-rejected", "failed")
RECORDS = [
    pytest.param(version, name, id=f"{version}-{name}")
    for version in rollouts.versions()
    for name in rollouts.recorded(version)
]


class RecordedApi(Kube):
    """The API server, as far as it was recorded."""

    def __init__(self, record: Record) -> None:
        self._objects, self._pods = record["objects"], record["pods"]

    async def get(self, path: str) -> dict[str, Any]:
        if path not in self._objects:
            raise NotFound(404, "NotFound", path)
        return copy.deepcopy(self._objects[path])

    async def select(self, path: str, *labels: Any) -> list[dict[str, Any]]:
        assert path.endswith("/pods")
        return copy.deepcopy(self._pods)

    async def apply(
        self, path: str, body: dict[str, Any], *, dry_run: bool = False, force: bool = True
    ) -> dict[str, Any]:
        assert dry_run
        same = self._objects.get(path, {}).get("spec") == body["spec"]
        return {**body, "metadata": {**body["metadata"], "generation": 1 if same else 2}}


async def look(record: Record, monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> Sighting:
    """Look at what was recorded, when it was."""

    class Engines:
        def __init__(self, **given: Any) -> None:
            assert set(given["tokens"].values()) <= {control(rollouts.NAMESPACE, NAME, "uid").token}

        async def ask(self, ip: str, known: str = "") -> Told:
            return Told(state=SPOKEN.read(record["engines"][ip]), tag="")

    monkeypatch.setattr("indexcache_operator.observe.look.Engines", Engines)
    async with aiohttp.ClientSession() as session:
        observer = Observer(
            kube=RecordedApi(record),
            session=session,
            runtime=runtime,
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(session, None),
        )
        found = await observer.look(rollouts.NAMESPACE, NAME, Sight())
    assert found is not None
    assert found.observation.unread == ()
    now = datetime.fromisoformat(record["now"])
    return replace(found, observation=replace(found.observation, now=now))


def rollout(record: Record) -> dict[str, Any]:
    return next(found for path, found in record["objects"].items() if "/indexcacherollouts/" in path)


def grown(value: Any) -> Any:
    """Return JSON as a newer version might have written it: more fields, wherever there are any."""
    if isinstance(value, dict):
        return {**{name: grown(part) for name, part in value.items()}, "ofTheNext": {"version": [1]}}
    return [grown(part) for part in value] if isinstance(value, list) else value


def as_recorded(record: Record) -> Record:
    return record


def downgraded(record: Record) -> Record:
    """Return a record whose status a newer operator has written."""
    kept = {
        name: part if name in ("route", "quality") else grown(part)  # of what users or buckets name
        for name, part in rollout(record)["status"].items()
    }
    rollout(record)["status"] = {**kept, "ofTheNext": 1}
    return record


def beside_newer_engines(record: Record) -> Record:
    """Return a record whose engines' plugin is a release ahead."""
    record["engines"] = {
        name: {**grown(state), "contract": CONTRACT + 1} for name, state in record["engines"].items()
    }
    return record


def under_an_older_crd(record: Record) -> Record:
    """Return a record as a CRD leaves it that was applied before the operator's fields came."""
    for field in ("uid", "runtime"):
        rollout(record)["status"].pop(field, None)
    return record


def under_a_newer_crd(record: Record) -> Record:
    """Return a record whose CRD came first, with a field in use that this operator doesn't know."""
    spec = copy.deepcopy(rollout(record)["spec"])
    spec["strategy"]["ofTheNext"] = 1
    rollout(record)["spec"] = spec
    return record


CHANGES = [as_recorded, downgraded, beside_newer_engines, under_an_older_crd, under_a_newer_crd]


def recorded(version: str, name: str, change: Callable[[Record], Record]) -> Record:
    return change(copy.deepcopy(rollouts.recorded(version)[name]))


def test_each_phase_was_recorded() -> None:
    assert rollouts.versions()
    for version in rollouts.versions():
        records = rollouts.recorded(version).values()
        assert {rollout(record)["status"]["phase"] for record in records} == {*Phase}, version


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("version", "name"), RECORDS)
async def test_nothing_is_forgotten(
    version: str, name: str, change: Callable[[Record], Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever phase: the try goes on under its name, with the plugin that it began with."""
    record = recorded(version, name, change)
    seen = await look(record, monkeypatch, NEWER)
    before, made = seen.observation.status, plan(seen.observation)
    kept = rollout(record)["status"]
    assert seen.observation.spec is not None
    assert before.revision == kept.get("revision", "")
    if before.revision:
        assert Snapshot(seen.observation).wanted_revision == before.revision == made.status.revision
        assert made.status.revision_started_at == before.revision_started_at
    assert [r.revision for r in made.status.rejected] == [r["revision"] for r in kept.get("rejected", ())]
    if before.phase is Phase.FALLING_BACK:  # killed, which rejects nothing
        assert (made.status.phase, made.status.reason) == (Phase.FELL_BACK, "Killed")
    assert made.status.history[: len(before.history)] == before.history
    epochs = {p.name: p.epoch for p in made.status.pods}
    told = {p["name"]: p["epoch"] for p in kept.get("pods", ()) if p["epoch"] and before.phase not in OFF}
    assert epochs.keys() >= told.keys()
    if made.status.phase is before.phase:  # a try that was about to go on does, and tells its engines
        assert epochs.items() >= told.items()
    if f"/apis/apps/v1/namespaces/{rollouts.NAMESPACE}/deployments/{NAME}" in record["objects"]:
        assert seen.observation.workload_current
        assert made.status.runtime == rollouts.RUNTIME.image
    if before.phase not in OFF:
        assert made.status.phase not in OFF
        assert made.status.fallback is None
        assert not [action for action in made.actions if isinstance(action, model.Kill)]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("version", "name"), [found for found in RECORDS if str(found.values[1]) in AT_REST])
async def test_nothing_moves(
    version: str, name: str, change: Callable[[Record], Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is at rest stays so: promoted, rejected, measuring, refused."""
    seen = await look(recorded(version, name, change), monkeypatch, NEWER)
    before, memory = seen.observation.status, None
    looked = seen.observation
    for _ in range(3):
        made = plan(looked, memory)
        assert [action for action in made.actions if rollouts.moving(seen, action)] == []
        assert made.status.phase is before.phase
        looked, memory = replace(looked, status=made.status), made.memory
    assert (looked.status.epoch, looked.status.canary_pods) == (before.epoch, before.canary_pods)
    assert looked.status.route == before.route


@pytest.mark.parametrize(("version", "name"), RECORDS)
async def test_a_kill_works_as_before(version: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = recorded(version, name, beside_newer_engines)
    rollout(record)["metadata"]["annotations"] = {"indexcache.dev/kill": "true"}
    seen = await look(record, monkeypatch, NEWER)
    killed = {action.pod for action in plan(seen.observation).actions if isinstance(action, model.Kill)}
    assert killed == {name for name, state in record["engines"].items() if state["mode"] == Mode.ON}


async def test_what_would_replace_pods_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else nothing could be seen to move."""
    record = recorded(rollouts.versions()[-1], "promoted", as_recorded)
    path = f"/apis/apps/v1/namespaces/{rollouts.NAMESPACE}/deployments/{NAME}"
    deployment = record["objects"][path]
    deployment["metadata"]["annotations"][names.APPLIED_ANNOTATION] = "another"
    seen = await look(record, monkeypatch, NEWER)
    moved = [action for action in plan(seen.observation).actions if rollouts.moving(seen, action)]
    assert moved == [model.EnsureWorkload()]
