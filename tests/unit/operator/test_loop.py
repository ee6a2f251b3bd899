"""Tests how a rollout's loop waits, and when it shows that its turns fail."""

import asyncio
import math
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_operator import emergency
from indexcache_operator.act import events, health
from indexcache_operator.kube import Conflict, KubeError
from indexcache_operator.loop import JITTER, SHOWN_AFTER, RolloutLoop
from indexcache_operator.mandate import Lead
from indexcache_operator.observe.unchanged import UNCHANGED
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.revision import KILL
from indexcache_operator.spreading import Crowd


def waiting() -> RolloutLoop:
    """Return a loop that looks at nothing."""
    nothing: Any = None
    kube: Any = SimpleNamespace(under=lambda _: None)
    return RolloutLoop(
        kube=kube, session=nothing, observer=nothing, planner=plan, namespace="ns", name="r", uid="u"
    )


async def test_an_end_that_comes_together_with_a_wake_is_an_end() -> None:
    loop = waiting()
    task = asyncio.create_task(loop._sleep(60))
    await asyncio.sleep(0)
    loop.wake()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wake_ends_the_wait_and_so_does_its_time() -> None:
    loop = waiting()
    task = asyncio.create_task(loop._sleep(60))
    await asyncio.sleep(0)
    loop.wake()
    async with asyncio.timeout(5):
        await task
        loop._wake.clear()
        await loop._sleep(0.0)


FAILURE, CONFLICT, SUCCESS = KubeError(500, "InternalError", "no"), Conflict(409, "Conflict", "old"), 0.0
BOTH = ExceptionGroup("several", [FAILURE, CONFLICT])
IN_A_ROW = [FAILURE] * SHOWN_AFTER


async def shown_after(
    monkeypatch: pytest.MonkeyPatch, turns: list[Exception | float], written: list[bool | Exception]
) -> list[int]:
    """Return after which turns, the first being 1, a loop wrote the condition, or tried to.

    `written`: what came of each writing; once these are used up, it is written.
    """
    loop, taken, tries = waiting(), list[int](), list[int]()

    async def turn(*_: Any) -> float | None:
        taken.append(len(taken) + 1)
        if len(taken) > len(turns):
            return None
        outcome = turns[len(taken) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def show(*_: Any) -> bool:
        tries.append(taken[-1])
        outcome = written.pop(0) if written else True
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def nothing(*_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(loop, "_turn", turn)
    monkeypatch.setattr(loop, "_sleep", nothing)
    monkeypatch.setattr(loop._accounted, "forget", lambda: None)
    monkeypatch.setattr(events, "emit", nothing)
    monkeypatch.setattr(health, "show", show)
    await loop.run()
    return tries


@pytest.mark.parametrize(
    ("turns", "shown"),
    [
        (IN_A_ROW[1:], []),
        ([*IN_A_ROW, FAILURE, FAILURE], [3]),
        ([FAILURE, FAILURE, CONFLICT, FAILURE], [4]),
        ([FAILURE, CONFLICT, CONFLICT, CONFLICT, FAILURE, CONFLICT], []),
        ([FAILURE, FAILURE, ExceptionGroup("all", [CONFLICT, CONFLICT])], []),
        ([FAILURE, FAILURE, BOTH], [3]),
        ([FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE], []),
        ([*IN_A_ROW, SUCCESS, *IN_A_ROW], [3, 7]),
    ],
)
async def test_failures_in_a_row_are_shown_once_and_conflicts_are_none(
    monkeypatch: pytest.MonkeyPatch, turns: list[Exception | float], shown: list[int]
) -> None:
    assert await shown_after(monkeypatch, turns, []) == shown


@pytest.mark.parametrize("outcome", [False, CONFLICT, FAILURE])
async def test_what_could_not_be_shown_is_shown_at_the_next_failure(
    monkeypatch: pytest.MonkeyPatch, outcome: bool | Exception
) -> None:
    assert await shown_after(monkeypatch, [*IN_A_ROW, FAILURE, FAILURE], [outcome]) == [3, 4]


class Sights:
    """Observer and client of a loop that stands by, or whose leader loses: counts who was asked what."""

    def __init__(self, raw: Any) -> None:
        self.raw, self.glances, self.looks = raw, 0, 0
        self.credentials = None

    async def glance(self, namespace: str, name: str) -> Any:
        self.glances += 1
        return self.raw

    async def look(self, *_: Any, term: int, **__: Any) -> None:
        self.looks += 1
        self.term = term


def standing_by(lead: Lead, raw: Any) -> tuple[RolloutLoop, Sights]:
    loop, sights = waiting(), Sights(raw)
    seen: Any = sights
    loop.lead, loop.observer = lead, seen
    return loop, sights


ROLLOUT = {"metadata": {"uid": "u", "name": "r", "namespace": "ns"}, "status": {"phase": "Canary"}}


async def test_who_does_not_lead_asks_nothing_and_ends_with_the_rollout() -> None:
    lead = Lead()
    loop, sights = standing_by(lead, ROLLOUT)
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(30):
        while not sights.glances:  # noqa: ASYNC110 (there is nothing to be told by)
            await asyncio.sleep(0)
        sights.raw = None
        loop.wake()
        await task
    assert (sights.glances, sights.looks) == (2, 0)


async def test_a_failure_of_who_stands_by_is_told_to_no_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as an Event nor as a condition: these are the leader's to write."""
    loop, sights = standing_by(Lead(), ROLLOUT)
    seen: list[str] = []

    async def glance(*_: Any) -> Any:
        seen.append("glance")
        if len(seen) > SHOWN_AFTER + 1:
            return None
        raise FAILURE

    async def written(*_: Any, **__: Any) -> None:
        seen.append("written")

    async def nothing(*_: Any) -> None: ...

    monkeypatch.setattr(sights, "glance", glance)
    monkeypatch.setattr(events, "emit", written)
    monkeypatch.setattr(health, "show", written)
    monkeypatch.setattr(loop, "_sleep", nothing)
    await loop.run()
    assert set(seen) == {"glance"}


async def test_who_begins_to_lead_remembers_nothing_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    lead = Lead()
    loop, sights = standing_by(lead, ROLLOUT)
    loop.memory = Memory(key="of long ago")
    lead.hold(4, math.inf)
    assert await loop._mandated() is not None
    assert loop.memory is None
    kept = loop.memory = Memory(key="of this term")
    await loop._mandated()
    assert loop.memory is kept
    lead.hold(6, math.inf)  # another led in between
    await loop._mandated()
    assert loop.memory is None
    await loop.run()
    assert (sights.looks, sights.term) == (1, 6)


async def test_a_turn_that_outlives_its_term_is_no_failure_of_the_rollouts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lead = Lead()
    lead.hold(4, math.inf)
    loop, sights = standing_by(lead, ROLLOUT)

    async def look(*_: Any, **__: Any) -> None:
        lead.lose()
        sights.raw = None
        raise FAILURE

    async def written(*_: Any, **__: Any) -> None:
        raise AssertionError("written under a term that is over")

    monkeypatch.setattr(sights, "look", look)
    monkeypatch.setattr(events, "emit", written)
    await loop.run()
    assert loop._failures == 0


class Engine:
    """A rollout at rest, whose looks last until they are let go."""

    def __init__(self) -> None:
        self.under_way, self.looked = 0, 0
        self.let_go = asyncio.Event()
        self.credentials = None

    async def look(self, *_: Any, **__: Any) -> None:
        self.under_way, self.looked = self.under_way + 1, self.looked + 1
        await self.let_go.wait()
        self.under_way -= 1


@pytest.mark.parametrize("rollouts", [1, 10, 300])
async def test_a_kill_is_looked_at_at_once_however_many_rollouts_there_are(rollouts: int) -> None:
    crowd, engines, loops = Crowd(4), list[Engine](), list[RolloutLoop]()
    for number in range(rollouts):
        loop, engine = waiting(), Engine()
        seen: Any = engine
        loop.crowd, loop.observer, loop.uid = crowd, seen, f"u{number}"
        loop.calm()
        loops.append(loop)
        engines.append(engine)
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    for _ in range(10):
        await asyncio.sleep(0)
    assert sum(engine.under_way for engine in engines) == min(rollouts, 4)
    killed = engines[-1]
    loops[-1].changed("7")
    async with asyncio.timeout(30):
        while not killed.looked:  # noqa: ASYNC110 (there is nothing to be told by)
            await asyncio.sleep(0)
    assert sum(engine.under_way for engine in engines) == min(rollouts, 5)
    for engine in engines:
        engine.let_go.set()
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks)
    assert crowd.at_rest == 0


@pytest.mark.parametrize("leads", [True, False])
async def test_a_kill_that_a_watch_tells_waits_for_no_look(
    monkeypatch: pytest.MonkeyPatch, leads: bool
) -> None:
    """The look hangs, as it does where an engine does."""
    lead, engine, stopped = Lead(), Engine(), list[dict[str, Any]]()
    if leads:
        lead.hold(4, math.inf)
    loop, _ = standing_by(lead, ROLLOUT)
    seen: Any = engine
    seen.reads, loop.observer = "informers", seen

    async def stop(reads: Any, *_: Any, **how: Any) -> None:
        stopped.append({"reads": reads, **how})

    monkeypatch.setattr(emergency, "stop", stop)
    if leads:
        task = asyncio.create_task(loop.run())
        while not engine.under_way:  # noqa: ASYNC110 (there is nothing to be told by)
            await asyncio.sleep(0)
    asked: Any = {
        "metadata": {**ROLLOUT["metadata"], "annotations": {KILL: "true"}},
        "status": {"phase": "Promoted", "revision": "v", "pods": [{"name": "a", "permitSeconds": 9}]},
    }
    for version in ("7", "7"):
        loop.changed(version, asked)
        await loop._at_once.end()
    reason = f"Killed: revision v: annotation {KILL} stops revision v"
    told = {"reads": "informers", "reason": reason, "asking": False, "only": frozenset("a")}
    assert stopped == ([told] if leads else [])
    if leads:
        assert engine.looked == 1
        engine.let_go.set()
        async with asyncio.timeout(30):
            await task


class Resting:
    """An observer that saw nothing new, if it was asked whether it would."""

    def __init__(self, loop: RolloutLoop) -> None:
        self.asked, self._loop = list[str](), loop

    async def look(self, *_: Any, **__: Any) -> None:
        self.asked.append("whole")

    async def look_again(self, *_: Any, **__: Any) -> Any:
        self.asked.append("again")
        return UNCHANGED


async def test_a_plan_that_stays_is_not_made_again_until_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = waiting()
    sights: Any = Resting(loop)
    loop.observer, now = sights, 100.0
    monkeypatch.setattr("indexcache_operator.loop.time", SimpleNamespace(monotonic=lambda: now))
    loop._waits, loop._unchanged_until = (timedelta(seconds=1), timedelta(seconds=40)), 200.0
    assert await loop._turn() == 1.0
    now = 200.0
    assert await loop._turn() is None
    assert sights.asked == ["again", "whole"]


async def test_after_a_failure_nothing_is_taken_to_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = waiting()
    seen: list[float] = []

    async def turn(*_: Any) -> float | None:
        seen.append(loop._unchanged_until)
        if len(seen) == 1:
            loop._unchanged_until = math.inf
            raise FAILURE
        return None

    async def nothing(*_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(loop, "_turn", turn)
    monkeypatch.setattr(loop, "_sleep", nothing)
    monkeypatch.setattr(loop._accounted, "forget", lambda: None)
    monkeypatch.setattr(events, "emit", nothing)
    await loop.run()
    assert seen == [0.0, 0.0]


@pytest.mark.parametrize(
    ("rests", "asked", "again", "expected"),
    [
        (False, False, 99, 2.0),
        (True, True, 99, 2.0),  # somebody waits for it
        (True, False, 1, 0.25),
        (True, False, 99, 40.0),  # many may fail, and for one reason
    ],
)
def test_failures_at_rest_are_tried_again_in_turn(
    rests: bool, asked: bool, again: int, expected: float
) -> None:
    loop = waiting()
    for number in range(10_000):
        loop.crowd.rests(str(number), rests=True)
    loop._rests, loop._is_asked, loop._waits = rests, asked, (timedelta(seconds=1), timedelta(seconds=40))
    assert JITTER * expected <= loop._until_retry(again) <= expected
