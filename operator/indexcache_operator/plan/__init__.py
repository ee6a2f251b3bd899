"""Decisions, and nothing else: `plan(observation, memory) -> Plan` is a pure function.

planner.py      one look, from evidence to actions
transitions.py  the table of phases
check.py, shadow.py, canary.py, promote.py, fallback.py, deletion.py   a file a decision
triggers.py     what ends a try from outside its phase
exposure.py, retreat.py   the order of labels and route, in and back
flags.py        what engines are told, and its epochs
guardrails.py, evidence_view.py, quality_view.py, traffic_view.py      what the counters say
report.py, conditions.py  what people read
"""

from indexcache_operator.plan.planner import plan

__all__ = ["plan"]
