"""Plays one rollout of `make chaos`: what befalls its operator, and the checks of the tests' small world.

A rollout is good, and is to be promoted; or harmful, or killed once it is promoted, and is to fall back; or
deleted in the middle of its canary, and is to let go.
"""

import asyncio
import itertools
import random
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase
from indexcache_operator.plan.facts.revision import KILL

from tests.unit.operator.faults import dying, faulty, watched
from tests.unit.operator.faults.dying import DyingApi, DyingEngines, relive
from tests.unit.operator.faults.faulty import FaultyApi
from tests.unit.operator.faults.simulated import SimulatedEngines
from tests.unit.operator.faults.watched import WatchedApi
from tests.unit.operator.plan import contested_ends as contested
from tests.unit.operator.plan.held import WrongEnd, turned
from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import SPEC

GOOD, HARMFUL, KILLED = "good", "harmful", "killed"
DELETED, RETAINED = "deleted, with its objects", "deleted, without its objects"
MIXED = "mixed"
"""Any kind of fault, at moments by chance."""
RUNS = 8
"""Of each kind of fault. In the first, of calls, each site meets the fault once; else gaps are by chance."""
GAPS, HANGING_GAPS = (8, 24), (80, 240)
"""Calls from one fault to the next. By chance, as a turn of so many calls would else fail for ever."""
OFTEN = 0.05
"""How often chance strikes, of calls, or of moments of a watch."""
HANGING_LOOKS = 20
"""Looks' time that passes while a call hangs: the client's bound, 10 s."""
OBEYED_LOOKS = 4
"""In which a kill is seen, whatever fails; and from a watch that went silent, once that is noticed."""
SILENT_LOOKS = watched.SILENT + watched.LATE + watched.FAILING
CHANGES = 10
REJECTED = "RecallBelowThreshold"


@dataclass(frozen=True)
class Case:
    """Names one run, so that it can be played again."""

    part: str
    scenario: str
    kind: str = ""
    seed: int = 0
    at: tuple[int, ...] = ()
    """Moments at which the operator dies."""


@dataclass
class Outcome:
    """Says how a run ended, and what befell it."""

    case: Case
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    sites: set[str] = field(default_factory=set)
    violation: str = ""
    wrong_end: str = ""


def run(case: Case) -> Outcome:
    """Play a case, and say how it ended. Whatever it raises is a violation, or a wrong end."""
    out = Outcome(case)
    out.counts["runs"] = 1
    try:
        PARTS[case.part](case, out)
    except WrongEnd as error:
        out.wrong_end = str(error)
    except BaseExceptionGroup as group:
        out.violation = "".join(traceback.format_exception(group)[-12:])
    except Exception as error:  # noqa: BLE001 (a run that breaks has shown nothing, and must be seen)
        out.violation = f"{error!r}\n" + "".join(traceback.format_tb(error.__traceback__)[-2:])
    return out


def world_of(scenario: str) -> World:
    """Return a world in which a rollout of this kind begins."""
    return turned(World()) if scenario == HARMFUL else World(recall=good)


def calls_due(case: Case) -> faulty.Due:
    """Return which calls meet the case's fault, or any."""
    if case.kind != MIXED and case.seed == 0:
        return faulty.once(case.kind)
    chance = random.Random(f"{case}")
    gaps = HANGING_GAPS if "hangs" in case.kind else GAPS
    left = chance.randint(0, gaps[1])

    def due(site: str, times: int) -> str | None:
        nonlocal left
        if case.kind == MIXED:
            return chance.choice(faulty.FAULTS) if chance.random() < OFTEN else None
        left -= 1
        if left >= 0:
            return None
        left = chance.randint(*gaps)
        return case.kind

    return due


def breaking(case: Case) -> watched.Breaking:
    """Return what befalls the watches: the case's fault, or any, at moments by chance."""
    chance = random.Random(f"{case}")

    def broken(path: str, at: int) -> str | None:
        if chance.random() >= OFTEN:
            return None
        return chance.choice(watched.BREAKS) if case.kind == MIXED else case.kind

    return broken


async def api_faults(case: Case, out: Outcome) -> None:
    """Play a rollout whose calls to the API server fail."""
    api = FaultyApi(world_of(case.scenario), hanging_looks=HANGING_LOOKS)
    await _played(case, api, None, out, lambda: setattr(api, "due", calls_due(case)), OBEYED_LOOKS)


async def watch_faults(case: Case, out: Outcome) -> None:
    """Play a rollout that is read from watches, which break; mixed, beside calls that fail."""
    api = WatchedApi(world_of(case.scenario), lambda path, at: None, hanging_looks=HANGING_LOOKS)

    def begins() -> None:
        api.breaking = breaking(case)
        if case.kind == MIXED:
            api.due = calls_due(case)

    async with watched.watching(api) as informed:
        api.passes()
        await _played(case, api, informed, out, begins, SILENT_LOOKS + OBEYED_LOOKS)


async def _played(
    case: Case, api: FaultyApi, informed: Any, out: Outcome, begins: Callable[[], None], obeyed_looks: int
) -> None:
    SimulatedEngines.world = world = api.world
    loop = faulty.loop_over(api, informed)
    try:
        if case.scenario == KILLED:
            await faulty.play(loop, api, Phase.PROMOTED)
            begins()
            world.annotations[KILL] = "true"
            for _ in range(obeyed_looks):
                await faulty.turn(loop)
                if Mode.ON not in world.modes():
                    break
                api.passes()
            assert Mode.ON not in world.modes(), "a kill was not obeyed in time"
            await faulty.play(loop, api, Phase.FELL_BACK)
            await faulty.ends_at_the_baseline(loop, api)
            return
        begins()
        await faulty.play(loop, api, Phase.PROMOTED, Phase.FELL_BACK)
        await _ends(case, loop, api)
    finally:
        counted(api, out)


async def _ends(case: Case, loop: Any, api: FaultyApi) -> None:
    if case.scenario == GOOD:
        await faulty.ends_promoted(loop, api)
    else:
        await faulty.ends_at_the_baseline(loop, api, REJECTED)
        assert Phase.PROMOTED not in api.world.phases  # I5, I10


def counted(api: FaultyApi, out: Outcome) -> None:
    """Count what was asked, written and broken."""
    out.counts["calls"] += api.sites.total()
    out.counts["writes"] += api.writes
    out.faults += api.faults
    out.sites |= api.sites.keys()


async def deaths(case: Case, out: Outcome) -> None:
    """Play a rollout whose operator dies at these moments; where it is deleted, of those from then on."""
    DyingEngines.world = world = world_of(case.scenario)
    DyingEngines.api = api = DyingApi(world)
    try:
        if case.scenario in (DELETED, RETAINED):
            api.spec = {**SPEC, "deletionPolicy": "Delete" if case.scenario == DELETED else "Retain"}
            await relive(api, Phase.CANARY)
            world.deleting, api.moments, api.at = True, 0, frozenset(case.at)
            await relive(api)
            assert world.deleted == (case.scenario == DELETED)
            assert Mode.ON not in world.modes()  # I1
            assert world.backends == world.original  # I9
        else:
            api.at = frozenset(case.at)
            loop = await relive(api, Phase.PROMOTED, Phase.FELL_BACK)
            api.at = frozenset()
            await _ends(case, loop, api)
    finally:
        counted(api, out)
        out.counts["moments"] += api.moments
        out.counts["deaths"] += api.deaths


def two_operators(case: Case, out: Outcome) -> None:
    """Play a rollout on which two operators act, each on looks that the other has overtaken."""
    end = Phase.PROMOTED if case.scenario == GOOD else Phase.FELL_BACK
    world = contested.MAKE[end](case.seed)
    try:
        second = contested.contend(world, case.seed)
        contested.checked(world, end)
        contested.rests(world, second, end)
    finally:
        out.counts["writes"] += world.writes
        out.counts["refused"] += world.refused.total()


def leaders(case: Case, out: Outcome) -> None:
    """Play a rollout whose leader changes ten times, after any action of a turn; a write of the old one
    arrives turns later.
    """
    end = Phase.PROMOTED if case.scenario == GOOD else Phase.FELL_BACK
    world, chance = contested.MAKE[end](case.seed), random.Random(case.seed)
    changes = [(chance.randint(0, 8), chance.randint(0, 6), chance.randint(0, 4)) for _ in range(CHANGES)]
    try:
        leader = contested.deposed(world, changes)
        out.counts["leader_changes"] += CHANGES
        contested.lasts(world, leader)
        contested.checked(world, end)
        contested.rests(world, leader, end)
    finally:
        out.counts["writes"] += world.writes
        out.counts["refused"] += world.refused.total()


def in_a_loop(
    played: Callable[[Case, Outcome], Coroutine[Any, Any, None]],
) -> Callable[[Case, Outcome], None]:
    """Return what plays a case in an event loop of its own."""
    return lambda case, out: asyncio.run(played(case, out))


PARTS: dict[str, Callable[[Case, Outcome], None]] = {
    "api_faults": in_a_loop(api_faults),
    "watches": in_a_loop(watch_faults),
    "deaths": in_a_loop(deaths),
    "two_operators": two_operators,
    "leaders": leaders,
}
KINDS = {"api_faults": (*faulty.FAULTS, MIXED), "watches": (*watched.BREAKS, MIXED)}


def cases(part: str, seeds: int) -> Iterator[Case]:
    """Yield the cases of a part; `seeds`: of each thing that chance decides."""
    if part in KINDS:
        for scenario, kind in itertools.product((GOOD, HARMFUL, KILLED), KINDS[part]):
            for seed in range(seeds // 2 if kind == MIXED else RUNS):
                yield Case(part, scenario, kind, seed)
    elif part == "deaths":
        for scenario in (GOOD, HARMFUL, DELETED, RETAINED):
            moments = run(Case(part, scenario)).counts["moments"]
            chance = random.Random(moments)
            for moment in range(moments):
                yield Case(part, scenario, at=(moment,))
                if moment % 2:
                    yield Case(part, scenario, at=(moment, moment + chance.randint(1, dying.NEXT)))
    else:
        for scenario, seed in itertools.product((GOOD, HARMFUL), range(seeds)):
            yield Case(part, scenario, seed=seed)
