"""Installs what a user's cluster would have: the operator from its chart, alert rules, probes, and a route to
the engines.

Runs inside the testbed's network; the images are in the cluster already. Everything is applied, so doing it
again changes nothing.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from indexcache_testbed import product
from indexcache_testbed.cluster.layout import Layout
from indexcache_testbed.scenario import command, kubectl

NAMESPACE, ROLLOUT, ROUTE, MODEL = "serving", "tiny", "tiny", "tiny"
"""As examples/demo-*.yaml name them."""
OPERATOR_NAMESPACE, OPERATOR = "indexcache-system", "indexcache-operator"
CHART, EXAMPLES = product.ROOT / "charts/indexcache-operator", product.ROOT / "examples"


async def operator() -> None:
    """Install the operator and its alert rules, from the chart. Prometheus reads rules when it starts: it is
    started anew if they changed.
    """
    before = await kubectl.find("configmap", "indexcache-rules", "monitoring")
    token = base64.b64decode(
        (await kubectl.get("secret", "alertmanager-receiver", "monitoring"))["data"]["token"]
    ).decode()
    values: dict[str, Any] = {
        "image": _image("operator"),
        "runtime": _image("runtime"),
        "webhook": {"token": token},
        "networkPolicy": {"engineNamespaces": [NAMESPACE]},
        "alerts": {"configMap": {"namespace": "monitoring"}},
    }
    await command.run(
        *(
            "helm",
            "upgrade",
            "--install",
            OPERATOR,
            str(CHART),
            "--namespace",
            OPERATOR_NAMESPACE,
            "--create-namespace",
        ),
        # The operator is scaled by hand, to take it away; that field is the chart's again.
        *("--values", "-", "--wait", "--timeout", "120s", "--force-conflicts"),
        stdin=json.dumps(values),
        within=180,
    )
    after = await kubectl.get("configmap", "indexcache-rules", "monitoring")
    if before is None or before["data"] != after["data"]:
        await kubectl.kubectl("-n", "monitoring", "rollout", "restart", "deployment/prometheus")
    await kubectl.kubectl("-n", "monitoring", "rollout", "status", "deployment/prometheus", "--timeout=60s")


def _image(target: str) -> dict[str, str]:
    return {
        "repository": product.repository(target),
        "tag": product.loaded(Layout.of())[target],
        "pullPolicy": "Never",
    }


async def fresh() -> None:
    """Remove the rollout of an earlier run; its policy retains the engines, so they need not start again.
    Those with another build of the plugin go, too: a rollout keeps the plugin that its engines came with.

    CommandError, with the rollout's own message, if it does not end: an engine that is gone for good holds it
    until its permit lapses.
    """
    try:
        await kubectl.kubectl(
            "-n", NAMESPACE, "delete", "icr", ROLLOUT, "--ignore-not-found", "--timeout=60s"
        )
    except command.CommandError as error:
        left = await kubectl.find("icr", ROLLOUT, NAMESPACE)
        said = (left or {}).get("status", {}).get("message", "nothing")
        raise command.CommandError(f"{error}; the rollout says: {said}") from error
    left = await kubectl.find("deployment", ROLLOUT, NAMESPACE)
    if left is not None and not _is_of_this_build(left):
        await kubectl.kubectl("-n", NAMESPACE, "delete", "deployment", ROLLOUT, "--timeout=60s")


def _is_of_this_build(deployment: dict[str, Any]) -> bool:
    """Return whether engines are brought the plugin that the testbed holds now."""
    image = _image("runtime")
    containers = deployment["spec"]["template"]["spec"].get("initContainers", ())
    return f"{image['repository']}:{image['tag']}" in {container["image"] for container in containers}


async def companions() -> None:
    """Apply what the rollout's user brings: a route and probes."""
    await kubectl.kubectl(
        "apply", "-f", str(EXAMPLES / "demo-route.yaml"), "-f", str(EXAMPLES / "demo-probes.yaml")
    )


async def gateway() -> str:
    """Return the gateway's URL."""
    found = await kubectl.get("gateway", "gw", "infra")
    return f"http://{found['status']['addresses'][0]['value']}"


async def engines_answer(url: str, within: float, say: Callable[[str], None]) -> None:
    """Wait until all engines are as wanted and an answer comes through the gateway. Raises TimeoutError with
    what came last.
    """
    start, last = time.monotonic(), ""
    await kubectl.kubectl("-n", NAMESPACE, "wait", "--for=create", f"deployment/{ROLLOUT}", "--timeout=60s")
    await kubectl.kubectl(
        "-n",
        NAMESPACE,
        "rollout",
        "status",
        f"deployment/{ROLLOUT}",
        f"--timeout={within:.0f}s",
        within=within + 5,
    )
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        while time.monotonic() - start < within:
            try:
                async with session.get(f"{url}/v1/models") as response:
                    if response.status == 200:
                        say(f"the engines answer through the gateway ({time.monotonic() - start:.0f} s)")
                        return
                    last = f"{response.status} {(await response.text())[:200]}"
            except (aiohttp.ClientError, TimeoutError) as e:
                last = f"{type(e).__name__}: {e}"
            await asyncio.sleep(0.5)
    raise TimeoutError(f"no answer through the gateway in {within:.0f} s; last: {last}")
