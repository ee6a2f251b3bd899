"""Tests that odd specs and odd templates end in a verdict, of a real API server or of the operator, and never
in an exception. `python -m benchmarks.odd_input` tries many more.
"""

from collections import Counter

from indexcache_operator.kube import Kube

from tests.cluster import odd
from tests.cluster.odd import Verdict
from tests.unit.operator.mutated import mutants

SPECS, TEMPLATES = 200, 100


async def test_odd_specs(kube: Kube, namespace: str) -> None:
    found = Counter([await odd.spec_verdict(kube, namespace, m) for m in mutants(11, SPECS)])
    assert found.total() == SPECS
    assert found[Verdict.BY_SERVER] > SPECS // 5
    assert found[Verdict.TAKEN] > SPECS // 5


async def test_odd_templates(kube: Kube, namespace: str) -> None:
    found = Counter([await odd.template_verdict(kube, namespace, t) for t in odd.templates(11, TEMPLATES)])
    assert found.total() == TEMPLATES
    assert all(found[verdict] for verdict in Verdict)
