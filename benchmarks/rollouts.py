"""Plays whole rollouts of a good pattern, on the operator's own plan: how long until it is promoted, by how
many requests come a minute, and where the time goes.

    python -m benchmarks.rollouts [--runs 10] [--seed 1] [--rates 1,3,7,10,30,120]
        [--out benchmarks/results/rollouts.json]

Engines are the runtime's own switch; requests come at random, each is one observation. Recall differs between
requests with a standard deviation of .10 about a mean of .46, and must be over .36. All else of the spec is
the default: a shadow of 200 requests, steps of 5, 25 and 50 %, two hours a step before the canary goes back
and waits. Besides, one rollout is traced for the picture in docs/statistics.md (evidence_picture.py): it is
promoted, and then its recall falls to .20.
"""

import argparse
import math
import platform
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Mode, Work
from indexcache_core.evidence import certificate
from indexcache_core.histogram import Histogram
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase
from indexcache_operator.plan import plan
from indexcache_operator.plan.evidence.judgements import Judgements
from indexcache_operator.plan.facts.memory import Memory

from benchmarks.report import Report
from tests.unit.operator.plan.world import World

RESULT = Path(__file__).with_name("results") / "rollouts.json"
RATES = (1.0, 3.0, 7.0, 10.0, 30.0, 120.0)
"""Requests a minute."""
THRESHOLD, GOOD, FALLEN, SPREAD = 0.36, 0.46, 0.20, 0.10
TRACED, AFTER, POINTS = 30.0, timedelta(minutes=20), 240
"""Of the traced rollout: requests a minute, how long it is promoted before its recall falls, and how many
looks of it are kept at most."""
LONGEST = timedelta(days=14)
LOOK, A_LOOK = timedelta(seconds=30), 2.0
"""Time between two looks at most, and requests that come between them at most, in the mean."""
SHADOW, HELD, STEPS, PROMOTING = "shadow", "held", "steps", "promoting"
"""Where time goes."""


def spec() -> Spec:
    """Return what a user writes who leaves all but a threshold to the defaults."""
    return Spec.model_validate(
        {
            "engine": {"image": "engine:1", "model": "/model", "replicas": 3},
            "indexCache": {"pattern": "FSFS", "minContextTokens": 0},
            "traffic": {"httpRoute": {"name": "users", "rule": "generate"}},
            "guardrails": {"recall": {"min": THRESHOLD}},
        }
    )


class Rollout(World):
    """A small world in which requests come at random."""

    def __init__(self, per_minute: float, seed: int) -> None:
        """Begin a rollout with so many requests a minute."""
        self.mean = GOOD
        super().__init__(spec=spec(), recall=lambda world, *of: self._recall(), seed=seed)
        self._every = min(LOOK, timedelta(minutes=A_LOOK / per_minute))
        self._arrivals = random.Random(f"{seed} {per_minute}")
        self._per_look = per_minute * self._every / timedelta(minutes=1)

    def _recall(self) -> float:
        return min(max(self._arrivals.gauss(self.mean, SPREAD), 0.0), 1.0)

    def pass_time(self, check: Any = None) -> None:
        """Let the time to the next look pass, and its requests come."""
        self.rate = _poisson(self._arrivals, self._per_look)
        self.now += self._every - timedelta(seconds=0.5)
        super().pass_time(check)

    def where(self) -> str:
        """Return where this moment's time goes."""
        if self.status.phase is Phase.SHADOWING:
            return HELD if self.status.hold else SHADOW
        return STEPS if self.status.phase is Phase.CANARY else PROMOTING

    def certificate(self) -> float:
        """Return the log of the wealth of the bet that what is exposed, or about to be, holds: of the bucket
        of context length and the kind of work that has least.
        """
        unexposed = self.status.phase in (Phase.PENDING, Phase.CHECKING, Phase.SHADOWING)
        wanted, totals = (
            Mode.SHADOW if unexposed else Mode.ON,
            defaultdict[tuple[int, Work], Histogram](Histogram),
        )
        for pod in self.pods.values():
            for (site, bucket, work, mode), found in pod.series.items():
                if site is None and mode is wanted:
                    totals[bucket, work] = totals[bucket, work].plus(found)
        return min((certificate.log_certificate(total, THRESHOLD) for total in totals.values()), default=0.0)


def _poisson(rng: random.Random, mean: float) -> int:
    """Return a number of arrivals whose mean this is."""
    number, left = 0, math.exp(-mean)
    product = rng.random()
    while product > left:
        number, product = number + 1, product * rng.random()
    return number


Played = tuple[str, float, dict[str, float]]
"""How a rollout ended, after how many hours, and how many of them were spent where."""


def play(per_minute: float, seed: int) -> Played:
    """Play a rollout of a good pattern until it is promoted or ended otherwise."""
    world = Rollout(per_minute, seed)
    began, spent = world.now, defaultdict[str, float](float)
    while world.now - began < LONGEST:
        before = world.now
        world.snapshot()
        spent[world.where()] += (world.now - before) / timedelta(hours=1)
        if world.status.phase in (Phase.PROMOTED, Phase.FELL_BACK, Phase.FAILED):
            break
    return world.status.phase.value, (world.now - began) / timedelta(hours=1), dict(spent)


def trace(seed: int) -> list[dict[str, Any]]:
    """Return looks at the rollout that is promoted and whose recall falls then: {minutes, phase, step,
    for, for_limit, against, against_limit, fallen}, evidence in nats.
    """
    world, looks = Rollout(TRACED, seed), []
    began, promoted = world.now, None
    while world.status.phase is not Phase.FELL_BACK:
        looked = plan(world.observe(), world.memory)
        shown = next((e for e in looked.evidence if e.guardrail == "recall"), None)
        looks.append(
            {
                "minutes": round((world.now - began) / timedelta(minutes=1), 3),
                "phase": world.status.phase.value,
                "step": world.status.step.weight if world.status.step else None,
                "for": round(world.certificate(), 3),
                "for_limit": round(-math.log(spec().confidence.bad_promotion / len(JUDGED)), 3),
                "against": _against(looked.memory),
                "against_limit": round(shown.log_limit, 3) if shown else None,
                "fallen": world.mean == FALLEN,
            }
        )
        if world.status.phase is Phase.PROMOTED:
            promoted = promoted or world.now
            if world.now - promoted >= AFTER:
                world.mean = FALLEN
        world.snapshot()
    return _thinned(looks)


def _against(memory: Memory) -> float | None:
    """Return the most evidence against the pattern of all tests, in nats; None before any."""
    tests = {test for test, _ in memory.detectors}
    return round(max(map(Judgements(memory).log_e, tests)), 3) if tests else None


def _thinned(looks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return some of the looks: every one at which the phase or the step changes, and others evenly."""
    every = max(len(looks) // POINTS, 1)
    kept = []
    for i, look in enumerate(looks):
        changes = i == 0 or (look["phase"], look["step"]) != (looks[i - 1]["phase"], looks[i - 1]["step"])
        if changes or i % every == 0 or i == len(looks) - 1:
            kept.append(look)
    return kept


def rows(runs: int, seed: int, rates: Iterator[float]) -> Iterator[tuple[str, float, str, dict[str, Any]]]:
    """Yield a row for each rate: the median time to the promotion, and where it goes."""
    with ProcessPoolExecutor() as pool:
        for per_minute in rates:
            played = list(pool.map(partial(play, per_minute), range(seed, seed + runs)))
            ended = Counter(phase for phase, _, _ in played)
            spent = defaultdict[str, list[float]](list)
            for _, _, hours in played:
                for where in (SHADOW, HELD, STEPS, PROMOTING):
                    spent[where].append(hours.get(where, 0.0))
            more = {
                "runs": runs,
                "promoted": ended[Phase.PROMOTED.value],
                "rejected": ended[Phase.FELL_BACK.value],
                "unfinished": runs - ended[Phase.PROMOTED.value] - ended[Phase.FELL_BACK.value],
                "hours": {where: round(statistics.median(found), 3) for where, found in spent.items()},
            }
            value = statistics.median(hours for _, hours, _ in played)
            yield f"promoted_at_{per_minute:g}_a_minute", value, "hours, median", more


def main() -> None:
    """Play the rollouts, and put the rows and the trace into the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rates", default=",".join(f"{rate:g}" for rate in RATES))
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    command = f"python -m benchmarks.rollouts --runs {asked.runs} --seed {asked.seed} --rates {asked.rates}"
    report = Report(asked.out, command)
    report.begin("any", {"python": platform.python_version()})
    report.row("trace", TRACED, "requests a minute", trace(asked.seed))
    for name, value, unit, more in rows(asked.runs, asked.seed, map(float, asked.rates.split(","))):
        report.row(name, value, unit, [], **more)


if __name__ == "__main__":
    main()
