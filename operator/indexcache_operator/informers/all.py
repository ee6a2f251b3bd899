"""The informers of one operator: a watch for each kind that looks read, and namespace that is watched."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from indexcache_operator import names
from indexcache_operator.beside import beside
from indexcache_operator.informers.informer import Informer
from indexcache_operator.informers.reads import InformedReads
from indexcache_operator.kube import Kube

WATCHED: tuple[tuple[tuple[str, str], dict[str, str | None]], ...] = (
    (names.ROLLOUTS, {}),
    (("api/v1", "pods"), {names.ENGINE_LABEL: "true"}),
    (("api/v1", "services"), {names.ROLLOUT_LABEL: None}),
    (("apis/apps/v1", "deployments"), {names.ROLLOUT_LABEL: None}),
    (names.HTTP_ROUTES, {}),
)
"""Where the API server has each kind, and the labels of its objects that matter, None for any value."""

EVERYWHERE: Sequence[str | None] = (None,)


@asynccontextmanager
async def informed(kube: Kube, namespaces: Sequence[str]) -> AsyncIterator[InformedReads]:
    """Watch all kinds in these namespaces, or in all if none is named, and offer reads from what is known."""
    informers = [
        Informer(kube=kube, api=api, plural=plural, namespace=namespace, selector=selector)
        for (api, plural), selector in WATCHED
        for namespace in (namespaces or EVERYWHERE)
    ]
    reads = InformedReads(kube, informers)
    kube.on_write = reads.heard
    async with beside(*(informer.run() for informer in informers)):
        yield reads
