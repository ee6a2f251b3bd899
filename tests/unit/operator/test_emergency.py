"""Kills before any plan, by whoever leads or doesn't: who asks for one, and of whom."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from indexcache_core.contract import Mode, State
from indexcache_operator import emergency, names
from indexcache_operator.api.status import FallbackStatus, Phase, Status
from indexcache_operator.api.stored import dump
from indexcache_operator.credentials import Control
from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.plan.facts.revision import KILL

from tests.credentials import CREDENTIALS, control

INTENT = FallbackStatus(
    cause="AlertFiring", message="low", since=datetime(2026, 1, 1, tzinfo=UTC), revision="tried"
)
SPEC = {"engine": {"image": "i", "model": "m"}, "indexCache": {"pattern": "FS"}}


def rollout(phase: Phase, kill: str | None = None, intent: FallbackStatus | None = None) -> dict[str, Any]:
    status = Status(phase=phase, revision="tried", fallback=intent)
    metadata = {"name": "r", "namespace": "ns", "uid": "u", "annotations": {KILL: kill} if kill else {}}
    return {"metadata": metadata, "spec": SPEC, "status": dump(status)}


@pytest.mark.parametrize("phase", sorted(emergency.STOPPABLE))
@pytest.mark.parametrize("value", ["true", " TRUE\n", "tried"])
def test_an_annotation_asks_for_it_while_an_engine_may_reuse(phase: Phase, value: str) -> None:
    why = emergency.cause(rollout(phase, kill=value))
    assert why == f"Killed: revision tried: annotation {KILL} stops revision tried"


@pytest.mark.parametrize("phase", sorted(emergency.STOPPABLE))
def test_so_does_an_alerts_intent_of_this_revision(phase: Phase) -> None:
    assert emergency.cause(rollout(phase, intent=INTENT)) == "AlertFiring: revision tried: low"
    assert emergency.cause(rollout(phase, intent=replace(INTENT, revision="before"))) is None


@pytest.mark.parametrize("phase", sorted(set(Phase) - emergency.STOPPABLE))
def test_where_nothing_reuses_nobody_does(phase: Phase) -> None:
    assert emergency.cause(rollout(phase, kill="true", intent=INTENT)) is None


@pytest.mark.parametrize("value", [None, "false", "before"])
def test_without_a_kill_of_this_revision_nobody_does(value: str | None) -> None:
    assert emergency.cause(rollout(Phase.CANARY, kill=value)) is None


def test_where_the_status_cant_be_read_any_kill_does() -> None:
    raw = rollout(Phase.CANARY, kill="whatever")
    raw["status"]["phase"] = 42
    assert emergency.cause(raw) == emergency.UNREADABLE
    raw = rollout(Phase.CANARY, intent=INTENT)
    raw["status"]["phase"] = 42
    assert emergency.cause(raw) is None


class Pods:
    """The API server, as far as a kill needs it."""

    def __init__(self, addresses: list[str]) -> None:
        guard: Control = control("ns", "r")
        self.found = [
            {
                "metadata": {"name": ip, "annotations": {names.CONTROL_ANNOTATION: str(guard.binding)}},
                "status": {"phase": "Running", "podIP": ip},
            }
            for ip in addresses
        ]

    async def select(self, path: str, selector: Any) -> list[dict[str, Any]]:
        assert path == "/api/v1/namespaces/ns/pods"
        return self.found


@pytest.mark.parametrize("only", [frozenset[str](), frozenset({"10.0.0.2", "10.0.0.9"})])
async def test_no_others_are_stopped_than_those_that_are_meant(
    monkeypatch: pytest.MonkeyPatch, only: frozenset[str]
) -> None:
    killed: list[tuple[str, str]] = []

    async def kill(self: Engines, ip: str, reason: str) -> None:
        killed.append((ip, reason))

    monkeypatch.setattr(Engines, "kill", kill)
    kube: Any = Pods(["10.0.0.1", "10.0.0.2"])
    async with aiohttp.ClientSession() as session:
        await emergency.stop(kube, session, CREDENTIALS, "ns", "r", None, reason="why", only=only)
    assert killed == [(ip, "why") for ip in sorted(only & {"10.0.0.1", "10.0.0.2"})]


def test_who_may_reuse_is_in_the_status_with_a_permit() -> None:
    raw = rollout(Phase.CANARY)
    raw["status"]["pods"] = [{"name": "a", "permitSeconds": 60}, {"name": "b"}]
    assert emergency.reusing(raw) == frozenset("a")
    raw["status"]["phase"] = 42
    assert emergency.reusing(raw) is None


class Told:
    """Notes who was told to stop, and why."""

    def __init__(self) -> None:
        self.said: list[tuple[str, frozenset[str] | None]] = []
        self.let_go = asyncio.Event()

    async def stop(self, reason: str, only: frozenset[str] | None) -> None:
        self.said.append((reason, only))
        await self.let_go.wait()
        raise OSError("no")


async def test_engines_are_stopped_once_a_watch_tells_of_it_and_no_second_time_meanwhile() -> None:
    told = Told()
    at_once = emergency.AtOnce("ns/r", told.stop)
    await at_once.end()
    asked = rollout(Phase.PROMOTED, kill="true")
    asked["status"]["pods"] = [{"name": "a", "permitSeconds": 60}]
    for raw in (rollout(Phase.PROMOTED), asked, asked):
        at_once.heard(raw)
        await asyncio.sleep(0)
    assert told.said == [(emergency.cause(asked), frozenset("a"))]
    told.let_go.set()
    await at_once.end()  # it failed, and the turn does the same
    at_once.heard(asked)
    await at_once.end()
    assert len(told.said) == 2


@pytest.mark.parametrize("phase", [Phase.FALLING_BACK, Phase.FELL_BACK, Phase.CHECKING])
async def test_once_the_way_back_has_begun_the_plan_goes_on(phase: Phase) -> None:
    told = Told()
    at_once = emergency.AtOnce("ns/r", told.stop)
    at_once.heard(rollout(phase, kill="true"))
    await at_once.end()
    assert told.said == []


MODES: dict[str, Mode | str] = {
    "10.0.0.1": Mode.ON,
    "10.0.0.2": Mode.SHADOW,
    "10.0.0.3": Mode.OFF,
    "10.0.0.4": Mode.TRIPPED,
    "10.0.0.5": "silent",
    "10.0.0.6": "hangs",
}


@pytest.mark.parametrize(("asking", "stopped"), [(True, "156"), (False, "123456")])
async def test_those_that_say_that_they_reuse_nothing_are_left_alone_where_somebody_else_may_have_been(
    monkeypatch: pytest.MonkeyPatch, asking: bool, stopped: str
) -> None:
    killed: list[str] = []

    async def state(self: Engines, ip: str) -> State:
        mode = MODES[ip]
        if mode == "hangs":
            await asyncio.Event().wait()
        if mode == "silent":
            raise EngineError("timeout")
        return State(supported=True, incarnation="life", mode=Mode(mode))

    async def kill(self: Engines, ip: str, reason: str) -> None:
        killed.append(ip)
        if ip == "10.0.0.1":
            raise EngineError("no")

    monkeypatch.setattr(Engines, "state", state)
    monkeypatch.setattr(Engines, "kill", kill)
    kube: Any = Pods(list(MODES))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ExceptionGroup, match="couldn't be told"):
            await emergency.stop(kube, session, CREDENTIALS, "ns", "r", None, asking=asking)
    assert "".join(sorted(ip[-1] for ip in killed)) == stopped
