"""Kills where a rollout's status can't be read, so that no plan can be made: they need its pods, and nothing
else.
"""

import asyncio

import aiohttp

from indexcache_operator import names
from indexcache_operator.credentials import Control, Credentials
from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.kube import Kube
from indexcache_operator.objects import Object
from indexcache_operator.observe import bindings, pods
from indexcache_operator.plan.facts.revision import KILL
from indexcache_operator.workload.pod import selector


def wanted(raw: Object) -> bool:
    """Return whether somebody asks for a kill, whatever revision the value names: there is no status that
    would tell the present one.
    """
    return bool(((raw.get("metadata") or {}).get("annotations") or {}).get(KILL))


async def stop(
    kube: Kube,
    session: aiohttp.ClientSession,
    credentials: Credentials,
    namespace: str,
    name: str,
    known: Control | None,
) -> None:
    """Take every engine of the rollout to the baseline. `known`: what last guarded those whose pods don't say
    it, if anything did.

    Raises KubeError if its pods can't be read, and an ExceptionGroup of EngineErrors for those that couldn't
    be told.
    """
    found = await kube.select(names.object_path("api/v1", "pods", namespace), selector(name))
    controls = bindings.by_address(credentials, namespace=namespace, name=name, pods=found, otherwise=known)
    engines = Engines(session=session, tokens=bindings.tokens(controls))
    reason = f"annotation {KILL}, while the rollout's status can't be read"
    addresses = [ip for pod in found if (ip := pods.askable(pod))]
    results = await asyncio.gather(*(engines.kill(ip, reason) for ip in addresses), return_exceptions=True)
    failures = [result for result in results if isinstance(result, EngineError)]
    if failures:
        raise ExceptionGroup("engines that couldn't be told", failures)
