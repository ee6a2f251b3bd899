"""Holds one scenario under way: the witness, the load, and the moments that the figures are taken from."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from indexcache_core.contract import Mode

from indexcache_testbed.load.answers import REUSE_STATE, failures, tally
from indexcache_testbed.load.client import Load
from indexcache_testbed.scenario import kubectl
from indexcache_testbed.scenario.evidence import measured
from indexcache_testbed.scenario.outcome import Outcome, phase_times
from indexcache_testbed.scenario.watch import Answers, Seen, Witness, backends, reusing

Say = Callable[[str], None]
Life = tuple[str, str]
"""A pod and its engine's incarnation."""


@dataclass
class Stage:
    """Holds what a scenario plays on."""

    witness: Witness
    load: Load
    examples: Path
    say: Say
    started: float = field(default_factory=time.monotonic)
    first_look: int = 0

    def begin(self) -> None:
        """Begin a new scenario here."""
        self.started, self.first_look = time.monotonic(), len(self.witness.looks)

    async def apply(
        self, example: str, change: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Apply one of examples/ with kubectl, changed if wanted; return what was applied, once the API
        server has it."""
        rollout: dict[str, Any] = yaml.safe_load((self.examples / f"{example}.yaml").read_text())
        if change:
            change(rollout)
        await kubectl.apply(rollout)
        pattern = rollout["spec"]["indexCache"]["pattern"]
        self.say(f"kubectl apply -f examples/{example}.yaml   # pattern {pattern}")
        stored = (await kubectl.get("icr", self.witness.rollout, self.witness.namespace))["metadata"]
        await self.witness.until("the rollout as applied", lambda w: self._has(w, stored), within=10)
        return rollout

    @staticmethod
    def _has(witness: Witness, stored: dict[str, Any]) -> bool:
        """Return whether the witness sees this object in this generation or a later one: until then it speaks
        of what was before.
        """
        seen = witness.now.object.get("metadata", {})
        return bool(seen.get("uid") == stored["uid"] and seen["generation"] >= stored["generation"])

    async def until_exposed(self, weight: int, within: float) -> float:
        """Wait until the engines' counters have shown at least this weight."""

        def reached(w: Witness) -> bool:
            traffic = w.now.status.get("traffic") or {}
            step = w.now.status.get("step") or {}
            return w.current() and traffic.get("desired", 0) >= weight and bool(step.get("reachedAt"))

        return await self.witness.until(f"weight {weight} reached", reached, within)

    # --------------------------------------------------------------------------------------------------------
    # Moments and counts, from the witness's record.

    def looks(self) -> list[Answers]:
        """Return the looks of this scenario."""
        return self.witness.looks[self.first_look :]

    def seen(self) -> list[Seen]:
        """Return the versions of the rollout in this scenario."""
        return [s for s in self.witness.seen if s.at >= self.started]

    def off_since(self, moment: float) -> float | None:
        """Return the time of the first look after the moment from which on every look shows no engine
        reusing."""
        after = [look for look in self.looks() if look.at >= moment]
        last_on = max((i for i, look in enumerate(after) if reusing(look)), default=-1)
        return after[last_on + 1].at if last_on + 1 < len(after) else None

    def zero_since(self, moment: float, canary: str) -> float | None:
        """Return from when on, at or after the moment, the route has no canary backend and the gateway has
        accepted that.
        """
        earlier = [s for s in self.witness.routes if s.at < moment]
        for seen in [*earlier[-1:], *(s for s in self.witness.routes if s.at >= moment)]:
            parents = seen.status.get("parents") or []
            generation = seen.object.get("metadata", {}).get("generation")
            current = parents and all(
                c.get("observedGeneration") == generation for p in parents for c in p.get("conditions", [])
            )
            if canary not in backends(seen) and current:
                return max(seen.at, moment)
        return None

    def admitted_between(self, start: float, end: float) -> int:
        """Count requests admitted under reuse between two moments, by each engine's own counter.

        It begins with the first look from `start` on. An engine that did not answer then begins with what it
        last said before; one that never did is new, and so is all that it admitted.
        """
        looks = [look for look in self.witness.looks if look.at <= end]
        begun, last = dict[Life, int](), dict[Life, int]()
        for before, look in zip([None, *looks], looks, strict=False):
            counts = {
                (pod, state.incarnation): state.requests.admitted_reuse for pod, state in look.states.items()
            }
            if before is None or before.at < start:
                begun |= counts
            if look.at >= start:
                last |= counts
        return sum(count - begun.get(life, 0) for life, count in last.items())

    def outcome(
        self, letter: str, title: str, pattern: str, mode: Mode, *, since: float | None = None
    ) -> Outcome:
        """Return the figures that every scenario has; answers and admissions from this moment on, by default
        the scenario's beginning.
        """
        now, begun = time.monotonic(), self.started if since is None else since
        answers = self.load.since(begun)
        status = self.witness.now.status
        looks = self.looks()
        in_mode = [look for look in looks if any(s.mode is mode and s.observed for s in look.states.values())]
        return Outcome(
            letter=letter,
            title=title,
            pattern=pattern,
            ended=f"{status.get('phase', '')}: {status.get('reason', '')}",
            phases=phase_times([(s.at, s.phase) for s in self.seen()], now),
            measured=measured(in_mode[-1:], mode),
            stable=tally(a for a in answers if a.state != REUSE_STATE),
            canary=tally(a for a in answers if a.state == REUSE_STATE),
            failed=sum(a.failed for a in answers),
            failures=dict(failures(answers)),
            admitted_under_reuse=self.admitted_between(begun, now),
        )
