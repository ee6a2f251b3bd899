"""Renders what a rollout owns beside its status: Deployment and two Services. Pure.

The Deployment selects pods by rollout and engine alone; which Service a pod stands behind is a label that
nothing but a Service selects on, so moving a pod replaces none. New pods are born behind the baseline
Service, since an engine starts at the baseline.
"""

from dataclasses import dataclass

from indexcache_core.digest import digest

from indexcache_operator import names
from indexcache_operator.api.base import GROUP, KIND, VERSION
from indexcache_operator.api.spec import Spec
from indexcache_operator.credentials import Control
from indexcache_operator.objects import Object
from indexcache_operator.workload.pod import pod_template, selector

DIGITS = 16
"""Hex digits of the hashes of templates and of all objects."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The rollout that owns the objects."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Says where the plugin comes from."""

    image: str
    pull_policy: str = "IfNotPresent"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The objects, and a hash of all of them (the Deployment carries it as an annotation)."""

    deployment: Object
    services: tuple[Object, ...]
    digest: str
    template: str
    """The pods' TEMPLATE_LABEL."""


def render(spec: Spec, owner: Owner, runtime: Runtime, control: Control) -> Workload:
    """Return what this spec wants. Raises TemplateError for an engine template that no pod can be made of."""
    template = pod_template(
        spec.engine,
        rollout=owner.name,
        runtime_image=runtime.image,
        pull_policy=runtime.pull_policy,
        control=control,
    )
    template_digest = digest(template, DIGITS)
    template["metadata"]["labels"][names.TEMPLATE_LABEL] = template_digest
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(owner, owner.name),
        "spec": {
            "replicas": spec.engine.replicas,
            "selector": {"matchLabels": selector(owner.name)},
            # Engines hold the GPUs they have: a new pod gets its own only when an old one has gone.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 3600,
            "template": template,
        },
    }
    services = (
        _service(owner, names.baseline_service(owner.name), names.BASELINE_LABEL, spec.engine.port),
        _service(owner, names.canary_service(owner.name), names.CANARY_LABEL, spec.engine.port),
    )
    applied = digest([deployment, *services], DIGITS)
    deployment["metadata"]["annotations"] = {  # type: ignore[index]
        names.APPLIED_ANNOTATION: applied,
        names.CONTROL_ANNOTATION: str(control.binding),
    }
    return Workload(deployment=deployment, services=services, digest=applied, template=template_digest)


def _service(owner: Owner, name: str, label: str, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(owner, name),
        "spec": {
            "selector": selector(owner.name) | {label: "true"},
            "ports": [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _metadata(owner: Owner, name: str) -> Object:
    labels = {names.ROLLOUT_LABEL: owner.name, "app.kubernetes.io/managed-by": names.FIELD_MANAGER}
    reference = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": owner.name, "uid": owner.uid}
    owners = [{**reference, "controller": True, "blockOwnerDeletion": True}]
    return {"name": name, "namespace": owner.namespace, "labels": labels, "ownerReferences": owners}
