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
from indexcache_operator.plan.facts.guardrails import Guardrail
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Holds what one guardrail says."""

    guardrail: Guardrail
    verdict: Verdict
    judgements: dict[TestKey, Judgement]
    """By test: of those whose certificates are asked for, that counted something, or that are breached."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Holds what all guardrails say (evidence/judging.py)."""

    answers: tuple[Answer, ...] = ()
    judged: float = 0.0
    """Users' requests of judged lengths, the older the lighter."""
    carrying: frozenset[tuple[int, Work]] = frozenset()
    """Buckets of context length and kinds of work of which certificates are asked for."""
    unguarded: bool = False
    """Whether the spec asks to go on where nothing acts."""

    @property
    def acting(self) -> tuple[Answer, ...]:
        """Return those that may act."""
        return tuple(a for a in self.answers if a.guardrail.acts)

    def breach(self) -> tuple[Answer, TestKey] | None:
        """Find a guardrail that breached, and the one of its tests that holds most against the pattern."""
        for answer in self.acting:
            over = [t for t, judgement in answer.judgements.items() if judgement.verdict is Verdict.BREACHED]
            if over:
                return answer, max(over, key=lambda test: answer.judgements[test].log_e)
        return None

    def probed(self) -> bool:
        """Tell whether every acting guardrail on probes is certified, if there are any."""
        return all(a.verdict is Verdict.CERTIFIED for a in self.acting if a.guardrail.name in PROBED)

    def certified(self, *, without_quality: bool = False) -> bool:
        """Tell whether every acting guardrail is certified; shadow doesn't wait for those on probes. Where
        none acts nothing is, unless the spec asks for that.
        """
        deciding = [a for a in self.acting if not (without_quality and a.guardrail.name in PROBED)]
        return all(a.verdict is Verdict.CERTIFIED for a in deciding) if deciding else self.unguarded


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
