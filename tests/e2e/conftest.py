"""Sets up one installation for all end-to-end tests: the operator, the users' route and probes, three
engines, and a witness that records them.

    testbed run pytest tests/e2e            inside the testbed's network, with the product's images loaded
                                            (`make e2e` does both)

Invariants: there is one Deployment of three engines; tests change the rollout, never the engines' template,
so none but a pod that a test deletes starts again. Each test brings about the state that it needs, at a cost
that depends on the state it finds: hence the order of the files. The end leaves the engines at the baseline
without a rollout.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from indexcache_testbed.cluster import faults
from indexcache_testbed.cluster.handle import Cluster
from indexcache_testbed.load.client import Load
from indexcache_testbed.scenario import install, scenarios
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import Witness

from tests.e2e import support

HERE = Path(__file__).parent
ORDER = (
    "test_scenarios.py",
    "test_canary.py",
    "test_faults.py",
    "test_deletion.py",
    "test_answers.py",
    "test_refusals.py",
)
ENGINES_WITHIN = 300.0
"""Seconds in which three engines start on two cores."""
_seeds = itertools.count(100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here: it needs the testbed, shares one event loop, and runs in the order of ORDER."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    ours.sort(key=lambda item: ORDER.index(item.path.name))
    items[:] = [item for item in items if item not in ours] + ours


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def installed() -> AsyncIterator[str]:
    """Install the operator and what a rollout's user brings; yield the gateway's URL. Undoes what a failed
    test may have left, all of it, and none of it without a deadline of its own.
    """
    await install.operator()
    await install.fresh()
    await install.companions()
    async with AsyncExitStack() as undone:
        undone.push_async_callback(install.fresh)
        undone.push_async_callback(scenarios.scale_operator, 1)
        undone.push_async_callback(asyncio.to_thread, faults.restore_gateway, Cluster.named())
        yield await install.gateway()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def witness(installed: str) -> AsyncIterator[Witness]:
    """Watch from the beginning to the end; the engines are there."""
    async with Witness(install.NAMESPACE, install.ROLLOUT, install.ROUTE) as watching:
        await Stage(watching, Load(installed, install.MODEL), install.EXAMPLES, print).apply("demo-good")
        await install.engines_answer(installed, ENGINES_WITHIN, print)
        yield watching


@pytest_asyncio.fixture(loop_scope="session")
async def stage(installed: str, witness: Witness) -> AsyncIterator[Stage]:
    """Yield a stage with users at work, who ask what nobody asked before."""
    async with Load(installed, install.MODEL, seed=next(_seeds)) as load:
        yield Stage(witness, load, install.EXAMPLES, print)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines(witness: Witness) -> AsyncIterator[support.Engines]:
    """Yield the engines' own ports, users' and control."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield support.Engines(session)
