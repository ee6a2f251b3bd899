"""Tests a look at a rollout at rest that was looked at before: what it asks, and when it sees nothing new."""

import copy
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from indexcache_core.contract import State
from indexcache_operator.contracts import SPOKEN
from indexcache_operator.engines import EngineError, Told
from indexcache_operator.model import Sighting
from indexcache_operator.objects import Object
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.observe.unchanged import UNCHANGED

from tests.credentials import CREDENTIALS
from tests.recorded import rollouts
from tests.unit.operator.plan.world_parts import NAME
from tests.unit.operator.test_recorded_rollouts import RecordedApi


class Watches(RecordedApi):
    """Watches that tell what was recorded, always the same objects."""

    async def get(self, path: str) -> Object:
        return self._objects[path] if path in self._objects else await super().get(path)

    async def select(self, path: str, *labels: Any) -> list[Object]:
        return list(self._pods)

    def told(self, path: str) -> Object | None:
        found: Object | None = self._objects.get(path)
        return found

    def all_told(self, path: str, selector: Any) -> list[Object]:
        return sorted(self._pods, key=lambda pod: pod["metadata"]["name"])


class World:
    """Holds a promoted rollout, and what its engines are asked and say."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.record = copy.deepcopy(rollouts.recorded("0.1.0")["promoted"])
        self.record["pods"].sort(key=lambda pod: pod["metadata"]["name"])
        self.tags = dict.fromkeys(self.record["engines"], "1")
        self.silent: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.watches, self.sight = Watches(self.record), Sight()
        self.observer = Observer(
            kube=self.watches,
            session=session,
            runtime=rollouts.RUNTIME,
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(session, None),
            informed=self.watches,
        )

    async def ask(self, ip: str, known: str) -> Told:
        self.asked.append((ip, known))
        if ip in self.silent:
            raise EngineError("silent")
        state: State = SPOKEN.read(self.record["engines"][ip])
        tag = f'"{state.incarnation}-{self.tags[ip]}"'
        return Told(state=None if known == tag else state, tag=tag)

    async def again(self) -> Any:
        self.asked.clear()
        return await self.observer.look_again(rollouts.NAMESPACE, NAME, self.sight)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with aiohttp.ClientSession() as session:
        found = World(session)

        class Engines:
            def __init__(self, **_: Any) -> None:
                """Take any token."""

            async def ask(self, ip: str, known: str = "") -> Told:
                return await found.ask(ip, known)

        monkeypatch.setattr("indexcache_operator.observe.look.Engines", Engines)
        first = await found.again()
        assert isinstance(first, Sighting)
        assert {known for _, known in found.asked} == {""}
        yield found


async def test_nothing_is_seen_where_all_engines_say_so_and_that_is_all_that_is_asked(world: World) -> None:
    for _ in range(3):
        assert await world.again() is UNCHANGED
        assert len(world.asked) == len(world.tags)
        assert all(known for _, known in world.asked)


async def test_where_one_engine_says_anything_else_all_is_seen_whole(world: World) -> None:
    changed = min(world.tags)
    world.tags[changed] = "2"
    found = await world.again()
    assert isinstance(found, Sighting)
    assert all(pod.state is not None for pod in found.observation.pods)
    assert sorted(ip for ip, known in world.asked if not known) == sorted(set(world.tags) - {changed})
    assert await world.again() is UNCHANGED


async def test_a_silent_engine_is_asked_twice_and_is_no_success(world: World) -> None:
    world.silent.add(min(world.tags))
    found = await world.again()
    assert isinstance(found, Sighting)
    assert [pod.error for pod in found.observation.pods if pod.state is None] == ["silent"]
    assert [ip for ip, _ in world.asked].count(min(world.tags)) == 2
    assert isinstance(await world.again(), Sighting)  # nothing to compare with
    assert {known for _, known in world.asked} == {""}


async def test_another_object_is_seen_without_asking_first(world: World) -> None:
    path = next(path for path in world.record["objects"] if "/deployments/" in path)
    world.record["objects"][path] = dict(world.record["objects"][path])
    assert isinstance(await world.again(), Sighting)
    assert {known for _, known in world.asked} == {""}


async def test_another_term_and_an_answer_to_probes_are_looked_at_whole(world: World) -> None:
    world.asked.clear()
    await world.observer.look_again(rollouts.NAMESPACE, NAME, world.sight, term=4)
    assert {known for _, known in world.asked} == {""}
    results: Any = ("a result",)
    found = await world.observer.look_again(rollouts.NAMESPACE, NAME, world.sight, results, term=4)
    assert isinstance(found, Sighting)
    assert found.observation.probe_results == results
