"""Tests what comes of each cause that ends a try."""

import ast
from pathlib import Path

from indexcache_operator import alerts, plan
from indexcache_operator.api.status import Origin
from indexcache_operator.plan.facts.endings import ENDINGS, UNKNOWN, Then, ending
from indexcache_operator.plan.phases import canary, triggers
from indexcache_operator.plan.waits.certificates import NOTHING_ACTS


def test_evidence_alone_rejects() -> None:
    assert {cause for cause, found in ENDINGS.items() if found.then is Then.REJECT} == {
        *triggers.CAUSES.values(),
        "EngineBreaker",
        alerts.CAUSE,
    }


def test_what_rejects_is_the_patterns() -> None:
    assert {found.origin for found in ENDINGS.values() if found.then is Then.REJECT} == {Origin.PATTERN}


def test_what_is_known_of_a_cause_is_told() -> None:
    assert {cause: ending(cause) for cause in ENDINGS} == ENDINGS


def test_a_cause_of_nobody_known_rejects() -> None:
    assert ending("Novel") is UNKNOWN
    assert UNKNOWN.then is Then.REJECT


def test_each_cause_that_is_given_is_known() -> None:
    assert plan.__file__ is not None
    given = {*canary.LATE.values(), NOTHING_ACTS.reason, *triggers.CAUSES.values(), alerts.CAUSE}
    for path in Path(plan.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                at = {"Cause": 0, "fall_back": 1}.get(node.func.id)
                if at is not None and len(node.args) > at and isinstance(node.args[at], ast.Constant):
                    given.add(node.args[at].value)  # type: ignore[attr-defined]  # a constant has one
    assert len(given) > 12
    assert given - set(ENDINGS) == set()
