"""Collects one try's evidence, look after look: what engines counted since the last, what is bet on it, and
what probes answered.
"""

from dataclasses import replace

from indexcache_operator.plan.evidence import bets, counters, probe_answers
from indexcache_operator.plan.facts.guardrails import question
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import Snapshot


def begin(snapshot: Snapshot, memory: Memory | None) -> Memory:
    """Return the memory of this try, or an empty one."""
    status = snapshot.observation.status
    spec = snapshot.observation.spec
    key = f"{status.revision}@{status.revision_started_at}/{question(spec) if spec else ''}"
    return memory if memory is not None and memory.key == key else Memory(key=key)


def observe(situation: Situation) -> Memory:
    """Return the memory with what is new in this look."""
    since = situation.snapshot.since(situation.status.revision_started_at)
    slot = int(since.total_seconds()) + 1
    memory, new = counters.take_up(situation)
    memory = bets.place(situation.snapshot.spec, memory, new, slot)
    return probe_answers.observe(replace(situation, memory=memory))
