"""Decisions, and nothing else: `plan(observation, memory) -> Plan` is a pure function.

planner.py      one look, from evidence to actions
situation.py    what a decision rests on: one look, the status so far, the memory, and what the counters say
transitions.py  the table of phases
check.py, shadow.py, canary.py, promote.py, fallback.py, deletion.py   a file a decision
triggers.py     what ends a try from outside its phase
entering.py     how a phase begins, and what is written down where a try ends
exposure.py, retreat.py   the order of labels and route, in and back
flags.py        what engines are told, and its epochs
guardrails.py, evidence_view.py, quality_view.py, traffic_view.py      what the counters say
report.py, conditions.py, commands.py  what people read, and which of their commands can't be obeyed
"""

from indexcache_operator.plan.planner import plan

__all__ = ["plan"]
