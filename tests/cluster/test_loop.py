"""The loop on a real API server and against a control port over HTTP: order, retries, fences, and an end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from indexcache_core.contract import Mode, Refused, State
from indexcache_operator import names
from indexcache_operator.act import perform, route, workload
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.credentials import Credentials
from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.kube import Kube, KubeError, NotFound
from indexcache_operator.loop import RolloutLoop
from indexcache_operator.model import (
    Action,
    DeleteWorkload,
    EnsureWorkload,
    Event,
    Kill,
    Observation,
    PatchRoute,
    PersistStatus,
    Plan,
    RemoveFinalizer,
    SetLabels,
)
from indexcache_operator.observe import look
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer
from indexcache_operator.observe.rollout import UnreadableStatus
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.revision import KILL, revision
from indexcache_operator.watch import Loops
from indexcache_operator.workload.render import Runtime

from tests.credentials import CREDENTIALS, control

ROLLOUT: dict[str, Any] = {
    "apiVersion": "indexcache.dev/v1alpha1",
    "kind": "IndexCacheRollout",
    "metadata": {"name": "r"},
    "spec": {"engine": {"image": "i", "model": "m"}, "indexCache": {"pattern": "FS"}},
}
IDLE = 3600.0

Decide = Callable[[Observation], tuple[Status, list[Action]]]


class Scene:
    """One rollout, and loops over it that decide as the test says."""

    def __init__(self, kube: Kube, namespace: str, session: aiohttp.ClientSession) -> None:
        self.kube, self.namespace, self.session = kube, namespace, session
        self.uid = ""
        self.seen: list[Observation] = []
        self.fresh = asyncio.Event()

    def path(self, subresource: str = "") -> str:
        return names.rollouts_path(self.namespace, "r", subresource)

    async def status(self) -> dict[str, Any]:
        return (await self.kube.get(self.path())).get("status") or {}

    async def write(self, **status: Any) -> None:
        raw = await self.kube.get(self.path())
        await self.kube.replace(self.path("status"), {**raw, "status": {**raw.get("status", {}), **status}})

    def loop(self, decide: Decide, wait: float = IDLE, kube: Any = None) -> RolloutLoop:
        def planner(observation: Observation, memory: Memory | None) -> Plan[Memory]:
            self.seen.append(observation)
            self.fresh.set()
            status, actions = decide(observation)
            return Plan(
                status=status,
                actions=tuple(actions),
                next_look=timedelta(seconds=wait),
                memory=memory or Memory(key=""),
            )

        kube = kube or self.kube
        observer = Observer(
            kube=kube,
            session=self.session,
            runtime=Runtime(image="runtime:1"),
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(self.session, None),
        )
        return RolloutLoop(
            kube=kube,
            session=self.session,
            observer=observer,
            planner=planner,
            namespace=self.namespace,
            name="r",
            uid=self.uid,
        )

    async def eventually(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not await condition():  # noqa: ASYNC110 (the API is what is asked)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(loop: RolloutLoop) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(loop.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def scene(kube: Kube, namespace: str) -> AsyncIterator[Scene]:
    async with aiohttp.ClientSession() as session:
        scene = Scene(kube, namespace, session)
        scene.uid = (await kube.create(names.rollouts_path(namespace), ROLLOUT))["metadata"]["uid"]
        yield scene


async def test_holds_applies_persists_and_then_rests(scene: Scene) -> None:
    def decide(o: Observation) -> tuple[Status, list[Action]]:
        status = replace(o.status, phase=Phase.CHECKING)
        return status, [] if o.workload_current else [
            PersistStatus(),
            EnsureWorkload(),
            Event(type="Normal", reason="Began", message="m"),
        ]

    loop = scene.loop(decide)
    async with running(loop):

        async def applied() -> bool:
            loop.wake()
            return bool(scene.seen) and scene.seen[-1].workload_current

        await scene.eventually(applied)
        raw = await scene.kube.get(scene.path())
        assert raw["metadata"]["finalizers"] == [names.FINALIZER]
        assert raw["status"]["phase"] == "Checking"
        looks = len(scene.seen)
        loop.wake()

        async def looked() -> bool:
            return len(scene.seen) > looks

        await scene.eventually(looked)
        assert (await scene.kube.get(scene.path()))["metadata"]["resourceVersion"] == raw["metadata"][
            "resourceVersion"
        ]
    events = await scene.kube.select(names.object_path("api/v1", "events", scene.namespace))
    assert [e["reason"] for e in events] == ["Began"]


async def test_an_intent_written_in_between_is_never_erased(scene: Scene) -> None:
    """Between the look and the write the webhook stores an intent: the write is refused, and the next look
    sees it.
    """
    intent = {"cause": "AlertFiring", "since": "2026-01-01T00:00:00.000Z", "revision": "rev1"}

    async def webhook() -> None:
        raw = await scene.kube.get(scene.path())
        await scene.kube.replace(
            scene.path("status"), {**raw, "status": {**raw.get("status", {}), "fallback": intent}}
        )

    first = True

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if o.status.fallback is not None:
            return replace(o.status, phase=Phase.FALLING_BACK), [PersistStatus()]
        return replace(o.status, epoch=o.status.epoch + 1), [PersistStatus()]

    loop = scene.loop(decide)
    looked = loop.observer.look

    async def look(*args: Any) -> Any:
        nonlocal first
        found = await looked(*args)
        if found is not None and found.rollout.held and first:
            first = False
            await webhook()
        return found

    object.__setattr__(loop.observer, "look", look)
    async with running(loop):

        async def fell() -> bool:
            return (await scene.status()).get("phase") == "FallingBack"

        await scene.eventually(fell)
    assert (await scene.status())["fallback"]["cause"] == "AlertFiring"
    assert (await scene.status()).get("epoch", 0) == 0


async def test_a_kill_waits_for_nothing_and_nothing_for_a_kill(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine hangs until the status was written; the status write hangs until the kill was begun."""
    killing, killed = asyncio.Event(), asyncio.Event()

    async def kill(self: Engines, ip: str, reason: str) -> None:
        killing.set()

        async def written() -> bool:
            return (await scene.status()).get("epoch") == 9

        await scene.eventually(written)
        killed.set()

    monkeypatch.setattr(Engines, "kill", kill)
    await _pod(scene)

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if not o.workload_current:
            return o.status, [EnsureWorkload()]
        if o.status.epoch == 9:
            return o.status, []
        return replace(o.status, epoch=9), [PersistStatus(), Kill(pod="p", reason="why")]

    loop = scene.loop(decide, wait=0.01)
    written = loop._writer.write

    async def write(*args: Any) -> Any:
        if args[2].epoch == 9:
            await killing.wait()
        return await written(*args)

    monkeypatch.setattr(loop._writer, "write", write)
    async with running(loop), asyncio.timeout(60):
        await killed.wait()


async def test_a_kill_that_fails_is_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    done = asyncio.Event()

    async def kill(self: Engines, ip: str, reason: str) -> None:
        nonlocal tries
        tries += 1
        if tries < perform.KILL_TRIES:
            raise EngineError("timeout")
        done.set()

    monkeypatch.setattr(Engines, "kill", kill)
    await _pod(scene)

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if not o.workload_current:
            return o.status, [EnsureWorkload()]
        return o.status, [] if done.is_set() else [Kill(pod="p", reason="why")]

    async with running(scene.loop(decide, wait=0.01)), asyncio.timeout(60):
        await done.wait()
    assert tries == perform.KILL_TRIES


async def test_what_follows_a_failure_is_done_all_the_same(scene: Scene) -> None:
    """Labels of a pod that is gone can't be set: the status after it is written, the error is told, and the
    loop goes on.
    """

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if len(scene.seen) < 3:
            return replace(o.status, epoch=5), [
                SetLabels(pod="gone", baseline=True, canary=False),
                PersistStatus(),
            ]
        return replace(o.status, phase=Phase.CHECKING), [PersistStatus()]

    async with running(scene.loop(decide)):

        async def went_on() -> bool:
            return (await scene.status()).get("phase") == "Checking"

        await scene.eventually(went_on)
    assert (await scene.status())["epoch"] == 5
    events = await scene.kube.select(names.object_path("api/v1", "events", scene.namespace))
    assert [e["reason"] for e in events] == ["TurnFailed"]
    assert "gone" in events[0]["message"]


async def test_the_route_waits_for_labels_that_failed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    patched: list[Any] = []

    async def patch(*args: Any) -> None:
        patched.append(args)

    monkeypatch.setattr(route, "patch", patch)
    change = PatchRoute(rule_index=0, rule="all", backends=(), resource_version="1")

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        return replace(o.status, phase=Phase.CHECKING), [
            SetLabels(pod="gone", baseline=True, canary=False),
            change,
            PersistStatus(),
        ]

    async with running(scene.loop(decide, wait=0.01)):

        async def went_on() -> bool:
            return (await scene.status()).get("phase") == "Checking"

        await scene.eventually(went_on)
    assert patched == []


async def test_what_relies_on_a_failure_waits_for_the_next_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer goes only with the objects, an epoch is used only once it is written."""

    async def refused(*_: Any) -> None:
        raise KubeError(403, "Forbidden", "no deletion")

    monkeypatch.setattr(workload, "delete", refused)

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        return o.status, [DeleteWorkload(), RemoveFinalizer()]

    async with running(scene.loop(decide, wait=0.01)):

        async def told() -> bool:
            return bool(await scene.kube.select(names.object_path("api/v1", "events", scene.namespace)))

        await scene.eventually(told)
    assert (await scene.kube.get(scene.path()))["metadata"]["finalizers"] == [names.FINALIZER]


async def test_a_rollout_whose_turns_fail_says_so_until_one_succeeds(scene: Scene) -> None:
    fails = True

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if fails:
            raise ZeroDivisionError("a fault")
        return replace(o.status, phase=Phase.CHECKING, conditions=()), [PersistStatus()]

    await scene.write(phase="Checking")
    loop = scene.loop(decide)
    async with running(loop):

        async def shown() -> bool:
            return any(
                c["type"] == "OperatorHealthy" and c["status"] == "False"
                for c in (await scene.status()).get("conditions", [])
            )

        await scene.eventually(shown)
        (condition,) = (await scene.status())["conditions"]
        assert "ZeroDivisionError: a fault" in condition["message"]
        fails = False
        loop.wake()

        async def over() -> bool:
            return not (await scene.status()).get("conditions")

        await scene.eventually(over)


class Faulty:
    """The real API, but that requests of one verb are refused whose path holds a text."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.refused: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._kube, name)

        async def call(path: str, *args: Any, **kwargs: Any) -> Any:
            if self.refused and f"{name} " == self.refused[0] and self.refused[1] in path:
                raise KubeError(500, "InternalError", f"{name} {path}: refused by this test")
            return await real(path, *args, **kwargs)

        return call


FAULTS = [
    ("get ", "deployments/r"),
    ("get ", "services/r-baseline"),
    ("get ", "services/r-canary"),
    ("create ", "secrets"),
    ("get ", "httproutes/"),
    ("get ", "configmaps/"),
    ("apply ", ""),
    ("create ", "events"),
    ("replace ", "/status"),
]


@pytest.mark.parametrize(("verb", "path"), FAULTS, ids=lambda part: part.strip(" /") or "any")
async def test_a_kill_needs_the_pods_and_the_token_and_nothing_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, verb: str, path: str
) -> None:
    """The rollout is promoted, all the real planner's; then one request after another is refused, and
    somebody kills.
    """
    killed = asyncio.Event()

    async def kill(self: Engines, ip: str, reason: str) -> None:
        killed.set()

    async def state(self: Engines, ip: str) -> State:
        return State(supported=True, incarnation="life", mode=Mode.ON, epoch=1)

    monkeypatch.setattr(Engines, "kill", kill)
    monkeypatch.setattr(Engines, "state", state)
    spec = {
        **ROLLOUT["spec"],
        "traffic": {"httpRoute": {"name": "users", "rule": "all"}},
        "guardrails": {"quality": {"probes": {"configMap": "probes"}}},
    }
    raw = await scene.kube.get(scene.path())
    await scene.kube.replace(scene.path(), {**raw, "spec": spec})
    await _pod(scene)
    await scene.write(phase="Promoted", revision=(name := revision(Spec.model_validate(spec))))
    kube = Faulty(scene.kube)
    loop = scene.loop(
        lambda o: (o.status, [] if o.workload_current else [EnsureWorkload()]), wait=0.02, kube=kube
    )
    async with running(loop):

        async def applied() -> bool:
            return bool(scene.seen) and scene.seen[-1].workload_current

        await scene.eventually(applied)
        loop.planner = plan
        loop.memory = None
        kube.refused = (verb, path)
        await scene.kube.patch(scene.path(), {"metadata": {"annotations": {KILL: name}}})
        loop.wake()
        await asyncio.wait_for(killed.wait(), 60)


async def test_a_kill_is_obeyed_where_the_status_cant_be_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[str] = []

    async def kill(self: Engines, ip: str, reason: str) -> None:
        killed.append(f"{self.tokens[ip]} {ip}")

    monkeypatch.setattr(Engines, "kill", kill)
    guard = control(scene.namespace, "r", "of-an-earlier-rollout")
    await _pod(scene, {names.CONTROL_ANNOTATION: str(guard.binding)})
    looked = asyncio.Event()

    def unreadable(raw: Any) -> Any:
        looked.set()
        raise UnreadableStatus("status.phase: 42; expected a phase", raw)

    monkeypatch.setattr(look, "read", unreadable)
    loop = scene.loop(lambda o: (o.status, []))
    async with running(loop):
        await looked.wait()
        assert killed == []
        await scene.kube.patch(scene.path(), {"metadata": {"annotations": {KILL: "now"}}})

        async def obeyed() -> bool:
            loop.wake()
            return bool(killed)

        await scene.eventually(obeyed)
    assert killed[0] == f"{guard.token} 127.0.0.9"


async def test_a_secret_that_is_lost_comes_back_for_the_pods_that_wait_for_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is deleted while the rollout rests; then a pod comes that can't start without it."""
    monkeypatch.setattr("indexcache_operator.act.control_secret.AGAIN_SECONDS", 0.0)
    loop = scene.loop(lambda o: (o.status, [] if o.workload_current else [EnsureWorkload()]), wait=0.05)
    secrets = names.object_path("api/v1", "secrets", scene.namespace)
    async with running(loop):

        async def there() -> bool:
            return bool(await scene.kube.select(secrets))

        await scene.eventually(there)
        (made,) = await scene.kube.select(secrets)
        await scene.kube.delete(f"{secrets}/{made['metadata']['name']}")
        await _pod(scene)
        await scene.eventually(there)
        (again,) = await scene.kube.select(secrets)
    assert again["metadata"]["uid"] != made["metadata"]["uid"]
    assert again["data"] == made["data"]
    assert [again["metadata"][key] for key in ("name", "ownerReferences")] == [
        made["metadata"][key] for key in ("name", "ownerReferences")
    ]


async def test_an_engine_with_another_token_says_which_secret_to_delete(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusing(self: Engines, ip: str) -> State:
        raise EngineError("401", Refused(code="Unauthorized", message="no"))

    monkeypatch.setattr(Engines, "state", refusing)
    guard = control(scene.namespace, "r", "u")
    await _pod(scene, {names.CONTROL_ANNOTATION: str(guard.binding)})
    async with running(scene.loop(lambda o: (o.status, []))):
        await asyncio.wait_for(scene.fresh.wait(), 60)
    (pod,) = scene.seen[-1].pods
    assert pod.error is not None
    assert f"Secret {guard.secret} isn't the operator's; delete it" in pod.error[:256]


async def test_engines_bound_to_a_key_that_is_lost_are_left_alone_and_it_is_named(scene: Scene) -> None:
    """Nothing is applied, so no engine is started anew; nor is the rollout's spec at fault."""
    deployments = names.object_path("apis/apps/v1", "deployments", scene.namespace)
    loop = scene.loop(lambda o: (o.status, [] if o.workload_current else [EnsureWorkload()]), wait=0.05)
    async with running(loop):

        async def applied() -> bool:
            return bool(await scene.kube.select(deployments)) and scene.seen[-1].workload_current

        await scene.eventually(applied)
    (before,) = await scene.kube.select(deployments)
    object.__setattr__(loop.observer, "credentials", Credentials(keys=lambda: {"2": b"x" * 32}))
    scene.seen.clear()
    async with running(loop):

        async def looked() -> bool:
            return len(scene.seen) >= 3

        await scene.eventually(looked)
    (after,) = await scene.kube.select(deployments)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert "the control token: found engines bound to control key 1" in scene.seen[-1].unread[0]
    assert scene.seen[-1].spec_problem is None
    assert not await scene.kube.select(names.object_path("api/v1", "events", scene.namespace))


async def test_a_fault_of_the_planners_does_not_end_the_loop(scene: Scene) -> None:
    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if len(scene.seen) == 1:
            raise ZeroDivisionError("a fault")
        return replace(o.status, phase=Phase.CHECKING), [PersistStatus()]

    async with running(scene.loop(decide)):

        async def went_on() -> bool:
            return (await scene.status()).get("phase") == "Checking"

        await scene.eventually(went_on)


async def test_a_deleted_rollout_goes_when_the_plan_says_so(scene: Scene) -> None:
    may_go = asyncio.Event()

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if not o.deleting:
            return o.status, [] if o.workload_current else [EnsureWorkload()]
        return o.status, [DeleteWorkload(), RemoveFinalizer()] if may_go.is_set() else []

    loop = scene.loop(decide, wait=0.02)
    async with running(loop) as task:

        async def applied() -> bool:
            return bool(scene.seen) and scene.seen[-1].workload_current

        await scene.eventually(applied)
        await scene.kube.delete(scene.path())

        async def deleting() -> bool:
            return scene.seen[-1].deleting

        await scene.eventually(deleting)
        assert names.FINALIZER in (await scene.kube.get(scene.path()))["metadata"]["finalizers"]
        may_go.set()
        await asyncio.wait_for(task, 60)
    for path in (scene.path(), names.object_path("apis/apps/v1", "deployments", scene.namespace, "r")):
        with pytest.raises(NotFound):
            await scene.kube.get(path)


async def test_loops_begin_with_an_event_wake_by_it_and_end_with_their_rollout(scene: Scene) -> None:
    made: list[RolloutLoop] = []

    def make(namespace: str, name: str, uid: str) -> RolloutLoop:
        made.append(
            replace(scene.loop(lambda o: (o.status, [RemoveFinalizer()] if o.deleting else [])), uid=uid)
        )
        return made[-1]

    loops = Loops(make)
    loops.event(scene.namespace, "r", scene.uid, "1")

    async def looked() -> bool:
        return len(scene.seen) >= 1

    await scene.eventually(looked)
    await scene.kube.delete(scene.path())
    loops.event(scene.namespace, "r", scene.uid, "2")

    async def gone() -> bool:
        loops.wake(scene.uid)
        return scene.uid not in loops._loops

    await scene.eventually(gone)
    assert len(made) == 1
    await loops.stop()


async def _pod(scene: Scene, annotations: dict[str, str] | None = None) -> None:
    """A pod that says it runs. No kubelet is here to make it true."""
    labels = {names.ROLLOUT_LABEL: "r", names.ENGINE_LABEL: "true"}
    path = names.object_path("api/v1", "pods", scene.namespace)
    made = await scene.kube.create(
        path,
        {
            "metadata": {"name": "p", "labels": labels, "annotations": annotations or {}},
            "spec": {"containers": [{"name": "engine", "image": "i"}]},
        },
    )
    status = {"phase": "Running", "podIP": "127.0.0.9", "podIPs": [{"ip": "127.0.0.9"}]}
    await scene.kube.replace(f"{path}/p/status", {**made, "status": status})
