"""Tests when a look is known to see nothing new: it takes the same objects, and engines that all say so."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import State
from indexcache_operator import names
from indexcache_operator.api.spec import HttpRoute
from indexcache_operator.engines import EngineError, Engines, Told
from indexcache_operator.informers.reads import NotCurrent
from indexcache_operator.objects import Object
from indexcache_operator.observe import unchanged
from indexcache_operator.observe.asking import Answer
from indexcache_operator.observe.claims import Claims
from indexcache_operator.observe.unchanged import Held

from tests.credentials import control

WHERE = HttpRoute(name="users", rule="generate")
KEYS = {"1": b"k" * 32}
ROLLOUT: Object = {
    "metadata": {"name": "chat", "namespace": "ns", "uid": "u", "generation": 1, "creationTimestamp": "2"},
    "spec": {"traffic": {"httpRoute": {"name": "users", "rule": "generate"}}},
    "status": {"phase": "Promoted", "observedGeneration": 1},
}


class Watches:
    """Holds what watches tell, by path."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {
            names.rollouts_path("ns", "chat"): ROLLOUT,
            names.object_path("apis/apps/v1", "deployments", "ns", "chat"): {"kind": "Deployment"},
            names.object_path("api/v1", "services", "ns", "chat-baseline"): {"kind": "Service"},
            names.object_path(*names.HTTP_ROUTES, "ns", "users"): {"kind": "HTTPRoute"},
        }
        self.pods = [pod("a", "1.1.1.1"), pod("b", "1.1.1.2")]
        self.silent = ""
        """What isn't current."""

    async def get(self, path: str) -> Object:
        raise AssertionError(path)

    async def select(self, path: str, selector: Any = None) -> list[Object]:
        raise AssertionError(path)

    def told(self, path: str) -> Object | None:
        if self.silent and self.silent in path:
            raise NotCurrent(path)
        return self.objects.get(path)

    def all_told(self, path: str, selector: Any) -> list[Object]:
        if self.silent and self.silent in path:
            raise NotCurrent(path)
        return list(self.pods)


def pod(name: str, ip: str | None, phase: str = "Running") -> Object:
    return {"metadata": {"name": name}, "status": {"phase": phase, "podIP": ip}}


class World:
    """Watches, claims and keys, as a look finds them."""

    def __init__(self) -> None:
        self.informed, self.claims, self.keys = Watches(), Claims(), dict(KEYS)

    def held(self) -> Held | None:
        return unchanged.told(self.informed, self.claims, self.keys, "ns", "chat", WHERE)

    def renew(self, part: str) -> None:
        """Have a watch tell another object of the same content."""
        path = next(path for path in self.informed.objects if part in path)
        self.informed.objects[path] = dict(self.informed.objects[path])


def rival(world: World) -> None:
    metadata = {**ROLLOUT["metadata"], "name": "other", "uid": "v", "creationTimestamp": "1"}
    world.claims.note({**ROLLOUT, "metadata": metadata})


CHANGES: dict[str, Callable[[World], object]] = {
    "the rollout": lambda world: world.renew("indexcacherollouts"),
    "the Deployment": lambda world: world.renew("deployments"),
    "a Service": lambda world: world.renew("services"),
    "the route": lambda world: world.renew("httproutes"),
    "a Service that comes": lambda world: world.informed.objects.update(
        {names.object_path("api/v1", "services", "ns", "chat-canary"): {}}
    ),
    "a Service that goes": lambda world: world.informed.objects.pop(
        names.object_path("api/v1", "services", "ns", "chat-baseline")
    ),
    "a pod": lambda world: world.informed.pods.__setitem__(0, pod("a", "1.1.1.1")),
    "a pod that comes": lambda world: world.informed.pods.append(pod("c", "1.1.1.3")),
    "a pod that goes": lambda world: world.informed.pods.pop(),
    "another rollout that has the rule": rival,
    "a control key": lambda world: world.keys.update({"2": b"l" * 32}),
}


def test_what_is_told_twice_is_the_same() -> None:
    world = World()
    first, second = world.held(), world.held()
    assert first is not None
    assert second is not None
    assert first.same(second)
    world.informed.pods.append(pod("ended", None, "Failed"))  # no engine is in it
    third = world.held()
    assert third is not None
    assert first.same(third)


@pytest.mark.parametrize("what", list(CHANGES))
def test_whatever_changes_is_another(what: str) -> None:
    world = World()
    first = world.held()
    CHANGES[what](world)
    second = world.held()
    assert first is not None
    assert second is not None
    assert not first.same(second)


def test_so_is_another_route_to_look_at() -> None:
    found = World().held()
    assert found is not None
    assert not found.same(replace(found, where=HttpRoute(name="users", rule="other")))


@pytest.mark.parametrize("silent", ["indexcacherollouts", "deployments", "services", "httproutes", "pods"])
def test_what_no_watch_tells_now_proves_nothing(silent: str) -> None:
    world = World()
    world.informed.silent = silent
    assert world.held() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {"phase": "Canary", "observedGeneration": 1}},
        {"status": {"phase": "Promoted", "observedGeneration": 0}},
        {"metadata": {**ROLLOUT["metadata"], "deletionTimestamp": "x"}},
    ],
)
def test_one_in_motion_is_never_unchanged(changes: dict[str, Any]) -> None:
    world = World()
    world.informed.objects[names.rollouts_path("ns", "chat")] = {**ROLLOUT, **changes}
    assert world.held() is None


def test_a_rollout_that_no_watch_knows_is_none() -> None:
    world = World()
    del world.informed.objects[names.rollouts_path("ns", "chat")]
    assert world.held() is None


STATE = State(supported=True, incarnation="life")
GUARDS = {ip: control("ns", "chat") for ip in ("1.1.1.1", "1.1.1.2")}
TAGGED = [Answer(state=STATE, tag='"life-1"'), Answer(state=STATE, tag='"life-2"')]


def test_a_look_all_of_whose_engines_have_tags_can_be_compared_with() -> None:
    world = World()
    found = unchanged.basis(world.held(), GUARDS, world.informed.pods, TAGGED)
    assert found is not None
    assert found.tags == {"1.1.1.1": '"life-1"', "1.1.1.2": '"life-2"'}


@pytest.mark.parametrize(
    "answer", [Answer(error="silent"), Answer(state=STATE), Answer(error="silent", tag='"life-9"')]
)
def test_one_with_an_engine_that_has_none_can_not(answer: Answer) -> None:
    world = World()
    last = None if answer.tag else answer
    answers = [TAGGED[0], last or Answer(error="silent")]
    assert unchanged.basis(world.held(), GUARDS, world.informed.pods, answers) is None


def test_nor_can_one_that_asked_other_pods_than_it_began_with() -> None:
    world = World()
    held, asked = world.held(), list(reversed(world.informed.pods))
    assert unchanged.basis(held, GUARDS, asked, TAGGED) is None
    assert unchanged.basis(held, GUARDS, asked[:1], TAGGED[:1]) is None
    assert unchanged.basis(None, GUARDS, world.informed.pods, TAGGED) is None


def test_nor_can_one_with_a_pod_that_does_not_run() -> None:
    world = World()
    world.informed.pods[1] = pod("b", None, "Pending")
    assert unchanged.basis(world.held(), GUARDS, world.informed.pods, TAGGED) is None


async def test_engines_are_asked_by_their_tags_and_silence_is_no_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, str] = {}

    async def ask(_: Engines, ip: str, known: str = "") -> Told:
        asked[ip] = known
        if ip.endswith("2"):
            raise EngineError("silent")
        return Told(state=None, tag=known)

    monkeypatch.setattr(Engines, "ask", ask)
    world, nobody = World(), None
    last = unchanged.basis(world.held(), GUARDS, world.informed.pods, TAGGED)
    assert last is not None
    session: Any = nobody
    answers = await unchanged.asked_again(Engines(session=session, tokens={}), last)
    assert asked == dict(last.tags)
    assert {ip: answer.is_as_before for ip, answer in answers.items()} == {"1.1.1.1": True, "1.1.1.2": False}
