"""Holds the objects that one look found, before they are read. Pure."""

from dataclasses import dataclass

from indexcache_operator import names
from indexcache_operator.model import EnginePod
from indexcache_operator.objects import Object
from indexcache_operator.observe import pods
from indexcache_operator.observe.asking import Answer


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Holds what a rollout owns."""

    deployment: Object | None
    services: tuple[Object | None, Object | None]
    unknown: bool
    """Whether one of these could not be read."""
    pods: list[Object]

    def deployment_uid(self, rollout: str) -> str | None:
        """Return the uid of the Deployment, if there is one that is the rollout's own."""
        metadata = (self.deployment or {}).get("metadata") or {}
        ours = (metadata.get("labels") or {}).get(names.ROLLOUT_LABEL) == rollout
        return metadata["uid"] if ours else None


def engine_pods(objects: Objects, answers: list[Answer]) -> tuple[EnginePod, ...]:
    """Return the pods with what their engines answered, by name. `answers`: in the order of the objects."""
    spec: Object = (objects.deployment or {}).get("spec") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    found = (
        pods.engine_pod(
            pod,
            template=labels.get(names.TEMPLATE_LABEL),
            state=answer.state,
            error=answer.error,
            silent=answer.silent,
        )
        for pod, answer in zip(objects.pods, answers, strict=True)
    )
    return tuple(sorted(found, key=lambda pod: pod.name))


class Unread:
    """Stands for an object of which nobody knows whether it is there."""


def known_object(found: Object | Unread | None) -> Object | None:
    """Return an object that is known to be there."""
    return None if isinstance(found, Unread) else found
