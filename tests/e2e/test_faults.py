"""A gateway that is cut off from its proxies: its status goes on to say that all is done, while traffic goes
where it went before.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest_asyncio
from indexcache_testbed.cluster import faults
from indexcache_testbed.cluster.handle import Cluster
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import Seen, Witness, backends

from tests.e2e.support import all_off, annotate, exposed, heard, held, restored

WEIGHT = 50
ENOUGH = 200
"""Users' requests after which a weight that is there would have been seen several times over."""


async def cut() -> None:
    """Cut the proxies off."""
    await asyncio.to_thread(faults.cut_gateway, Cluster.named())
    assert await asyncio.to_thread(faults.is_cut, Cluster.named())


async def restore() -> None:
    """Undo it."""
    await asyncio.to_thread(faults.restore_gateway, Cluster.named())


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def whole() -> AsyncIterator[None]:
    """Make the gateway whole afterwards, whatever a test did."""
    yield
    await restore()


async def test_a_weight_that_no_proxy_knows_is_not_reached(stage: Stage) -> None:
    stage.begin()
    await stage.apply("demo-good", held(WEIGHT))
    await stage.witness.until_phase("Shadowing", within=60)
    await cut()
    moment = time.monotonic()
    answered = lambda w: len(stage.load.since(moment)) >= ENOUGH  # noqa: E731
    await stage.witness.until("requests enough to tell the split by", answered, within=120)
    assert not [s for s in stage.seen() if s.at >= moment and reached(s)]
    assert stage.witness.now.phase == "Canary"
    # A pod whose way out of the baseline's Service came through before the cut may reuse, but nobody is sent
    # to it.
    assert stage.admitted_between(moment, time.monotonic()) == 0
    await restore()
    await stage.until_exposed(WEIGHT, within=60)
    assert not [a for a in stage.load.since(stage.started) if a.failed]


async def test_a_fallback_past_the_gateway_is_total_all_the_same(stage: Stage) -> None:
    stage.begin()
    await exposed(stage, "demo-good", WEIGHT)
    await cut()
    moment = time.monotonic()
    await annotate("indexcache.dev/kill", stage.witness.now.status["revision"])
    await stage.witness.until("all engines at the baseline", lambda w: all_off(w.looks[-1]), within=10)
    await stage.witness.until(
        "the route as it was", lambda w: restored(stage) and accepted(w) is not None, within=30
    )
    # Proxies still send to the canary's Service: its engines answer at the baseline, and the operator knows
    # that it is not over.
    await stage.witness.until(
        "traffic seen on the canary", lambda w: "still show traffic on the canary" in _message(w), within=60
    )
    assert stage.witness.now.phase == "FallingBack"
    assert all_off(heard(stage.witness.looks)[-1])
    await restore()
    await stage.witness.until_phase("FellBack", within=90)
    assert stage.witness.now.status["fallback"]["cause"] == "Killed"
    off = stage.off_since(moment)
    assert off is not None
    assert stage.admitted_between(off, time.monotonic()) == 0
    assert not [a for a in stage.load.since(stage.started) if a.failed]


def accepted(witness: Witness) -> dict[str, int] | None:
    """Return the route's backends, once the gateway says that it has put this generation in place."""
    route = witness.routes[-1]
    parents = route.status.get("parents") or []
    seen = [
        c.get("observedGeneration")
        for p in parents
        for c in p.get("conditions", [])
        if c["type"] == "Accepted" and c["status"] == "True"
    ]
    return (
        backends(route) if seen and all(g == route.object["metadata"]["generation"] for g in seen) else None
    )


def reached(seen: Seen) -> bool:
    """Return whether the rollout counts its weight as reached."""
    return bool((seen.status.get("step") or {}).get("reachedAt"))


def _message(witness: Witness) -> str:
    return str(witness.now.status.get("message", ""))
