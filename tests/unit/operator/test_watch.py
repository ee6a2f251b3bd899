"""Tests which loops are woken by what a watch tells."""

import asyncio
import gc
import weakref
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.loop import RolloutLoop
from indexcache_operator.objects import Object
from indexcache_operator.observe.claims import Claims
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.revision import KILL
from indexcache_operator.spreading import Crowd
from indexcache_operator.watch import Loops


def rollout(name: str, version: str = "1", **changes: Any) -> Object:
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid-{name}",
        "resourceVersion": version,
        "generation": 1,
        "creationTimestamp": "1",
        "annotations": changes.pop("annotations", {}),
    }
    return {
        "metadata": metadata,
        "spec": {"traffic": {"httpRoute": {"name": f"route-{name}", "rule": "generate"}}},
        "status": {"phase": "Promoted", "observedGeneration": 1, "revision": "r", **changes},
    }


EVENT = ContextVar("event", default="nothing")
"""Stands for what Kopf holds while a handler runs."""


class World:
    """Loops that never run, so that it shows who was woken, and how."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: dict[str, RolloutLoop] = {}
        self.crowd, self.held = Crowd(), list[str]()
        self.loops = Loops(self._make, Claims())

        async def run(_: RolloutLoop) -> None:
            self.held.append(EVENT.get())

        monkeypatch.setattr(RolloutLoop, "run", run)
        monkeypatch.setattr(Loops, "_ended", lambda *_: None)

    def _make(self, namespace: str, name: str, uid: str) -> RolloutLoop:
        nothing: Any = None
        kube: Any = SimpleNamespace(under=lambda _: None)
        self.made[name] = RolloutLoop(
            kube=kube,
            session=nothing,
            observer=nothing,
            planner=plan,
            namespace=namespace,
            name=name,
            uid=uid,
            crowd=self.crowd,
        )
        return self.made[name]

    def event(self, raw: Object) -> None:
        metadata = raw["metadata"]
        self.loops.event("ns", metadata["name"], metadata["uid"], metadata["resourceVersion"], raw)

    def woken(self) -> dict[str, str]:
        """Return who was woken since the last time, and whether it waits for its turn."""
        found = {
            name: "at once" if loop._ticket.hurried else "in its turn"
            for name, loop in self.made.items()
            if loop._wake.is_set()
        }
        for loop in self.made.values():
            loop._wake.clear()
            loop._ticket.hurried = False
        return found


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(monkeypatch)
    for name in ("a", "b"):
        found.event(rollout(name))
    assert found.woken() == {}
    return found


def owned(name: str, of: str) -> Object:
    labels = {names.ROLLOUT_LABEL: of}
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": "7", "labels": labels}}


@pytest.mark.parametrize("plural", ["pods", "services", "deployments"])
async def test_what_a_rollout_owns_has_it_looked_at(world: World, plural: str) -> None:
    world.loops.told(plural, owned("x", "a"))
    assert world.woken() == {"a": "in its turn"}
    world.loops.told(plural, owned("x", "none"))
    world.loops.told(plural, {"metadata": {"name": "x", "namespace": "ns"}})
    world.loops.told(plural, {"metadata": {**owned("x", "a")["metadata"], "namespace": "other"}})
    assert world.woken() == {}


async def test_a_route_has_those_looked_at_that_claim_a_rule_of_it(world: World) -> None:
    world.loops.told("httproutes", {"metadata": {"name": "route-b", "namespace": "ns"}})
    assert world.woken() == {"b": "in its turn"}
    world.loops.told("httproutes", {"metadata": {"name": "route-b", "namespace": "other"}})
    assert world.woken() == {}


async def test_a_rollout_is_looked_at_at_once_by_whichever_watch_tells_it_first(world: World) -> None:
    heard: list[Object] = []
    world.made["a"]._at_once = SimpleNamespace(heard=heard.append)  # type: ignore[assignment]
    changed = rollout("a", "9", annotations={KILL: "true"})
    world.loops.told("indexcacherollouts", changed)
    assert world.woken() == {"a": "at once"}
    world.event(changed)  # Kopf's watch tells the same
    assert world.woken() == {}
    assert heard == [changed]
    world.event(rollout("a", "11"))
    assert world.woken() == {"a": "at once"}
    assert heard == [changed, rollout("a", "11")]


async def test_one_that_nobody_knows_yet_is_left_to_kopf(world: World) -> None:
    world.loops.told("indexcacherollouts", rollout("c"))
    assert world.woken() == {}


async def test_an_alert_has_it_looked_at_at_once_and_a_change_of_the_lead_in_its_turn(world: World) -> None:
    world.loops.wake("uid-a")
    assert world.woken() == {"a": "at once"}
    world.loops.wake_all()
    assert world.woken() == {"a": "in its turn", "b": "in its turn"}


@pytest.mark.parametrize(
    ("changes", "rests"),
    [
        ({}, True),
        ({"phase": "Canary"}, False),
        ({"observedGeneration": 0}, False),
        ({"annotations": {KILL: "true"}}, False),
        ({"annotations": {KILL: "r"}}, False),
        ({"annotations": {KILL: "another"}}, True),
    ],
)
async def test_a_first_look_waits_for_its_turn_where_nothing_is_in_motion(
    world: World, changes: dict[str, Any], rests: bool
) -> None:
    world.event(rollout("c", **changes))
    assert world.made["c"]._rests is rests
    assert world.crowd.at_rest == 2 + rests


async def test_a_loop_holds_nothing_of_the_event_that_began_it(world: World) -> None:
    token = EVENT.set("a whole object")
    world.event(rollout("c"))
    EVENT.reset(token)
    await asyncio.sleep(0)
    assert set(world.held) == {"nothing"}
    assert len(world.held) == 3


class Whole:
    """Stands for a whole object."""


WHOLE: ContextVar[Whole] = ContextVar("whole")


async def test_while_a_loop_runs_nothing_holds_the_event_that_began_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(_: RolloutLoop) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(RolloutLoop, "run", run)
    whole = Whole()
    held, token = weakref.ref(whole), WHOLE.set(whole)
    world.event(rollout("c"))
    await asyncio.sleep(0)
    WHOLE.reset(token)
    del whole, token
    gc.collect()
    assert not world.loops._tasks["uid-c"].done()
    assert held() is None
    await world.loops.stop()
