"""Holds what decisions rest on: a look, the status so far, what is remembered, and what the counters were
found to say.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from indexcache_core.contract import Work
from indexcache_core.evidence.guardrails import PROBED
from indexcache_core.evidence.traffic import Reached
from indexcache_core.evidence.verdict import Judgement, Verdict

from indexcache_operator.api.status import Status
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.guardrails import Guardrail
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.reach import Reaches
from indexcache_operator.plan.facts.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Holds what one guardrail says."""

    guardrail: Guardrail
    verdict: Verdict
    judgements: dict[TestKey, Judgement]
    """By test: of those whose certificates are needed, that counted something, or that are breached."""

    @property
    def breached(self) -> list[TestKey]:
        """Return the tests that are breached."""
        return [t for t, judgement in self.judgements.items() if judgement.verdict is Verdict.BREACHED]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Holds what all guardrails say (evidence/judging.py)."""

    answers: tuple[Answer, ...] = ()
    judged: float = 0.0
    """Users' requests of judged lengths, the older the lighter."""
    reaches: Reaches = field(default_factory=Reaches)
    wanted: frozenset[tuple[int, Work]] = frozenset()
    """Buckets of context length and kinds of work whose certificates are needed to go on."""
    unguarded: bool = False
    """Whether the spec asks to go on where nothing acts."""

    @property
    def acting(self) -> tuple[Answer, ...]:
        """Return those that may act."""
        return tuple(a for a in self.answers if a.guardrail.acts)

    def breach(self, exposed: int) -> tuple[Answer, TestKey] | None:
        """Find a guardrail that is breached within the reach that is exposed, and the one of its tests that
        holds most against the pattern.
        """
        for answer in self.acting:
            over = [t for t in answer.breached if reach.within(t.context, exposed, self.reaches.k)]
            if over:
                return answer, max(over, key=lambda test: answer.judgements[test].log_e)
        return None

    def breach_beyond(self, exposed: int) -> tuple[Answer, TestKey] | None:
        """Find the breach in the shortest contexts beyond the reach that is exposed."""
        over = [
            (answer, test)
            for answer in self.acting
            for test in answer.breached
            if not reach.within(test.context, exposed, self.reaches.k)
        ]
        return min(over, key=lambda each: each[1].context or 0, default=None)

    @property
    def measured(self) -> bool:
        """Tell whether a guardrail on what engines measure may act."""
        return any(a.guardrail.measure is not None for a in self.acting)

    def probed(self) -> bool:
        """Tell whether every acting guardrail on probes is certified, if there are any."""
        return all(a.verdict is Verdict.CERTIFIED for a in self.acting if a.guardrail.name in PROBED)

    def certified(self, *, without_quality: bool = False) -> bool:
        """Tell whether the acting guardrails let the try go on: certificates reach far enough, and those on
        probes are there, for which shadow doesn't wait. Where none acts nothing is certified, unless the spec
        asks for that.
        """
        probed = without_quality or self.probed()
        if self.measured:
            reached = self.reaches.shadow if without_quality else self.reaches.reuse
            return probed and self.reaches.enough(reached)
        return probed if self.acting and not without_quality else self.unguarded


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Holds what the engines' counters say of the route's present setting (traffic/arrival.py)."""

    reached: Reached = Reached.UNKNOWN
    requests: int = 0
    """Counted since the mark."""
    percent: int | None = None
    """Of the traffic that comes through the canary's Service, estimated."""
    counted_for: timedelta = timedelta()
    """How long ago counting began."""
    blind: bool = False
    """A pod of the canary that serves can't be asked: what it gets is in no count."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Holds what a decision rests on. A decision that goes on from its own status passes a copy with that
    status.
    """

    snapshot: Snapshot
    status: Status
    memory: Memory
    evidence: Evidence = field(default_factory=Evidence)
    seen: Seen = field(default_factory=Seen)
