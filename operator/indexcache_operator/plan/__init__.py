"""Decisions, and nothing else: `plan(observation, memory) -> Plan` is a pure function.

planner.py   one look, from evidence to actions
facts/       what decisions rest on: the snapshot, the status so far, the memory, the revision, what is asked
evidence/    what each guardrail says and how far that reaches, from engines' counters and answers of probes
traffic/     whether requests went where the route says, and whether a pod is drained, by the same counters
wanted/      what should be: who is exposed and how far, labels and route on the way in and back, what engines
             are told
waits/       what a try waits for, for how long, and what a person can do about it
phases/      a file for each decision, their table, and what ends a try from outside its phase
report/      what people read, and which of their commands can't be obeyed

Rooms import only rooms named above them, and the planner all of them; evidence, traffic and wanted don't know
each other.
"""

from indexcache_operator.plan.planner import plan

__all__ = ["plan"]
