"""Tests one canary, in order: a pod of it is lost, alerts come that don't concern it, one comes that does,
and none of its KV is served later.

The pattern ruins answers, so that KV made under it would show; all guardrails only observe, so the canary
ends when the tests want it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from indexcache_core.contract import Mode
from indexcache_testbed.cluster.addons import receiver_token
from indexcache_testbed.cluster.handle import Cluster
from indexcache_testbed.load.client import Load
from indexcache_testbed.model.questions import Table, table
from indexcache_testbed.scenario import install, kubectl
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import Answers, Seen, Witness, backends, reusing

from tests.e2e.support import CANARY, Engines, Object, all_off, exposed, heard, in_groups, service

WEIGHT, PAIRS = 10, 64
PROMPTS, SEED = 50, 5_000
"""Of the tables asked about under reuse and again after the fallback."""


@dataclass
class Lost:
    """Tells what happened when a pod of the canary was deleted."""

    stage: Stage
    pod: str
    before: float
    after: float
    """kubectl was called and had returned."""
    again: float
    """Another pod had the weight, by the engines' counters."""
    last: Answers
    """The last look before."""

    def since(self) -> list[Seen]:
        """Return the versions of the rollout since then."""
        return [seen for seen in self.stage.seen() if seen.at >= self.before]


def _only_watched(rollout: Object) -> None:
    rollout["spec"]["guardrails"] = {
        "recall": {"perIndexerMin": 0.03, "observeOnly": True},
        "unguarded": True,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lost(installed: str, witness: Witness) -> AsyncIterator[Lost]:
    """Yield a canary of one pod, whose pod was deleted, and that goes on with another; the replacement has
    come up meanwhile.
    """
    async with Load(installed, install.MODEL, seed=99, pairs=PAIRS) as load:
        stage = Stage(witness, load, install.EXAMPLES, print)
        stage.begin()
        [pod] = await exposed(stage, "demo-alert", WEIGHT, _only_watched)
        last, before = heard(witness.looks)[-1], time.monotonic()
        await kubectl.kubectl("-n", install.NAMESPACE, "delete", "pod", pod, "--wait=false")
        after = time.monotonic()

        def goes_on(w: Witness) -> bool:
            status = w.now.status
            return (
                pod not in status["canaryPods"]
                and status["traffic"]["desired"] == WEIGHT
                and bool(status["step"].get("reachedAt"))
            )

        again = await witness.until("another pod with the weight", goes_on, within=90)
        await witness.until("a third engine", lambda w: len(set(w.engines) - {pod}) == 3, within=180)
        await kubectl.kubectl(
            "-n",
            install.NAMESPACE,
            "rollout",
            "status",
            f"deployment/{install.ROLLOUT}",
            "--timeout=180s",
            within=190,
        )
        yield Lost(stage, pod, before, after, again, last)


async def test_a_lost_pods_share_goes_back_and_the_rollout_goes_on(lost: Lost) -> None:
    seen = lost.since()
    withdrawn = next(s.at for s in seen if s.status["traffic"]["desired"] == 0)
    assert withdrawn < lost.again
    assert [
        r
        for r in lost.stage.witness.routes
        if lost.before <= r.at <= lost.again and CANARY not in backends(r)
    ]
    assert {s.phase for s in seen} == {"Canary"}
    assert {s.status["step"]["index"] for s in seen} == {0}
    failed = [a for a in lost.stage.load.since(lost.stage.started) if a.failed]
    running = lost.last.states[lost.pod].requests
    assert len(failed) <= running.running_baseline + running.running_reuse + lost.stage.load.users
    assert all(a.asked_at <= lost.after for a in failed), failed


async def test_alerts_that_do_not_concern_the_revision_do_nothing(lost: Lost, engines: Engines) -> None:
    status = lost.stage.witness.now.status
    token = await asyncio.to_thread(receiver_token, Cluster.named())
    assert await _post(engines, _alert(lost.stage), "wrong") == (401, None)
    assert await _post(engines, _alert(lost.stage, revision="0123456789"), token) == (200, ["other_revision"])
    assert await _post(engines, _alert(lost.stage, uid="00000000-0000"), token) == (200, ["other_uid"])
    assert await _post(engines, _alert(lost.stage, status="resolved"), token) == (200, ["resolved"])
    assert await _post(engines, {"version": "4", "alerts": "none"}, token) == (422, None)
    # The answer comes after what it decides is stored: had one of them done something, it would stand in the
    # status by now.
    now = (await kubectl.get("icr", install.ROLLOUT, install.NAMESPACE))["status"]
    assert now["phase"] == "Canary"
    assert now["revision"] == status["revision"]
    assert "fallback" not in now
    moment = time.monotonic()
    await lost.stage.witness.until(
        "another look", lambda w: w.looks[-1].at > moment and len(w.engines) == 3, within=5
    )
    assert reusing(heard(lost.stage.witness.looks)[-1]) == now["canaryPods"]


async def test_after_a_fallback_tokens_are_those_of_an_engine_that_never_reused(
    lost: Lost, engines: Engines
) -> None:
    stage, tables = lost.stage, [table(PAIRS, seed=SEED, index=i) for i in range(PROMPTS)]
    [canary], addresses = stage.witness.now.status["canaryPods"], await engines.pods()
    # The lost pod's replacement is one at least.
    states = {pod: await engines.state(ip) for pod, ip in addresses.items()}
    never = next(pod for pod, state in states.items() if not state.steps.reuse)
    under_reuse = await _ask(engines, addresses[canary], tables, first=True)
    assert {a.mode for a in under_reuse} == {Mode.ON.value}

    token = await asyncio.to_thread(receiver_token, Cluster.named())
    assert await _post(engines, _alert(stage), token) == (200, ["rolled_back"])
    await stage.witness.until("all engines at the baseline", lambda w: all_off(w.looks[-1]), within=10)
    before = await engines.state(addresses[canary])
    back = await _ask(engines, addresses[canary], tables, first=False)
    expected = await _ask(engines, addresses[never], tables, first=False)
    # None ran under reuse, and what the canary had computed under it was there to be mistaken for the
    # baseline's.
    now, other = await engines.state(addresses[canary]), await engines.state(addresses[never])
    assert now.requests.admitted_reuse == before.requests.admitted_reuse > other.requests.admitted_reuse == 0
    assert now.steps.reuse == before.steps.reuse > other.steps.reuse == 0
    assert [a.tokens for a in back] == [a.tokens for a in expected]
    for mine, theirs in zip(back, expected, strict=True):
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
    # Reuse shows in this model: what was asked under it would not have passed.
    plain = await _ask(engines, addresses[never], tables, first=True)
    assert sum(a.tokens != b.tokens for a, b in zip(under_reuse, plain, strict=True)) >= PROMPTS // 2
    # What was asked of the canary's pod directly counts as traffic that still comes to it: draining may take
    # its longest, a minute.
    await stage.witness.until_phase("FellBack", within=90)


async def _ask(engines: Engines, ip: str, tables: list[Table], *, first: bool) -> list[Any]:
    """Ask the first question about each table, or a later one: the same prefix, and others after it."""
    prompts = [t.question(0 if first else 3).prompt for t in tables]
    return await in_groups(4, [partial(engines.complete, ip, p, tokens=2) for p in prompts])


def _alert(stage: Stage, *, status: str = "firing", **labels: str) -> Object:
    """Return Alertmanager's payload about the present try, but for what is given."""
    now = stage.witness.now
    own = {"namespace": install.NAMESPACE, "rollout": install.ROLLOUT, "uid": now.object["metadata"]["uid"]}
    identity = {"alertname": "Test", **own, "revision": now.status["revision"], **labels}
    return {
        "version": "4",
        "alerts": [{"status": status, "labels": identity, "annotations": {"summary": "recall is low"}}],
    }


async def _post(engines: Engines, payload: Object, token: str) -> tuple[int, list[str] | None]:
    url = await service(install.OPERATOR, install.OPERATOR_NAMESPACE)
    async with engines.session.post(
        f"{url}/alerts", json=payload, headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        return answer.status, (await answer.json())["outcomes"] if answer.status == 200 else None
