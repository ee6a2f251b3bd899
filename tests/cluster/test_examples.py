"""Tests that what users are told to apply is accepted as it stands, and reads back as meant."""

from typing import Any

import pytest
import yaml
from indexcache_operator import names
from indexcache_operator.api.spec import Spec
from indexcache_operator.kube import Kube
from indexcache_operator.workload.render import Owner, Runtime, render

from scripts.generate.crd import ROOT
from tests.credentials import control

EXAMPLES = {
    path.stem: list(yaml.safe_load_all(path.read_text()))
    for path in sorted((ROOT / "examples").glob("*.yaml"))
}
ROLLOUTS = [name for name, bodies in EXAMPLES.items() if bodies[0]["kind"] == "IndexCacheRollout"]
PATHS = {
    "IndexCacheRollout": ("apis/indexcache.dev/v1alpha1", "indexcacherollouts"),
    "HTTPRoute": names.HTTP_ROUTES,
    "ConfigMap": ("api/v1", "configmaps"),
}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_is_accepted(kube: Kube, namespace: str, name: str) -> None:
    for body in EXAMPLES[name]:
        await dry_run(kube, namespace, body)


async def dry_run(kube: Kube, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
    api, plural = PATHS[body["kind"]]
    body["metadata"]["namespace"] = namespace
    return await kube.apply(
        names.object_path(api, plural, namespace, body["metadata"]["name"]), body, dry_run=True
    )


@pytest.mark.parametrize("name", ROLLOUTS)
async def test_its_workload_is_accepted(kube: Kube, namespace: str, name: str) -> None:
    """The Deployment and Services that follow from it pass the API server's validation, none of their fields
    unknown.
    """
    body = await dry_run(kube, namespace, EXAMPLES[name][0])
    owner = Owner(
        name=body["metadata"]["name"], namespace=namespace, uid="0c0ffee0-0000-0000-0000-000000000000"
    )
    made = render(
        Spec.model_validate(body["spec"]), owner, Runtime(image="runtime:1"), control(namespace, owner.name)
    )
    stored = await kube.apply(
        names.object_path("apis/apps/v1", "deployments", namespace, owner.name), made.deployment, dry_run=True
    )
    assert len(stored["spec"]["template"]["spec"]["containers"]) == 1
    for service in made.services:
        await kube.apply(
            names.object_path("api/v1", "services", namespace, service["metadata"]["name"]),
            service,
            dry_run=True,
        )


def test_glm5_has_a_letter_for_each_indexer() -> None:
    assert len(EXAMPLES["glm5"][0]["spec"]["indexCache"]["pattern"]) == 78
