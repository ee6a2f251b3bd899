"""Collects one try's evidence, look after look: what engines counted since the last, what is bet on it, and
what probes answered.
"""

from dataclasses import replace

from indexcache_operator.plan.evidence import bets, counters, probe_answers
from indexcache_operator.plan.facts.guardrails import question
from indexcache_operator.plan.facts.memory import Memory, Slots
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
    slots = situation.memory.slots or _first(situation)
    slot = slots.at(situation.snapshot.observation.uptime)
    memory, new = counters.take_up(replace(situation, memory=replace(situation.memory, slots=slots)))
    memory = bets.place(situation.snapshot.spec, memory, new, slot)
    return probe_answers.observe(replace(situation, memory=memory))


def _first(situation: Situation) -> Slots:
    """Return the slot of this process' first look at the try, by the wall clock."""
    since = situation.snapshot.since(situation.status.revision_started_at)
    return Slots(situation.snapshot.observation.uptime, int(since.total_seconds()) + 1)
