"""Puts odd specs and odd templates before a real API server, and before the operator's own code: each must
end in one of the verdicts here, and in no exception.
"""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from indexcache_operator import names
from indexcache_operator.api.spec import Spec
from indexcache_operator.kube import Kube, KubeError
from indexcache_operator.observe import drift
from indexcache_operator.observe.rollout import read
from indexcache_operator.workload.merge import TemplateError
from indexcache_operator.workload.render import Owner, render

from tests.credentials import control
from tests.unit.operator.mutated import Mutant
from tests.unit.operator.test_mutated_specs import planned, rollout, without_nulls
from tests.unit.operator.workload.test_shape import GOOD, ODD, RUNTIME, changed, places


class Verdict(StrEnum):
    """Says how odd input ended."""

    BY_SERVER = "refused by the API server"
    BY_STATUS = "refused by the operator, by the field's name"
    TAKEN = "taken"


async def spec_verdict(kube: Kube, namespace: str, mutant: Mutant) -> Verdict:
    """Return what becomes of a spec. Raises AssertionError where it is refused without the name of a field
    that was changed, and whatever else goes wrong.
    """
    body = {
        "apiVersion": "indexcache.dev/v1alpha1",
        "kind": "IndexCacheRollout",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": mutant.spec,
    }
    try:
        stored = await dry_run(kube, names.rollouts_path(namespace), body)
    except KubeError as error:
        _refused(error, [str(path[0]) for path in mutant.changed])
        return Verdict.BY_SERVER
    found = read(rollout(without_nulls(stored.get("spec"))))
    if found.spec_problem is not None:
        assert found.spec_problem.startswith("spec"), found.spec_problem
        assert "; " in found.spec_problem, found.spec_problem
        return Verdict.BY_STATUS
    assert found.spec is not None
    planned(found.spec, recall=0.999)
    return Verdict.TAKEN


def templates(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield so many templates with one to four odd values in any places."""
    draw = random.Random(seed)
    for _ in range(count):
        template: Any = GOOD
        for _ in range(draw.randint(1, 4)):
            place = draw.choice([p for p in places(template) if p] or [("metadata",)])
            template = changed(template, place, draw.choice(ODD))
        yield template


async def template_verdict(kube: Kube, namespace: str, template: dict[str, Any]) -> Verdict:
    """Return what becomes of a template: by our own rules, then by the API server's. Raises as
    `spec_verdict`.
    """
    body = {"engine": {"image": "i", "model": "m", "template": template}, "indexCache": {"pattern": "FS"}}
    owner = Owner(name="chat", namespace=namespace, uid="0c0ffee0-0000-0000-0000-000000000000")
    try:
        made = render(Spec.model_validate(body), owner, RUNTIME, control(namespace, owner.name))
    except TemplateError as error:
        if not str(error).startswith("spec.engine.template"):
            raise
        return Verdict.BY_STATUS
    path = names.object_path("apis/apps/v1", "deployments", namespace, owner.name)
    try:
        await kube.apply(path, made.deployment, dry_run=True)
    except KubeError as error:
        _refused(error, ["spec.template"])
        return Verdict.BY_SERVER
    return Verdict.TAKEN


def _refused(error: KubeError, fields: list[str]) -> None:
    """Check that the API server found the object wrong, and said where."""
    if not drift.refuses(error) or not any(field in error.message for field in fields):
        raise AssertionError(f"{fields}: {error}") from error


async def dry_run(kube: Kube, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the object as the API server would store it; it stores nothing."""
    stored: dict[str, Any] = await kube._request(
        "post", path, body=body, field_manager=names.FIELD_MANAGER, dry_run="All"
    )
    return stored
