"""Plays the demo's scenarios again and again on the testbed: how fast reuse ends once the engines' counters
prove a drift, and whether an operator that dies at any moment changes what comes of a rollout.

    testbed run python -m benchmarks.live [--drifts 30] [--deaths 20] [--seed 1]
        [--out benchmarks/results/live.json]

`make live` does so, and brings the testbed about. Everything is real: engines, gateway, users who go on
asking, and the witness that times what happens. An operator is killed at a moment drawn from its scenario's
length, its pod deleted without grace; where the scenario ends before that, it is played once more.
"""

import argparse
import asyncio
import itertools
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexcache_testbed.background import Background
from indexcache_testbed.load.client import Load
from indexcache_testbed.scenario import install, kubectl, scenarios
from indexcache_testbed.scenario.outcome import Outcome
from indexcache_testbed.scenario.scenarios import Scenario
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import Witness

from benchmarks.report import Report, say

RESULT = Path(__file__).with_name("results") / "live.json"
ENGINES_WITHIN = 300.0
OPERATOR_PODS = ("-l", "app.kubernetes.io/name=indexcache-operator")
ENDS: dict[Scenario, tuple[str, ...]] = {
    scenarios.good: ("Promoted: Certified",),
    scenarios.harmful: ("FellBack: RecallBelowThreshold", "FellBack: QualityBelowThreshold"),
    scenarios.drift: (
        "FellBack: RecallBelowThreshold",
        "FellBack: QualityBelowThreshold",
        "FellBack: EngineBreaker",
    ),
    scenarios.alert: ("FellBack: AlertFiring",),
}
"""Of each scenario the ends that are right."""
FIRST_LENGTH = 60.0
"""Seconds from which a scenario's moment is drawn before it was played once."""
_revisions = itertools.count(1)


@dataclass
class Deaths:
    """Kills the operator once in a scenario, at a moment that is drawn, and keeps what came of it."""

    rng: random.Random
    lengths: dict[Scenario, float] = field(default_factory=dict)
    moments: list[float] = field(default_factory=list)

    async def play(self, stage: Stage, scenario: Scenario) -> Outcome | None:
        """Play one; None if it ended before the operator was to die."""
        moment = self.rng.uniform(0.0, self.lengths.get(scenario, FIRST_LENGTH))
        began, killed = time.monotonic(), asyncio.Event()

        async def kill() -> None:
            await asyncio.sleep(moment)
            killed.set()
            await kubectl.kubectl(
                *("-n", install.OPERATOR_NAMESPACE, "delete", "pod", *OPERATOR_PODS),
                *("--grace-period=0", "--force", "--ignore-not-found"),
            )
            stage.say(f"the operator was killed after {moment:.1f} s")

        killing = Background("the operator's death")
        killing.begin(kill())
        try:
            outcome = await scenario(stage)
        finally:
            await killing.end()
            if killed.is_set():
                self.moments.append(round(moment, 1))
        if killed.is_set():
            return outcome
        self.lengths[scenario] = time.monotonic() - began
        return None


class Anew(Stage):
    """A stage on which each rollout is one that was never tried: what was rejected once stays so."""

    async def apply(
        self, example: str, change: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Apply one of examples/, under a revision of its own."""

        def renamed(rollout: dict[str, Any]) -> None:
            # No context is so short: nothing but the revision's name changes.
            rollout["spec"]["indexCache"]["minContextTokens"] = next(_revisions)
            if change is not None:
                change(rollout)

        return await super().apply(example, renamed)


def wrong(scenario: Scenario, outcome: Outcome) -> list[str]:
    """Return what is not as it should be at a scenario's end."""
    found = []
    if outcome.ended not in ENDS[scenario]:
        found.append(f"ended as {outcome.ended}; expected {' or '.join(ENDS[scenario])}")
    if outcome.failed:
        found.append(f"{outcome.failed} requests failed: {outcome.failures}")
    if outcome.admitted_after:
        found.append(f"{outcome.admitted_after} requests were admitted under reuse after it was off")
    return found


@asynccontextmanager
async def installed() -> AsyncIterator[tuple[str, Witness]]:
    """Install the operator and what a rollout's user brings; yield the gateway's URL and the witness, once
    the engines answer.
    """
    await install.operator()
    await install.fresh()
    await install.companions()
    url = await install.gateway()
    async with Witness(install.NAMESPACE, install.ROLLOUT, install.ROUTE) as witness:
        await Stage(witness, Load(url, install.MODEL), install.EXAMPLES, say).apply("demo-good")
        await install.engines_answer(url, ENGINES_WITHIN, say)
        try:
            yield url, witness
        finally:
            await install.fresh()


async def drifts(url: str, witness: Witness, count: int, report: Report) -> list[str]:
    """Play the drift so many times; report how long the way back took. Returns what went wrong."""
    off: list[float] = []
    zero: list[float] = []
    bad: list[str] = []
    for number in range(count):
        async with Load(url, install.MODEL, seed=1000 + number) as load:
            try:
                outcome = await scenarios.drift(Anew(witness, load, install.EXAMPLES, lambda line: None))
            except TimeoutError as error:
                bad.append(f"drift {number}: {error}")
                say(bad[-1])
                continue
        problems = wrong(scenarios.drift, outcome) + outcome.notes
        if outcome.breach_to_off is None or outcome.breach_to_zero is None:
            problems.append("reuse, or the canary's traffic, was never seen to end")
        else:
            off.append(round(outcome.breach_to_off, 3))
            zero.append(round(outcome.breach_to_zero, 3))
        bad += [f"drift {number}: {problem}" for problem in problems]
        last = f"off after {off[-1:]} s, canary's traffic 0 after {zero[-1:]} s, {problems or 'as it should'}"
        say(f"drift {number + 1} of {count}: {outcome.ended}, {last}")
        if off:
            report.row("drift_to_off_s", max(off), f"s, the longest of {len(off)}", off, aim=1.0)
            report.row("drift_to_zero_s", max(zero), f"s, the longest of {len(zero)}", zero, aim=3.0)
            report.row("drifts_wrong", len(bad), f"of {number + 1}", bad, aim=0)
    return bad


async def deaths(url: str, witness: Witness, count: int, seed: int, report: Report) -> list[str]:
    """Play scenarios in turns, so many of them with an operator that dies. Returns what went wrong."""
    dying, order = Deaths(random.Random(seed)), list(ENDS)
    bad: list[str] = []
    played: dict[str, int] = {}
    number = 0
    while len(dying.moments) < count:
        scenario = order[len(dying.moments) % len(order)]
        number += 1
        async with Load(url, install.MODEL, seed=2000 + number) as load:
            stage = Anew(witness, load, install.EXAMPLES, lambda line: None)
            try:
                outcome = await dying.play(stage, scenario)
            except TimeoutError as error:
                problems, ended = [str(error)], "not at all"
            else:
                if outcome is None:
                    say(f"{scenario.__name__} ended before the operator was to die; once more")
                    continue
                problems, ended = wrong(scenario, outcome), outcome.ended
        what = f"{scenario.__name__}, after {dying.moments[-1]} s"
        bad += [f"{what}: {problem}" for problem in problems]
        played[scenario.__name__] = played.get(scenario.__name__, 0) + 1
        say(f"death {len(dying.moments)} of {count}: {what}: ended {ended}, {problems or 'as it should'}")
        samples = {"moments_s": dying.moments, "scenarios": played, "wrong": bad}
        report.row("deaths_wrong", len(bad), f"of {len(dying.moments)}", samples, aim=0)
    return bad


async def main() -> int:
    """Play what was asked for; return how many runs went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live")
    parser.add_argument("--drifts", type=int, default=30)
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    command = f"python -m benchmarks.live --drifts {asked.drifts} --deaths {asked.deaths} --seed {asked.seed}"
    report = Report(asked.out, command)
    report.begin(f"{os.cpu_count()} cores, shared by the whole testbed", {})
    async with installed() as (url, witness):
        bad = await drifts(url, witness, asked.drifts, report)
        bad += await deaths(url, witness, asked.deaths, asked.seed, report)
    for problem in bad:
        say(problem)
    return len(bad)


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main()) else 0)
