"""Deleting a rollout: everybody is back at the baseline first, whatever becomes of the engines."""

import time

import yaml
from indexcache_core.contract import Mode
from indexcache_testbed.scenario import install, kubectl
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import control_secret, reusing

from tests.e2e.support import BASELINE, SELECTOR, Engines, Object, after, exposed, heard, modes, restored

CANARY_LABEL, BASELINE_LABEL = "indexcache.dev/canary", "indexcache.dev/baseline"


async def test_deleted_mid_canary_it_leaves_the_engines_at_the_baseline(
    stage: Stage, engines: Engines
) -> None:
    stage.begin()
    await exposed(stage, "demo-good", 50)
    moment = time.monotonic()
    await kubectl.kubectl(
        "-n", install.NAMESPACE, "delete", "icr", install.ROLLOUT, "--timeout=90s", within=100
    )
    gone = time.monotonic()
    await stage.witness.until("the end of the rollout", lambda w: not w.now.object, within=5)
    route = next(r.at for r in stage.witness.routes if r.at >= moment and set(_names(r.object)) == {BASELINE})
    assert route <= gone
    await stage.witness.until(
        "all engines' answers after its end", lambda w: bool(heard(after(w.looks, gone))), within=10
    )
    # Reuse was off by the time that the route was back, and stayed so, by the engines' counters too: one that
    # is late to answer counts on.
    assert not [look for look in after(stage.witness.looks, route) if reusing(look)]
    off = stage.off_since(moment)
    assert off is not None, stage.witness.describe()
    assert off <= gone
    assert stage.admitted_between(off, time.monotonic()) == 0
    # Engines are told to be off, not only stopped.
    assert modes(heard(stage.witness.looks)[-1]) == {Mode.OFF}, stage.witness.describe()
    assert restored(stage)
    pods = await kubectl.items("pods", install.NAMESPACE, SELECTOR)
    assert [p["metadata"]["labels"].get(BASELINE_LABEL) for p in pods] == ["true"] * 3
    assert not [p for p in pods if CANARY_LABEL in p["metadata"]["labels"]]
    deployment = await kubectl.get("deployment", install.ROLLOUT, install.NAMESPACE)
    assert not deployment["metadata"].get("ownerReferences")
    assert not [a for a in stage.load.since(stage.started) if a.failed]


async def test_with_policy_delete_its_objects_go_with_it(engines: Engines) -> None:
    name = "brief"
    rollout: Object = yaml.safe_load((install.EXAMPLES / "demo-good.yaml").read_text())
    rollout["metadata"]["name"] = name
    spec = rollout["spec"]
    spec |= {"deletionPolicy": "Delete", "traffic": {}, "guardrails": {"recall": {"min": 0.4}}}
    spec["engine"]["replicas"] = 1
    spec["engine"]["template"]["spec"]["nodeSelector"] = {
        "indexcache.dev/nowhere": "true"
    }  # what it owns matters here, not that it runs
    await kubectl.apply(rollout)
    owned = [
        ("deployment", name),
        ("service", f"{name}-baseline"),
        ("service", f"{name}-canary"),
    ]
    for kind, own in owned:
        await kubectl.kubectl(
            "-n", install.NAMESPACE, "wait", "--for=create", f"{kind}/{own}", "--timeout=30s"
        )
    deployment = await kubectl.get("deployment", name, install.NAMESPACE)
    secret = control_secret(deployment["spec"]["template"]["spec"])
    await kubectl.kubectl(
        "-n", install.NAMESPACE, "wait", "--for=create", f"secret/{secret}", "--timeout=30s"
    )
    owned.append(("secret", str(secret)))  # it goes with the Deployment
    await kubectl.kubectl("-n", install.NAMESPACE, "delete", "icr", name, "--timeout=90s", within=100)
    for kind, own in owned:
        await kubectl.kubectl(
            "-n", install.NAMESPACE, "wait", "--for=delete", f"{kind}/{own}", "--timeout=30s"
        )
    assert await kubectl.find("icr", name, install.NAMESPACE) is None


def _names(route: Object) -> list[str]:
    rules = route.get("spec", {}).get("rules") or [{}]
    return [b["name"] for b in rules[0].get("backendRefs", [])]
